//! Unique message ids: what users call the message id, made by the client.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU16, Ordering};

use protocol::message_id;

use crate::calendar::{DAY_MS, Date};

/// Makes unique ids in the layout of Java clients.
#[derive(Debug)]
pub struct UniqueIds {
    host: IpAddr,
    process: u32,
    maker: u32,
    counter: AtomicU16,
}

impl UniqueIds {
    /// Ids of this process; `host` is our own address.
    pub fn new(host: IpAddr) -> UniqueIds {
        // Makers in one process, and processes of one number in several containers, must differ: the hasher is
        // seeded at random.
        let maker = RandomState::new().hash_one(0u8) as u32;
        UniqueIds { host, process: std::process::id(), maker, counter: AtomicU16::new(0) }
    }

    /// The next id.
    pub fn next(&self, now_ms: i64) -> String {
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        message_id::unique_id(self.host, self.process, self.maker, ms_of_month(now_ms), counter)
    }
}

/// Milliseconds since the month began (UTC), of a time in milliseconds since 1970.
pub fn ms_of_month(now_ms: i64) -> u32 {
    let (day, ms_of_day) = (now_ms.div_euclid(DAY_MS), now_ms.rem_euclid(DAY_MS));
    (i64::from(Date::of_day(day).day - 1) * DAY_MS + ms_of_day) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_begin_at_their_first_day() {
        assert_eq!(ms_of_month(0), 0);
        assert_eq!(ms_of_month(31 * DAY_MS + 5), 5);
        assert_eq!(ms_of_month(-1), (31 * DAY_MS - 1) as u32);
    }

    #[test]
    fn ids_differ() {
        let (one, other) = (UniqueIds::new([10, 0, 0, 1].into()), UniqueIds::new([10, 0, 0, 1].into()));
        let ids = [one.next(5), one.next(5), other.next(5)];
        assert!(ids[0] != ids[1] && ids[0] != ids[2] && ids.iter().all(|id| id.len() == 32), "{ids:?}");
        assert!(ids[0].starts_with("0A000001"));
    }
}
