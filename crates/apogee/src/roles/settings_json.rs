//! A broker's settings for programs: `--print-config --json` and `--explain-config --json`.

use broker::config::host::Host;
use broker::config::keys::{SETTINGS, Setting};
use broker::config::load::{Loaded, Sources, load};
use serde_json::{Map, Value, json};

use super::DEFAULT_DATA_DIR;

/// Every key in force with its value and where that comes from.
pub fn in_force(loaded: &Loaded) -> Value {
    by_key(|setting| json!({ "value": setting.show(&loaded.config), "origin": loaded.report.origins.get(setting.key) }))
}

/// Every key with its meaning, possible values and default.
pub fn explained() -> anyhow::Result<Value> {
    let defaults = load(&Sources::default(), &Host::of_this_machine(DEFAULT_DATA_DIR.into()))?;
    Ok(by_key(|setting| {
        let origin = defaults.report.origins.get(setting.key);
        let default = match origin.and_then(|origin| origin.strip_prefix("default: ")) {
            // Where it depends on something, that is worth more than what it comes to here.
            Some(rule) => rule.to_owned(),
            None => setting.show(&defaults.config),
        };
        json!({
            "help": setting.help,
            "possible": setting.allowed(),
            "default": default,
            "old_name": setting.old,
        })
    }))
}

/// An object with a field for each key.
fn by_key(describe: impl Fn(&Setting) -> Value) -> Value {
    let entries = SETTINGS.iter().map(|setting| (setting.key.to_owned(), describe(setting)));
    Value::Object(entries.collect::<Map<_, _>>())
}
