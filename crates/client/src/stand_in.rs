//! A server for tests that answers as a closure says.

use std::convert::Infallible;
use std::future::Ready;
use std::sync::Arc;
use std::task::{Context, Poll};

use net::server::ServerOptions;
use net::workers::{WorkerThreads, Workers};
use net::{CloseReason, Connection, Door, Inbound, Outbound};
use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::Codec;
use protocol::header::{FieldSpans, Header};
use protocol::writer::FrameWriter;
use tokio_util::sync::CancellationToken;
use tower::Service;

/// A request as the closure sees it, and the beginning of its answer.
pub struct Asked {
    pub code: RequestCode,
    pub fields: Vec<(String, String)>,
    pub content: Vec<u8>,
    reply: Reply,
}

/// What is answered.
#[derive(Default)]
pub struct Reply {
    code: i32,
    remark: Option<String>,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    silent: bool,
}

impl Asked {
    pub fn field(&self, name: &str) -> String {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap_or_default()
    }

    pub fn code(self, code: i32) -> Reply {
        Reply { code, ..self.reply }
    }

    pub fn body(self, body: impl Into<Vec<u8>>) -> Reply {
        Reply { body: body.into(), ..self.reply }
    }

    pub fn with(self, fields: &[(&str, &str)]) -> Reply {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Reply { fields, ..self.reply }
    }

    /// No answer at all.
    pub fn silence(self) -> Reply {
        Reply { silent: true, ..self.reply }
    }
}

impl Reply {
    pub fn remark(self, remark: &str) -> Reply {
        Reply { remark: Some(remark.to_owned()), ..self }
    }

    pub fn and_code(self, code: i32) -> Reply {
        Reply { code, ..self }
    }

    pub fn and_body(self, body: impl Into<Vec<u8>>) -> Reply {
        Reply { body: body.into(), ..self }
    }
}

type Answering = Arc<dyn Fn(Asked) -> Reply + Send + Sync>;

/// The running server; stops when dropped.
pub struct StandIn {
    address: String,
    stop: CancellationToken,
    workers: Workers,
    threads: Option<WorkerThreads>,
}

impl StandIn {
    pub fn start(answering: impl Fn(Asked) -> Reply + Send + Sync + 'static) -> StandIn {
        let (workers, threads) = Workers::start("stand-in", 1).unwrap();
        let listener = net::listen::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        let door = StandInDoor(Arc::new(answering));
        let (spread, token) = (workers.clone(), stop.clone());
        workers.spawn_on(0, move || async move {
            net::serve(vec![listener], door, spread, ServerOptions::default(), token).await.unwrap();
        });
        StandIn { address, stop, workers, threads: Some(threads) }
    }

    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stop.cancel();
        self.workers.stop();
        if let Some(threads) = self.threads.take() {
            threads.join();
        }
    }
}

#[derive(Clone)]
struct StandInDoor(Answering);

impl Door for StandInDoor {
    type Service = StandInService;

    fn opened(&self, _: &Arc<Connection>) -> StandInService {
        StandInService(self.0.clone())
    }

    fn closed(&self, _: &Arc<Connection>, _: CloseReason) {}
}

struct StandInService(Answering);

impl Service<Inbound> for StandInService {
    type Response = Outbound;
    type Error = Infallible;
    type Future = Ready<Result<Outbound, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut inbound: Inbound) -> Self::Future {
        let mut replies = std::mem::take(&mut inbound.replies);
        for frame in inbound.frames() {
            let mut spans = FieldSpans::default();
            let header = Header::decode(Codec::Json, frame.header, &mut spans).unwrap();
            let fields = header.fields.iter();
            let fields = fields.map(|(name, value)| (name.resolve().into_owned(), value.resolve().into_owned()));
            let asked = Asked {
                code: RequestCode(header.code),
                fields: fields.collect(),
                content: frame.body.to_vec(),
                reply: Reply::default(),
            };
            let reply = (self.0)(asked);
            if header.is_oneway() || reply.silent {
                continue;
            }
            let code = ResponseCode(reply.code);
            let remark = reply.remark.as_deref();
            let mut writer = FrameWriter::response(&mut replies, Codec::Json, code, header.opaque, remark);
            for (name, value) in &reply.fields {
                writer = writer.text(name, value);
            }
            writer.finish(&reply.body);
        }
        std::future::ready(Ok(inbound.answer(replies)))
    }
}
