//! From what the operator wrote to a checked [`BrokerConfig`].
//!
//! Sources, each stronger than the one before: defaults, `NAMESRV_ADDR`, the file, variables that start with
//! `APOGEE_`, what was changed while the broker ran, the command line. The `config` crate merges them; a value keeps its origin, so that an error or a listing
//! can name file and line.
//!
//! The crate takes keys for paths and the environment's for lower case, so it never sees a key as it was written: a
//! `Layer` holds only names that are known, as the table of [`keys`] spells them.
pub mod file;

use super::BrokerConfig;
use super::change;
use super::host::{self, Host};
use super::keys::{self, Known, Refused, SETTINGS, Spelling, Taken};
use config::{Config, Map, Source, Value};
use file::Written;
use protocol::frame::FRAME_BYTES_MAX;
use protocol::java_properties::PropertiesError;
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Start of the names of environment variables that are settings.
pub const VARIABLE_PREFIX: &str = "APOGEE_";
/// The variable in which images and scripts of stock brokers pass the nameservers. The file is stronger, as there.
const NAMESERVER_VARIABLE: &str = "NAMESRV_ADDR";
/// The same as a flag of the JVM, which goes before the variable. Whoever reads such flags passes it among the variables.
pub const JAVA_NAMESERVERS: &str = "-Drocketmq.namesrv.addr";
/// What a segment must hold beside the largest body: topic, properties, the fixed part of a record, the filler.
const AROUND_BODY_BYTES: u64 = 64 * 1024;

/// Where settings are written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sources<'a> {
    /// TOML if its name ends with `.toml`, properties otherwise.
    pub file: Option<&'a Path>,
    /// Variables of the environment. Only `NAMESRV_ADDR` and those that start with `APOGEE_` are looked at.
    pub environment: &'a [(String, String)],
    /// Keys and values from the command line.
    pub command_line: &'a [(String, String)],
}

/// Settings, and what the operator should know about them.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The settings.
    pub config: BrokerConfig,
    /// How they came about.
    pub report: Report,
}

/// How settings came about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Where the value of each key comes from: `default`, `conf/broker.conf:12`, `environment APOGEE_LISTEN_PORT`.
    pub origins: BTreeMap<&'static str, String>,
    /// Keys that a stock broker obeys and that have no meaning here, sorted.
    pub ignored: Vec<String>,
    /// Keys that were written as in old files.
    pub renamed: Vec<Renamed>,
    /// Keys that nobody knows.
    pub unknown: Vec<Unknown>,
    /// Everything else that may not be as intended.
    pub warnings: Vec<String>,
}

/// A key that was written as in old files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renamed {
    /// The key as it was written.
    pub written: String,
    /// Its name today.
    pub key: &'static str,
    /// Where it was written.
    pub place: String,
}

/// A key that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// The key as it was written.
    pub key: String,
    /// What may have been meant.
    pub nearest: Option<&'static str>,
    /// Where it was written.
    pub place: String,
}

impl Report {
    /// What is worth a line at start and needs no action.
    pub fn notes(&self) -> Vec<String> {
        let renamed = self
            .renamed
            .iter()
            .map(|Renamed { written, key, place }| format!("`{written}` ({place}) counts as `{key}`, its name today"));
        let ignored = (!self.ignored.is_empty())
            .then(|| format!("keys of a stock broker without effect here: {}", self.ignored.join(", ")));
        renamed.chain(ignored).collect()
    }

    /// What may not be as intended: unknown keys and warnings.
    pub fn alerts(&self) -> Vec<String> {
        let unknown = self.unknown.iter().map(|Unknown { key, nearest, place }| match nearest {
            Some(nearest) => format!("`{key}` ({place}) is no known key and has no effect; did you mean `{nearest}`?"),
            None => format!("`{key}` ({place}) is no known key and has no effect"),
        });
        unknown.chain(self.warnings.iter().cloned()).collect()
    }
}

/// Why the broker cannot start with what was written.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is a directory.
    #[error("`{path}` is a directory; container engines create one where the file to mount does not exist")]
    Directory {
        /// The file.
        path: String,
    },
    /// The file cannot be read.
    #[error("`{path}` cannot be read")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// A line is no entry.
    #[error("{path}:{}: {source}", source.line())]
    Line {
        /// The file.
        path: String,
        /// What is wrong with which line.
        source: PropertiesError,
    },
    /// The file is named like TOML and is none.
    #[error("`{path}` is not valid TOML")]
    Toml {
        /// The file.
        path: String,
        /// What the parser says.
        source: Box<config::ConfigError>,
    },
    /// A TOML value is neither a single value nor a list of such.
    #[error("`{key}` ({place}) is a table; settings are single values or lists, at the top of the file")]
    Table {
        /// The key.
        key: String,
        /// Where it stands.
        place: String,
    },
    /// A value is not one of the possible ones.
    #[error("`{key}` is `{value}` ({place}); it must be {allowed}")]
    Value {
        /// The key.
        key: &'static str,
        /// What was written.
        value: String,
        /// What is possible.
        allowed: String,
        /// Where it was written.
        place: String,
    },
    /// A value asks for what the broker cannot do, and to do without would be less safe.
    #[error("`{key}` is `{value}` ({place}), which is not supported yet; only `{only}` is")]
    NotSupported {
        /// The key.
        key: &'static str,
        /// What was written.
        value: String,
        /// The one value that is possible.
        only: &'static str,
        /// Where it was written.
        place: String,
    },
    /// A commit-log file could not hold the largest message.
    #[error(
        "`mappedFileSizeCommitLog` is {segment_bytes} ({segment_place}); a message of `maxMessageSize` {message_bytes} \
         ({message_place}) needs {}", segment_bytes_min(*message_bytes)
    )]
    SegmentTooSmall {
        /// Size of a commit-log file.
        segment_bytes: u64,
        /// Where it was written.
        segment_place: String,
        /// Size of the largest body.
        message_bytes: u64,
        /// Where it was written.
        message_place: String,
    },
    /// The second port is the first.
    #[error("`listenPort` and `fastListenPort` are both {port} ({place}); they must differ")]
    SamePort {
        /// The port.
        port: u16,
        /// Where the second one was written.
        place: String,
    },
    /// The second port would not be a port.
    #[error("`listenPort` is {port} ({place}); `fastListenPort` must be set, as it cannot be two less")]
    NoFastPort {
        /// The first port.
        port: u16,
        /// Where it was written.
        place: String,
    },
    /// The sources could not be merged.
    #[error("settings could not be merged")]
    Merge(#[source] Box<config::ConfigError>),
}

/// Origin of an advertised address that nobody chose.
const MACHINE_ADDRESS: &str = "default: address of this machine";

/// Size that files of the commit log must have at least to hold a message with a body of that size.
pub fn segment_bytes_min(message_bytes: u64) -> u64 {
    message_bytes + AROUND_BODY_BYTES
}

/// Reads all sources and checks what they say together.
pub fn load(sources: &Sources, host: &Host) -> Result<Loaded, ConfigError> {
    let mut report = Report::default();
    let mut config = BrokerConfig {
        broker_name: host.name.clone(),
        advertised_ip: host.address,
        data_dir: host.data_dir.clone(),
        ..BrokerConfig::default()
    };

    let mut layers = vec![defaults(&config)];
    let (nameservers, variables) = variables(sources.environment);
    layers.push(Layer::of(nameservers, Spelling::Exact, &mut report));
    if let Some(path) = sources.file {
        let (entries, spelling) = file::read(path)?;
        layers.push(Layer::of(entries, spelling, &mut report));
    }
    layers.push(Layer::of(variables, Spelling::Folded, &mut report));
    let command_line = sources.command_line.iter().map(|(key, value)| Written::new(key, value, "command line".into()));
    let flags = Layer::of(command_line.collect(), Spelling::Folded, &mut report);
    let changed = changed_entries(&data_dir(&layers, &flags)?, &flags, &mut report)?;
    layers.push(Layer::of(changed, Spelling::Exact, &mut report));
    layers.push(flags);

    let mut merged = merge(layers)?;
    for setting in SETTINGS {
        let Some(Written { key: _, value, place }) = merged.remove(setting.key) else { continue };
        let value = match setting.key {
            "brokerIP1" => resolved(value, &place, &mut report),
            _ => value,
        };
        match setting.apply(&mut config, &value) {
            Ok(Taken::AsWritten) => {}
            Ok(Taken::Instead { used, reason }) => {
                report.warnings.push(format!("`{}` is `{value}` ({place}); `{used}` is used: {reason}", setting.key));
            }
            Err(Refused::Outside { allowed }) => {
                return Err(ConfigError::Value { key: setting.key, value, allowed, place });
            }
            // Said only of a broker that runs.
            Err(Refused::OnlyAtStart) => {}
            Err(Refused::NotYet { only }) => {
                return Err(ConfigError::NotSupported { key: setting.key, value, only, place });
            }
        }
        report.origins.insert(setting.key, place);
    }
    config.advertised_by_default = report.origins.get("brokerIP1").is_some_and(|place| place == MACHINE_ADDRESS);
    relate(&mut config, &mut report)?;
    look_around(&config, host, merged.get("storePathCommitLog"), &mut report);
    report.ignored = merged.into_keys().collect();
    Ok(Loaded { config, report })
}

/// What one source says, under the names of today, without the keys that nobody knows.
#[derive(Clone, Debug)]
struct Layer(Map<String, Value>);

impl Layer {
    fn of(entries: Vec<Written>, spelling: Spelling, report: &mut Report) -> Layer {
        // The flag says that the entry has its old name.
        let mut known: BTreeMap<&'static str, (Written, bool)> = BTreeMap::new();
        for entry in entries {
            let (key, old) = match keys::find(&entry.key, spelling) {
                Some(Known::Setting(setting)) => (setting.key, false),
                Some(Known::OldName(setting)) => (setting.key, true),
                Some(Known::WithoutEffect(key)) => (key, false),
                None => {
                    let nearest = keys::nearest(&entry.key);
                    report.unknown.push(Unknown { key: entry.key, nearest, place: entry.place });
                    continue;
                }
            };
            if old {
                report.renamed.push(Renamed { written: entry.key.clone(), key, place: entry.place.clone() });
            }
            if entry.value.is_empty() {
                report.warnings.push(format!("`{}` ({}) has no value and no effect", entry.key, entry.place));
                continue;
            }
            // The last entry counts, as in a stock broker; but never an old name against the name of today.
            if let Some((first, first_old)) = known.get(key) {
                let first_counts = old && !first_old;
                let (lost, counts) = if first_counts { (&entry, first) } else { (first, &entry) };
                report.warnings.push(format!(
                    "`{key}` is set more than once; `{}` ({}) counts and `{}` ({}) does not",
                    counts.value, counts.place, lost.value, lost.place
                ));
                if first_counts {
                    continue;
                }
            }
            known.insert(key, (entry, old));
        }
        Layer(known.into_iter().map(|(key, (entry, _))| (key.to_owned(), value(entry))).collect())
    }
}

fn value(entry: Written) -> Value {
    Value::new(Some(&entry.place), entry.value)
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

fn merge(layers: Vec<Layer>) -> Result<BTreeMap<String, Written>, ConfigError> {
    let merge_error = |error| ConfigError::Merge(Box::new(error));
    let builder = layers.into_iter().fold(Config::builder(), |builder, layer| builder.add_source(layer));
    let mut merged = BTreeMap::new();
    for (key, value) in builder.build().and_then(|built| built.collect()).map_err(merge_error)? {
        let place = value.origin().unwrap_or_default().to_owned();
        merged.insert(key.clone(), Written { key, value: value.into_string().map_err(merge_error)?, place });
    }
    Ok(merged)
}

/// The data folder that all of these come to.
fn data_dir(layers: &[Layer], flags: &Layer) -> Result<PathBuf, ConfigError> {
    let mut merged = merge(layers.iter().chain([flags]).cloned().collect())?;
    Ok(merged.remove("storePathRootDir").map(|written| written.value).unwrap_or_default().into())
}

/// What was changed while the broker ran, as far as it still counts.
fn changed_entries(data_dir: &Path, flags: &Layer, report: &mut Report) -> Result<Vec<Written>, ConfigError> {
    let path = data_dir.join(change::FILE);
    let (entries, _) = match file::read(&path) {
        Err(ConfigError::Unreadable { source, .. })
            if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(Vec::new());
        }
        read => read?,
    };
    let mut counting = Vec::new();
    for Written { key, value, place } in entries {
        let place = format!("changed at run time, {place}");
        match keys::find(&key, Spelling::Exact) {
            Some(Known::Setting(setting)) if !setting.may_change() => report.warnings.push(format!(
                "`{key}` ({place}) has no effect: it counts only where it stands in the broker's own file or flags"
            )),
            Some(Known::Setting(_)) if flags.0.contains_key(&key) => {
                report.warnings.push(format!("`{key}` is `{value}` ({place}), but the command line goes before that"));
            }
            _ => counting.push(Written { key, value, place }),
        }
    }
    Ok(counting)
}

fn defaults(config: &BrokerConfig) -> Layer {
    // The fast port follows from the main port, which is not known yet.
    let settings = SETTINGS.iter().filter(|setting| setting.key != "fastListenPort");
    let entries = settings.map(|setting| {
        let place = match setting.key {
            "brokerName" => "default: name of this machine",
            "brokerIP1" => MACHINE_ADDRESS,
            _ => "default",
        };
        (setting.key.to_owned(), value(Written::new(setting.key, &setting.show(config), place.to_owned())))
    });
    Layer(entries.collect())
}

/// `NAMESRV_ADDR`, and apart from it the variables with our prefix. An empty variable counts as not set: compose
/// files make them.
fn variables(environment: &[(String, String)]) -> (Vec<Written>, Vec<Written>) {
    let (mut nameservers, mut ours) = (Vec::new(), Vec::new());
    for (name, value) in environment.iter().filter(|(_, value)| !value.trim().is_empty()) {
        let place = format!("environment {name}");
        if name == NAMESERVER_VARIABLE {
            nameservers.insert(0, Written::new("namesrvAddr", value, place));
        } else if name == JAVA_NAMESERVERS {
            nameservers.push(Written::new("namesrvAddr", value, place));
        } else if let Some(key) = name.strip_prefix(VARIABLE_PREFIX) {
            ours.push(Written::new(key, value, place));
        }
    }
    // The environment has no order; a report should have one.
    ours.sort_by(|a, b| a.place.cmp(&b.place));
    (nameservers, ours)
}

/// An address in place of a host name, because routes and message ids carry addresses.
fn resolved(value: String, place: &str, report: &mut Report) -> String {
    if value.parse::<IpAddr>().is_ok() {
        return value;
    }
    let Some(address) = host::resolve(&value) else { return value };
    report.warnings.push(format!(
        "`brokerIP1` is the host name `{value}` ({place}); clients are told {address}, the address it has now"
    ));
    address.to_string()
}

/// Checks settings against each other and sets those that follow from others.
fn relate(config: &mut BrokerConfig, report: &mut Report) -> Result<(), ConfigError> {
    let place = |report: &Report, key| report.origins.get(key).cloned().unwrap_or_default();

    if config.broker_id != 0 {
        let warning = format!(
            "`brokerId` is `{}` ({}); `0` is used: the broker is a master, and a master has no other",
            config.broker_id,
            place(report, "brokerId")
        );
        report.warnings.push(warning);
        config.broker_id = 0;
    }

    let port = config.listen_port;
    if !report.origins.contains_key("fastListenPort") {
        let fast = port.checked_sub(2).filter(|fast| *fast != 0);
        config.fast_listen_port =
            fast.ok_or_else(|| ConfigError::NoFastPort { port, place: place(report, "listenPort") })?;
        report.origins.insert("fastListenPort", "default: listenPort - 2".to_owned());
    }
    if config.fast_listen_port == port {
        return Err(ConfigError::SamePort { port, place: place(report, "fastListenPort") });
    }

    let message_bytes = config.max_message_bytes.get() as u64;
    if config.segment_bytes < segment_bytes_min(message_bytes) {
        return Err(ConfigError::SegmentTooSmall {
            segment_bytes: config.segment_bytes,
            segment_place: place(report, "mappedFileSizeCommitLog"),
            message_bytes,
            message_place: place(report, "maxMessageSize"),
        });
    }
    if (FRAME_BYTES_MAX as u64) < message_bytes + AROUND_BODY_BYTES {
        let warning = format!(
            "`maxMessageSize` is {message_bytes} ({}), but a request of more than {FRAME_BYTES_MAX} bytes is not read",
            place(report, "maxMessageSize")
        );
        report.warnings.push(warning);
    }
    Ok(())
}

/// Warns of what is possible and rarely meant.
fn look_around(config: &BrokerConfig, host: &Host, commit_log: Option<&Written>, report: &mut Report) {
    if config.advertised_ip.is_loopback() {
        let instead = match host.address {
            address if address.is_loopback() => String::new(),
            address => format!("; this machine has {address}"),
        };
        let place = report.origins.get("brokerIP1").map_or("", String::as_str);
        report.warnings.push(format!(
            "`brokerIP1` is {} ({place}), which clients on other machines cannot use{instead}",
            config.advertised_ip
        ));
    }
    if let Some(Written { value, place, .. }) = commit_log
        && !Path::new(value).starts_with(&config.data_dir)
    {
        report.warnings.push(format!(
            "`storePathCommitLog` is `{value}` ({place}), but messages are stored in `storePathRootDir` too: `{}`",
            config.data_dir.display()
        ));
    }
}

#[cfg(test)]
mod tests;
