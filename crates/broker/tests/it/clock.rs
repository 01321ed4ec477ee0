//! A machine's clock may be days off, and be set right while the broker runs. The broker is driven by hand, with a clock
//! that says what the test wants.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use broker::broker::Broker;
use broker::clock::Clock;
use broker::config::BrokerConfig;
use broker::meta::{Meta, Stored};
use broker::remoting::RemotingDoor;
use broker::start::upkeep::{Ticks, Upkeep};
use broker::start::{Machine, open};
use log::{LogConfig, MemoryDisk};
use net::{Connection, ConnectionId, Door, Inbound};
use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::Codec;
use protocol::writer::{Expect, FrameWriter};
use tower::Service;

use crate::flush_of_topic::Nowhere;
use crate::wire::Message;

const NOW_MS: i64 = 1_750_000_000_000;
const TWO_DAYS_MS: i64 = 2 * 24 * 3_600_000;

struct Driven {
    broker: Arc<Broker>,
    connection: Arc<Connection>,
    now_ms: Arc<AtomicI64>,
    upkeep: Upkeep,
    ticks: Ticks,
    _saving: broker::meta::MetaWork<Nowhere>,
}

impl Driven {
    /// A broker on that disk, whose clock says `now_ms`.
    fn on(disk: &Arc<MemoryDisk>, now_ms: i64) -> Driven {
        let now_ms = Arc::new(AtomicI64::new(now_ms));
        let tell = now_ms.clone();
        let machine = Machine {
            disk: disk.clone(),
            clock: Clock::from_fn(move || tell.load(Ordering::Relaxed)),
            store_host: ([127, 0, 0, 1], 10911).into(),
            boot_id: "boot".into(),
            memory_bytes: 1 << 30,
            log_sizes: LogConfig::default(),
        };
        let config = BrokerConfig {
            data_dir: PathBuf::from("/nowhere"),
            segment_bytes: 1 << 20,
            max_message_bytes: (64 << 10).into(),
            ..BrokerConfig::default()
        };
        let (meta, saving) = Meta::by_hand(|| Ok(Nowhere)).unwrap();
        let (broker, _) = open(config, machine, meta, Stored::new([].into())).unwrap();
        let connection = Arc::new(Connection::detached(ConnectionId(1), ([127, 0, 0, 1], 1).into()));
        let (upkeep, ticks) = (Upkeep::new(&broker), Ticks::new(&broker));
        Driven { broker, connection, now_ms, upkeep, ticks, _saving: saving }
    }

    fn set_clock(&mut self, now_ms: i64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
        for _ in 0..3 {
            self.upkeep.step(&self.broker);
            self.ticks.step(&self.broker);
        }
    }

    fn ask(&self, code: RequestCode, fields: &[(&str, &str)], body: &[u8]) -> Message {
        let mut request = Vec::new();
        let frame = FrameWriter::request(&mut request, Codec::Json, code, 7, Expect::Answer);
        fields.iter().fold(frame, |frame, (name, value)| frame.text(name, value)).finish(body);
        let mut service = RemotingDoor::new(self.broker.clone()).opened(&self.connection);
        let answered = service.call(Inbound::new(self.connection.clone(), request)).into_inner().unwrap();
        Message::of(&answered.replies)
    }

    /// Sends to a topic of the system, which is there without metadata.
    fn send(&self, body: &str) -> i64 {
        let answer =
            self.ask(RequestCode::SEND_MESSAGE, &[("topic", "BenchmarkTest"), ("queueId", "0")], body.as_bytes());
        assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{answer:?}");
        answer.number("queueOffset")
    }

    /// How many messages a pull from the beginning finds.
    fn pulled(&self) -> usize {
        let fields = [
            ("consumerGroup", "CID_ONSAPI_OWNER"),
            ("topic", "BenchmarkTest"),
            ("queueId", "0"),
            ("queueOffset", "0"),
            ("maxMsgNums", "32"),
            ("sysFlag", "4"),
            ("suspendTimeoutMillis", "0"),
            ("subscription", "*"),
        ];
        let answer = self.ask(RequestCode::PULL_MESSAGE, &fields, b"");
        assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{answer:?}");
        protocol::record::records(&answer.body).count()
    }
}

#[test]
fn a_clock_that_is_set_by_two_days_stops_nothing() {
    let disk = Arc::new(MemoryDisk::new());
    let mut driven = Driven::on(&disk, NOW_MS);
    assert_eq!(driven.send("a"), 0);
    driven.set_clock(NOW_MS + TWO_DAYS_MS);
    assert_eq!((driven.send("b"), driven.pulled()), (1, 2));
    driven.set_clock(NOW_MS);
    assert_eq!((driven.send("c"), driven.pulled()), (2, 3));
    driven.set_clock(NOW_MS - TWO_DAYS_MS);
    assert_eq!((driven.send("d"), driven.pulled()), (3, 4));
    // The log is read again with a clock that has not come to its newest messages.
    driven.broker.writer.sync_now();
    drop(driven);
    let driven = Driven::on(&disk, NOW_MS - TWO_DAYS_MS);
    assert_eq!((driven.pulled(), driven.send("e"), driven.pulled()), (4, 4, 5));
}
