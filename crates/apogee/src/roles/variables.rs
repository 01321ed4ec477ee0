//! Variables of the environment that begin like settings and are none.

use broker::config::load::JAVA_NAMESERVERS;

use super::java_options::JavaOptions;
use super::{console, nameserver_settings};

/// What is said on the way, such as `info,broker=debug`.
pub const LOG: &str = "APOGEE_LOG";

/// `json` for one object a line.
pub const LOG_FORMAT: &str = "APOGEE_LOG_FORMAT";
/// Folder for log files.
pub const LOG_DIR: &str = "APOGEE_LOG_DIR";
/// User that servers in images run as, by number: `3000:3000`.
pub const RUN_AS: &str = "APOGEE_RUN_AS";
/// Seconds that a server has to stop.
pub const STOP_TIMEOUT: &str = "APOGEE_STOP_TIMEOUT";

/// Read by commands, or by the programs with which this one is tested. They stand in the environment of a server now and
/// then, where they mean nothing.
const OF_OTHERS: [&str; 5] = ["APOGEE_BIN", "APOGEE_GRPC", "APOGEE_MQADMIN_EXIT0", "APOGEE_NAMESRV", "APOGEE_STOCK"];

/// The environment, without what is no setting of a broker in spite of its name.
pub fn of_broker() -> Vec<(String, String)> {
    let java = JavaOptions::of_environment().nameservers;
    let nameservers = java.map(|told| (JAVA_NAMESERVERS.to_owned(), told.value));
    std::env::vars().filter(|(name, _)| may_be_setting(name)).chain(nameservers).collect()
}

fn may_be_setting(name: &str) -> bool {
    let is_ours = [LOG, LOG_FORMAT, LOG_DIR, RUN_AS, STOP_TIMEOUT].contains(&name);
    let prefixes = [nameserver_settings::VARIABLE_PREFIX, console::VARIABLE_PREFIX];
    !is_ours && !OF_OTHERS.contains(&name) && !prefixes.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_looks_like_a_setting_is_left_out() {
        for name in
            [LOG, LOG_DIR, RUN_AS, STOP_TIMEOUT, "APOGEE_BIN", "APOGEE_NAMESERVER_LISTEN_PORT", "APOGEE_CONSOLE_PORT"]
        {
            assert!(!may_be_setting(name), "{name}");
        }
        for name in ["APOGEE_LISTEN_PORT", "APOGEE_NAMESRV_ADDR", "NAMESRV_ADDR", "APOGEE_LISTN_PORT"] {
            assert!(may_be_setting(name), "{name}");
        }
    }
}
