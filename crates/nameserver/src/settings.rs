//! Switches that can be changed while the nameserver runs, under upstream's names.
//!
//! Source: `common/.../namesrv/NamesrvConfig.java`.

use protocol::java_properties::{Entry, PropertiesError};

use crate::keys::{self, WITHOUT_EFFECT};

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
    /// The key names a path, or the operator locked it.
    #[error("Can not update config in black list. `{0}` can only be set where the nameserver is started")]
    Locked(String),
    /// The key counts only at start.
    #[error("`{0}` counts only at start: set it in the nameserver's file and start the nameserver again")]
    OnlyAtStart(&'static str),
    /// Nobody knows the key.
    #[error("`{0}` is no known key")]
    Unknown(String),
    /// The value is not one of the possible ones.
    #[error("`{key}` is `{value}`; it must be {allowed}")]
    Value {
        /// The key.
        key: &'static str,
        /// What it was set to.
        value: String,
        /// What is possible.
        allowed: String,
    },
    /// What was sent is not made of properties.
    #[error("settings cannot be read: line {}: {source}", source.line())]
    Text {
        /// What is wrong with which line.
        #[from]
        source: PropertiesError,
    },
    /// No key was named.
    #[error("no setting is named; lines of `key=value` are expected")]
    Nothing,
}

impl Settings {
    /// The settings after `changes`; nothing is changed when one of them is wrong. Keys of a stock nameserver without
    /// meaning here change nothing.
    pub fn with(&self, changes: &[Entry]) -> Result<Settings, SettingError> {
        let mut changed = self.clone();
        for Entry { key, value, .. } in changes {
            match keys::find(key) {
                Some(known) => known.change(&mut changed, value.trim())?,
                None if WITHOUT_EFFECT.contains(&key.as_str()) => {}
                None => return Err(SettingError::Unknown(key.clone())),
            }
        }
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use protocol::java_properties;

    use super::*;

    #[test]
    fn a_wrong_change_changes_nothing() {
        let settings = Settings::default();
        let with = |text: &str| settings.with(&java_properties::read(text).unwrap());
        assert_eq!(
            with("# note\n\nwaitSecondsForService = 44 \nserverWorkerThreads=8").unwrap(),
            Settings { wait_seconds: 44, ..Settings::default() }
        );
        assert!(with("supportActingMaster=true").unwrap().acting_master);
        assert_eq!(with("orderMessageEnable=true\nlistenPort=1"), Err(SettingError::OnlyAtStart("listenPort")));
        assert_eq!(with("orderMessageEnable=true\npineapple=1"), Err(SettingError::Unknown("pineapple".into())));
        assert_eq!(
            with("orderMessageEnable=yes").unwrap_err().to_string(),
            "`orderMessageEnable` is `yes`; it must be `true` or `false`"
        );
    }
}
