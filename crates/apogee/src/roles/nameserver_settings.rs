//! From what the operator wrote to a checked [`NameserverConfig`].
//!
//! Sources, each stronger than the one before: defaults, the file, variables that start with `APOGEE_NAMESERVER_`, what was
//! changed while the nameserver ran, the command line.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use broker::config::keys::{Spelling, folded, nearest_of};
use broker::config::load::file::{self, Written};
use nameserver::NameserverConfig;
use nameserver::changed;
use nameserver::keys::{KEYS, Key, WITHOUT_EFFECT};

use super::nameserver::kv_path;

/// Start of the names of environment variables that are settings of a nameserver.
pub const VARIABLE_PREFIX: &str = "APOGEE_NAMESERVER_";

/// Column in which origins start, unless an entry is longer.
const ORIGIN_COLUMN: usize = 44;

/// Where settings are written.
pub struct Sources<'a> {
    /// TOML if its name ends with `.toml`, properties otherwise.
    pub file: Option<&'a Path>,
    /// Variables of the environment.
    pub environment: &'a [(String, String)],
    /// Keys and values from the command line.
    pub command_line: &'a [(&'static str, String)],
    /// Folder of what is stored, unless one of the sources names another.
    pub data_dir: &'a Path,
}

/// Settings, and how they came about.
pub struct Loaded {
    /// The settings.
    pub config: NameserverConfig,
    origins: BTreeMap<&'static str, String>,
    ignored: Vec<&'static str>,
    warnings: Vec<String>,
}

/// Reads all sources.
pub fn load(sources: &Sources<'_>) -> anyhow::Result<Loaded> {
    let config = NameserverConfig::new(kv_path(sources.data_dir));
    let origins = KEYS.iter().map(|key| (key.name, "default".to_owned())).collect();
    let mut loaded = Loaded { config, origins, ignored: Vec::new(), warnings: Vec::new() };
    if let Some(path) = sources.file {
        let (entries, spelling) = file::read(path)?;
        loaded.take(entries, spelling)?;
    }
    loaded.take(variables(sources.environment), Spelling::Folded)?;
    let flags: Vec<Written> =
        sources.command_line.iter().map(|(key, value)| Written::new(key, value, "command line".to_owned())).collect();
    // Flags name the folder in which the changes lie, and go before them.
    loaded.take(flags.clone(), Spelling::Exact)?;
    let path = changed::path_beside(&loaded.config.kv_path);
    if path.exists() {
        let (mut entries, spelling) = file::read(&path)?;
        for entry in &mut entries {
            entry.place = format!("changed at run time, {}", entry.place);
        }
        loaded.take(entries, spelling)?;
        loaded.take(flags, Spelling::Exact)?;
    }
    Ok(loaded)
}

fn variables(environment: &[(String, String)]) -> Vec<Written> {
    let set = environment.iter().filter(|(_, value)| !value.trim().is_empty());
    let mut ours: Vec<Written> = set
        .filter_map(|(name, value)| {
            Some(Written::new(name.strip_prefix(VARIABLE_PREFIX)?, value, format!("environment {name}")))
        })
        .collect();
    // The environment has no order; a report should have one.
    ours.sort_by(|a, b| a.place.cmp(&b.place));
    ours
}

enum Known {
    Key(&'static Key),
    WithoutEffect(&'static str),
}

fn find(name: &str, spelling: Spelling) -> Option<Known> {
    let matches = |key: &str| match spelling {
        Spelling::Exact => key == name,
        Spelling::Folded => folded(key) == folded(name),
    };
    let key = KEYS.iter().find(|key| matches(key.name)).map(Known::Key);
    key.or_else(|| WITHOUT_EFFECT.iter().find(|key| matches(key)).map(|key| Known::WithoutEffect(key)))
}

impl Loaded {
    /// Sets what one source says. The last entry for a key counts.
    fn take(&mut self, entries: Vec<Written>, spelling: Spelling) -> anyhow::Result<()> {
        for Written { key, value, place } in entries {
            match find(&key, spelling) {
                Some(Known::Key(known)) => {
                    known.set(&mut self.config, &value).map_err(|error| anyhow::anyhow!("{place}: {error}"))?;
                    self.origins.insert(known.name, place);
                }
                Some(Known::WithoutEffect(key)) if self.ignored.contains(&key) => {}
                Some(Known::WithoutEffect(key)) => self.ignored.push(key),
                None => {
                    let all = KEYS.iter().map(|key| key.name).chain(WITHOUT_EFFECT.iter().copied());
                    let meant = nearest_of(&key, all).map(|key| format!("; did you mean `{key}`?")).unwrap_or_default();
                    self.warnings.push(format!("`{key}` ({place}) is no known key and has no effect{meant}"));
                }
            }
        }
        Ok(())
    }

    /// Says what the operator should know about the settings.
    pub fn comment(&self) {
        if !self.ignored.is_empty() {
            tracing::info!("keys of a stock nameserver without effect here: {}", self.ignored.join(", "));
        }
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
    }

    /// Every key in force with its value and where that comes from, sorted by key.
    pub fn print(&self) -> String {
        let mut out = String::new();
        for (name, (value, origin)) in self.in_force() {
            let entry = format!("{name}={value}");
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{entry:<ORIGIN_COLUMN$}  # {origin}");
        }
        out
    }

    /// The same for programs.
    pub fn json(&self) -> serde_json::Value {
        let entries = self.in_force().into_iter();
        let entries = entries
            .map(|(name, (value, origin))| (name.to_owned(), serde_json::json!({ "value": value, "origin": origin })));
        serde_json::Value::Object(entries.collect())
    }

    fn in_force(&self) -> BTreeMap<&'static str, (String, &str)> {
        KEYS.iter().map(|key| (key.name, (key.show(&self.config), self.origins[key.name].as_str()))).collect()
    }
}

/// Every key with its meaning, possible values and default, sorted by key.
pub fn help() -> String {
    let defaults = NameserverConfig::new(kv_path(Path::new(super::DEFAULT_DATA_DIR)));
    let mut keys: Vec<&Key> = KEYS.iter().collect();
    keys.sort_by_key(|key| key.name);
    keys.iter()
        .map(|key| {
            let (name, help, allowed, default) = (key.name, key.help, key.allowed(), key.show(&defaults));
            let when = if key.may_change() { "at any time" } else { "at start" };
            format!("{name}\n    {help}\n    possible: {allowed}\n    default: {default}\n    counts: {when}\n")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(file: &str, environment: &[(&str, &str)], flags: &[(&'static str, &str)]) -> anyhow::Result<Loaded> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("namesrv.conf");
        std::fs::write(&path, file).unwrap();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        load(&Sources {
            file: Some(&path),
            environment: &environment.iter().map(owned).collect::<Vec<_>>(),
            command_line: &flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect::<Vec<_>>(),
            data_dir: folder.path(),
        })
    }

    #[test]
    fn the_file_of_a_stock_nameserver_is_read() {
        let text = "# 端口\nlistenPort = 9877\nbindAddress=127.0.0.1\nserverWorkerThreads=8\nordrMessageEnable=true\n";
        let Loaded { config, ignored, warnings, .. } = loaded(text, &[], &[]).unwrap();
        assert_eq!((config.bind_ip.to_string().as_str(), config.listen_port), ("127.0.0.1", 9877));
        assert_eq!(ignored, ["serverWorkerThreads"]);
        assert!(warnings.len() == 1 && warnings[0].ends_with("did you mean `orderMessageEnable`?"), "{warnings:?}");
        assert!(loaded("orderMessageEnable=true", &[], &[]).unwrap().config.settings.order_in_routes);
    }

    #[test]
    fn a_wrong_value_is_named_with_its_line_and_range() {
        let error = loaded("\n\nlistenPort=many", &[], &[]).err().unwrap().to_string();
        let expected = "namesrv.conf:3: `listenPort` is `many`; it must be a whole number from 1 to 65535";
        assert!(error.ends_with(expected), "{error}");
    }

    #[test]
    fn the_later_source_is_stronger() {
        let variable = [("APOGEE_NAMESERVER_LISTEN_PORT", "2"), ("APOGEE_LISTEN_PORT", "7")];
        let port = |environment, flags| loaded("listenPort=1", environment, flags).unwrap().config.listen_port;
        assert_eq!(port(&[], &[]), 1);
        assert_eq!(port(&variable, &[]), 2);
        assert_eq!(port(&variable, &[("listenPort", "3")]), 3);
    }

    #[test]
    fn what_was_changed_goes_before_the_file_and_not_before_flags() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("namesrv.conf");
        std::fs::write(&file, "waitSecondsForService=1\n").unwrap();
        let kept = changed::path_beside(&kv_path(folder.path()));
        std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
        std::fs::write(&kept, "waitSecondsForService=2\n").unwrap();
        let wait = |flags: &[(&'static str, String)]| {
            let sources = Sources { file: Some(&file), environment: &[], command_line: flags, data_dir: folder.path() };
            let loaded = load(&sources).unwrap();
            (loaded.config.settings.wait_seconds, loaded.origins["waitSecondsForService"].clone())
        };
        assert_eq!(wait(&[]), (2, format!("changed at run time, {}:1", kept.display())));
        assert_eq!(wait(&[("waitSecondsForService", "3".to_owned())]), (3, "command line".to_owned()));
    }
}
