//! Messages of one queue that were handed out and not settled: a pure core.
//!
//! Offsets are kept in chunks of 64. A chunk has a bit for each of its offsets and holds only those that are in
//! flight, so a dense million of them costs about 30 MB, and one that stays behind keeps one chunk, not all that came
//! after it. Times are kept in order by chunk: finding what is over costs the logarithm of the chunks.

use std::collections::{BTreeMap, BTreeSet};

/// Offsets of a chunk.
const CHUNK_OFFSETS: u64 = 64;

/// A message that was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flight {
    /// When it can be handed out again, in milliseconds since 1970.
    pub visible_ms: i64,
    /// When it was handed out last, in milliseconds since 1970. Names this delivery: receipt handles carry it.
    pub delivered_ms: i64,
    /// The consumer that holds it for as long as it lives; 0 is nobody.
    pub holder: u32,
    /// How often it was handed out.
    pub attempts: u16,
    /// Whether it comes back as the same attempt.
    pub uncounted: bool,
}

/// All messages of a queue that are in flight.
#[derive(Debug, Default)]
pub struct InFlight {
    chunks: BTreeMap<u64, Chunk>,
    /// Chunks by the earliest time of their messages that are not visible yet.
    times: BTreeSet<(i64, u64)>,
    /// Chunks with messages that are visible again.
    ready: BTreeSet<u64>,
    count: usize,
}

#[derive(Debug, Default)]
struct Chunk {
    /// Offsets that are in flight.
    present: u64,
    /// Those of them that are visible again.
    ready: u64,
    /// In order of their offsets.
    flights: Vec<Flight>,
    /// The entry in `times`.
    earliest_ms: Option<i64>,
}

impl Chunk {
    fn index(&self, bit: u64) -> usize {
        (self.present & ((1 << bit) - 1)).count_ones() as usize
    }

    fn has(&self, bit: u64) -> bool {
        self.present & (1 << bit) != 0
    }

    fn waiting_earliest_ms(&self) -> Option<i64> {
        bits(self.present)
            .zip(&self.flights)
            .filter(|(bit, _)| self.ready & (1 << bit) == 0)
            .map(|(_, flight)| flight.visible_ms)
            .min()
    }
}

/// Numbers of the bits that are set, the lowest first.
fn bits(set: u64) -> impl Iterator<Item = u64> {
    let mut rest = set;
    std::iter::from_fn(move || {
        let bit = rest.trailing_zeros();
        rest &= rest.checked_sub(1)?;
        Some(u64::from(bit))
    })
}

impl InFlight {
    /// How many messages are in flight.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The lowest offset in flight.
    pub fn first(&self) -> Option<u64> {
        let (number, chunk) = self.chunks.first_key_value()?;
        Some(number * CHUNK_OFFSETS + u64::from(chunk.present.trailing_zeros()))
    }

    /// The message at an offset, if it is in flight.
    pub fn get(&self, offset: u64) -> Option<&Flight> {
        let (chunk, bit) = (self.chunks.get(&(offset / CHUNK_OFFSETS))?, offset % CHUNK_OFFSETS);
        chunk.has(bit).then(|| &chunk.flights[chunk.index(bit)])
    }

    /// Whether the message at an offset is in flight and visible again.
    pub fn is_ready(&self, offset: u64) -> bool {
        let chunk = self.chunks.get(&(offset / CHUNK_OFFSETS));
        chunk.is_some_and(|chunk| chunk.ready & (1 << (offset % CHUNK_OFFSETS)) != 0)
    }

    /// Enters a message, in place of what was known of that offset.
    pub fn insert(&mut self, offset: u64, flight: Flight) {
        self.put(offset, flight, false);
    }

    /// Enters a message that is visible at once.
    pub fn insert_ready(&mut self, offset: u64, flight: Flight) {
        self.put(offset, flight, true);
    }

    fn put(&mut self, offset: u64, flight: Flight, is_ready: bool) {
        let (number, bit) = (offset / CHUNK_OFFSETS, offset % CHUNK_OFFSETS);
        let chunk = self.chunks.entry(number).or_default();
        let index = chunk.index(bit);
        if chunk.has(bit) {
            chunk.flights[index] = flight;
        } else {
            chunk.flights.insert(index, flight);
            chunk.present |= 1 << bit;
            self.count += 1;
        }
        if is_ready {
            chunk.ready |= 1 << bit;
        } else {
            chunk.ready &= !(1 << bit);
        }
        self.note(number);
    }

    /// Takes a message out.
    pub fn remove(&mut self, offset: u64) -> Option<Flight> {
        let (number, bit) = (offset / CHUNK_OFFSETS, offset % CHUNK_OFFSETS);
        let chunk = self.chunks.get_mut(&number).filter(|chunk| chunk.has(bit))?;
        let flight = chunk.flights.remove(chunk.index(bit));
        chunk.present &= !(1 << bit);
        chunk.ready &= !(1 << bit);
        self.count -= 1;
        self.note(number);
        Some(flight)
    }

    /// Takes out everything below an offset.
    pub fn remove_below(&mut self, offset: u64) {
        while let Some(first) = self.first().filter(|first| *first < offset) {
            self.remove(first);
        }
    }

    /// Brings the orders by time and readiness up to what a chunk is now.
    fn note(&mut self, number: u64) {
        let Some(chunk) = self.chunks.get_mut(&number) else { return };
        let earliest_ms = chunk.waiting_earliest_ms();
        if earliest_ms != chunk.earliest_ms {
            if let Some(old_ms) = std::mem::replace(&mut chunk.earliest_ms, earliest_ms) {
                self.times.remove(&(old_ms, number));
            }
            self.times.extend(earliest_ms.map(|new_ms| (new_ms, number)));
        }
        if chunk.ready == 0 {
            self.ready.remove(&number);
        } else {
            self.ready.insert(number);
        }
        if chunk.present == 0 {
            self.chunks.remove(&number);
        }
    }

    /// When the next message becomes visible that is not yet.
    pub fn next_visible_ms(&self) -> Option<i64> {
        self.times.first().map(|(at_ms, _)| *at_ms)
    }

    /// Lets messages whose time is over become visible, in chunks of the earliest. `judge` may give one more time
    /// instead: it returns the time at which the message becomes visible after all.
    pub fn expire(&mut self, now_ms: i64, mut judge: impl FnMut(u64, &Flight) -> Option<i64>) {
        while let Some((_, number)) = self.times.first().copied().filter(|(at_ms, _)| *at_ms <= now_ms) {
            let Some(chunk) = self.chunks.get_mut(&number) else { return };
            for (index, bit) in bits(chunk.present).enumerate() {
                let flight = &mut chunk.flights[index];
                if chunk.ready & (1 << bit) != 0 || now_ms < flight.visible_ms {
                    continue;
                }
                match judge(number * CHUNK_OFFSETS + bit, flight) {
                    Some(later_ms) => flight.visible_ms = later_ms.max(now_ms + 1),
                    None => chunk.ready |= 1 << bit,
                }
            }
            self.note(number);
        }
    }

    /// Whether any message is visible again.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Offsets from `from` on that are visible again, in order.
    pub fn ready_from(&self, from: u64) -> impl Iterator<Item = u64> {
        self.ready
            .range(from / CHUNK_OFFSETS..)
            .flat_map(|number| bits(self.chunks[number].ready).map(move |bit| number * CHUNK_OFFSETS + bit))
            .filter(move |offset| from <= *offset)
    }

    /// The highest offset in flight before another.
    pub fn last_before(&self, offset: u64) -> Option<u64> {
        let (number, bit) = (offset / CHUNK_OFFSETS, offset % CHUNK_OFFSETS);
        let highest = |number: u64, set: u64| {
            (set != 0).then(|| number * CHUNK_OFFSETS + u64::from(u64::BITS - 1 - set.leading_zeros()))
        };
        let own = self.chunks.get(&number).and_then(|chunk| highest(number, chunk.present & ((1 << bit) - 1)));
        own.or_else(|| {
            let (number, chunk) = self.chunks.range(..number).next_back()?;
            highest(*number, chunk.present)
        })
    }

    /// Everything in flight from an offset on, in order.
    pub fn from(&self, offset: u64) -> impl Iterator<Item = (u64, &Flight)> {
        self.chunks
            .range(offset / CHUNK_OFFSETS..)
            .flat_map(|(number, chunk)| {
                bits(chunk.present).map(move |bit| number * CHUNK_OFFSETS + bit).zip(&chunk.flights)
            })
            .filter(move |(at, _)| offset <= *at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flight(visible_ms: i64, attempts: u16) -> Flight {
        Flight { visible_ms, delivered_ms: 1, holder: 0, attempts, uncounted: false }
    }

    /// The same, written down plainly.
    #[derive(Default)]
    struct Plain(BTreeMap<u64, (Flight, bool)>);

    impl Plain {
        fn expire(&mut self, now_ms: i64) {
            for (flight, ready) in self.0.values_mut() {
                *ready |= flight.visible_ms <= now_ms;
            }
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64, i64),
        InsertReady(u64),
        Remove(u64),
        RemoveBelow(u64),
        Expire(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let offset = prop_oneof![0_u64..200, 4_000_u64..4_100];
        prop_oneof![
            4 => (offset.clone(), 0_i64..100).prop_map(|(offset, at)| Step::Insert(offset, at)),
            1 => offset.clone().prop_map(Step::InsertReady),
            3 => offset.clone().prop_map(Step::Remove),
            1 => (0_u64..150).prop_map(Step::RemoveBelow),
            2 => (0_i64..100).prop_map(Step::Expire),
        ]
    }

    proptest! {
        #[test]
        fn chunks_say_what_a_plain_table_says(steps in prop::collection::vec(step(), 1..200)) {
            let (mut chunks, mut plain) = (InFlight::default(), Plain::default());
            for step in steps {
                match step {
                    Step::Insert(offset, at_ms) => {
                        chunks.insert(offset, flight(at_ms, 1));
                        plain.0.insert(offset, (flight(at_ms, 1), false));
                    }
                    Step::InsertReady(offset) => {
                        chunks.insert_ready(offset, flight(0, 1));
                        plain.0.insert(offset, (flight(0, 1), true));
                    }
                    Step::Remove(offset) => {
                        let removed = chunks.remove(offset);
                        prop_assert_eq!(removed, plain.0.remove(&offset).map(|(flight, _)| flight));
                    }
                    Step::RemoveBelow(offset) => {
                        chunks.remove_below(offset);
                        plain.0.retain(|at, _| offset <= *at);
                    }
                    Step::Expire(now_ms) => {
                        chunks.expire(now_ms, |_, _| None);
                        plain.expire(now_ms);
                    }
                }
                let waiting = plain.0.values().filter(|(_, ready)| !ready).map(|(flight, _)| flight.visible_ms);
                prop_assert_eq!(chunks.next_visible_ms(), waiting.min());
                prop_assert_eq!(chunks.first(), plain.0.keys().next().copied());
                prop_assert_eq!(chunks.count(), plain.0.len());
                for from in [0, 70, 4_050] {
                    let ready: Vec<u64> = chunks.ready_from(from).collect();
                    let plainly = plain.0.range(from..).filter(|(_, (_, ready))| *ready).map(|(at, _)| *at);
                    prop_assert_eq!(ready, plainly.collect::<Vec<u64>>());
                    let all: Vec<(u64, Flight)> = chunks.from(from).map(|(at, flight)| (at, *flight)).collect();
                    let plainly = plain.0.range(from..).map(|(at, (flight, _))| (*at, *flight));
                    prop_assert_eq!(all, plainly.collect::<Vec<_>>());
                    prop_assert_eq!(chunks.last_before(from), plain.0.range(..from).next_back().map(|(at, _)| *at));
                }
            }
        }
    }

    #[test]
    fn what_is_judged_worth_more_time_stays_invisible() {
        let mut chunks = InFlight::default();
        for offset in 0..3 {
            chunks.insert(offset, flight(10, 1));
        }
        chunks.expire(10, |offset, _| (offset == 1).then_some(20));
        assert_eq!(chunks.ready_from(0).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(chunks.next_visible_ms(), Some(20));
        // A judge that gives no time at all cannot stop the clock.
        chunks.expire(20, |_, _| Some(5));
        assert_eq!(chunks.next_visible_ms(), Some(21));
    }

    #[test]
    fn a_million_in_flight_cost_less_than_64_bytes_each() {
        let chunk = size_of::<Chunk>() + 2 * size_of::<(i64, u64)>();
        let flights = CHUNK_OFFSETS as usize * size_of::<Flight>();
        // A B-tree's leaves are half full at the least.
        assert!(2 * chunk + flights < 64 * CHUNK_OFFSETS as usize);
    }
}
