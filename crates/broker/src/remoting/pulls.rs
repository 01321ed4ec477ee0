//! PULL_MESSAGE (11) and LITE_PULL_MESSAGE (361), held or answered at once.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::Codec;
use protocol::requests::{PullFlags, PullMessage};
use protocol::writer::FrameWriter;

use super::call::{Call, Refusal};
use super::timing;
use crate::broker::Broker;
use crate::held_pulls::HeldPull;
use crate::pull::{self, Found, PullError, PullRequest, Pulled};

/// Longest time for which a pull is held: clients give up after 30 s.
const HOLD_MAX_MS: i64 = 25_000;
/// How long a pull is held when long polling is off.
const SHORT_HOLD_MS: i64 = 1_000;

/// Held pulls that are run before connections of the same thread get their turn.
const PULLS_IN_A_ROW: usize = 32;

thread_local! {
    static BODY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Lends the thread's buffer for the messages of one answer.
fn with_body<T>(run: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    /// A buffer that once held something huge is not kept.
    const KEPT_BYTES_MAX: usize = 2 * 1024 * 1024;
    let mut body = BODY.take();
    body.clear();
    let result = run(&mut body);
    if body.capacity() <= KEPT_BYTES_MAX {
        BODY.set(body);
    }
    result
}

pub fn pull(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: PullMessage<'_> = call.read()?;
    let flags = PullFlags(header.sys_flag);
    let subscription = flags.has_subscription().then(|| {
        let kind = header.expression_type.as_deref().unwrap_or_default().to_owned();
        (kind, header.subscription.as_deref().unwrap_or_default().to_owned())
    });
    let request = PullRequest {
        group: header.consumer_group.into_owned(),
        topic: header.topic.into_owned(),
        queue_id: header.queue_id,
        offset: header.queue_offset,
        max_messages: header.max_msg_nums,
        max_bytes: header.max_msg_bytes.filter(|bytes| *bytes > 0),
        flags,
        subscription,
        sub_version: header.sub_version,
    };
    with_body(|body| {
        let pulled = pull::pull(call.broker, &request, body).map_err(refusal)?;
        // What is committed along with a pull that is sent elsewhere is older than where it is sent.
        if flags.commits() && pulled.found != Found::Reset {
            call.broker.offsets.commit(&request.group, &request.topic, request.queue_id, header.commit_offset);
        }
        let nothing = matches!(pulled.found, Found::NothingYet | Found::Empty);
        let may_hold = nothing && flags.may_suspend() && !call.header.is_oneway();
        if may_hold && hold(call, request, &pulled, header.suspend_timeout_millis) {
            return Ok(());
        }
        write_answer(call.broker, call.codec, call.header.opaque, &pulled, body, call.out);
        call.expected.extend(pulled.goes_on);
        Ok(())
    })
}

fn refusal(error: PullError) -> Refusal {
    let (code, forbidden_type) = error.code();
    Refusal { forbidden_type, ..Refusal::new(code, error) }
}

/// Holds the pull; `false` when it has to be answered now.
fn hold(call: &Call<'_>, request: PullRequest, pulled: &Pulled, wanted_ms: i64) -> bool {
    let Some(queue) = pulled.queue else { return false };
    let broker = call.broker;
    let hold_ms = if broker.config.long_polling.get() { wanted_ms.clamp(0, HOLD_MAX_MS) } else { SHORT_HOLD_MS };
    let offset = request.offset;
    let held = HeldPull {
        connection: call.connection.clone(),
        opaque: call.header.opaque,
        codec: call.codec,
        code: RequestCode(call.header.code),
        since: call.since,
        request,
    };
    if !broker.pulls.hold(queue, broker.clock.now_ms() + hold_ms, held) {
        return false;
    }
    // A message that was stored between our look and the hold woke nobody.
    if broker.log.offsets(queue).max as i64 > offset {
        broker.pulls.arrived(std::iter::once(queue));
    }
    true
}

fn write_answer(broker: &Broker, codec: Codec, opaque: i32, pulled: &Pulled, body: &[u8], out: &mut Vec<u8>) {
    if !matches!(pulled.found, Found::Messages(_)) {
        broker.counters.pulls_missed.fetch_add(1, Ordering::Relaxed);
    }
    FrameWriter::response(out, codec, pulled.found.code(), opaque, Some(pulled.found.name()))
        .integer("suggestWhichBrokerId", 0)
        .integer("nextBeginOffset", pulled.next_offset)
        .integer("minOffset", pulled.min_offset)
        .integer("maxOffset", pulled.max_offset)
        .integer("topicSysFlag", pulled.topic_sys_flag)
        .integer("groupSysFlag", pulled.group_sys_flag)
        .finish(body);
}

/// Runs held pulls again when messages arrive or their time is up, until the broker stops.
pub async fn answer_held_pulls(broker: Arc<Broker>) {
    loop {
        let wait = answer_ready_pulls(&broker);
        if wait.is_zero() {
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            () = broker.pulls.woken() => {}
            () = tokio::time::sleep(wait) => {}
            () = broker.shutdown.cancelled() => return,
        }
    }
}

/// Runs held pulls again for which messages arrived or whose time is up, some of them if there are many. Returns after
/// what time the next one is up: at once, if zero.
pub fn answer_ready_pulls(broker: &Arc<Broker>) -> Duration {
    let now_ms = broker.clock.now_ms();
    for (deadline_ms, held) in broker.pulls.take_ready(now_ms, PULLS_IN_A_ROW) {
        run_again(broker, now_ms, deadline_ms, held);
    }
    if broker.pulls.has_ready() {
        return Duration::ZERO;
    }
    let next_ms = broker.pulls.next_deadline_ms().unwrap_or(i64::MAX);
    Duration::from_millis(next_ms.saturating_sub(broker.clock.now_ms()).clamp(0, HOLD_MAX_MS) as u64)
}

fn run_again(broker: &Arc<Broker>, now_ms: i64, deadline_ms: i64, mut held: HeldPull) {
    if held.connection.is_closed() {
        return;
    }
    with_body(|body| {
        let (codec, opaque, connection) = (held.codec, held.opaque, held.connection.clone());
        let (asked, since) = (held.code, held.since);
        match pull::pull(broker, &held.request, body) {
            Ok(pulled) => {
                let nothing = matches!(pulled.found, Found::NothingYet | Found::Empty | Found::NothingMatched);
                if let (true, true, Some(queue)) = (nothing, now_ms < deadline_ms, pulled.queue) {
                    // What does not pass the filter need not be looked at again.
                    held.request.offset = pulled.next_offset;
                    if broker.pulls.hold(queue, deadline_ms, held) {
                        if broker.log.offsets(queue).max as i64 > pulled.next_offset {
                            broker.pulls.arrived(std::iter::once(queue));
                        }
                        return;
                    }
                }
                timing::note_held(broker, asked, pulled.found.code(), since);
                connection.send(|out| write_answer(broker, codec, opaque, &pulled, body, out));
            }
            Err(error) => {
                let (code, forbidden_type) = error.code();
                timing::note_held(broker, asked, code, since);
                connection.send(|out| {
                    let remark = error.to_string();
                    let mut frame = FrameWriter::response(out, codec, code, opaque, Some(&remark));
                    if let Some(kind) = forbidden_type {
                        frame = frame.integer("forbiddenType", kind);
                    }
                    frame.finish(b"");
                });
                debug_assert_ne!(code, ResponseCode::SUCCESS);
            }
        }
    });
}
