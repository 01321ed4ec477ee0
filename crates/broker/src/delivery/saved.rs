//! Stored form of what is in flight: pages of 1,024 offsets of a queue, drawn in `docs/formats/meta.md`.
//!
//! A page says how far from its start on messages were handed out, which may be past its end, and which of its own are
//! in flight. Pages in which nothing is are mostly not stored: the one before covers them. The group's offset, the
//! floor, is stored with all other offsets. Pages are written one by one, so a crash can leave some older than others:
//! what is read back ends before the first offset that no page covers. Messages behind that are handed out again; none
//! is passed over.

use std::collections::{BTreeMap, BTreeSet};

use super::in_flight::Flight;
use super::queue::QueueDelivery;

/// Offsets of a page.
pub const PAGE_OFFSETS: u64 = 1024;

/// Version of the stored value.
const VALUE_VERSION: u8 = 1;

/// The page of an offset.
pub fn page_of(offset: u64) -> u64 {
    offset / PAGE_OFFSETS
}

/// Which page of which queue a value is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageKey {
    /// Group.
    pub group: String,
    /// Topic.
    pub topic: String,
    /// Queue.
    pub queue_id: i32,
    /// Number of the page.
    pub page: u64,
}

/// Names cannot contain a zero byte.
pub fn encode_key(group: &str, topic: &str, queue_id: i32, page: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(group.len() + topic.len() + 14);
    key.extend_from_slice(group.as_bytes());
    key.push(0);
    key.extend_from_slice(topic.as_bytes());
    key.push(0);
    key.extend_from_slice(&queue_id.to_be_bytes());
    key.extend_from_slice(&page.to_be_bytes());
    key
}

/// Reads what [`encode_key`] wrote.
pub fn decode_key(key: &[u8]) -> Option<PageKey> {
    let (names, numbers) = key.split_at_checked(key.len().checked_sub(12)?)?;
    let (queue_id, page) = numbers.split_first_chunk::<4>()?;
    let names = std::str::from_utf8(names.strip_suffix(&[0])?).ok()?;
    let (group, topic) = names.split_once('\0')?;
    Some(PageKey {
        group: group.to_owned(),
        topic: topic.to_owned(),
        queue_id: i32::from_be_bytes(*queue_id),
        page: u64::from_be_bytes(page.try_into().ok()?),
    })
}

/// A page as it was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Offsets from its start on that were handed out.
    covered: u64,
    /// The group's offset when it was stored.
    floor: u64,
    flights: Vec<(u64, Flight)>,
}

/// Which pages of a queue are stored, and which are to be.
#[derive(Debug, Default)]
pub struct Pages {
    /// Pages that changed since they were stored.
    changed: BTreeSet<u64>,
    /// Pages that are stored, and up to where each covers what was handed out.
    stored: BTreeMap<u64, u64>,
}

impl Pages {
    /// These pages are stored.
    pub fn stored<'p>(pages: impl IntoIterator<Item = (&'p u64, &'p Page)>) -> Pages {
        let covers = |(number, page): (&u64, &Page)| (*number, number * PAGE_OFFSETS + page.covered);
        Pages { changed: BTreeSet::new(), stored: pages.into_iter().map(covers).collect() }
    }

    /// Something happened to an offset.
    pub fn touch(&mut self, offset: u64) {
        self.changed.insert(page_of(offset));
    }

    /// Everything is other than it was.
    pub fn touch_all(&mut self, queue: &QueueDelivery) {
        self.changed.extend(self.stored.keys().copied());
        self.changed.extend(queue.in_flight().from(0).map(|(offset, _)| page_of(offset)));
        self.changed.insert(page_of(queue.next()));
    }

    /// Every page that is stored.
    pub fn into_stored(self) -> impl Iterator<Item = u64> {
        self.stored.into_keys()
    }

    /// What is to be written now, for a start that finds `floor` as the group's offset: pages and their values, without
    /// one to be removed.
    pub fn take_writes(&mut self, queue: &QueueDelivery, floor: u64) -> Vec<(u64, Option<Vec<u8>>)> {
        let first = page_of(floor);
        let changed = std::mem::take(&mut self.changed);
        let mut pages: BTreeSet<u64> = self.stored.range(..first).map(|(page, _)| *page).collect();
        let mut left: Vec<u64> = changed.into_iter().filter(|page| first <= *page).collect();
        while let Some(page) = left.pop() {
            if page != first && !self.speaks_for_itself(queue, page) {
                left.push(self.before(queue, page, first));
            } else if pages.insert(page) && page != first {
                // The one before has to reach up to it.
                let before = self.before(queue, page, first);
                if self.stored.get(&before) != Some(&self.covers_to(queue, before)) {
                    left.push(before);
                }
            }
        }
        let mut writes = Vec::with_capacity(pages.len());
        for page in pages {
            let covers_to = self.covers_to(queue, page);
            let value = encode_page(queue, page, floor, covers_to);
            match &value {
                Some(_) => {
                    self.stored.insert(page, covers_to);
                    writes.push((page, value));
                }
                None if self.stored.remove(&page).is_some() => writes.push((page, None)),
                None => {}
            }
        }
        writes
    }

    /// Whether a page says itself that it was handed out: it is stored, or something of it is in flight.
    fn speaks_for_itself(&self, queue: &QueueDelivery, page: u64) -> bool {
        let first_flight = || queue.in_flight().from(page * PAGE_OFFSETS).next();
        self.stored.contains_key(&page) || first_flight().is_some_and(|(offset, _)| page_of(offset) == page)
    }

    /// The page before another that speaks for itself, or the first.
    fn before(&self, queue: &QueueDelivery, page: u64, first: u64) -> u64 {
        let stored = self.stored.range(..page).next_back().map(|(page, _)| *page);
        let flying = queue.in_flight().last_before(page * PAGE_OFFSETS).map(page_of);
        stored.max(flying).unwrap_or(first).max(first)
    }

    /// Up to where a page covers what was handed out: to the next page that says so itself.
    fn covers_to(&self, queue: &QueueDelivery, page: u64) -> u64 {
        let stored = self.stored.range(page + 1..).next().map(|(page, _)| page * PAGE_OFFSETS);
        let flying = queue.in_flight().from((page + 1) * PAGE_OFFSETS).next();
        let flying = flying.map(|(offset, _)| page_of(offset) * PAGE_OFFSETS);
        stored.into_iter().chain(flying).min().unwrap_or(u64::MAX).min(queue.next())
    }
}

/// The page of a queue as it is now, which covers what lies before `covers_to`; `None` if it need not be stored: everything
/// in it is below the floor, or was never handed out.
fn encode_page(queue: &QueueDelivery, page: u64, floor: u64, covers_to: u64) -> Option<Vec<u8>> {
    let start = page.checked_mul(PAGE_OFFSETS)?;
    let end = start.saturating_add(PAGE_OFFSETS);
    if end <= floor || queue.next() <= start || queue.next() <= floor {
        return None;
    }
    let mut value = vec![VALUE_VERSION];
    put(&mut value, covers_to - start);
    put(&mut value, floor);
    let mut run: Option<Run> = None;
    let mut after = start;
    for (offset, flight) in queue.in_flight().from(start).take_while(|(offset, _)| *offset < end) {
        match &mut run {
            Some(run) if run.first + run.count == offset && same(&run.flight, flight) => run.count += 1,
            _ => {
                after = run.take().map_or(after, |run| run.put(after, &mut value));
                run = Some(Run { first: offset, count: 1, flight: *flight });
            }
        }
    }
    if let Some(run) = run {
        run.put(after, &mut value);
    }
    Some(value)
}

/// Whether two messages can be stored as one run. Who holds them is not stored: no consumer outlives the broker's
/// knowledge of it.
fn same(one: &Flight, other: &Flight) -> bool {
    (one.visible_ms, one.delivered_ms, counted(one)) == (other.visible_ms, other.delivered_ms, counted(other))
}

/// The attempts of a message that count.
fn counted(flight: &Flight) -> u16 {
    flight.attempts.saturating_sub(u16::from(flight.uncounted))
}

/// Neighbours that were handed out together.
struct Run {
    first: u64,
    count: u64,
    flight: Flight,
}

impl Run {
    /// Appends the run; returns the offset after it.
    fn put(&self, after: u64, value: &mut Vec<u8>) -> u64 {
        put(value, self.first - after);
        put(value, self.count);
        put(value, self.flight.delivered_ms.max(0) as u64);
        put(value, self.flight.visible_ms.saturating_sub(self.flight.delivered_ms.max(0)).max(0) as u64);
        put(value, u64::from(counted(&self.flight)));
        self.first + self.count
    }
}

/// Reads what [`encode_page`] wrote; `None` if it is damaged.
pub fn decode_page(page: u64, value: &[u8]) -> Option<Page> {
    let (version, mut rest) = value.split_first()?;
    let start = page.checked_mul(PAGE_OFFSETS)?;
    let (covered, floor) = (take(&mut rest)?, take(&mut rest)?);
    start.checked_add(covered)?;
    if *version != VALUE_VERSION {
        return None;
    }
    let mut flights = Vec::new();
    let mut at = 0;
    while !rest.is_empty() {
        let (skipped, count) = (take(&mut rest)?, take(&mut rest)?);
        let delivered_ms = i64::try_from(take(&mut rest)?).ok()?;
        let visible_ms = delivered_ms.checked_add_unsigned(take(&mut rest)?)?;
        let attempts = u16::try_from(take(&mut rest)?).ok()?;
        let first = skipped.checked_add(at)?;
        at = first.checked_add(count).filter(|end| *end <= covered.min(PAGE_OFFSETS))?;
        let flight = Flight { visible_ms, delivered_ms, holder: 0, attempts, uncounted: false };
        flights.extend((first..at).map(|offset| (start + offset, flight)));
    }
    Some(Page { covered, floor, flights })
}

/// Puts a queue together from the group's offset and the pages that were stored. Floors are stored before pages, so one that
/// is lower than a page says was set back by somebody since: what the page says is over.
pub fn restore(floor: u64, pages: &BTreeMap<u64, Page>) -> QueueDelivery {
    if pages.values().any(|page| floor < page.floor) {
        return QueueDelivery::starting_at(floor);
    }
    let mut next = floor;
    let mut flights = Vec::new();
    for (number, page) in pages.range(page_of(floor)..) {
        let start = number * PAGE_OFFSETS;
        // Of what lies between nothing is known: it begins here again.
        if next < start {
            break;
        }
        flights.extend(page.flights.iter().filter(|(offset, _)| floor <= *offset));
        next = next.max(start + page.covered);
    }
    QueueDelivery::restored(next, flights)
}

/// Appends a number, seven bits a byte, the lowest first.
fn put(out: &mut Vec<u8>, mut number: u64) {
    while 0x80 <= number {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7F).checked_shl(shift).filter(|part| part >> shift == u64::from(byte & 0x7F))?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::delivery::queue::Lease;

    fn hand_out(queue: &mut QueueDelivery, pages: &mut Pages, offsets: std::ops::Range<u64>, now_ms: i64) {
        for offset in offsets {
            queue.hand_out(offset, now_ms, Lease { invisible_ms: 30_000, holder: 9 });
            pages.touch(offset);
        }
    }

    /// What a store holds, of which a crash may keep some writes and lose others.
    #[derive(Default)]
    struct Held(BTreeMap<u64, Vec<u8>>);

    impl Held {
        fn write(&mut self, writes: Vec<(u64, Option<Vec<u8>>)>, mut is_kept: impl FnMut(usize) -> bool) {
            for (_, (page, value)) in writes.into_iter().enumerate().filter(|(number, _)| is_kept(*number)) {
                match value {
                    Some(value) => self.0.insert(page, value),
                    None => self.0.remove(&page),
                };
            }
        }

        fn restored(&self, floor: u64) -> QueueDelivery {
            restore(floor, &self.0.iter().map(|(page, value)| (*page, decode_page(*page, value).unwrap())).collect())
        }
    }

    /// Who holds a message is not stored.
    fn shape(queue: &QueueDelivery) -> (u64, u64, Vec<(u64, Flight)>) {
        let flights = queue.in_flight().from(0).map(|(offset, flight)| (offset, Flight { holder: 0, ..*flight }));
        (queue.floor(), queue.next(), flights.collect())
    }

    /// Whether a message would be handed out, now or later.
    fn is_open(queue: &QueueDelivery, offset: u64) -> bool {
        queue.next() <= offset || queue.in_flight().get(offset).is_some()
    }

    #[derive(Clone, Debug)]
    enum Step {
        HandOut(u64),
        /// The log moved its offsets ahead.
        Skip(u64),
        Settle(u64),
        Save,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1_u64..900).prop_map(Step::HandOut),
            1 => (1_u64..200_000).prop_map(Step::Skip),
            6 => (0_u64..1_500).prop_map(Step::Settle),
            2 => Just(Step::Save),
        ]
    }

    proptest! {
        #[test]
        fn what_was_stored_comes_back_and_a_crash_settles_nothing(
            start in 0_u64..3_000,
            steps in prop::collection::vec(step(), 1..60),
            kept in any::<u64>(),
        ) {
            let mut queue = QueueDelivery::starting_at(start);
            let (mut pages, mut held, mut told) = (Pages::default(), Held::default(), start);
            let mut ever = Vec::new();
            for (round, step) in steps.into_iter().enumerate() {
                match step {
                    Step::HandOut(count) => {
                        let next = queue.next();
                        ever.extend([next, next + count / 2, next + count - 1]);
                        hand_out(&mut queue, &mut pages, next..next + count, 1_700_000_000_000 + round as i64);
                    }
                    Step::Skip(count) => {
                        queue.pass_over(queue.next() + count);
                        pages.touch(queue.next());
                    }
                    // Everything up to somewhere, but for one in a hundred.
                    Step::Settle(count) => {
                        for offset in queue.floor()..queue.floor() + count {
                            if offset % 100 != 7 {
                                queue.settle(offset);
                                pages.touch(offset);
                            }
                        }
                    }
                    Step::Save => {
                        told = queue.floor();
                        held.write(pages.take_writes(&queue, told), |_| true);
                        prop_assert_eq!(shape(&held.restored(told)), shape(&queue));
                    }
                }
            }
            // The floor is stored first; of the pages some are, some are not.
            let last = pages.take_writes(&queue, queue.floor());
            held.write(last, |number| kept >> (number % 64) & 1 == 1);
            let is_stored_first = |floor: &u64| held.0.iter().all(|(page, value)| {
                decode_page(*page, value).unwrap().floor <= *floor
            });
            for floor in [told, queue.floor()].into_iter().filter(is_stored_first) {
                let restored = held.restored(floor);
                prop_assert!(restored.next() <= queue.next());
                for offset in ever.iter().copied().filter(|offset| is_open(&queue, *offset)) {
                    prop_assert!(is_open(&restored, offset), "{offset} is lost with floor {floor}");
                }
            }
        }

        #[test]
        fn bytes_of_any_kind_are_read_or_refused(page in any::<u64>(), value in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = decode_page(page, &value);
            let _ = decode_key(&value);
        }

        #[test]
        fn numbers_of_any_size_come_back(number in any::<u64>()) {
            let mut bytes = Vec::new();
            put(&mut bytes, number);
            prop_assert_eq!(take(&mut bytes.as_slice()), Some(number));
        }
    }

    #[test]
    fn who_sets_the_offset_back_gets_everything_again() {
        let (mut queue, mut pages, mut held) = (QueueDelivery::starting_at(0), Pages::default(), Held::default());
        hand_out(&mut queue, &mut pages, 0..820, 1_700_000_000_000);
        (0..800).for_each(|offset| queue.settle(offset));
        held.write(pages.take_writes(&queue, 800), |_| true);
        assert_eq!(shape(&held.restored(800)), shape(&queue));
        for back in [0, 799] {
            let restored = held.restored(back);
            assert_eq!((restored.floor(), restored.next()), (back, back));
        }
    }

    #[test]
    fn what_was_handed_out_together_is_one_run_and_what_is_settled_takes_no_page() {
        let (mut queue, mut pages) = (QueueDelivery::starting_at(0), Pages::default());
        hand_out(&mut queue, &mut pages, 0..1_024, 1_700_000_000_000);
        let writes = pages.take_writes(&queue, 0);
        assert_eq!(writes.len(), 1);
        assert!(writes[0].1.as_ref().unwrap().len() < 20);
        // A million offsets that there never were, and one message behind them.
        queue.pass_over(1_050_000);
        pages.touch(1_050_000);
        hand_out(&mut queue, &mut pages, 1_050_000..1_050_001, 1_700_000_000_000);
        assert_eq!(pages.take_writes(&queue, 0).into_iter().map(|(page, _)| page).collect::<Vec<_>>(), [0, 1_025]);
        let key = encode_key("g", "t", 7, 9);
        let read = PageKey { group: "g".into(), topic: "t".into(), queue_id: 7, page: 9 };
        assert_eq!(decode_key(&key), Some(read));
    }
}
