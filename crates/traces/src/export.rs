//! Gathers spans and takes them to the collector, on a thread of its own: nobody who serves a client waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_util::sync::CancellationToken;

use crate::collector::Collector;
use crate::context::TraceContext;
use crate::otlp::{self, ExportRequest};
use crate::span::{Attribute, Span};
use crate::target::Target;

/// Spans that wait for the collector, at most; more are left out. The numbers are those of OpenTelemetry's SDKs, but for
/// the queue, which is twice as long: brokers make more spans than services.
const QUEUE_MAX: usize = 4096;
const BATCH_MAX: usize = 512;
/// Longest time for which a span waits for others to go with it.
const GATHER: Duration = Duration::from_secs(1);
/// Pauses before a batch is tried again that the collector may take later. Then it is left out.
const RETRIES: [Duration; 4] =
    [Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5)];
/// Time for the last spans when the process ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// Where spans go, and whose they are.
#[derive(Clone, Debug)]
pub struct Options {
    /// The collector.
    pub target: Target,
    /// What describes the service.
    pub resource: Vec<Attribute>,
}

/// A span that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    pub span: Span,
    /// In nanoseconds since 1970.
    pub end_ns: u64,
    /// What went wrong, if it did.
    pub error: Option<String>,
}

/// Makes spans. Clones share everything.
#[derive(Clone, Debug)]
pub struct Tracer {
    queue: Sender<Ended>,
    ids: Arc<SpanIds>,
    left_out: Arc<AtomicU64>,
}

/// The thread that takes spans to the collector.
#[must_use = "spans are taken to the collector until this is closed"]
#[derive(Debug)]
pub struct Exporting {
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

impl Tracer {
    /// Starts taking spans to a collector, which need not be there yet.
    pub fn start(options: Options) -> std::io::Result<(Tracer, Exporting)> {
        let ids = SpanIds::new().map_err(|error| std::io::Error::other(error.to_string()))?;
        let (queue, spans) = channel(QUEUE_MAX);
        let left_out = Arc::new(AtomicU64::new(0));
        let stop = CancellationToken::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let export = Export {
            target: options.target.authority(),
            collector: Collector::new(options.target),
            resource: options.resource,
            spans,
            left_out: left_out.clone(),
            is_failing: false,
        };
        let until = stop.clone();
        let thread = std::thread::Builder::new().name("traces".into()).spawn(move || {
            runtime.block_on(export.run(until));
        })?;
        Ok((Tracer { queue, ids: Arc::new(ids), left_out }, Exporting { stop, thread }))
    }

    /// Begins a span now. `None` if whoever began the trace does not record it.
    pub fn begin(&self, parent: TraceContext, name: String) -> Option<Span> {
        let span = || Span { parent, span_id: self.ids.next(), name, start_ns: now_ns(), attributes: Vec::new() };
        parent.sampled.then(span)
    }

    /// Ends a span now; `error` says what went wrong. Never waits: when the collector is slow, spans are left out.
    pub fn end(&self, span: Span, error: Option<String>) {
        if self.queue.try_send(Ended { span, end_ns: now_ns(), error }).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Exporting {
    /// Tells the collector what it was not told yet, if it is there, and ends the thread.
    pub fn close(self) {
        self.stop.cancel();
        // A panic was already reported by the thread itself.
        let _ = self.thread.join();
    }
}

fn now_ns() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "spans tell real time, finer than the broker's clock has it")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// Ids that no other process gives: a count from a random start, mixed by `SplitMix64`, which repeats nothing.
#[derive(Debug)]
struct SpanIds {
    next: AtomicU64,
}

impl SpanIds {
    fn new() -> Result<SpanIds, getrandom::Error> {
        let mut start = [0; 8];
        getrandom::fill(&mut start)?;
        Ok(SpanIds { next: AtomicU64::new(u64::from_le_bytes(start)) })
    }

    fn next(&self) -> [u8; 8] {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut mixed = self.next.fetch_add(STEP, Ordering::Relaxed);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        // Zero is no id.
        (mixed ^ (mixed >> 31)).max(1).to_be_bytes()
    }
}

struct Export {
    target: String,
    collector: Collector,
    resource: Vec<Attribute>,
    spans: Receiver<Ended>,
    left_out: Arc<AtomicU64>,
    is_failing: bool,
}

impl Export {
    async fn run(mut self, stop: CancellationToken) {
        while let Some(batch) = self.gather(&stop).await {
            let count = batch.len() as u64;
            let request = otlp::request(&self.resource, batch);
            tokio::select! {
                () = self.deliver(&request, count) => {}
                () = stopped_for(&stop, FAREWELL) => break,
            }
        }
        self.tell_left_out();
    }

    /// The next spans; none when the process ends and all are told.
    async fn gather(&mut self, stop: &CancellationToken) -> Option<Vec<Ended>> {
        let mut batch = Vec::new();
        tokio::select! {
            biased;
            count = self.spans.recv_many(&mut batch, BATCH_MAX) => if count == 0 { return None },
            () = stop.cancelled() => return None,
        }
        let gathered = tokio::time::sleep(GATHER);
        tokio::pin!(gathered);
        while batch.len() < BATCH_MAX {
            let room = BATCH_MAX - batch.len();
            tokio::select! {
                biased;
                count = self.spans.recv_many(&mut batch, room) => if count == 0 { break },
                () = &mut gathered => break,
                () = stop.cancelled() => break,
            }
        }
        Some(batch)
    }

    async fn deliver(&mut self, request: &ExportRequest, count: u64) {
        let mut pauses = RETRIES.iter();
        loop {
            let error = match self.collector.export(request).await {
                Ok(answer) => {
                    if std::mem::take(&mut self.is_failing) {
                        tracing::info!(target = self.target, "spans reach the collector again");
                    }
                    if let Some(partial) = answer.filter(|partial| partial.rejected_spans > 0) {
                        let (rejected, message) = (partial.rejected_spans, partial.error_message);
                        tracing::warn!(
                            target = self.target,
                            rejected,
                            message,
                            "the collector does not take all spans"
                        );
                    }
                    self.tell_left_out();
                    return;
                }
                Err(error) => error,
            };
            // Once per outage: a collector that is away must not fill the logs.
            if !std::mem::replace(&mut self.is_failing, true) {
                tracing::warn!(target = self.target, %error, "spans do not reach the collector");
            }
            match pauses.next().filter(|_| error.may_pass()) {
                Some(pause) => tokio::time::sleep(*pause).await,
                None => {
                    self.left_out.fetch_add(count, Ordering::Relaxed);
                    return;
                }
            }
        }
    }

    fn tell_left_out(&self) {
        let left_out = self.left_out.swap(0, Ordering::Relaxed);
        if left_out > 0 {
            tracing::warn!(target = self.target, left_out, "spans were left out: the collector was away or slow");
        }
    }
}

async fn stopped_for(stop: &CancellationToken, time: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(time).await;
}
