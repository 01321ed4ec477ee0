//! Lines about a run while it goes on.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::output::grouped;

/// Time between two lines.
const INTERVAL: Duration = Duration::from_secs(1);

/// Counts that all threads of a run share. They are also how readers know that everything has come.
#[derive(Debug, Default)]
pub struct Progress {
    /// Messages whose sends were answered well, warming up included.
    pub acknowledged: AtomicU64,
    /// Messages that came, warming up included.
    pub came: AtomicU64,
    /// Messages of this run that came for the first time.
    pub own_came: AtomicU64,
    /// Faults.
    pub faults: AtomicU64,
    /// Connections that still send or wait for answers.
    pub producing: AtomicU32,
    /// Connections that still read.
    pub consuming: AtomicU32,
}

impl Progress {
    /// Whether everything was sent, and everything that was acknowledged has come.
    pub fn is_drained(&self) -> bool {
        // Acquire: who sees the last producer gone also sees what it counted.
        self.producing.load(Ordering::Acquire) == 0
            && self.acknowledged.load(Ordering::Relaxed) <= self.own_came.load(Ordering::Relaxed)
    }

    /// Whether nobody reads any more.
    pub fn is_read(&self) -> bool {
        self.consuming.load(Ordering::Relaxed) == 0
    }

    fn line(&self, seconds: u64, last: &mut [u64; 2]) -> String {
        let now = [self.acknowledged.load(Ordering::Relaxed), self.came.load(Ordering::Relaxed)];
        let mut line = format!("{seconds:>4} s");
        for (index, what) in ["sent", "read"].into_iter().enumerate() {
            if now[index] > last[index] {
                line += &format!("  {what} {:>12} msg/s", grouped(now[index] - last[index]));
            }
        }
        if now == *last {
            line += "  nothing";
        }
        *last = now;
        let faults = self.faults.load(Ordering::Relaxed);
        if faults > 0 {
            line += &format!("  FAULTS {}", grouped(faults));
        }
        line
    }
}

/// Prints a line a second to standard error until it is dropped.
#[derive(Debug)]
pub struct Printer(Option<(mpsc::Sender<()>, JoinHandle<()>)>);

impl Printer {
    /// Starts to print, unless `quiet`. The title comes first.
    pub fn start(progress: &Arc<Progress>, title: &str, quiet: bool) -> Printer {
        if quiet {
            return Printer(None);
        }
        let (stop, stopped) = mpsc::channel();
        let (progress, title) = (Arc::clone(progress), title.to_owned());
        let thread = std::thread::spawn(move || {
            let mut last = [progress.acknowledged.load(Ordering::Relaxed), 0];
            // What cannot be printed is not missed: the result matters.
            let say = |line: &str| drop(writeln!(std::io::stderr().lock(), "{line}"));
            say(&format!("{title} …"));
            for seconds in 1.. {
                if stopped.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                say(&progress.line(seconds, &mut last));
            }
        });
        Printer(Some((stop, thread)))
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.0.take() {
            let _ = stop.send(());
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_happened_since_the_last_one() {
        let progress = Progress::default();
        let mut last = [0, 0];
        assert_eq!(progress.line(1, &mut last), "   1 s  nothing");
        progress.acknowledged.store(1_500, Ordering::Relaxed);
        assert_eq!(progress.line(2, &mut last), "   2 s  sent        1,500 msg/s");
        progress.acknowledged.store(2_000, Ordering::Relaxed);
        progress.came.store(7, Ordering::Relaxed);
        progress.faults.store(1, Ordering::Relaxed);
        assert_eq!(progress.line(3, &mut last), "   3 s  sent          500 msg/s  read            7 msg/s  FAULTS 1");
    }

    #[test]
    fn a_run_is_drained_when_all_that_was_acknowledged_came_and_nobody_sends() {
        let progress = Progress::default();
        progress.producing.store(1, Ordering::Relaxed);
        progress.acknowledged.store(2, Ordering::Relaxed);
        progress.own_came.store(2, Ordering::Relaxed);
        assert!(!progress.is_drained());
        progress.producing.store(0, Ordering::Relaxed);
        assert!(progress.is_drained());
        progress.acknowledged.store(3, Ordering::Relaxed);
        assert!(!progress.is_drained());
    }
}
