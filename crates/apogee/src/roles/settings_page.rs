//! The page `docs/operate/configuration.md`: made of the tables of keys, and compared with what is in the repository.

use std::collections::BTreeMap;
use std::path::Path;

use broker::config::keys::{SETTINGS, without_effect};
use broker::config::print;
use nameserver::NameserverConfig;
use nameserver::keys::{KEYS, WITHOUT_EFFECT};

use super::nameserver::kv_path;

/// Says that the page is to be written instead of compared.
const WRITE: &str = "APOGEE_WRITE_PAGES";

const HEAD: &str = "\
# Configuration

This page is made of the tables in the program: `APOGEE_WRITE_PAGES=1 cargo test -p apogee settings_page` writes it, and the
same test without the variable fails when it is out of date. How settings are given, and which source goes before which, is
in [README.md](README.md#configuration).

A key counts *at start*, or *at any time*: then `mqadmin updateBrokerConfig` and `updateNamesrvConfig` change it while the
server runs. What they change is kept in `changed.properties` below the data folder.
";

#[test]
fn the_page_about_settings_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operate/configuration.md");
    let page = page();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = there.lines().zip(page.lines()).find(|(there, now)| there != now);
    assert!(there == page, "{} is out of date; {WRITE}=1 writes it; first difference: {differs:?}", path.display());
}

fn page() -> String {
    let broker: BTreeMap<&str, String> = SETTINGS
        .iter()
        .map(|setting| {
            let old = setting.old.map(|old| format!("; `{old}` in old files")).unwrap_or_default();
            let meaning = format!("{}{old}", setting.help);
            let (default, counts) = (print::default_of(setting), print::counts(setting));
            (setting.key, row(setting.key, &meaning, &setting.allowed(), &default, counts))
        })
        .collect();
    let defaults = NameserverConfig::new(kv_path(Path::new(super::DEFAULT_DATA_DIR)));
    let nameserver: BTreeMap<&str, String> = KEYS
        .iter()
        .map(|key| {
            let counts = if key.may_change() { "at any time" } else { "at start" };
            (key.name, row(key.name, key.help, &key.allowed(), &key.show(&defaults), counts))
        })
        .collect();
    let mut page = HEAD.to_owned();
    page += "\n## Broker\n\n";
    page += &table(broker);
    page += "\n## Broker: taken without effect\n\nKeys of stock brokers that have no meaning here. They are listed once at start.\n\n";
    page += &names(without_effect());
    page += "\n## Nameserver\n\n";
    page += &table(nameserver);
    page += "\n## Nameserver: taken without effect\n\n";
    page += &names(WITHOUT_EFFECT.iter().copied());
    page
}

fn table(rows: BTreeMap<&str, String>) -> String {
    let head = "| key | meaning | possible | default | counts |\n| --- | --- | --- | --- | --- |\n".to_owned();
    rows.into_values().fold(head, |table, row| table + &row)
}

fn row(key: &str, meaning: &str, possible: &str, default: &str, counts: &str) -> String {
    let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
    format!("| `{key}` | {meaning} | {possible} | {default} | {counts} |\n")
}

/// Names with commas between them, in lines of a readable length.
fn names(names: impl Iterator<Item = &'static str>) -> String {
    const LINE: usize = 120;
    let mut lines = vec![String::new()];
    for name in names {
        let name = format!("`{name}`, ");
        if let Some(line) = lines.last_mut().filter(|line| line.len() + name.len() <= LINE) {
            line.push_str(&name);
        } else {
            lines.push(name);
        }
    }
    let text: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
    format!("{}\n", text.join("\n").trim_end_matches(','))
}
