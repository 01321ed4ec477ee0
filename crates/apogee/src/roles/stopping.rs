//! Stopping on a signal: the first one asks, the second one forces. A broker looks at its file again on SIGHUP.

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
pub struct StopSignal(mpsc::Receiver<Wish>);

/// What a signal asks for.
#[derive(Clone, Copy, Debug)]
enum Wish {
    /// To stop.
    Stop(&'static str),
    /// To load settings anew.
    Reload,
}

impl StopSignal {
    /// Listens from now on. To be called before anything is started that has to be stopped.
    pub fn listen() -> anyhow::Result<StopSignal> {
        StopSignal::listen_to(false)
    }

    /// The same, and listens to SIGHUP too, unless whoever started this process has it ignored, as `nohup` does.
    pub fn listen_with_reload() -> anyhow::Result<StopSignal> {
        StopSignal::listen_to(!is_hangup_ignored())
    }

    fn listen_to(hangup: bool) -> anyhow::Result<StopSignal> {
        let (sender, received) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
        let signals = {
            let _inside = runtime.enter();
            Signals::new(hangup).context("cannot listen for signals")?
        };
        let listening = move || runtime.block_on(tell(signals, sender));
        std::thread::Builder::new().name("signals".into()).spawn(listening).context("no thread for signals")?;
        Ok(StopSignal(received))
    }

    /// Waits until a signal asks to stop.
    pub fn wait(&self) {
        self.wait_or(|| {});
    }

    /// The same; calls `reload` whenever SIGHUP comes.
    pub fn wait_or(&self, mut reload: impl FnMut()) {
        loop {
            match self.0.recv() {
                Ok(Wish::Reload) => reload(),
                Ok(Wish::Stop(name)) => return tracing::info!("stopping on {name}; once more forces"),
                // The thread that listens is gone, which ends what it was for.
                Err(mpsc::RecvError) => return tracing::error!("stopping, since signals are no longer heard"),
            }
        }
    }
}

/// Whether SIGHUP is ignored: to listen for it would undo `nohup`. Where the system does not say, it is not listened to.
fn is_hangup_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").map_or(true, |status| is_hangup_among(&status))
}

/// Whether the first of the ignored signals is in the list of a process's status.
fn is_hangup_among(status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let bits = ignored.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    bits.is_none_or(|bits| bits & 1 == 1)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    fn new(hangup: bool) -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: hangup.then(|| signal(SignalKind::hangup())).transpose()?,
        })
    }

    /// The next signal that asks for anything.
    async fn wish(&mut self) -> Wish {
        let Signals { terminate, interrupt, hangup } = self;
        let hangup = async {
            match hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => Wish::Stop("SIGTERM"),
            _ = interrupt.recv() => Wish::Stop("SIGINT"),
            _ = hangup => Wish::Reload,
        }
    }

    /// The next signal that asks to stop.
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

async fn tell(mut signals: Signals, sender: mpsc::Sender<Wish>) {
    loop {
        let wish = signals.wish().await;
        // Whoever waits may be gone already.
        let _ = sender.send(wish);
        if matches!(wish, Wish::Stop(_)) {
            break;
        }
    }
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

#[cfg(test)]
mod tests {
    use super::is_hangup_among;

    #[test]
    fn what_nohup_ignores_stays_ignored() {
        let status = |bits: &str| format!("Name:\tapogee\nSigBlk:\t0000000000000001\nSigIgn:\t{bits}\n");
        assert!(!is_hangup_among(&status("0000000000001000")));
        assert!(is_hangup_among(&status("0000000000001001")));
        assert!(is_hangup_among("Name:\tapogee\n"));
    }
}
