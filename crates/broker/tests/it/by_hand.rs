//! A broker that is driven by hand: it syncs, saves and reads from the disk when the test says so.

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

/// A broker on a disk in memory, and one connection to it.
pub struct ByHand {
    pub broker: Arc<Broker>,
    pub disk: MemoryDisk,
    connection: Arc<Connection>,
    saving: broker::meta::MetaWork<Nowhere>,
}

impl ByHand {
    pub fn new(flush: Flush) -> ByHand {
        let disk = MemoryDisk::new();
        let config = BrokerConfig { flush, data_dir: PathBuf::from("/nowhere"), ..BrokerConfig::default() };
        let machine = Machine {
            disk: Arc::new(disk.clone()),
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
        ByHand { broker, disk, connection, saving }
    }

    /// Sends a request, and returns the answers that have come by now.
    pub fn ask(&mut self, code: RequestCode, fields: &[(&str, &str)]) -> Vec<ResponseCode> {
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

    pub fn answered(&self) -> Vec<ResponseCode> {
        let mut bytes = Vec::new();
        self.connection.take_outbox(&mut bytes);
        answers(&bytes)
    }

    pub fn make_topic(&mut self, name: &str, flush: &str) {
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

    pub fn send(&mut self, topic: &str) -> Vec<ResponseCode> {
        self.ask(RequestCode::SEND_MESSAGE, &[("topic", topic), ("queueId", "0")])
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
