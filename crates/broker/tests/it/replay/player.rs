//! Plays a recording to a fresh broker: every request when its line comes, every answer awaited when its line comes.

use std::collections::{BTreeMap, HashMap};

use protocol::codes::{RequestCode, ResponseCode};
use protocol::message_id::OffsetMessageId;
use protocol::properties::{self, Properties};
use protocol::record;

use super::beginning::{Beginning, field, goes_straight, is_send};
use super::compare::{self, Depth};
use super::rewrite::Request;
use crate::recording::{Kind, Line, Peer};
use crate::server::Server;
use crate::wire::{Message, Wire};

/// Number of the first request; the recorded ones are smaller.
const OPAQUES_FROM: i32 = 100_000_000;

/// Time for which a pull is held that the recording shows to end without a message.
const SHORT_HOLD_MS: &str = "60";

/// Time for which a pop is held that the recording shows to end without a message.
const NO_HOLD_MS: &str = "0";

/// What came of a recording.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Answers compared.
    pub answers: usize,
    /// Requests of the broker compared.
    pub pushes: usize,
    /// What differs.
    pub differences: Vec<Difference>,
}

/// Something that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Line of the answer.
    pub line: u64,
    /// Code of the request.
    pub request: i32,
    /// What differs.
    pub what: String,
}

/// Time after which a message is handed out again whose consumer gave it back for a while.
const SHORT_ABSENCE_MS: &str = "1500";

/// How to play a recording.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// The recording shows only part of what went on, so that offsets cannot be the recorded ones.
    pub partial: bool,
    /// The recorded client made no unique ids.
    pub ids_from_broker: bool,
    /// Lines that are left out.
    pub without: &'static [u64],
}

struct Player<'s> {
    server: &'s Server,
    lines: &'s [Line],
    style: Style,
    wires: BTreeMap<String, Wire>,
    /// Requests by connection and recorded number.
    asked: HashMap<(String, i64), Asked>,
    /// Our positions in the commit log by the recorded ones.
    positions: HashMap<i64, i64>,
    /// Our offsets in the half topic by the recorded ones.
    half_offsets: HashMap<i64, i64>,
    /// Our numbers of requests of the broker by connection and recorded number.
    pushed: HashMap<(String, i64), i32>,
    /// When messages were handed out, by the recorded times.
    pop_times: HashMap<String, String>,
    /// Our recall handles by the recorded ones.
    handles: HashMap<String, String>,
    /// Pulls that are sent when their answer's line comes, by connection and recorded number.
    put_off: HashMap<(String, i64), Vec<u8>>,
    /// Milliseconds from the recorded clock to ours, as of the first line.
    recorded_start_ms: Option<i64>,
    outcome: Outcome,
}

#[derive(Clone)]
struct Asked {
    code: RequestCode,
    opaque: i32,
    request: Message,
    oneway: bool,
}

/// Plays `lines` and compares every answer. `wires` are connections that were open before, by their recorded names.
pub fn play(server: &Server, lines: &[Line], style: Style, wires: BTreeMap<String, Wire>) -> Outcome {
    let positions = Beginning::of(lines, style.partial).bring_about(server);
    let mut player = Player {
        server,
        lines,
        style,
        wires,
        asked: HashMap::new(),
        positions,
        half_offsets: HashMap::new(),
        pushed: HashMap::new(),
        pop_times: HashMap::new(),
        handles: HashMap::new(),
        put_off: HashMap::new(),
        recorded_start_ms: recorded_start_ms(lines),
        outcome: Outcome::default(),
    };
    for (index, line) in lines.iter().enumerate().filter(|(_, line)| line.peer != Peer::Nameserver) {
        if style.without.contains(&line.number) {
            continue;
        }
        player.play_line(index, line);
    }
    player.look_for_unwanted_answers();
    player.outcome
}

/// The recorded time of the first line, from a message that was made during the recording.
fn recorded_start_ms(lines: &[Line]) -> Option<i64> {
    lines.iter().find_map(|line| {
        let Kind::Request { code, .. } = line.kind else { return None };
        let made_ms: i64 = match is_send(RequestCode(code)) {
            true => field(&line.message(), "bornTimestamp", "g")?.parse().ok()?,
            false => return None,
        };
        Some(made_ms - line.at_ms?)
    })
}

impl Player<'_> {
    fn play_line(&mut self, index: usize, line: &Line) {
        match (line.kind, line.from_client) {
            (Kind::Request { code, oneway, opaque }, true) => self.ask(index, line, RequestCode(code), oneway, opaque),
            (Kind::Answer { opaque, .. }, false) => self.compare_answer(line, opaque),
            (Kind::Request { code, .. }, false) => self.compare_push(line, RequestCode(code)),
            (Kind::Answer { opaque, .. }, true) => self.answer_push(line, opaque),
            (Kind::Garbage, true) => self.wire(line).send(&line.frame()),
            (Kind::Garbage, false) => {}
            (Kind::Close, true) => {
                self.wires.remove(&line.connection);
            }
            (Kind::Close, false) => {
                // Only a close that comes before the client's own is the broker's doing.
                if let Some(mut wire) = self.wires.remove(&line.connection) {
                    if self.client_closes_too(index, line) && !self.broker_was_first(index, line) {
                        return;
                    }
                    wire.closed();
                }
            }
        }
    }

    fn wire(&mut self, line: &Line) -> &mut Wire {
        let server = self.server;
        self.wires.entry(line.connection.clone()).or_insert_with(|| match line.peer {
            Peer::FastBroker => Wire::connect(server.fast_address()),
            _ => server.connect(),
        })
    }

    fn client_closes_too(&self, index: usize, line: &Line) -> bool {
        let mut rest = self.lines[index..].iter();
        rest.any(|other| other.connection == line.connection && other.from_client && other.kind == Kind::Close)
    }

    /// Whether garbage was the last thing that the client sent: then the broker closed of its own accord.
    fn broker_was_first(&self, index: usize, line: &Line) -> bool {
        let mut before = self.lines[..index].iter().rev();
        let last = before.find(|other| other.connection == line.connection);
        last.is_some_and(|last| last.from_client && last.kind == Kind::Garbage)
    }

    fn ask(&mut self, index: usize, line: &Line, code: RequestCode, oneway: bool, recorded_opaque: i64) {
        let opaque = OPAQUES_FROM + line.number as i32;
        let mut request = Request::of(&line.frame());
        request.set_opaque(opaque);
        self.replace_what_cannot_repeat(index, line, code, &mut request);
        let asked = Asked { code, opaque, request: line.message(), oneway };
        self.asked.insert((line.connection.clone(), recorded_opaque), asked);
        if self.brings_several(index, line, code) {
            self.put_off.insert((line.connection.clone(), recorded_opaque), request.bytes());
            return;
        }
        let wire = self.wire(line);
        wire.send(&request.bytes());
        if oneway {
            // What other connections ask next was asked after this.
            wire.settle();
        }
    }

    fn replace_what_cannot_repeat(&self, index: usize, line: &Line, code: RequestCode, request: &mut Request) {
        let moved = |known: &HashMap<i64, i64>, text: &str| {
            let known = text.parse().ok().and_then(|recorded: i64| known.get(&recorded));
            known.map_or_else(|| text.to_owned(), ToString::to_string)
        };
        match code {
            RequestCode::CONSUMER_SEND_MSG_BACK | RequestCode::VIEW_MESSAGE_BY_ID => {
                request.change("offset", |text| moved(&self.positions, text));
            }
            RequestCode::END_TRANSACTION => {
                request.change("commitLogOffset", |text| moved(&self.positions, text));
                request.change("tranStateTableOffset", |text| moved(&self.half_offsets, text));
            }
            RequestCode::CONSUME_MESSAGE_DIRECTLY => request.change("msgId", |id| self.moved_id(id)),
            RequestCode::RECALL_MESSAGE => {
                request.change("recallHandle", |text| self.handles.get(text).map_or(text, String::as_str).to_owned());
            }
            RequestCode::PULL_MESSAGE | RequestCode::LITE_PULL_MESSAGE if self.ends_empty(index, line) => {
                request.change("suspendTimeoutMillis", |_| SHORT_HOLD_MS.to_owned());
            }
            RequestCode::QUERY_MESSAGE => {
                for name in ["beginTimestamp", "endTimestamp"] {
                    request.change(name, |text| self.time(line, text));
                }
            }
            RequestCode::SEARCH_OFFSET_BY_TIMESTAMP => request.change("timestamp", |text| self.time(line, text)),
            RequestCode::POP_MESSAGE => {
                request.change("bornTime", |text| self.time(line, text));
                let answer = self.recorded_answer(index, line).map(|answer| answer.response_code());
                if answer == Some(ResponseCode::POLLING_TIMEOUT) {
                    request.change("pollTime", |_| NO_HOLD_MS.to_owned());
                }
            }
            RequestCode::ACK_MESSAGE | RequestCode::CHANGE_MESSAGE_INVISIBLETIME => {
                request.change("extraInfo", |handle| {
                    let parts = handle.split(' ').map(|part| self.pop_times.get(part).map_or(part, String::as_str));
                    parts.collect::<Vec<&str>>().join(" ")
                });
                request.change("invisibleTime", |_| SHORT_ABSENCE_MS.to_owned());
            }
            code if is_send(code) => {
                for name in ["properties", "i"] {
                    request.change(name, |text| self.later(line, text));
                }
                // Any queue will do where the broker may choose; later lines want the one that was chosen.
                if let Some(chosen) =
                    self.recorded_answer(index, line).and_then(|answer| answer.fields.get("queueId").cloned())
                {
                    for name in ["queueId", "e"] {
                        request.change(name, |_| chosen.clone());
                    }
                }
            }
            _ => {}
        }
    }

    fn recorded_answer(&self, index: usize, line: &Line) -> Option<Message> {
        let Kind::Request { opaque, .. } = line.kind else { return None };
        let answers = |other: &&Line| {
            let same = matches!(other.kind, Kind::Answer { opaque: answered, .. } if answered == opaque);
            same && !other.from_client && other.connection == line.connection
        };
        self.lines[index..].iter().find(answers).map(Line::message)
    }

    /// Whether a pull brought several messages. It may have been held until the first came, and which of the next
    /// ones the answer takes along is chance.
    fn brings_several(&self, index: usize, line: &Line, code: RequestCode) -> bool {
        let pulls = [RequestCode::PULL_MESSAGE, RequestCode::LITE_PULL_MESSAGE];
        pulls.contains(&code)
            && self
                .recorded_answer(index, line)
                .is_some_and(|answer| line.lost_body.is_none() && record::records(&answer.body).count() > 1)
    }

    /// Sends a pull that was put off, once its queue has all that the recorded answer found there.
    fn send_put_off(&mut self, line: &Line, recorded_opaque: i64) {
        let Some(pull) = self.put_off.remove(&(line.connection.clone(), recorded_opaque)) else { return };
        let wanted = line.message().number("nextBeginOffset");
        let mut asked = Message::of(&pull);
        let mut other = self.server.connect();
        loop {
            let fields: Vec<(&str, &str)> = asked.fields.iter().map(|(name, value)| (&**name, &**value)).collect();
            let found = other.call(RequestCode(asked.code), &fields, &asked.body);
            if found.response_code() != ResponseCode::SUCCESS || found.number("nextBeginOffset") >= wanted {
                break;
            }
            asked.fields.insert("queueOffset".to_owned(), found.number("nextBeginOffset").to_string());
        }
        self.wire(line).send(&pull);
    }

    /// Whether the recorded answer to a pull brought nothing.
    fn ends_empty(&self, index: usize, line: &Line) -> bool {
        let code = self.recorded_answer(index, line).map(|answer| answer.response_code());
        matches!(code, Some(ResponseCode::PULL_NOT_FOUND | ResponseCode::PULL_RETRY_IMMEDIATELY))
    }

    /// A recorded time as one of ours. Times that are none, like 0, stay.
    fn time(&self, line: &Line, text: &str) -> String {
        const A_YEAR_MS: i64 = 365 * 24 * 3_600_000;
        let (Some(start_ms), Some(at_ms), Ok(recorded_ms)) = (self.recorded_start_ms, line.at_ms, text.parse::<i64>())
        else {
            return text.to_owned();
        };
        let line_ms = start_ms + at_ms;
        if (recorded_ms - line_ms).abs() > A_YEAR_MS {
            return text.to_owned();
        }
        (recorded_ms - line_ms + self.server.broker().clock.now_ms()).to_string()
    }

    /// The offset id of a message that lies elsewhere here.
    fn moved_id(&self, text: &str) -> String {
        let recorded = OffsetMessageId::parse(text);
        let position = recorded.and_then(|id| self.positions.get(&(id.position as i64)));
        let id = position
            .map(|position| OffsetMessageId { host: self.server.broker().store_host, position: *position as u64 });
        id.map_or_else(|| text.to_owned(), |id| id.to_string())
    }

    /// Properties whose time of delivery is as far ahead as it was.
    fn later(&self, line: &Line, given: &str) -> String {
        let Some(deliver_ms) = Properties::new(given.as_bytes()).get(properties::TIMER_DELIVER_MS) else {
            return given.to_owned();
        };
        given.replace(deliver_ms, &self.time(line, deliver_ms))
    }

    fn compare_answer(&mut self, line: &Line, recorded_opaque: i64) {
        let Some(asked) = self.asked.get(&(line.connection.clone(), recorded_opaque)).cloned() else {
            // Its request was left out of the recording, or could not be read and kept its number.
            if let Some(wire) = self.wires.get_mut(&line.connection)
                && self.lines.iter().any(|other| is_garbage_with_answer(other, line))
            {
                let ours = wire.answer(recorded_opaque as i32);
                self.note(line, RequestCode(0), &line.message(), &ours, false);
            }
            return;
        };
        self.send_put_off(line, recorded_opaque);
        let ours = self.wire(line).answer(asked.opaque);
        let recorded = line.message();
        if ours.code == recorded.code {
            self.learn(&asked, &recorded, &ours);
        }
        let given = Properties::new(field(&asked.request, "properties", "i").unwrap_or_default().as_bytes());
        let straight = is_send(asked.code) && goes_straight(&given);
        self.note(line, asked.code, &recorded, &ours, straight);
    }

    fn compare_push(&mut self, line: &Line, code: RequestCode) {
        let (ours, recorded) = (self.wire(line).pushed(code), line.message());
        if code == RequestCode::CHECK_TRANSACTION_STATE {
            let number = |message: &Message, name| message.number(name);
            let [from, to] = [&recorded, &ours].map(|message| number(message, "commitLogOffset"));
            self.positions.insert(from, to);
            let [from, to] = [&recorded, &ours].map(|message| number(message, "tranStateTableOffset"));
            self.half_offsets.insert(from, to);
        }
        if let Kind::Request { opaque, .. } = line.kind {
            self.pushed.insert((line.connection.clone(), opaque), ours.opaque);
        }
        self.outcome.pushes += 1;
        let found = compare::differences(code, &recorded, &ours, self.depth(line, false));
        self.add(line, code, found);
        if recorded.oneway != ours.oneway {
            self.add(line, code, vec![format!("oneway {}, ours {}", recorded.oneway, ours.oneway)]);
        }
    }

    /// Answers a request of the broker as the recorded client did.
    fn answer_push(&mut self, line: &Line, recorded_opaque: i64) {
        let Some(opaque) = self.pushed.remove(&(line.connection.clone(), recorded_opaque)) else { return };
        let mut answer = Request::of(&line.frame());
        answer.set_opaque(opaque);
        self.wire(line).send(&answer.bytes());
    }

    fn note(&mut self, line: &Line, code: RequestCode, recorded: &Message, ours: &Message, straight: bool) {
        self.outcome.answers += 1;
        let found = if compare::is_unknown(ours) && recorded.code != ours.code {
            vec![format!("code {}, ours 3", recorded.code)]
        } else {
            compare::differences(code, recorded, ours, self.depth(line, straight))
        };
        self.add(line, code, found);
    }

    fn depth(&self, line: &Line, straight: bool) -> Depth {
        Depth {
            same_offsets: !self.style.partial,
            same_queue_offset: !self.style.partial && straight,
            ids_from_clients: !self.style.ids_from_broker,
            body: line.lost_body.is_none(),
        }
    }

    fn add(&mut self, line: &Line, code: RequestCode, found: Vec<String>) {
        let differences = found.into_iter().map(|what| Difference { line: line.number, request: code.0, what });
        self.outcome.differences.extend(differences);
    }

    /// Notes where things lie in our log that lay elsewhere in the recorded one.
    fn learn(&mut self, asked: &Asked, recorded: &Message, ours: &Message) {
        if let (Some(recorded_ids), Some(our_ids)) = (recorded.fields.get("msgId"), ours.fields.get("msgId")) {
            for (recorded, ours) in recorded_ids.split(',').zip(our_ids.split(',')) {
                if let (Some(recorded), Some(ours)) = (OffsetMessageId::parse(recorded), OffsetMessageId::parse(ours)) {
                    self.positions.insert(recorded.position as i64, ours.position as i64);
                }
            }
        }
        let handle = |message: &Message| message.fields.get("recallHandle").cloned();
        self.handles.extend(handle(recorded).zip(handle(ours)));
        if is_send(asked.code) && ours.fields.contains_key("queueOffset") {
            let given = Properties::new(field(&asked.request, "properties", "i").unwrap_or_default().as_bytes());
            if given.get(properties::TRAN_MSG) == Some("true") {
                self.half_offsets.insert(recorded.number("queueOffset"), ours.number("queueOffset"));
            }
        }
        if let (Some(recorded), Some(ours)) = (recorded.fields.get("popTime"), ours.fields.get("popTime")) {
            self.pop_times.insert(recorded.clone(), ours.clone());
        }
        let pulls = [RequestCode::PULL_MESSAGE, RequestCode::LITE_PULL_MESSAGE];
        if pulls.contains(&asked.code) {
            for (recorded, ours) in record::records(&recorded.body).zip(record::records(&ours.body)) {
                self.positions.insert(recorded.position() as i64, ours.position() as i64);
            }
        }
    }

    /// Oneway requests and undecided transactions are never answered, and the broker asks nothing that is not known.
    fn look_for_unwanted_answers(&mut self) {
        for (connection, wire) in &mut self.wires {
            for message in wire.unclaimed() {
                if !message.is_answer {
                    assert_eq!(RequestCode(message.code), RequestCode::NOTIFY_CONSUMER_IDS_CHANGED, "{message:?}");
                    continue;
                }
                let asked =
                    self.asked.iter().find(|((other, _), asked)| other == connection && asked.opaque == message.opaque);
                let Some((_, asked)) = asked else { continue };
                let undecided =
                    asked.code == RequestCode::END_TRANSACTION && asked.request.fields["commitOrRollback"] == "0";
                assert!(!asked.oneway && !undecided, "{connection}: {} was answered: {message:?}", asked.code);
            }
        }
    }
}

/// Whether `other` is an unreadable request on the connection of an answer.
fn is_garbage_with_answer(other: &Line, answer: &Line) -> bool {
    other.connection == answer.connection && other.from_client && other.kind == Kind::Garbage
}
