//! Data folders of earlier versions are opened by this one, with everything that is in them.
//!
//! The folders in `golden/folders` were made by the code below when it was the newest; `docs/reliability.md` says how to
//! make those of a new version. They stay for ever and are never edited to make a test pass.

use std::borrow::Cow;
use std::path::Path;

use broker::config::{BrokerConfig, Flush};
use protocol::codes::{RequestCode, ResponseCode};
use protocol::properties;
use protocol::requests::{PullMessage, QueryMessage};

use crate::kept_folder::KeptFolder;
use crate::requests::{Client, Placed, pull};
use crate::running::{Running, quick_config};
use crate::waiting::{now_ms, until};

const PRODUCERS: &str = "payers";
const CONSUMERS: &str = "billing";
/// Delay of the messages that still wait.
const DELAY_SEC: &str = "30";

/// Small files; and nothing is lost by a power cut, which a move to another machine looks like.
fn config() -> BrokerConfig {
    BrokerConfig { flush: Flush::Sync, segment_bytes: 8 << 10, max_message_bytes: (1 << 10).into(), ..quick_config() }
}

fn order(number: usize) -> String {
    format!("order {number}")
}

/// Fills a new broker. The notes are what [`check`] has to know.
fn fill(client: &mut Client) -> KeptFolder {
    for (topic, queues) in [("orders", 2), ("later", 1), ("paid", 1), ("gone", 1)] {
        client.create_topic(topic, queues);
    }
    for number in 0..40 {
        let key = format!("key-{number}");
        let given = [(properties::KEYS, key.as_str()), (properties::TAGS, "t")];
        client.send_with("orders", 0, &order(number), &given);
    }
    client.send("orders", 1, &order(0));
    client.send("gone", 0, "gone");
    client.delete_topic("gone");
    for _ in 0..2 {
        client.send_with("later", 0, "delivered", &[(properties::TIMER_DELAY_MS, "20")]);
    }
    client.wait_for("later", 0, 0, 2);
    for _ in 0..3 {
        client.send_with("later", 0, "waits", &[(properties::TIMER_DELAY_SEC, DELAY_SEC)]);
    }
    let due_ms = now_ms() + 1_000 * DELAY_SEC.parse::<i64>().unwrap();
    let [committed, dropped, open] = ["paid", "not paid", "open"].map(|body| client.half(PRODUCERS, "paid", body, &[]));
    client.commit(PRODUCERS, committed);
    client.roll_back(PRODUCERS, dropped);
    let note = |half: Placed| vec![half.queue_offset, half.position];
    let notes = [("dropped", note(dropped)), ("open", note(open)), ("due", vec![due_ms])];
    KeptFolder { notes: notes.map(|(name, numbers)| (name.to_owned(), numbers)).into(), ..KeptFolder::default() }
}

/// Adds what a killed broker has in its log and in no checkpoint.
fn fill_tail(client: &mut Client) {
    for number in 1..5 {
        client.send("orders", 1, &order(number));
    }
    client.pull(&PullMessage { consumer_group: Cow::Borrowed(CONSUMERS), ..pull("orders", 0, 0) });
    client.commit_offset(CONSUMERS, "orders", 0, 17);
    client.commit_offset(CONSUMERS, "orders", 1, 3);
}

/// Opens a folder and looks at everything that [`fill`] put into it.
#[track_caller]
fn check(kept: &KeptFolder, name: &str) {
    println!("{name}");
    let folder = tempfile::tempdir().unwrap();
    kept.unpack(folder.path());
    let broker = Running::on(folder, config());
    let recovery = &broker.inside().recovery;
    assert!(!recovery.contains("rebuilt") && !recovery.contains("damaged"), "{recovery}");
    let mut client = broker.client();
    let orders = client.all_of("orders", 0);
    let found: Vec<(i64, &str)> = orders.iter().map(|order| (order.queue_offset, order.body.as_str())).collect();
    let expected: Vec<String> = (0..40).map(order).collect();
    assert_eq!(found, (0..).zip(expected.iter().map(String::as_str)).collect::<Vec<_>>());
    assert!(orders.iter().all(|order| order.property(properties::TAGS) == "t"));
    assert_eq!(client.bodies_of("orders", 1), expected[..5]);
    assert_eq!(by_key(&mut client, "key-3"), ["order 3"]);
    client.pull(&pull("gone", 0, 0)).expect(ResponseCode::TOPIC_NOT_EXIST);
    let offsets = [0, 1].map(|queue| client.offset_of(CONSUMERS, "orders", queue));
    assert_eq!(offsets, [Some(17), Some(3)]);
    check_delays(&mut client, kept.notes["due"][0]);
    let half = |name: &str| Placed { queue_id: 0, queue_offset: kept.notes[name][0], position: kept.notes[name][1] };
    assert_eq!(client.bodies_of("paid", 0), ["paid"]);
    client.commit(PRODUCERS, half("dropped"));
    client.commit(PRODUCERS, half("open"));
    assert_eq!(client.bodies_of("paid", 0), ["paid", "open"]);
    assert_eq!(client.send("orders", 0, "one more").queue_offset, 40);
    let broker = broker.restarted();
    assert_eq!(broker.client().max_offset("orders", 0), 41);
}

/// What was delivered is there once; what waited is delivered when its time has come, which was long ago for a folder
/// that was kept.
#[track_caller]
fn check_delays(client: &mut Client, due_ms: i64) {
    if now_ms() < due_ms - 5_000 {
        assert_eq!(client.bodies_of("later", 0), ["delivered"; 2]);
        return;
    }
    let bodies: Vec<String> = client.wait_for("later", 0, 0, 5).into_iter().map(|message| message.body).collect();
    assert_eq!(bodies, ["delivered", "delivered", "waits", "waits", "waits"]);
    assert_eq!(client.max_offset("later", 0), 5);
}

fn by_key(client: &mut Client, key: &str) -> Vec<String> {
    let query = QueryMessage {
        topic: Cow::Borrowed("orders"),
        key: Cow::Borrowed(key),
        max_num: 32,
        begin_timestamp: 0,
        end_timestamp: i64::MAX,
        unique_key_query: false,
        index_type: None,
    };
    let answer = client.ask(RequestCode::QUERY_MESSAGE, &query, b"").expect(ResponseCode::SUCCESS);
    answer.messages().into_iter().map(|message| message.body).collect()
}

fn golden() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/folders")
}

#[test]
fn every_folder_that_was_kept_is_opened_with_all_that_is_in_it() {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(golden()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        check(&KeptFolder::parse(&std::fs::read_to_string(&path).unwrap()), &name);
        names.push(name);
    }
    names.sort();
    assert_eq!(names, ["version-1-closed.txt", "version-1-killed.txt"]);
}

/// With `KEEP_FOLDERS=<version>` in its environment this writes the folders of that version.
#[test]
fn a_folder_of_this_version_can_be_kept() {
    let broker = Running::on(tempfile::tempdir().unwrap(), config());
    let checkpoint = || std::fs::read(broker.folder().join("checkpoint")).ok();
    let first = checkpoint();
    let filled = fill(&mut broker.client());
    until("a checkpoint", || (checkpoint() != first).then_some(()));
    fill_tail(&mut broker.client());
    let (sender, saved) = std::sync::mpsc::channel();
    broker.inside().broker.offsets.save_changed();
    broker.inside().broker.meta.when_saved(move |ok| sender.send(ok).unwrap());
    assert!(saved.recv().unwrap());
    let killed = KeptFolder { notes: filled.notes.clone(), ..KeptFolder::of(broker.crash_copy().path()) };
    let closed = KeptFolder { notes: filled.notes, ..KeptFolder::of(broker.stopped().path()) };
    for (kept, name) in [(killed, "killed"), (closed, "closed")] {
        check(&kept, name);
        let text = kept.text();
        assert_eq!(KeptFolder::parse(&text), kept);
        if let Ok(version) = std::env::var("KEEP_FOLDERS") {
            std::fs::write(golden().join(format!("version-{version}-{name}.txt")), text).unwrap();
        }
    }
}
