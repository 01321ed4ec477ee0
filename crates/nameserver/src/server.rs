//! The shell: sockets, clock, disk and log around a [`Nameserver`].

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use metrics::Exporter;
use net::workers::Workers;
use net::{CloseReason, Connection, ConnectionId, Door, Inbound, Outbound};
use protocol::codes::RequestCode;
use protocol::frame::Codec;
use protocol::header::FieldSpans;
use protocol::writer::{Expect, FrameWriter};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::changed::{self, ChangedFile};
use crate::config::NameserverConfig;
use crate::effect::{Effect, MinIdNotice};
use crate::handlers::{Arrival, Fixed, Handled, Nameserver};
use crate::horizon::{Reader, Surroundings};
use crate::kv::file;
use crate::kv::writer::{KvStore, KvWriter};
use crate::series::NameserverSeries;

/// Serves brokers, clients and tools on `listeners` until `shutdown`, and shows itself through `exporter`. Runs on one of
/// `workers`.
pub async fn serve(
    listeners: Vec<TcpListener>,
    config: NameserverConfig,
    workers: Workers,
    exporter: Exporter,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let mut shown = config.fixed_entries();
    let mut port = config.listen_port;
    if let Some(address) = listeners.first().map(TcpListener::local_addr).transpose()? {
        // The port that was given where none was asked for.
        port = address.port();
        shown.push(("listenPort".into(), port.to_string()));
    }
    let loaded = file::load(&config.kv_path).map_err(std::io::Error::other)?;
    for error in &loaded.errors {
        tracing::error!(%error, "KV table");
    }
    if loaded.from_backup {
        tracing::warn!(path = %config.kv_path.display(), "KV table is the one before the last change");
    }
    let silence_max_ms = u64::try_from(config.silence_max.as_millis()).unwrap_or(u64::MAX);
    let fixed = Fixed { silence_max_ms, locked_keys: config.locked_keys, shown };
    let nameserver = Arc::new(Nameserver::new(fixed, config.settings, loaded.table));
    let changed_path = changed::path_beside(&config.kv_path);
    let kept = changed::read(&changed_path)?.into_iter().map(|entry| (entry.key, entry.value));
    nameserver.remember_changed(kept);
    let changed = ChangedFile::new(changed_path, nameserver.clone());
    let (store, kv_writer) = KvWriter::new(config.kv_path, nameserver.clone());
    let shell = Shell { nameserver, store, changed, started: Instant::now(), connections: Mutex::default() };
    exporter.add(Arc::new(NameserverSeries::new(&shell.nameserver, port)));
    let door = NameserverDoor(Arc::new(shell));

    // The scan and the KV writer outlive the connections, whose last requests they still serve.
    let stop = CancellationToken::new();
    let serving = async {
        let served = net::serve(listeners, door.clone(), workers, config.connections, shutdown).await;
        stop.cancel();
        served
    };
    let (served, (), ()) =
        tokio::join!(serving, scan(&door.0, config.scan_interval, &stop), kv_writer.run(stop.clone()));
    served
}

/// Looks for silent brokers until `stop`.
async fn scan(shell: &Shell, interval: Duration, stop: &CancellationToken) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut effects = Vec::new();
    loop {
        // A container can be given another network while it runs.
        shell.nameserver.set_surroundings(surroundings());
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => shell.nameserver.tick(shell.now_ms(), &mut effects),
        }
        shell.perform(&mut effects);
    }
}

/// The networks that this machine has now. A system without such a table has no neighbours that matter.
fn surroundings() -> Surroundings {
    let table = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    // In Kubernetes no host publishes the ports of a pod, so its gateway is not where programs dial 127.0.0.1.
    let marked = ["/.dockerenv", "/run/.containerenv"].iter().any(|mark| std::path::Path::new(mark).exists());
    let in_container = marked && std::env::var_os("KUBERNETES_SERVICE_HOST").is_none();
    Surroundings::from_route_table(&table, in_container)
}

#[derive(Debug)]
struct Shell {
    nameserver: Arc<Nameserver>,
    store: KvStore,
    changed: ChangedFile,
    started: Instant,
    /// Whoever may have to be told something unasked.
    connections: Mutex<HashMap<ConnectionId, Arc<Connection>>>,
}

impl Shell {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Answers the frames of one read, in their order.
    async fn answer(&self, mut inbound: Inbound) -> Outbound {
        let mut replies = std::mem::take(&mut inbound.replies);
        let (peer, local) = (inbound.connection.peer().ip(), inbound.connection.local().ip());
        let arrival =
            Arrival { connection: inbound.connection.id(), reader: Reader { peer, local }, now_ms: self.now_ms() };
        let (mut spans, mut effects) = (FieldSpans::default(), Vec::new());
        let mut unreadable = None;
        for frame in inbound.frames() {
            let handled = self.nameserver.handle(arrival, &frame, &mut spans, &mut replies, &mut effects);
            self.perform(&mut effects);
            match handled {
                Handled::Done => {}
                Handled::Store(change, pending) => pending.finish(self.store.store(change).await, &mut replies),
                Handled::SaveSettings(pending) => pending.finish_settings(self.changed.save().await, &mut replies),
                Handled::Unreadable(error) => {
                    unreadable = Some(error);
                    break;
                }
            }
            if inbound.is_answered_enough(&replies) {
                break;
            }
        }
        match unreadable {
            None => inbound.answer(replies),
            Some(error) => {
                tracing::warn!(peer = %inbound.connection.peer(), %error, "connection closed");
                inbound.answer_and_close(replies, CloseReason::Protocol)
            }
        }
    }

    fn perform(&self, effects: &mut Vec<Effect>) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Log(change) if change.is_warning() => tracing::warn!("{change}"),
                Effect::Log(change) => tracing::info!("{change}"),
                Effect::NotifyMinId { connection, notice } => {
                    if let Some(connection) = self.connections().get(&connection) {
                        connection.send(|out| write_notice(&notice, out));
                    }
                }
                Effect::Close(connection) => {
                    if let Some(connection) = self.connections().get(&connection) {
                        connection.close(CloseReason::Idle);
                    }
                }
            }
        }
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<ConnectionId, Arc<Connection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// NOTIFY_MIN_BROKER_ID_CHANGE (905).
fn write_notice(notice: &MinIdNotice, out: &mut Vec<u8>) {
    let code = RequestCode::NOTIFY_MIN_BROKER_ID_CHANGE;
    let mut frame = FrameWriter::request(out, Codec::Json, code, 0, Expect::Nothing)
        .text("brokerName", &notice.broker)
        .integer("minBrokerId", notice.min_id)
        .text("minBrokerAddr", &notice.min_address);
    if let Some(address) = &notice.gone_address {
        frame = frame.text("offlineBrokerAddr", address);
    }
    if let Some(address) = &notice.ha_address {
        frame = frame.text("haBrokerAddr", address);
    }
    frame.finish(b"");
}

#[derive(Clone, Debug)]
struct NameserverDoor(Arc<Shell>);

impl Door for NameserverDoor {
    type Service = FrameService;

    fn opened(&self, connection: &Arc<Connection>) -> FrameService {
        self.0.connections().insert(connection.id(), connection.clone());
        FrameService(self.0.clone())
    }

    fn closed(&self, connection: &Arc<Connection>, _reason: CloseReason) {
        self.0.connections().remove(&connection.id());
        let mut effects = Vec::new();
        self.0.nameserver.connection_closed(connection.id(), &mut effects);
        self.0.perform(&mut effects);
    }
}

struct FrameService(Arc<Shell>);

impl Service<Inbound> for FrameService {
    type Response = Outbound;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Outbound, Infallible>>>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, inbound: Inbound) -> Self::Future {
        let shell = self.0.clone();
        Box::pin(async move { Ok(shell.answer(inbound).await) })
    }
}
