//! What the broker does besides answering: panics, and lines in its log.

use std::collections::HashMap;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, Subscriber};
use tracing::{Event, Metadata};

/// Threads of a broker.
const THREADS: [&str; 3] = ["broker-io", "log-", "meta"];

#[derive(Default)]
struct Seen {
    panics: Vec<String>,
    lines: HashMap<String, usize>,
}

static SEEN: LazyLock<Mutex<Seen>> = LazyLock::new(|| {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        if THREADS.iter().any(|name| thread.starts_with(name)) {
            seen().panics.push(format!("{thread}: {panic}"));
        }
        report(panic);
    }));
    // Another subscriber can be there only if a test installed one.
    tracing::subscriber::set_global_default(Lines).unwrap();
    Mutex::default()
});

fn seen() -> MutexGuard<'static, Seen> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins to watch. Everything is watched from the first call on, for all brokers of the process.
pub fn begin() {
    drop(seen());
}

/// Fails if a thread of any broker has panicked.
#[track_caller]
pub fn nothing_panicked() {
    let panics = seen().panics.clone();
    assert!(panics.is_empty(), "{}", panics.join("\n"));
}

/// Lines that the log has about a client.
pub fn lines_about(peer: SocketAddr) -> usize {
    seen().lines.get(&peer.to_string()).copied().unwrap_or(0)
}

/// Forgets what was logged about an earlier client that had the same port.
pub fn forget(peer: SocketAddr) {
    seen().lines.remove(&peer.to_string());
}

/// Counts lines by the client that they name.
struct Lines;

struct Peer(Option<String>);

impl Visit for Peer {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "peer" {
            self.0 = Some(format!("{value:?}"));
        }
    }
}

impl Subscriber for Lines {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::always()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut peer = Peer(None);
        event.record(&mut peer);
        if let Some(peer) = peer.0 {
            *seen().lines.entry(peer).or_default() += 1;
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
