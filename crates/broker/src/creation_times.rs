//! How long it takes to create topics and groups, until that is saved.

use std::sync::Arc;

use metrics::histogram::Scale;
use metrics::{Histogram, Stopwatch};

/// Bounds of stock brokers, in milliseconds.
const BOUNDS_MS: &[u64] = &[10, 100, 1_000, 3_000, 5_000];

/// Times of requests that create or change something of one kind.
#[derive(Debug)]
pub struct CreationTimes {
    /// By whether it succeeded, and by whether it was about something of the system.
    by_outcome: [[Histogram; 2]; 2],
}

impl Default for CreationTimes {
    fn default() -> CreationTimes {
        let new = || Histogram::new(Scale::Plain, BOUNDS_MS);
        CreationTimes { by_outcome: [[new(), new()], [new(), new()]] }
    }
}

impl CreationTimes {
    /// The times, with whether the requests succeeded, and whether they were about something of the system.
    pub fn all(&self) -> impl Iterator<Item = (bool, bool, &Histogram)> {
        let outcomes = [(false, false), (false, true), (true, false), (true, true)];
        outcomes.into_iter().map(|(succeeded, is_system)| (succeeded, is_system, self.of(succeeded, is_system)))
    }

    fn of(&self, succeeded: bool, is_system: bool) -> &Histogram {
        &self.by_outcome[usize::from(succeeded)][usize::from(is_system)]
    }
}

/// A creation under way. One that is dropped before it is saved has failed.
#[derive(Debug)]
pub struct Creation {
    times: Arc<CreationTimes>,
    since: Stopwatch,
    is_system: bool,
    is_saved: bool,
}

impl Creation {
    /// Begins one; the stopwatch runs since it was asked for.
    pub fn new(times: &Arc<CreationTimes>, since: Stopwatch, is_system: bool) -> Creation {
        Creation { times: times.clone(), since, is_system, is_saved: false }
    }

    /// What was created is on disk.
    pub fn saved(mut self) {
        self.is_saved = true;
    }
}

impl Drop for Creation {
    fn drop(&mut self) {
        self.times.of(self.is_saved, self.is_system).observe_time(self.since.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_creation_that_is_not_saved_has_failed() {
        let times = Arc::new(CreationTimes::default());
        let begin = |is_system| Creation::new(&times, Stopwatch::start(), is_system);
        begin(false).saved();
        drop(begin(false));
        drop(begin(true));
        let counts: Vec<_> = times.all().map(|(saved, is_system, times)| (saved, is_system, times.count())).collect();
        assert_eq!(counts, [(false, false, 1), (false, true, 1), (true, false, 1), (true, true, 0)]);
    }
}
