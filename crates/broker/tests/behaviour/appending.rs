//! The order in which the writer takes records, and what it does when the disk is late. Spoken to directly: over a
//! connection these moments are too short to be met on purpose.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};

use broker::clock::Clock;
use broker::config::Flush;
use broker::meta::{Meta, MetaThread};
use broker::transactions::{CheckSchedule, Transactions};
use broker::writer::{Appends, Mark, Outcome, Submission, Submitted, Watchers, Writer};
use log::{Log, LogConfig, MemoryDisk, NewRecord, QueueNumber, Visibility};
use protocol::sys_flag::SysFlag;

use crate::waiting::PATIENCE;

struct Bench {
    log: Arc<Log>,
    transactions: Arc<Mutex<Transactions>>,
    writer: Arc<Writer>,
    queue: QueueNumber,
    _meta_thread: MetaThread,
    _folder: tempfile::TempDir,
}

fn bench(flush: Flush) -> Bench {
    let visibility = if flush == Flush::Sync { Visibility::Durable } else { Visibility::Written };
    let config = LogConfig { segment_bytes: 4 << 20, visibility, ..LogConfig::default() };
    let log = Arc::new(Log::open(Arc::new(MemoryDisk::new()), config, &mut |_| {}).unwrap().0);
    let schedule = CheckSchedule { first_after_ms: 1, interval_ms: 1, checks_max: 1 };
    let transactions = Arc::new(Mutex::new(Transactions::new(schedule)));
    let folder = tempfile::tempdir().unwrap();
    let (meta, _, meta_thread) = Meta::open(folder.path()).unwrap();
    let writer = Writer::new(log.clone(), flush, Clock::system(), Watchers::default(), transactions.clone(), meta);
    let queue = log.queue("orders", 0).unwrap();
    Bench { log, transactions, writer: Arc::new(writer), queue, _meta_thread: meta_thread, _folder: folder }
}

impl Bench {
    fn appends(&self, body: &str) -> Appends {
        let host = ([127, 0, 0, 1], 1).into();
        let record = NewRecord {
            topic: "orders",
            queue_id: 0,
            flag: 0,
            sys_flag: SysFlag(0),
            born_timestamp_ms: 0,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: body.as_bytes(),
            properties: b"",
        };
        let mut appends = Appends::default();
        appends.batch.push(record, self.queue, 0, None).unwrap();
        appends
    }
}

/// A submission that says when the writer has come to it, and waits for leave to go on.
struct Slow {
    appends: Appends,
    /// Met in the middle of its append.
    appending: Option<Meeting>,
    /// Met when it is complete.
    completing: Option<Meeting>,
}

struct Meeting {
    here: Sender<()>,
    go_on: Receiver<()>,
}

impl Meeting {
    fn keep(self) {
        self.here.send(()).unwrap();
        self.go_on.recv_timeout(PATIENCE).unwrap();
    }
}

/// Two ends of a meeting.
fn meeting() -> (Meeting, Receiver<()>, Sender<()>) {
    let ((here, arrived), (leave, go_on)) = (mpsc::channel(), mpsc::channel());
    (Meeting { here, go_on }, arrived, leave)
}

impl Submission for Slow {
    fn appends(&mut self) -> &mut Appends {
        if let Some(meeting) = self.appending.take() {
            meeting.keep();
        }
        &mut self.appends
    }

    fn bytes(&self) -> usize {
        self.appends.batch.bytes()
    }

    fn complete(&mut self, _: Outcome<'_>) {
        if let Some(meeting) = self.completing.take() {
            meeting.keep();
        }
    }
}

#[test]
fn what_was_left_to_another_thread_is_appended_before_what_comes_later() {
    let bench = bench(Flush::Async);
    let submit = |slow: Slow| {
        let writer = bench.writer.clone();
        std::thread::spawn(move || matches!(writer.submit(Box::new(slow)), Submitted::Later))
    };
    let (in_first, first_appends, first_goes_on) = meeting();
    let (in_second, second_appends, second_goes_on) = meeting();
    let (after_second, second_completes, second_ends) = meeting();
    let plain = |body: &str| Slow { appends: bench.appends(body), appending: None, completing: None };

    // The first thread appends; the second leaves its records to it.
    let first = submit(Slow { appending: Some(in_first), ..plain("thread one") });
    first_appends.recv_timeout(PATIENCE).unwrap();
    let second = Slow { appending: Some(in_second), completing: Some(after_second), ..plain("thread two") };
    assert!(submit(second).join().unwrap());
    first_goes_on.send(()).unwrap();
    // While the first thread appends those, a connection leaves it what it brings.
    second_appends.recv_timeout(PATIENCE).unwrap();
    assert!(submit(plain("earlier")).join().unwrap());
    // The first thread is done appending and writes answers when the connection brings more.
    second_goes_on.send(()).unwrap();
    second_completes.recv_timeout(PATIENCE).unwrap();
    submit(plain("later")).join().unwrap();
    second_ends.send(()).unwrap();
    first.join().unwrap();

    let limits = log::PullLimits { max_messages: 9, max_bytes: 9999 };
    let mut bytes = Vec::new();
    bench.log.pull(bench.queue, 0, limits, &|_| true, &mut bytes).unwrap();
    let bodies = protocol::record::records(&bytes).map(|record| String::from_utf8_lossy(record.body()).into_owned());
    assert_eq!(bodies.collect::<Vec<_>>(), ["thread one", "thread two", "earlier", "later"]);
}

#[test]
fn a_half_message_whose_disk_was_late_is_asked_about_all_the_same() {
    let bench = bench(Flush::Sync);
    let (tell, told) = mpsc::channel();
    let mut appends = bench.appends("half");
    appends.marks.push((0, Mark::Half { immunity_ms: None }));
    bench.writer.append_then(appends, move |_, outcome| tell.send(matches!(outcome, Outcome::FlushTimeout)).unwrap());
    // Whoever waits is answered before the disk did anything.
    bench.writer.give_up_waiting(-1000);
    assert!(told.recv_timeout(PATIENCE).unwrap());
    bench.writer.stop();
    bench.writer.sync_until_stopped();
    assert_eq!(bench.log.durable(), bench.log.end());
    assert_eq!(bench.transactions.lock().unwrap().len(), 1);
}

fn outcome_of(bench: &Bench, appends: Appends) -> String {
    let (told, outcome) = mpsc::channel();
    bench.writer.append_then(appends, move |_, outcome| {
        let text = match outcome {
            Outcome::Refused(error) => error.to_string(),
            other => format!("{other:?}"),
        };
        let _ = told.send(text);
    });
    outcome.try_recv().unwrap_or_else(|_| "waits".to_owned())
}

#[test]
fn a_thread_that_comes_to_rest_syncs_and_answers_everybody() {
    let bench = bench(Flush::Sync);
    let (tell, told) = mpsc::channel();
    let submit = |body: &str| {
        let tell = tell.clone();
        bench.writer.append_then(bench.appends(body), move |_, outcome| {
            tell.send(matches!(outcome, Outcome::Stored)).unwrap();
        });
    };
    // From another thread, which does not come to rest, and from this one, before and after it is known to.
    std::thread::scope(|scope| drop(scope.spawn(|| submit("one")).join()));
    submit("two");
    bench.writer.sync_at_rest();
    submit("three");
    bench.writer.sync_at_rest();
    bench.writer.sync_at_rest();
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [true; 3]);
    assert_eq!(bench.log.durable(), bench.log.end());
}

#[test]
fn a_thread_that_comes_to_rest_leaves_much_to_the_thread_that_syncs() {
    let bench = bench(Flush::Sync);
    bench.writer.sync_at_rest();
    let (tell, told) = mpsc::channel();
    for _ in 0..2 {
        let tell = tell.clone();
        bench.writer.append_then(bench.appends(&"x".repeat(1 << 20)), move |_, _| tell.send(()).unwrap());
    }
    bench.writer.sync_at_rest();
    assert!(told.try_recv().is_err());
    bench.writer.stop();
    bench.writer.sync_until_stopped();
    assert_eq!(told.try_iter().count(), 2);
}

#[test]
fn a_disk_that_hangs_makes_the_writer_refuse_and_not_grow() {
    let bench = bench(Flush::Sync);
    let body = "x".repeat(1 << 20);
    let outcomes: Vec<String> = (0..70).map(|_| outcome_of(&bench, bench.appends(&body))).collect();
    assert!(outcomes[..60].iter().all(|outcome| outcome == "waits"), "{outcomes:?}");
    assert!(outcomes[69].ends_with("bytes wait for the disk; the limit is 67108864"), "{}", outcomes[69]);
    // Nothing waits once the disk has it all; then there is room again.
    bench.writer.stop();
    bench.writer.sync_until_stopped();
    assert_eq!(outcome_of(&bench, bench.appends("again")), "waits");
}

#[test]
fn a_writer_that_winds_up_takes_nothing_more_and_answers_what_it_took() {
    let bench = bench(Flush::Sync);
    assert_eq!(outcome_of(&bench, bench.appends("taken")), "waits");
    assert!(!bench.writer.wind_up());
    assert_eq!(outcome_of(&bench, bench.appends("late")), "the broker stops");
    assert_eq!(outcome_of(&bench, Appends::default()), "waits", "nothing at all is always fine");
    bench.writer.stop();
    bench.writer.sync_until_stopped();
    assert!(bench.writer.wind_up());
}
