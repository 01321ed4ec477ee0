//! Running servers: what all of them need at start and at the end.

mod at_work;
pub mod broker;
pub mod console;
pub mod data_dir;
pub mod healthcheck;
pub mod java_options;
mod log_file;
pub mod logging;
pub mod nameserver;
pub mod nameserver_settings;
pub mod open_files;
pub mod role_lock;
mod run_as;
pub mod settings_json;
#[cfg(test)]
mod settings_page;
pub mod shutdown;
pub mod stopping;
pub mod up;
pub mod variables;

/// Exit status of a server that cannot start as it is told: the one that `sysexits.h` has for configuration.
pub const CANNOT_START: u8 = 78;

/// Folder of everything that is stored, unless something else is said.
pub const DEFAULT_DATA_DIR: &str = "./data";
