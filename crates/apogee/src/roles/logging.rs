//! What is said on the way: on the standard error, and into a file where that is wanted.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

use super::java_options::JavaOptions;
use super::log_file::LogFile;
use super::variables;

type BoxedLayer<S> = Box<dyn Layer<S> + Send + Sync>;

/// Starts to log. Servers, of which `file` names the log, say what happens; tools keep quiet unless something is wrong.
pub fn start(file: Option<&str>) {
    let default = if file.is_some() { "info" } else { "warn" };
    let filter = std::env::var(variables::LOG).ok().and_then(|text| EnvFilter::try_new(text).ok());
    let json = std::env::var(variables::LOG_FORMAT).is_ok_and(|format| format.eq_ignore_ascii_case("json"));
    let path = file.and_then(|name| Some(folder()?.join(name)));
    let opened = path.as_deref().map(LogFile::open);
    let (to_file, failure) = match opened {
        Some(Ok(file)) => (Some(lines(json, fmt::layer().with_ansi(false).with_writer(Mutex::new(file)))), None),
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    let terminal = fmt::layer().with_writer(std::io::stderr).with_ansi(!json && std::io::stderr().is_terminal());
    let subscriber = tracing_subscriber::registry()
        .with(filter.unwrap_or_else(|| EnvFilter::new(default)))
        .with(lines(json, terminal))
        .with(to_file);
    // Fails only when something logs already.
    let _ = subscriber.try_init();
    if let (Some(error), Some(path)) = (failure, path) {
        tracing::warn!(%error, path = %path.display(), "no log file can be written; the standard error has it all");
    }
}

/// One line per event: for people, or JSON.
fn lines<S, W>(json: bool, layer: fmt::Layer<S, fmt::format::DefaultFields, fmt::format::Format, W>) -> BoxedLayer<S>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> fmt::MakeWriter<'w> + Send + Sync + 'static,
{
    if json { layer.json().flatten_event(true).boxed() } else { layer.boxed() }
}

/// Folder of log files: that of the variable, or the one that stock servers use below `-Duser.home`. No files otherwise.
pub fn folder() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os(variables::LOG_DIR).filter(|folder| !folder.is_empty()) {
        return Some(folder.into());
    }
    let home = JavaOptions::of_environment().home?;
    Some(Path::new(&home.value).join("logs").join("rocketmqlogs"))
}
