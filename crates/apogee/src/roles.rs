//! Running servers: what all of them need at start and at the end.

pub mod broker;
pub mod logging;
pub mod nameserver;
pub mod open_files;
pub mod settings_json;
pub mod stopping;
pub mod up;

/// Folder of everything that is stored, unless something else is said.
pub const DEFAULT_DATA_DIR: &str = "./data";
