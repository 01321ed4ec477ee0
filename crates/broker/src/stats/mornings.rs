//! Totals at midnight, from which tools tell what was sent today and yesterday.

/// A day in milliseconds.
const DAY_MS: i64 = 24 * 3_600_000;

/// Messages sent and messages got since the start, as of the last two midnights. Both are 0 until there was
/// one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mornings {
    /// As of the midnight before the last one.
    pub yesterday: [u64; 2],
    /// As of the last midnight.
    pub today: [u64; 2],
    day: Option<i64>,
}

impl Mornings {
    /// Keeps the totals when a day has begun. `local_ms` is what the clocks of the broker's zone show, in milliseconds since
    /// they showed the beginning of 1970.
    pub fn sample(&mut self, local_ms: i64, totals: [u64; 2]) {
        let day = local_ms.div_euclid(DAY_MS);
        match self.day {
            Some(known) if known == day => {}
            None => self.day = Some(day),
            Some(known) => {
                // After more than a day nothing is known of yesterday morning but what is known of today.
                self.yesterday = if known + 1 == day { self.today } else { totals };
                self.today = totals;
                self.day = Some(day);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_of_the_last_two_midnights_are_kept() {
        let mut mornings = Mornings::default();
        mornings.sample(DAY_MS + 5, [1, 2]);
        assert_eq!((mornings.yesterday, mornings.today), ([0, 0], [0, 0]));
        mornings.sample(2 * DAY_MS + 5, [10, 20]);
        mornings.sample(2 * DAY_MS + 900, [11, 21]);
        assert_eq!((mornings.yesterday, mornings.today), ([0, 0], [10, 20]));
        mornings.sample(3 * DAY_MS + 1, [30, 40]);
        assert_eq!((mornings.yesterday, mornings.today), ([10, 20], [30, 40]));
        mornings.sample(9 * DAY_MS, [50, 60]);
        assert_eq!((mornings.yesterday, mornings.today), ([50, 60], [50, 60]));
    }
}
