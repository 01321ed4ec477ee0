//! What a server process takes of its machine, from `/proc`.

use std::ops::Range;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, anyhow};
use serde::Serialize;
use tokio::time::Instant;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(100);

/// What a process has taken so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Processor time, of all threads.
    pub cpu: Duration,
    /// Resident memory in bytes, mapped files included.
    pub resident: u64,
    /// Resident memory in bytes that is no file's.
    pub anonymous: u64,
}

/// Looks at a process again and again, on a thread of its own.
#[derive(Debug)]
pub struct Sampler {
    pid: u32,
    stop: mpsc::Sender<()>,
    thread: JoinHandle<Vec<(Instant, Sample)>>,
}

/// What a process took during a run.
#[derive(Clone, Debug, Serialize)]
pub struct ServerUse {
    /// Process.
    pub pid: u32,
    /// Processors it kept busy while the run was counted.
    pub cores: f64,
    /// Resident memory in bytes, mapped files included.
    pub resident_bytes: Course,
    /// Resident memory in bytes that is no file's.
    pub anonymous_bytes: Course,
}

/// How a number went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Course {
    /// Before anybody connected.
    pub before: u64,
    /// When everybody was connected.
    pub connected: u64,
    /// The most there was.
    pub max: u64,
    /// At the end.
    pub end: u64,
}

impl Sampler {
    /// Looks once, and from then on until [`Sampler::finish`].
    pub fn start(pid: u32) -> anyhow::Result<Sampler> {
        let first = look(pid).with_context(|| format!("cannot look at process {pid}"))?;
        let began = Instant::now();
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut samples = vec![(began, first)];
            loop {
                let wait = stopped.recv_timeout(INTERVAL);
                if let Ok(sample) = look(pid) {
                    samples.push((Instant::now(), sample));
                }
                if wait != Err(RecvTimeoutError::Timeout) {
                    return samples;
                }
            }
        });
        Ok(Sampler { pid, stop, thread })
    }

    /// What was taken; processor time counts within `counted`.
    pub fn finish(self, connected_at: Instant, counted: Range<Instant>) -> anyhow::Result<ServerUse> {
        let _ = self.stop.send(());
        let samples = self.thread.join().map_err(|_| anyhow!("the thread that looks at the server panicked"))?;
        look(self.pid).with_context(|| format!("process {} has ended", self.pid))?;
        Ok(summary(self.pid, &samples, connected_at, counted))
    }
}

fn summary(pid: u32, samples: &[(Instant, Sample)], connected_at: Instant, counted: Range<Instant>) -> ServerUse {
    let at_or_after = |time: Instant| {
        let found = samples.iter().find(|(at, _)| time <= *at).or(samples.last());
        found.map_or((time, Sample::default()), |found| *found)
    };
    let (from, to) = (at_or_after(counted.start), at_or_after(counted.end));
    let seconds = to.0.saturating_duration_since(from.0).as_secs_f64();
    let cpu = to.1.cpu.saturating_sub(from.1.cpu).as_secs_f64();
    let connected = at_or_after(connected_at).1;
    let course = |of: fn(&Sample) -> u64| Course {
        before: samples.first().map_or(0, |(_, sample)| of(sample)),
        connected: of(&connected),
        max: samples.iter().map(|(_, sample)| of(sample)).max().unwrap_or(0),
        end: samples.last().map_or(0, |(_, sample)| of(sample)),
    };
    ServerUse {
        pid,
        cores: if seconds > 0.0 { cpu / seconds } else { 0.0 },
        resident_bytes: course(|sample| sample.resident),
        anonymous_bytes: course(|sample| sample.anonymous),
    }
}

fn look(pid: u32) -> anyhow::Result<Sample> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    read(&stat, &status, rustix::param::clock_ticks_per_second()).context("unknown format")
}

/// Reads `/proc/PID/stat` and `/proc/PID/status`.
fn read(stat: &str, status: &str, ticks_per_second: u64) -> Option<Sample> {
    // The second field is the name in parentheses, which may contain anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    let ticks = fields.next()?.ok()? + fields.next()?.ok()?;
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    };
    Some(Sample {
        cpu: Duration::from_secs_f64(ticks as f64 / ticks_per_second as f64),
        resident: bytes("VmRSS:")?,
        anonymous: bytes("RssAnon:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_process_are_read() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 10 0 0 0 150 50 0 0 20 0 9 0 1 2 3";
        let status = "Name:\ta b) c\nVmRSS:\t   2048 kB\nRssAnon:\t     12 kB\nRssFile:\t 9 kB\n";
        let expected = Sample { cpu: Duration::from_secs(2), resident: 2 << 20, anonymous: 12 << 10 };
        assert_eq!(read(stat, status, 100), Some(expected));
        assert_eq!(read("7 (x", status, 100), None);
        assert_eq!(read(stat, "VmRSS: 1 kB", 100), None);
    }

    #[test]
    fn processor_time_counts_between_the_looks_around_the_counted_time() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let samples: Vec<(Instant, Sample)> = [(0, 5), (1, 9), (2, 7), (3, 6)]
            .map(|(at, anonymous)| (start + at * second, Sample { cpu: at * second * 2, resident: 100, anonymous }))
            .to_vec();
        let used = summary(7, &samples, start + second, start + second..start + 3 * second);
        assert!((used.cores - 2.0).abs() < 1e-9, "{used:?}");
        assert_eq!(used.anonymous_bytes, Course { before: 5, connected: 9, max: 9, end: 6 });
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_can_be_looked_at() {
        let sampler = Sampler::start(std::process::id()).unwrap();
        let now = Instant::now();
        assert!(sampler.finish(now, now..now).unwrap().resident_bytes.before > 0);
        assert!(Sampler::start(u32::MAX).is_err());
    }
}
