//! The log against a model of a few lines, in random order of everything.

use std::collections::BTreeMap;

use apogee_log::{Boundary, Log, MemoryDisk, PullLimits, PullOutcome, Record};
use proptest::prelude::*;

use crate::support::*;

#[derive(Clone, Debug)]
enum Step {
    Append {
        batch: Vec<(u8, u8, u16)>,
        now_ms: i64,
    },
    Pull {
        queue: u8,
        offset: u64,
        max: usize,
        tag: Option<u8>,
    },
    /// Goes on where the last pull of the queue ended, as one who catches up.
    PullOn {
        queue: u8,
    },
    Time {
        queue: u8,
        time_ms: i64,
    },
    Delete {
        queue: u8,
    },
    Sync,
    Checkpoint,
    Maintain,
    Prepare,
    Close,
    Kill,
    LoseCheckpoint,
    LoseIndex {
        pick: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let appended = proptest::collection::vec((0..5_u8, 0..3_u8, 0..700_u16), 1..30);
    let step = prop_oneof![
        10 => (appended, 0..1000_i64).prop_map(|(batch, now_ms)| Step::Append { batch, now_ms }),
        5 => (0..5_u8, 0..200_u64, 0..40_usize, proptest::option::of(0..3_u8))
            .prop_map(|(queue, offset, max, tag)| Step::Pull { queue, offset, max, tag }),
        8 => (0..5_u8).prop_map(|queue| Step::PullOn { queue }),
        3 => (0..5_u8, 0..1000_i64).prop_map(|(queue, time_ms)| Step::Time { queue, time_ms }),
        1 => (0..5_u8).prop_map(|queue| Step::Delete { queue }),
        1 => Just(Step::Sync),
        2 => Just(Step::Checkpoint),
        1 => Just(Step::Maintain),
        1 => Just(Step::Prepare),
        1 => Just(Step::Close),
        1 => Just(Step::Kill),
        1 => Just(Step::LoseCheckpoint),
        1 => any::<usize>().prop_map(|pick| Step::LoseIndex { pick }),
    ];
    proptest::collection::vec(step, 1..60)
}

#[derive(Clone, Debug)]
struct Stored {
    body: Vec<u8>,
    tag: u8,
    stored_ms: i64,
}

#[derive(Default)]
struct Model {
    queues: BTreeMap<u8, Vec<Stored>>,
    /// Where the last pull of each queue ended, and what it asked for.
    pulled_to: BTreeMap<u8, (u64, usize, Option<u8>)>,
    last_ms: i64,
}

fn name(queue: u8) -> (&'static str, u32) {
    (["a", "a", "b", "c", "c"][usize::from(queue)], u32::from(queue))
}

impl Model {
    fn append(&mut self, log: &Log, batch: &[(u8, u8, u16)], now_ms: i64) {
        self.last_ms = self.last_ms.max(now_ms);
        let mut messages = Vec::new();
        for (queue, tag, size) in batch {
            let (topic, id) = name(*queue);
            let stored = self.queues.entry(*queue).or_default();
            let body = format!("{queue} {} {}", stored.len(), "x".repeat((*size).into()));
            messages.push(message(topic, id, &body).tag(&tag.to_string()));
            stored.push(Stored { body: body.into_bytes(), tag: *tag, stored_ms: self.last_ms });
        }
        append(log, &messages, now_ms);
    }

    fn pull(&mut self, log: &Log, queue: u8, offset: u64, max: usize, tag: Option<u8>) {
        let Some(number) = log.find_queue(name(queue).0, name(queue).1) else {
            assert!(!self.queues.contains_key(&queue));
            return;
        };
        let stored = self.queues.get(&queue).map_or(&[][..], |stored| stored);
        let wanted = tag.map(|tag| protocol::record::java_string_hash(&tag.to_string()));
        let accept = |hash| wanted.is_none_or(|wanted| wanted == hash);
        let mut out = Vec::new();
        let limits = PullLimits { max_messages: max, max_bytes: 3000 };
        let (pulled, next) = match tag {
            Some(_) => (log.pull(number, offset, limits, &accept, &mut out).unwrap(), None),
            None => log.pull_all(number, offset, limits, &mut out).unwrap(),
        };
        next.into_iter().for_each(|next| log.read_ahead(next));
        self.pulled_to.insert(queue, (pulled.next_offset, max, tag));
        assert_eq!((pulled.min_offset, pulled.max_offset), (0, stored.len() as u64));
        let records: Vec<Record> = protocol::record::records(&out).collect();
        let expected: Vec<(u64, &Stored)> = (offset..pulled.next_offset.min(stored.len() as u64))
            .map(|offset| (offset, &stored[offset as usize]))
            .filter(|(_, stored)| tag.is_none_or(|tag| tag == stored.tag))
            .collect();
        assert_eq!(records.len(), expected.len());
        assert!(records.len() <= max.max(1));
        for (record, (offset, stored)) in records.iter().zip(expected) {
            assert_eq!((record.queue_offset(), record.body()), (offset, &stored.body[..]));
            assert_eq!(record.store_timestamp_ms(), stored.stored_ms);
        }
        match pulled.outcome {
            PullOutcome::Found { count } => assert_eq!(count, records.len()),
            PullOutcome::NothingMatched => assert!(offset < pulled.next_offset && tag.is_some()),
            PullOutcome::AtEnd => assert_eq!(offset, stored.len() as u64),
            PullOutcome::BeyondEnd => assert!(offset > stored.len() as u64),
            PullOutcome::Empty => assert!(stored.is_empty()),
            PullOutcome::BeforeStart => panic!("nothing was removed"),
        }
    }

    fn time(&self, log: &Log, queue: u8, time_ms: i64) {
        let (Some(number), Some(stored)) = (log.find_queue(name(queue).0, name(queue).1), self.queues.get(&queue))
        else {
            return;
        };
        let lower = stored.iter().position(|stored| time_ms <= stored.stored_ms).unwrap_or(stored.len());
        let upper = stored.iter().rposition(|stored| stored.stored_ms <= time_ms).unwrap_or(0);
        assert_eq!(log.offset_by_time(number, time_ms, Boundary::Lower).unwrap(), lower as u64);
        assert_eq!(log.offset_by_time(number, time_ms, Boundary::Upper).unwrap(), upper as u64);
    }

    fn check(&self, log: &Log) {
        for queue in 0..5 {
            let (topic, id) = name(queue);
            let found: Vec<Vec<u8>> = content_of(log, topic, id).into_iter().map(|(_, body, _)| body).collect();
            let expected: Vec<Vec<u8>> =
                self.queues.get(&queue).into_iter().flatten().map(|stored| stored.body.clone()).collect();
            assert_eq!(found, expected, "queue {queue}");
        }
    }
}

fn run(steps: &[Step]) {
    let mut disk = MemoryDisk::new();
    let mut log = open(&disk);
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Append { batch, now_ms } => model.append(&log, batch, *now_ms),
            Step::Pull { queue, offset, max, tag } => model.pull(&log, *queue, *offset, *max, *tag),
            Step::PullOn { queue } => {
                let (offset, max, tag) = model.pulled_to.get(queue).copied().unwrap_or((0, 2, None));
                model.pull(&log, *queue, offset, max, tag);
            }
            Step::Time { queue, time_ms } => model.time(&log, *queue, *time_ms),
            Step::Delete { queue } => {
                let (topic, id) = name(*queue);
                assert_eq!(log.delete_queue(topic, id).unwrap(), model.queues.remove(queue).is_some());
            }
            Step::Sync => assert_eq!(log.sync().unwrap(), log.end()),
            Step::Checkpoint => checkpoint(&log),
            Step::Maintain => log.maintain().unwrap(),
            Step::Prepare => drop(log.prepare().unwrap()),
            Step::Close => {
                close(log);
                let recovery;
                (log, recovery) = open_with(&disk, config());
                assert!(recovery.was_clean && recovery.rebuilt.is_none(), "{recovery}");
                model.check(&log);
            }
            Step::Kill => {
                disk = disk.fork();
                let recovery;
                (log, recovery) = open_with(&disk, config());
                assert!(!recovery.was_clean && recovery.rebuilt.is_none(), "{recovery}");
                model.check(&log);
            }
            Step::LoseCheckpoint => {
                disk = disk.fork();
                disk.tamper("checkpoint", Vec::clear).unwrap();
                log = open(&disk);
                model.check(&log);
            }
            Step::LoseIndex { pick } => {
                disk = disk.fork();
                let names = apogee_log::Disk::list(&disk, "index").unwrap();
                let path = format!("index/{}", names[pick % names.len()]);
                disk.tamper(&path, |bytes| {
                    let at = pick / names.len() % bytes.len().max(1);
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 0xFF;
                    }
                })
                .unwrap();
                // Damage inside entries shows when they are read; the checks of the blocks themselves are elsewhere.
                disk.tamper("checkpoint", |bytes| bytes.truncate(30)).unwrap();
                log = open(&disk);
                model.check(&log);
            }
        }
    }
    model.check(&log);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]
    #[test]
    fn the_log_does_what_the_model_does(steps in steps()) {
        run(&steps);
    }
}
