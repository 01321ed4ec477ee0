//! A broker's settings for programs: `--print-config --json` and `--explain-config --json`.

use broker::config::keys::{SETTINGS, Setting};
use broker::config::load::Loaded;
use broker::config::print;
use serde_json::{Map, Value, json};

/// Every key in force with its value and where that comes from.
pub fn in_force(loaded: &Loaded) -> Value {
    by_key(|setting| json!({ "value": setting.show(&loaded.config), "origin": loaded.report.origins.get(setting.key) }))
}

/// Every key with its meaning, possible values and default.
pub fn explained() -> Value {
    by_key(|setting| {
        json!({
            "help": setting.help,
            "possible": setting.allowed(),
            "default": print::default_of(setting),
            "counts": print::counts(setting),
            "old_name": setting.old,
        })
    })
}

/// An object with a field for each key.
fn by_key(describe: impl Fn(&Setting) -> Value) -> Value {
    let entries = SETTINGS.iter().map(|setting| (setting.key.to_owned(), describe(setting)));
    Value::Object(entries.collect::<Map<_, _>>())
}
