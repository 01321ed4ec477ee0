//! What is told of a run, for people; and a number that two equal runs have in common.

use std::fmt::Write as _;

/// Lines and digest of a run.
#[derive(Default)]
pub struct Trace {
    is_told: bool,
    lines: Vec<String>,
    digest: u64,
}

impl Trace {
    /// A trace that keeps its lines, or only the digest.
    pub fn new(is_told: bool) -> Trace {
        Trace { is_told, ..Trace::default() }
    }

    /// Notes that something happened; `what` is only made if somebody wants to read it.
    pub fn note(&mut self, now_us: u64, numbers: &[u64], what: impl FnOnce() -> String) {
        for number in numbers.iter().chain(&[now_us]) {
            self.digest = (self.digest ^ number).wrapping_mul(0x0100_0000_01B3).rotate_left(23);
        }
        if self.is_told {
            let mut line = String::new();
            let _ = write!(line, "{:>12.3} ms  {}", now_us as f64 / 1_000.0, what());
            self.lines.push(line);
        }
    }

    /// Depends on everything that happened, and on the order.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The lines.
    pub fn into_lines(self) -> Vec<String> {
        self.lines
    }
}
