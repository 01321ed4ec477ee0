//! Stopping on a signal: the first one asks, the second one forces.

use std::io;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use super::variables;

/// Exit status after a second signal, as of a process that was killed.
const FORCED: i32 = 130;

/// Time that a server has to stop: container engines kill after ten seconds.
const BUDGET: Duration = Duration::from_secs(8);

/// Signals so soon after the first one are the same wish: `timeout` signals its child and then the whole group, and
/// Ctrl-C may reach a process from the terminal and from whoever started it.
const SAME_WISH: Duration = Duration::from_secs(1);

/// Waits for the signals that ask to stop.
#[derive(Debug)]
pub struct StopSignal(mpsc::Receiver<&'static str>);

impl StopSignal {
    /// Listens from now on. To be called before anything is started that has to be stopped.
    pub fn listen() -> anyhow::Result<StopSignal> {
        let (sender, received) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
        let signals = {
            let _inside = runtime.enter();
            Signals::new().context("cannot listen for signals")?
        };
        let listening = move || runtime.block_on(tell(signals, sender));
        std::thread::Builder::new().name("signals".into()).spawn(listening).context("no thread for signals")?;
        Ok(StopSignal(received))
    }

    /// Waits until a signal comes.
    pub fn wait(&self) {
        match self.0.recv() {
            Ok(name) => tracing::info!("stopping on {name}; once more forces"),
            // The thread that listens is gone, which ends what it was for.
            Err(mpsc::RecvError) => tracing::error!("stopping, since signals are no longer heard"),
        }
    }
}

/// SIGHUP is not among them: to listen for it would undo `nohup`.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// As the variable says, in seconds, or the default.
fn budget() -> Duration {
    let told = std::env::var(variables::STOP_TIMEOUT).ok().and_then(|text| text.trim().parse().ok());
    told.map_or(BUDGET, Duration::from_secs)
}

async fn tell(mut signals: Signals, sender: mpsc::Sender<&'static str>) {
    let first = signals.next().await;
    // Whoever waits may be gone already.
    let _ = sender.send(first);
    let came = Instant::now();
    let budget = budget();
    let second = async {
        let mut second = signals.next().await;
        while came.elapsed() < SAME_WISH {
            second = signals.next().await;
        }
        second
    };
    match tokio::time::timeout(budget, second).await {
        Ok(second) => tracing::warn!("stopped by force on {second}"),
        Err(_) => tracing::warn!("not stopped within {} s; the rest is done at the next start", budget.as_secs()),
    }
    #[expect(clippy::disallowed_methods, reason = "main is busy stopping and cannot return")]
    std::process::exit(FORCED);
}
