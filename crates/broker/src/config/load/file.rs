//! Files of settings: properties as stock brokers have them, or TOML.
use super::super::keys::Spelling;
use super::ConfigError;
use config::{File, FileFormat, Source, Value, ValueKind};
use protocol::java_properties;
use std::io;
use std::path::Path;

/// A key and a value as one of the sources has them.
#[derive(Clone, Debug)]
pub struct Written {
    /// The key, as it was written.
    pub key: String,
    /// The value, without blanks around it.
    pub value: String,
    /// Where it was written: `conf/broker.conf:12`.
    pub place: String,
}

impl Written {
    /// A key and a value, and where they stand.
    pub fn new(key: &str, value: &str, place: String) -> Written {
        Written { key: key.to_owned(), value: value.trim().to_owned(), place }
    }
}

/// Reads a file: TOML if its name ends with `.toml`, properties otherwise. In TOML keys need not be spelled exactly.
pub fn read(path: &Path) -> Result<(Vec<Written>, Spelling), ConfigError> {
    let name = path.display().to_string();
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => return Err(ConfigError::Directory { path: name }),
        Err(source) => return Err(ConfigError::Unreadable { path: name, source }),
    };
    let text = java_properties::decode(&bytes);
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml")) {
        return Ok((toml_entries(&name, &text)?, Spelling::Folded));
    }
    let entries = java_properties::read(&text).map_err(|source| ConfigError::Line { path: name.clone(), source })?;
    let entries = entries.iter().map(|entry| Written::new(&entry.key, &entry.value, format!("{name}:{}", entry.line)));
    Ok((entries.collect(), Spelling::Exact))
}

fn toml_entries(path: &str, text: &str) -> Result<Vec<Written>, ConfigError> {
    let not_toml = |error| ConfigError::Toml { path: path.to_owned(), source: Box::new(error) };
    let values = File::from_str(text, FileFormat::Toml).collect().map_err(not_toml)?;
    let mut entries = Vec::new();
    for (key, value) in values {
        // The parser does not tell lines. A key in quotes is not found and has none.
        let starts_with_key = |line: &str| {
            let rest = line.trim_start().strip_prefix(key.as_str());
            rest.is_some_and(|rest| rest.trim_start().starts_with('='))
        };
        let line = text.lines().position(starts_with_key);
        let place = line.map_or_else(|| path.to_owned(), |line| format!("{path}:{}", line + 1));
        match toml_text(value) {
            Some(value) => entries.push((line, Written::new(&key, &value, place))),
            None => return Err(ConfigError::Table { key, place }),
        }
    }
    entries.sort_by(|(a, first), (b, second)| a.cmp(b).then_with(|| first.key.cmp(&second.key)));
    Ok(entries.into_iter().map(|(_, entry)| entry).collect())
}

/// The value as a properties file would have it: a list is separated by `;`.
fn toml_text(value: Value) -> Option<String> {
    let ValueKind::Array(items) = value.kind else { return value.into_string().ok() };
    let items: Result<Vec<String>, _> = items.into_iter().map(Value::into_string).collect();
    items.ok().map(|items| items.join(";"))
}
