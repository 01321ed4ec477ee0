//! Threads that meet: for tests of what happens when two changes race.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Lets four threads run once for each round, all at the same moment.
pub(crate) fn at_once(rounds: usize, run: impl Fn(usize, i32) + Sync) {
    let arrived = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (run, arrived) = (&run, &arrived);
            scope.spawn(move || {
                for round in 0..rounds {
                    arrived.fetch_add(1, Ordering::SeqCst);
                    while arrived.load(Ordering::SeqCst) < (round + 1) * 4 {
                        std::thread::yield_now();
                    }
                    run(round, thread);
                }
            });
        }
    });
}
