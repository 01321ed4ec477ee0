//! What is said on the way, on the standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Variable that chooses what is said, such as `info,broker=debug`.
pub const VARIABLE: &str = "APOGEE_LOG";

/// Starts to log. Servers say what happens; tools keep quiet unless something is wrong.
pub fn start(is_role: bool) {
    let default = if is_role { "info" } else { "warn" };
    let filter = std::env::var(VARIABLE).ok().and_then(|text| EnvFilter::try_new(text).ok());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|| EnvFilter::new(default)))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // Fails only when something logs already.
    let _ = subscriber.try_init();
}
