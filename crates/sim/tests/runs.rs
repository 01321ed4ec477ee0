//! The simulation itself: that it repeats, that some seeds are clean, and that it finds what is planted.

use log::planted::Fault;
use sim::run::run;

#[test]
fn the_same_seed_gives_the_same_run_to_the_last_line() {
    for seed in [3, 44, 163] {
        let (first, second) = (run(seed, None, true), run(seed, None, true));
        assert!(first.lines.len() > 100);
        assert_eq!(first, second);
        // Whether it is told makes no difference.
        assert_eq!(run(seed, None, false).digest, first.digest);
    }
}

#[test]
fn different_seeds_give_different_runs() {
    assert_ne!(run(1, None, false).digest, run(2, None, false).digest);
}

#[test]
fn clusters_keep_their_promises() {
    for seed in 1_000_000..1_000_024 {
        let report = run(seed, None, false);
        assert_eq!(report.violations, [""; 0], "cargo run --release -p sim -- --seed {seed}");
        assert!(report.sent > 0);
    }
}

/// A planted fault is found in at most so many seeds. The sweeps of `docs/reliability.md` say how many it takes.
#[track_caller]
fn is_found(fault: Fault, seeds: u64) {
    let found = (0..seeds).find(|seed| !run(*seed, Some(fault), false).violations.is_empty());
    assert!(found.is_some(), "{fault:?} was not found in {seeds} seeds");
}

#[test]
fn an_acknowledgement_before_the_write_is_found() {
    is_found(Fault::AckBeforeWrite, 20);
}

#[test]
fn a_sync_that_is_skipped_is_found() {
    is_found(Fault::SkipSync, 20);
}

#[test]
fn a_fence_that_is_forgotten_is_found() {
    is_found(Fault::ForgetFence, 500);
}

#[test]
fn an_offset_that_is_used_again_is_found() {
    is_found(Fault::ReuseOffset, 200);
}

#[test]
fn a_settlement_that_is_forgotten_is_found() {
    is_found(Fault::ForgetSettlement, 20);
}

#[test]
fn records_that_are_shown_too_early_are_found() {
    is_found(Fault::ShowUnsynced, 1_000);
}
