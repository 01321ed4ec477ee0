//! Chance that can be repeated: the seed is printed, and taken from `BEHAVIOUR_SEED` when that is set.

/// A small generator (xorshift64*).
pub struct Chance(u64);

impl Chance {
    /// A generator with a new seed, which it prints for the report of a failed test.
    pub fn new(test: &str) -> Chance {
        let given = std::env::var("BEHAVIOUR_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| crate::waiting::now_ms() as u64) | 1;
        println!("{test}: BEHAVIOUR_SEED={seed}");
        Chance(seed)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % end
    }
}
