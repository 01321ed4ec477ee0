//! Slows down who guesses passwords. Takes the time as an argument.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

/// Failures of one name within [`WINDOW`], after which one has to wait.
const PER_NAME: usize = 5;
/// The same of one address, whatever the name.
const PER_ADDRESS: usize = 20;
/// Time that a failure counts.
const WINDOW: Duration = Duration::from_secs(60);
/// Names and addresses that are remembered at most. Beyond it the oldest are forgotten.
const REMEMBERED_MAX: usize = 10_000;

/// Whose failures are counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Whose {
    /// A name, from one address: nobody else is locked out of the name.
    Name(String, IpAddr),
    Address(IpAddr),
}

/// Failed logins of the last minute.
#[derive(Debug, Default)]
pub struct Throttle {
    /// Times of failures, since the console started.
    failures: HashMap<Whose, VecDeque<Duration>>,
}

impl Throttle {
    /// How long `name` at `address` has to wait; `None` when it may try at once. `now` is the time since the console
    /// started.
    pub fn wait(&self, now: Duration, name: &str, address: IpAddr) -> Option<Duration> {
        let by_name = self.wait_of(now, &Whose::Name(name.to_owned(), address), PER_NAME);
        by_name.max(self.wait_of(now, &Whose::Address(address), PER_ADDRESS))
    }

    fn wait_of(&self, now: Duration, whose: &Whose, limit: usize) -> Option<Duration> {
        let failures = self.failures.get(whose)?;
        let counted = failures.iter().filter(|time| now < **time + WINDOW);
        // The oldest of the last `limit` has to be a window old.
        let decisive = counted.rev().nth(limit - 1)?;
        (*decisive + WINDOW).checked_sub(now)
    }

    /// A login failed.
    pub fn failed(&mut self, now: Duration, name: &str, address: IpAddr) {
        if REMEMBERED_MAX <= self.failures.len() {
            self.failures.retain(|_, failures| failures.back().is_some_and(|last| now < *last + WINDOW));
        }
        for (whose, limit) in
            [(Whose::Name(name.to_owned(), address), PER_NAME), (Whose::Address(address), PER_ADDRESS)]
        {
            if REMEMBERED_MAX <= self.failures.len() && !self.failures.contains_key(&whose) {
                continue;
            }
            let failures = self.failures.entry(whose).or_default();
            failures.push_back(now);
            while limit < failures.len() {
                failures.pop_front();
            }
        }
    }

    /// A login succeeded.
    pub fn succeeded(&mut self, name: &str, address: IpAddr) {
        self.failures.remove(&Whose::Name(name.to_owned(), address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_sixth_try_of_a_name_within_a_minute_waits() {
        let mut throttle = Throttle::default();
        for second in 0..5 {
            assert_eq!(throttle.wait(at(second), "admin", HERE), None);
            throttle.failed(at(second), "admin", HERE);
        }
        assert_eq!(throttle.wait(at(10), "admin", HERE), Some(at(50)));
        assert_eq!(throttle.wait(at(10), "admin", THERE), None);
        assert_eq!(throttle.wait(at(10), "other", HERE), None);
        assert_eq!(throttle.wait(at(61), "admin", HERE), None);
        throttle.failed(at(61), "admin", HERE);
        // Four of the first five still count.
        assert_eq!(throttle.wait(at(61), "admin", HERE), None);
    }

    #[test]
    fn an_address_that_tries_many_names_waits_with_all_of_them() {
        let mut throttle = Throttle::default();
        for number in 0..20 {
            throttle.failed(at(0), &format!("user{number}"), HERE);
        }
        assert_eq!(throttle.wait(at(30), "another", HERE), Some(at(30)));
    }

    #[test]
    fn a_login_that_succeeds_forgives_the_name() {
        let mut throttle = Throttle::default();
        for _ in 0..5 {
            throttle.failed(at(0), "admin", HERE);
        }
        throttle.succeeded("admin", HERE);
        assert_eq!(throttle.wait(at(1), "admin", HERE), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut throttle = Throttle::default();
        for number in 0..2 * REMEMBERED_MAX {
            throttle.failed(at(0), &number.to_string(), HERE);
        }
        assert!(throttle.failures.len() <= REMEMBERED_MAX);
    }
}
