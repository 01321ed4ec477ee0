//! Changing settings while the broker runs. Changes are kept in a file of their own in the data folder; what the operator
//! wrote is never touched.
//!
//! A change is in force at once. It is on disk when [`Changes::save`] has run, which the thread for chores sees to.
use super::BrokerConfig;
use super::keys::{self, Known, Refused, Setting, Spelling, Taken};
use super::load::segment_bytes_min;
use log::{Disk, replace_file};
use protocol::codes::ResponseCode;
use protocol::java_properties::{self, Entry, PropertiesError};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Name of the file below the data folder: properties, under the names of today.
pub const FILE: &str = "changed.properties";

/// What is being done when the file cannot be read.
pub const READING: &str = "reading `changed.properties`";

/// First lines of the file, for whoever opens it.
const HEAD: &str = "# Settings that were changed while the broker ran. They go before broker.conf and the environment, not before\n\
                    # flags. To take one back, delete its line while the broker is stopped.\n";

/// Keys that only the operator of the machine may set, beside those that name a path and those in `configBlackList`.
const LOCKED: [&str; 3] = ["configBlackList", "brokerConfigPath", "rocketmqHome"];

/// Why settings stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The request is not made of properties.
    #[error("settings cannot be read: line {}: {source}", source.line())]
    Text {
        /// What is wrong with which line.
        #[from]
        source: PropertiesError,
    },
    /// The request names no key.
    #[error("no setting is named; lines of `key=value` are expected")]
    Nothing,
    /// Nobody may change the key from afar.
    #[error("Can not update config in black list. `{0}` can only be set where the broker is started")]
    Locked(String),
    /// The key counts only at start.
    #[error("`{0}` counts only at start: set it in the broker's file and start the broker again")]
    OnlyAtStart(&'static str),
    /// Nobody knows the key.
    #[error("`{key}` is no known key{}", nearest.map(|key| format!("; did you mean `{key}`?")).unwrap_or_default())]
    Unknown {
        /// The key.
        key: String,
        /// What may have been meant.
        nearest: Option<&'static str>,
    },
    /// A value is not one of the possible ones.
    #[error("`{key}` is `{value}`; it must be {allowed}")]
    Value {
        /// The key.
        key: &'static str,
        /// What was asked for.
        value: String,
        /// What is possible.
        allowed: String,
    },
    /// No file of the commit log could hold the largest message.
    #[error("`maxMessageSize` is {message_bytes}; files of the commit log have {segment_bytes} bytes and would have to have {}",
        segment_bytes_min(*message_bytes))]
    SegmentTooSmall {
        /// Size of a file of the commit log.
        segment_bytes: u64,
        /// Size of the largest body that was asked for.
        message_bytes: u64,
    },
}

impl ChangeError {
    /// Code of the answer to a remoting client.
    pub fn code(&self) -> ResponseCode {
        match self {
            ChangeError::Locked(_) => ResponseCode::NO_PERMISSION,
            _ => ResponseCode::SYSTEM_ERROR,
        }
    }
}

/// A setting that has another value now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The key.
    pub key: &'static str,
    /// The value before.
    pub before: String,
    /// The value now.
    pub now: String,
}

/// How often settings were changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeCount {
    /// Changes since the start.
    pub counter: i64,
    /// When the last one was made, or the broker was started, in milliseconds since 1970.
    pub timestamp_ms: i64,
}

/// All changes that were made while the broker ran, this time or before.
pub struct Changes {
    disk: Arc<dyn Disk>,
    state: Mutex<State>,
}

type Then = Box<dyn FnOnce(bool) + Send>;

struct State {
    /// Keys and values as they are in the file.
    kept: BTreeMap<&'static str, String>,
    count: ChangeCount,
    is_saved: bool,
    /// The last attempt to write failed, which was told.
    is_failing: bool,
    waiting: Vec<Then>,
}

impl Changes {
    /// Reads the file, if there is one. The values in it are in force already, through [`super::load::load`].
    pub fn open(disk: Arc<dyn Disk>, now_ms: i64) -> io::Result<Changes> {
        let entries = match disk.open(FILE) {
            Ok(file) => {
                let mut bytes = vec![0; file.len()? as usize];
                let read = file.read_at(&mut bytes, 0)?;
                java_properties::read(&java_properties::decode(&bytes[..read])).map_err(io::Error::other)?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let kept = entries.into_iter().filter_map(|entry| match keys::find(&entry.key, Spelling::Exact)? {
            Known::Setting(setting) | Known::OldName(setting) => Some((setting.key, entry.value)),
            Known::WithoutEffect(key) => Some((key, entry.value)),
        });
        let count = ChangeCount { counter: 0, timestamp_ms: now_ms };
        let state = State { kept: kept.collect(), count, is_saved: true, is_failing: false, waiting: Vec::new() };
        Ok(Changes { disk, state: Mutex::new(state) })
    }

    /// Makes the changes of `text`, which is properties; returns those that made a difference. When one of them is wrong,
    /// none is made.
    pub fn make(&self, config: &BrokerConfig, text: &str, now_ms: i64) -> Result<Vec<Changed>, ChangeError> {
        let entries = java_properties::read(text)?;
        if entries.is_empty() {
            return Err(ChangeError::Nothing);
        }
        let mut state = self.lock();
        let wanted = check(config, &entries)?;
        let mut changed = Vec::new();
        for (known, value) in wanted {
            let key = match known {
                Wanted::Setting(setting) => {
                    let before = setting.show(config);
                    // Checked just before.
                    let _ = setting.change(config, &value);
                    let now = setting.show(config);
                    if before != now {
                        changed.push(Changed { key: setting.key, before, now });
                    }
                    setting.key
                }
                Wanted::WithoutEffect(key) => key,
            };
            state.kept.insert(key, value);
            state.is_saved = false;
        }
        state.count.counter += 1;
        state.count.timestamp_ms = now_ms;
        Ok(changed)
    }

    /// Keys that mean nothing here and were set all the same, with what they were set to.
    pub fn without_effect(&self) -> BTreeMap<&'static str, String> {
        let is_setting = |key: &str| matches!(keys::find(key, Spelling::Exact), Some(Known::Setting(_)));
        let kept = self.lock().kept.clone();
        kept.into_iter().filter(|(key, _)| !is_setting(key)).collect()
    }

    /// How often settings were changed.
    pub fn count(&self) -> ChangeCount {
        self.lock().count
    }

    /// Calls `then` once all changes so far are on disk, or could not be written, which the flag says.
    pub fn when_saved(&self, then: impl FnOnce(bool) + Send + 'static) {
        let mut state = self.lock();
        if state.is_saved {
            drop(state);
            return then(true);
        }
        state.waiting.push(Box::new(then));
    }

    /// Writes the file if something has changed since it was written. Waits for the disk.
    pub fn save(&self) {
        let (content, waiting, was_failing) = {
            let mut state = self.lock();
            if state.is_saved && state.waiting.is_empty() {
                return;
            }
            state.is_saved = true;
            let was_failing = state.is_failing;
            let mut content = HEAD.to_owned();
            for (key, value) in &state.kept {
                java_properties::write_entry(&mut content, key, value);
            }
            (content, std::mem::take(&mut state.waiting), was_failing)
        };
        let saved = replace_file(&*self.disk, FILE, content.as_bytes());
        if let (false, Err(error)) = (was_failing, &saved) {
            tracing::error!(%error, "changed settings are in force but cannot be written to `{FILE}`; it is tried on");
        }
        {
            let mut state = self.lock();
            state.is_failing = saved.is_err();
            // Another change may have come meanwhile.
            state.is_saved &= saved.is_ok();
        }
        for then in waiting {
            then(saved.is_ok());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether only the operator of the machine may set the key: what it names is a path, or guards such keys.
pub fn is_locked(config: &BrokerConfig, key: &str) -> bool {
    // Keys of a stock broker that name paths end like this; ours are settings of such a type.
    let names_path = ["Path", "Paths", "Dir", "DirRootPath", "Home"].iter().any(|ending| key.ends_with(ending));
    names_path
        || key.starts_with("storePath")
        || LOCKED.contains(&key)
        || config.locked_keys.iter().any(|locked| locked == key)
        || matches!(keys::find(key, Spelling::Exact), Some(Known::Setting(setting)) if setting.names_path())
}

/// A key that may be changed.
enum Wanted {
    Setting(&'static Setting),
    WithoutEffect(&'static str),
}

/// What would be changed. The last of several entries for a key counts, as in a file.
fn check(config: &BrokerConfig, entries: &[Entry]) -> Result<Vec<(Wanted, String)>, ChangeError> {
    let mut after = config.clone();
    let mut wanted: BTreeMap<&'static str, (Wanted, String)> = BTreeMap::new();
    for Entry { key, value, .. } in entries {
        let value = value.trim();
        if is_locked(config, key) {
            return Err(ChangeError::Locked(key.clone()));
        }
        match keys::find(key, Spelling::Exact) {
            Some(Known::Setting(setting) | Known::OldName(setting)) => {
                // A tool may send back everything that it was shown.
                if !setting.may_change() && value == setting.show(config) {
                    continue;
                }
                let value = checked(setting, &mut after, value)?;
                wanted.insert(setting.key, (Wanted::Setting(setting), value));
            }
            Some(Known::WithoutEffect(key)) => {
                wanted.insert(key, (Wanted::WithoutEffect(key), value.to_owned()));
            }
            None => return Err(ChangeError::Unknown { key: key.clone(), nearest: keys::nearest(key) }),
        }
    }
    let message_bytes = after.max_message_bytes.get() as u64;
    if after.segment_bytes < segment_bytes_min(message_bytes) {
        return Err(ChangeError::SegmentTooSmall { segment_bytes: after.segment_bytes, message_bytes });
    }
    Ok(wanted.into_values().collect())
}

/// Sets the value in `after`, and returns it as it is used.
fn checked(setting: &'static Setting, after: &mut BrokerConfig, value: &str) -> Result<String, ChangeError> {
    match setting.change(after, value) {
        Ok(Taken::AsWritten) => Ok(setting.show(after)),
        Ok(Taken::Instead { used, .. }) => Ok(used),
        Err(Refused::Outside { allowed }) => {
            Err(ChangeError::Value { key: setting.key, value: value.to_owned(), allowed })
        }
        Err(Refused::NotYet { .. } | Refused::OnlyAtStart) => Err(ChangeError::OnlyAtStart(setting.key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::MemoryDisk;
    use std::sync::mpsc;

    fn changes(disk: &Arc<MemoryDisk>) -> Changes {
        Changes::open(disk.clone(), 5).unwrap()
    }

    fn refused(text: &str) -> String {
        let config =
            BrokerConfig { locked_keys: vec!["traceOn".into(), "recallMessageEnable".into()], ..Default::default() };
        let error = changes(&Arc::new(MemoryDisk::new())).make(&config, text, 6).unwrap_err();
        assert_eq!(config, BrokerConfig { locked_keys: config.locked_keys.clone(), ..Default::default() });
        let is_locked = matches!(error, ChangeError::Locked(_));
        assert_eq!(error.code() == ResponseCode::NO_PERMISSION, is_locked);
        error.to_string()
    }

    #[test]
    fn a_change_is_in_force_at_once_and_kept() {
        let disk = Arc::new(MemoryDisk::new());
        let (config, all) = (BrokerConfig::default(), changes(&disk));
        let changed = all.make(&config, "fileReservedTime = 48\nflushDelayOffsetInterval=11000\n", 6).unwrap();
        let expected = Changed { key: "fileReservedTime", before: "72".into(), now: "48".into() };
        assert_eq!((changed, config.retention.get().as_secs()), (vec![expected], 48 * 3600));
        assert_eq!(all.count(), ChangeCount { counter: 1, timestamp_ms: 6 });
        assert_eq!(all.make(&config, "fileReservedTime=48", 7), Ok(Vec::new()));

        let (tell, told) = mpsc::channel();
        all.when_saved(move |ok| tell.send(ok).unwrap());
        assert!(told.try_recv().is_err());
        all.save();
        assert_eq!(told.try_recv(), Ok(true));
        let again = changes(&disk);
        assert_eq!(again.without_effect(), BTreeMap::from([("flushDelayOffsetInterval", "11000".to_owned())]));
        again.make(&config, "traceOn=true\nbrokerPermission=4", 8).unwrap();
        again.save();
        let file = disk.open(FILE).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines, ["brokerPermission=4", "fileReservedTime=48", "flushDelayOffsetInterval=11000"]);
    }

    #[test]
    fn what_names_a_path_or_is_locked_stays_whatever_else_is_asked_for() {
        let start = "Can not update config in black list. ";
        for key in [
            "brokerConfigPath",
            "configBlackList",
            "rocketmqHome",
            "storePathRootDir",
            "storePathCommitLog",
            "storePathEpochFile",
            "readOnlyCommitLogStorePaths",
            "tieredStoreFilePath",
            "tlsCertPath",
            "tlsKeyPath",
            "traceOn",
            "recallMessageEnable",
        ] {
            let told = refused(&format!("fileReservedTime=48\n{key}=/x\n"));
            assert_eq!(told, format!("{start}`{key}` can only be set where the broker is started"));
        }
    }

    #[test]
    fn a_wrong_change_is_named_and_changes_nothing() {
        for (text, told) in [
            ("", "no setting is named; lines of `key=value` are expected"),
            (
                "fileReservedTime=48\nlistenPort=1",
                "`listenPort` counts only at start: set it in the broker's file and start the broker again",
            ),
            ("fileReservedTim=48", "`fileReservedTim` is no known key; did you mean `fileReservedTime`?"),
            ("pineapple=48", "`pineapple` is no known key"),
            ("fileReservedTime=soon", "`fileReservedTime` is `soon`; it must be a whole number from 1 to 1000000"),
            (
                "brokerRole=SLAVE",
                "`brokerRole` counts only at start: set it in the broker's file and start the broker again",
            ),
            ("a=\\u12", "settings cannot be read: line 1: `\\u12` is not `\\u` and four hexadecimal digits"),
            (
                "maxMessageSize=1073741824",
                "`maxMessageSize` is 1073741824; files of the commit log have 1073741824 bytes and would have to have 1073807360",
            ),
        ] {
            assert_eq!(refused(text), told);
        }
    }

    #[test]
    fn what_is_shown_can_be_sent_back() {
        let config = BrokerConfig::default();
        let all = changes(&Arc::new(MemoryDisk::new()));
        let shown = super::super::print::dump(&config, &BTreeMap::new());
        let unlocked: Vec<&str> =
            shown.lines().filter(|line| !is_locked(&config, line.split('=').next().unwrap())).collect();
        assert_eq!(all.make(&config, &unlocked.join("\n"), 6), Ok(Vec::new()));
    }
}
