//! Switches that can be changed while the nameserver runs, under upstream's names.
//!
//! Source: `common/.../namesrv/NamesrvConfig.java`.

/// Upstream's switches that mean something here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `orderMessageEnable`: routes carry the order configuration of their topic. Default: false.
    pub order_in_routes: bool,
    /// `returnOrderTopicConfigToBroker`: brokers learn from registrations which topics are ordered. Default: true.
    pub order_to_brokers: bool,
    /// `supportActingMaster`: without a master, routes show the slave with the smallest id in its place.
    /// Default: false.
    pub acting_master: bool,
    /// `enableAllTopicList`: the list of all topics is given out (206). Default: true.
    pub list_all_topics: bool,
    /// `enableTopicList`: the other lists of topics are given out (224, 311 to 313). Default: true.
    pub list_topics: bool,
    /// `notifyMinBrokerIdChanged`: brokers with an acting master are told when their smallest id changes.
    /// Default: false.
    pub notify_min_id: bool,
    /// `deleteTopicWithBrokerRegistration`: a registration of several topics removes those it lacks.
    /// Default: false.
    pub registration_deletes: bool,
    /// `needWaitForService`: no routes for the first [`Settings::wait_seconds`]. Default: false.
    pub wait_for_service: bool,
    /// `waitSecondsForService`. Default: 45.
    pub wait_seconds: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            order_in_routes: false,
            order_to_brokers: true,
            acting_master: false,
            list_all_topics: true,
            list_topics: true,
            notify_min_id: false,
            registration_deletes: false,
            wait_for_service: false,
            wait_seconds: 45,
        }
    }
}

/// Why settings are not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// The operator locked the key.
    #[error("`{0}` is in configBlackList")]
    Locked(String),
    /// Nobody knows the key, or it counts only at start.
    #[error("`{0}` cannot be changed while the nameserver runs")]
    Unknown(String),
    /// The value is not of the key's type.
    #[error("`{key}` is `{value}`, which is no {expected}")]
    Value {
        /// The key.
        key: String,
        /// What it was set to.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A line that is no `key=value`.
    #[error("line {0} is no key=value")]
    Line(usize),
}

impl Settings {
    /// Every key with its value.
    pub fn entries(&self) -> Vec<(&'static str, String)> {
        let mut entries: Vec<_> =
            self.clone().switches().into_iter().map(|(key, value)| (key, value.to_string())).collect();
        entries.push(("waitSecondsForService", self.wait_seconds.to_string()));
        entries
    }

    /// The settings after `changes`; nothing is changed when one of them is wrong.
    pub fn with(&self, changes: &[(String, String)]) -> Result<Settings, SettingError> {
        let mut changed = self.clone();
        for (key, value) in changes {
            changed.set(key, value)?;
        }
        Ok(changed)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), SettingError> {
        let wrong = |expected| SettingError::Value { key: key.into(), value: value.into(), expected };
        if key == "waitSecondsForService" {
            self.wait_seconds = value.parse().map_err(|_| wrong("number of seconds"))?;
            return Ok(());
        }
        let switches = self.switches();
        let switch = switches.into_iter().find(|(known, _)| *known == key);
        let (_, switch) = switch.ok_or_else(|| SettingError::Unknown(key.into()))?;
        *switch = value.parse().map_err(|_| wrong("boolean"))?;
        Ok(())
    }

    fn switches(&mut self) -> [(&'static str, &mut bool); 8] {
        [
            ("orderMessageEnable", &mut self.order_in_routes),
            ("returnOrderTopicConfigToBroker", &mut self.order_to_brokers),
            ("supportActingMaster", &mut self.acting_master),
            ("enableAllTopicList", &mut self.list_all_topics),
            ("enableTopicList", &mut self.list_topics),
            ("notifyMinBrokerIdChanged", &mut self.notify_min_id),
            ("deleteTopicWithBrokerRegistration", &mut self.registration_deletes),
            ("needWaitForService", &mut self.wait_for_service),
        ]
    }
}

/// Reads `key=value` lines; blank lines and those that begin with `#` or `!` say nothing.
pub fn parse_properties(text: &str) -> Result<Vec<(String, String)>, SettingError> {
    let mut entries = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let (key, value) = line.split_once('=').ok_or(SettingError::Line(number + 1))?;
        entries.push((key.trim().to_owned(), value.trim().to_owned()));
    }
    Ok(entries)
}

/// Writes `key=value` lines in the order of the keys.
pub fn write_properties<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut entries: Vec<_> = entries.into_iter().collect();
    entries.sort_unstable();
    entries.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_change_changes_nothing() {
        let settings = Settings::default();
        let with = |text: &str| settings.with(&parse_properties(text).unwrap());
        assert_eq!(
            with("# note\n\nwaitSecondsForService = 44\n").unwrap(),
            Settings { wait_seconds: 44, ..Settings::default() }
        );
        assert!(with("supportActingMaster=true").unwrap().acting_master);
        let unknown = with("orderMessageEnable=true\nlistenPort=1");
        assert_eq!(unknown, Err(SettingError::Unknown("listenPort".into())));
        assert_eq!(
            with("orderMessageEnable=yes").unwrap_err().to_string(),
            "`orderMessageEnable` is `yes`, which is no boolean"
        );
        assert_eq!(parse_properties("a=b\nnonsense"), Err(SettingError::Line(2)));
    }

    #[test]
    fn every_key_that_is_shown_can_be_set() {
        let settings = Settings::default();
        for (key, value) in settings.entries() {
            assert_eq!(settings.with(&[(key.into(), value)]), Ok(settings.clone()), "{key}");
        }
    }
}
