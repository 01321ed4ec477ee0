//! Settings that an operator may change while the broker runs.
//!
//! Each is one word that everybody reads and that changes as a whole. To read one costs what it costs to read any other
//! number, so it is read where it is needed and copied nowhere.
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A setting that may change at any time. The type of a field of [`super::BrokerConfig`] says so.
pub struct Live<T> {
    word: AtomicU64,
    value: PhantomData<fn() -> T>,
}

/// What fits into one word.
pub trait Word: Copy {
    /// The value as a word.
    fn to_word(self) -> u64;
    /// The value of a word that [`Word::to_word`] made.
    fn from_word(word: u64) -> Self;
}

impl<T: Word> Live<T> {
    /// The value now.
    #[inline]
    pub fn get(&self) -> T {
        // No other memory depends on it.
        T::from_word(self.word.load(Ordering::Relaxed))
    }

    /// Another value from now on.
    pub fn set(&self, value: T) {
        self.word.store(value.to_word(), Ordering::Relaxed);
    }
}

impl<T: Word> From<T> for Live<T> {
    fn from(value: T) -> Self {
        Live { word: AtomicU64::new(value.to_word()), value: PhantomData }
    }
}

impl<T: Word> Clone for Live<T> {
    fn clone(&self) -> Self {
        self.get().into()
    }
}

impl<T: Word + PartialEq> PartialEq for Live<T> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl<T: Word + fmt::Debug> fmt::Debug for Live<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(formatter)
    }
}

impl Word for bool {
    fn to_word(self) -> u64 {
        self.into()
    }

    fn from_word(word: u64) -> Self {
        word != 0
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {
        $(impl Word for $number {
            fn to_word(self) -> u64 {
                self as u64
            }

            fn from_word(word: u64) -> Self {
                word as $number
            }
        })*
    };
}
numbers!(u8, i32, u32, usize);

/// At most 584 years.
impl Word for Duration {
    fn to_word(self) -> u64 {
        u64::try_from(self.as_nanos()).unwrap_or(u64::MAX)
    }

    fn from_word(word: u64) -> Self {
        Duration::from_nanos(word)
    }
}

/// Hours of the day, from 0 to 23.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hours(u32);

impl Hours {
    /// Whether the hour is one of them.
    pub fn contains(self, hour: u8) -> bool {
        self.0.checked_shr(hour.into()).is_some_and(|bits| bits & 1 == 1)
    }

    /// Each of them, in order.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..24).filter(move |hour| self.contains(*hour))
    }
}

impl FromIterator<u8> for Hours {
    /// Numbers that are no hours are left out.
    fn from_iter<I: IntoIterator<Item = u8>>(hours: I) -> Self {
        Hours(hours.into_iter().filter(|hour| *hour < 24).fold(0, |bits, hour| bits | 1 << hour))
    }
}

impl Word for Hours {
    fn to_word(self) -> u64 {
        self.0.into()
    }

    fn from_word(word: u64) -> Self {
        Hours(word as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_setting_gives_back_what_was_set() {
        let number = Live::from(-1);
        assert_eq!(number.get(), -1);
        number.set(i32::MIN);
        assert_eq!(number.get(), i32::MIN);
        let time = Live::from(Duration::from_secs(1_000_000 * 3600));
        assert_eq!(time.get(), Duration::from_secs(1_000_000 * 3600));
        let copy = time.clone();
        time.set(Duration::from_millis(1));
        assert_ne!(copy, time);
        assert_eq!(Live::from(true), Live::from(true));
    }

    #[test]
    fn hours_are_a_set_of_those_that_a_day_has() {
        let hours: Hours = [23, 4, 24, 4, 0, 255].into_iter().collect();
        assert_eq!(hours.iter().collect::<Vec<_>>(), [0, 4, 23]);
        assert!(hours.contains(4) && !hours.contains(5) && !hours.contains(255));
        assert_eq!(Live::from(hours).get(), hours);
    }
}
