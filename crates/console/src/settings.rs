//! What the console is told at its start.

use std::net::SocketAddr;
use std::path::PathBuf;

use client::Nameservers;
use metrics::Exporter;

pub use crate::auth::AuthMode;
pub use crate::auth::proxies::{ProxyError, ProxySettings};

/// Port when none is named.
pub const DEFAULT_PORT: u16 = 8080;

/// Settings of a console.
#[derive(Clone, Debug)]
pub struct ConsoleSettings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Nameservers of the cluster.
    pub nameservers: Nameservers,
    /// Folder of what the console keeps: its users, tokens, and what was changed.
    pub folder: PathBuf,
    /// What somebody without a login may do.
    pub auth: AuthMode,
    /// Password of the first user; made up when there is none. Has no effect once there are users.
    pub first_password: Option<String>,
    /// What every path begins with, such as `/mq`; empty for none.
    pub base_path: String,
    /// Proxies of whom addresses and users are believed.
    pub proxies: ProxySettings,
    /// What `/metrics` shows: the servers of this process, or the process alone.
    pub metrics: Exporter,
}
