//! A topic can be answered before, or only after, the disk has its messages, whatever the broker does for others. The
//! broker is driven by hand, so that it syncs when the test says so.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use broker::broker::Broker;
use broker::clock::Clock;
use broker::config::{BrokerConfig, Flush};
use broker::meta::{Changes, Meta, MetaError, Store, Stored, Tree};
use broker::remoting::RemotingDoor;
use broker::start::{Machine, open};
use log::{LogConfig, MemoryDisk};
use net::{Connection, ConnectionId, Door, Inbound};
use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::{self, Codec};
use protocol::writer::{Expect, FrameWriter};
use tower::Service;

use crate::wire::Message;

/// Metadata that is always saved, and kept by nobody.
pub struct Nowhere;

impl Store for Nowhere {
    fn write(&self, _: &Changes) -> Result<(), MetaError> {
        Ok(())
    }
    fn export(&self, _: Tree) -> Result<(), MetaError> {
        Ok(())
    }
    fn close(self) {}
}

struct ByHand {
    broker: Arc<Broker>,
    connection: Arc<Connection>,
    saving: broker::meta::MetaWork<Nowhere>,
}

impl ByHand {
    fn new(flush: Flush) -> ByHand {
        let config = BrokerConfig { flush, data_dir: PathBuf::from("/nowhere"), ..BrokerConfig::default() };
        let machine = Machine {
            disk: Arc::new(MemoryDisk::new()),
            clock: Clock::from_fn(|| 1_750_000_000_000),
            store_host: ([127, 0, 0, 1], 10911).into(),
            boot_id: "boot".into(),
            memory_bytes: 1 << 30,
            log_sizes: LogConfig::default(),
        };
        let config = BrokerConfig { segment_bytes: 1 << 20, ..config };
        let (meta, saving) = Meta::by_hand(|| Ok(Nowhere)).unwrap();
        let (broker, _) = open(config, machine, meta, Stored::new([].into())).unwrap();
        let connection = Arc::new(Connection::detached(ConnectionId(1), ([127, 0, 0, 1], 1).into()));
        ByHand { broker, connection, saving }
    }

    /// Sends a request, and returns the answers that have come by now.
    fn ask(&mut self, code: RequestCode, fields: &[(&str, &str)]) -> Vec<ResponseCode> {
        let mut request = Vec::new();
        let mut frame = FrameWriter::request(&mut request, Codec::Json, code, 7, Expect::Answer);
        for (name, value) in fields {
            frame = frame.text(name, value);
        }
        frame.finish(b"paid");
        let mut service = RemotingDoor::new(self.broker.clone()).opened(&self.connection);
        let answered = service.call(Inbound::new(self.connection.clone(), request)).into_inner().unwrap();
        #[expect(clippy::disallowed_methods, reason = "metadata is saved when the test says so")]
        self.saving.step(Instant::now());
        [answers(&answered.replies), self.answered()].concat()
    }

    fn answered(&self) -> Vec<ResponseCode> {
        let mut bytes = Vec::new();
        self.connection.take_outbox(&mut bytes);
        answers(&bytes)
    }

    fn make_topic(&mut self, name: &str, flush: &str) {
        let attributes = format!("+flush.disk.type={flush}");
        let fields = [
            ("topic", name),
            ("defaultTopic", "TBW102"),
            ("readQueueNums", "1"),
            ("writeQueueNums", "1"),
            ("perm", "6"),
            ("attributes", &attributes),
        ];
        assert_eq!(self.ask(RequestCode::UPDATE_AND_CREATE_TOPIC, &fields), [ResponseCode::SUCCESS]);
    }

    fn send(&mut self, topic: &str) -> Vec<ResponseCode> {
        self.ask(RequestCode::SEND_MESSAGE, &[("topic", topic), ("queueId", "0")])
    }

    /// Messages of the topic that readers see.
    fn seen(&self, topic: &str) -> u64 {
        self.broker.log.find_queue(topic, 0).map_or(0, |queue| self.broker.log.offsets(queue).max)
    }
}

fn answers(mut bytes: &[u8]) -> Vec<ResponseCode> {
    let mut found = Vec::new();
    while let Some(frame) = frame::split(bytes).unwrap() {
        found.push(Message::of(&bytes[..frame.size]).response_code());
        bytes = &bytes[frame.size..];
    }
    found
}

#[test]
fn a_topic_waits_for_the_disk_where_others_do_not() {
    let mut by_hand = ByHand::new(Flush::Async);
    by_hand.make_topic("orders", "SYNC_FLUSH");
    by_hand.make_topic("metrics", "ASYNC_FLUSH");
    assert_eq!(by_hand.send("metrics"), [ResponseCode::SUCCESS]);
    assert_eq!(by_hand.send("orders"), []);
    by_hand.broker.writer.sync_now();
    assert_eq!(by_hand.answered(), [ResponseCode::SUCCESS]);
    assert_eq!(by_hand.broker.log.durable(), by_hand.broker.log.end());
}

#[test]
fn a_topic_is_answered_at_once_where_others_wait_and_is_seen_only_when_it_is_safe() {
    let mut by_hand = ByHand::new(Flush::Sync);
    by_hand.make_topic("orders", "SYNC_FLUSH");
    by_hand.make_topic("metrics", "ASYNC_FLUSH");
    assert_eq!(by_hand.send("metrics"), [ResponseCode::SUCCESS]);
    assert_eq!(by_hand.seen("metrics"), 0);
    assert_eq!(by_hand.send("orders"), []);
    by_hand.broker.writer.sync_now();
    assert_eq!(by_hand.answered(), [ResponseCode::SUCCESS]);
    assert_eq!((by_hand.seen("metrics"), by_hand.seen("orders")), (1, 1));
}

#[test]
fn what_was_answered_before_it_is_safe_still_becomes_what_it_is() {
    let mut by_hand = ByHand::new(Flush::Sync);
    by_hand.make_topic("metrics", "ASYNC_FLUSH");
    let prepared = [
        ("topic", "metrics"),
        ("queueId", "0"),
        ("sysFlag", "4"),
        ("properties", "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}g\u{2}"),
    ];
    assert_eq!(by_hand.ask(RequestCode::SEND_MESSAGE, &prepared), [ResponseCode::SUCCESS]);
    assert_eq!(by_hand.broker.transactions().iter().count(), 0);
    by_hand.broker.writer.sync_now();
    assert_eq!(by_hand.broker.transactions().iter().count(), 1);
    // A pull that waits is woken when the message can be seen.
    let pull = [
        ("consumerGroup", "g"),
        ("topic", "metrics"),
        ("queueId", "0"),
        ("queueOffset", "0"),
        ("maxMsgNums", "1"),
        ("sysFlag", "6"),
        ("suspendTimeoutMillis", "9000"),
        ("subscription", "*"),
    ];
    assert_eq!(by_hand.ask(RequestCode::PULL_MESSAGE, &pull), []);
    assert_eq!(by_hand.send("metrics"), [ResponseCode::SUCCESS]);
    broker::remoting::answer_ready_pulls(&by_hand.broker);
    assert_eq!(by_hand.answered(), []);
    by_hand.broker.writer.sync_now();
    broker::remoting::answer_ready_pulls(&by_hand.broker);
    assert_eq!(by_hand.answered(), [ResponseCode::SUCCESS]);
}

#[test]
fn a_flush_that_nobody_knows_is_refused() {
    let mut by_hand = ByHand::new(Flush::Sync);
    let fields = [
        ("topic", "orders"),
        ("defaultTopic", "TBW102"),
        ("readQueueNums", "1"),
        ("writeQueueNums", "1"),
        ("perm", "6"),
        ("attributes", "+flush.disk.type=NEVER"),
    ];
    assert_ne!(by_hand.ask(RequestCode::UPDATE_AND_CREATE_TOPIC, &fields), [ResponseCode::SUCCESS]);
    assert!(by_hand.broker.topics.get("orders").is_none());
}
