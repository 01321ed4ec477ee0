//! Recorded exchanges of the official mqadmin, and servers that answer from them.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

const RECORDED_NAMESERVER: &str = "127.0.0.1:19876";
const RECORDED_BROKER: &str = "127.0.0.1:20911";
/// The address of the recorded broker as it stands in offset message ids and in stored messages.
const RECORDED_BROKER_HEX: &str = "7F000001000051AF";

type Fields = BTreeMap<String, String>;

/// A question and its answer.
struct Exchange {
    /// Line of the question.
    line: i64,
    /// What was run.
    command: String,
    code: i64,
    fields: Fields,
    body: Vec<u8>,
    answer: Answer,
}

#[derive(Clone)]
struct Answer {
    code: i64,
    remark: Option<String>,
    fields: Fields,
    body: Vec<u8>,
}

/// All exchanges.
pub struct Recording {
    exchanges: Vec<Exchange>,
}

fn fields_of(header: &Value) -> Fields {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let fields = header["extFields"].as_object().into_iter().flatten();
    fields.map(|(name, value)| (name.clone(), text(value))).collect()
}

fn body_of(row: &Value) -> Vec<u8> {
    let hex = row["hex"].as_str().unwrap().as_bytes();
    let digit = |at: usize| (hex[at] as char).to_digit(16).unwrap() as u8;
    let bytes: Vec<u8> = (0..hex.len() / 2).map(|at| digit(2 * at) << 4 | digit(2 * at + 1)).collect();
    let header_len = u32::from_be_bytes(bytes[4..8].try_into().unwrap()) & 0x00ff_ffff;
    bytes[8 + header_len as usize..].to_vec()
}

impl Recording {
    pub fn read(path: &Path) -> Recording {
        let text = std::fs::read_to_string(path).unwrap();
        let mut asked: HashMap<(String, i64), Exchange> = HashMap::new();
        let mut exchanges = Vec::new();
        for line in text.lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            if !row["role"].is_null() || !row["hex_truncated"].is_null() {
                continue;
            }
            let key = (row["conn"].as_str().unwrap().to_owned(), row["opaque"].as_i64().unwrap());
            let (header, code) = (&row["header"], row["code"].as_i64().unwrap());
            if row["reply"] == false && row["dir"] == "c2s" {
                let empty = Answer { code: 0, remark: None, fields: Fields::new(), body: Vec::new() };
                let exchange = Exchange {
                    line: row["n"].as_i64().unwrap(),
                    command: row["command"].as_str().unwrap_or_default().to_owned(),
                    code,
                    fields: fields_of(header),
                    body: body_of(&row),
                    answer: empty,
                };
                asked.insert(key, exchange);
            } else if let Some(mut exchange) = asked.remove(&key) {
                let remark = header["remark"].as_str().map(str::to_owned);
                exchange.answer = Answer { code, remark, fields: fields_of(header), body: body_of(&row) };
                exchanges.push(exchange);
            }
        }
        exchanges.sort_by_key(|exchange| exchange.line);
        Recording { exchanges }
    }
}

/// Fields by which a question is not told from another: times, ids and what has no say in the answer.
fn counts(code: i64, field: &str) -> bool {
    match code {
        310 => field == "b",
        222 => field != "timestamp",
        12 => !matches!(field, "beginTimestamp" | "endTimestamp" | "indexType"),
        11 => matches!(field, "topic" | "queueId" | "queueOffset" | "subscription"),
        105 => field == "topic",
        17 => !matches!(field, "force"),
        _ => true,
    }
}

fn same_body(code: i64, one: &[u8], other: &[u8]) -> bool {
    if code == 310 || one == other {
        return true;
    }
    let parsed = |bytes| serde_json::from_slice::<Value>(bytes).ok();
    parsed(one).is_some() && parsed(one) == parsed(other)
}

/// A question that was answered.
struct Question<'a> {
    code: i64,
    fields: &'a Fields,
    body: &'a [u8],
}

impl Question<'_> {
    fn is(&self, exchange: &Exchange) -> bool {
        let same = |(name, value): (&String, &String)| {
            !counts(self.code, name) || exchange.fields.get(name).is_none_or(|known| known == value)
        };
        exchange.code == self.code && self.fields.iter().all(same) && same_body(self.code, self.body, &exchange.body)
    }
}

/// What the servers have in common.
struct Shared {
    recording: Arc<Recording>,
    /// The command that runs, as it was recorded.
    command: String,
    nameserver: String,
    broker: String,
    broker_hex: String,
    /// How often each exchange was used.
    used: Mutex<HashMap<i64, usize>>,
    /// Questions that were never recorded.
    unknown: Mutex<Vec<String>>,
}

impl Shared {
    /// The recorded answer to the same question: of the same command and not used so far where there is one, or else
    /// the nearest in time.
    fn answer(&self, question: &Question<'_>) -> Option<Answer> {
        let exchanges = &self.recording.exchanges;
        let start = exchanges.iter().find(|exchange| exchange.command == self.command).map_or(0, |found| found.line);
        let mut used = self.used.lock().unwrap();
        let rank = |exchange: &&Exchange| {
            let of_another = exchange.command != self.command;
            let times_used = used.get(&exchange.line).copied().unwrap_or(0);
            // What was so before is more likely to be so than what was so afterwards.
            (of_another, times_used, exchange.line > start, (exchange.line - start).abs())
        };
        let found = exchanges.iter().filter(|exchange| question.is(exchange)).min_by_key(rank)?;
        *used.entry(found.line).or_default() += 1;
        Some(found.answer.clone())
    }

    fn to_recorded(&self, text: &str) -> String {
        let text = text.replace(&self.nameserver, RECORDED_NAMESERVER).replace(&self.broker, RECORDED_BROKER);
        text.replace(&self.broker_hex, RECORDED_BROKER_HEX)
    }

    fn of_recorded(&self, text: &str) -> String {
        let text = text.replace(RECORDED_NAMESERVER, &self.nameserver).replace(RECORDED_BROKER, &self.broker);
        text.replace(RECORDED_BROKER_HEX, &self.broker_hex)
    }

    /// The same for bodies, where the address stands as text or, in stored messages, as bytes.
    fn body_of_recorded(&self, body: &[u8]) -> Vec<u8> {
        if let Ok(text) = std::str::from_utf8(body) {
            return self.of_recorded(text).into_bytes();
        }
        let port: u32 = self.broker.rsplit_once(':').unwrap().1.parse().unwrap();
        let recorded = [&[127, 0, 0, 1][..], &20_911_u32.to_be_bytes()].concat();
        let ours = [&[127, 0, 0, 1][..], &port.to_be_bytes()].concat();
        let mut out = body.to_vec();
        for at in 0..out.len().saturating_sub(7) {
            if out[at..at + 8] == recorded[..] {
                out[at..at + 8].copy_from_slice(&ours);
            }
        }
        out
    }

    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        loop {
            let mut lengths = [0; 8];
            stream.read_exact(&mut lengths)?;
            let total = u32::from_be_bytes(lengths[..4].try_into().unwrap()) as usize;
            let header_len = (u32::from_be_bytes(lengths[4..].try_into().unwrap()) & 0x00ff_ffff) as usize;
            let mut rest = vec![0; total - 4];
            stream.read_exact(&mut rest)?;
            let header: Value = serde_json::from_slice(&rest[..header_len]).unwrap();
            let fields = fields_of(&header).into_iter().map(|(name, value)| (name, self.to_recorded(&value))).collect();
            let question =
                Question { code: header["code"].as_i64().unwrap(), fields: &fields, body: &rest[header_len..] };
            let answer = self.answer(&question).unwrap_or_else(|| {
                let body = String::from_utf8_lossy(question.body);
                self.unknown.lock().unwrap().push(format!("{} {fields:?} {body}", question.code));
                Answer { code: 1, remark: Some("not recorded".into()), fields: Fields::new(), body: Vec::new() }
            });
            let fields: Fields =
                answer.fields.into_iter().map(|(name, value)| (name, self.of_recorded(&value))).collect();
            let reply = json!({
                "code": answer.code, "flag": 1, "language": "JAVA", "opaque": header["opaque"], "version": 513,
                "serializeTypeCurrentRPC": "JSON", "remark": answer.remark, "extFields": fields,
            });
            let (reply, body) = (reply.to_string().into_bytes(), self.body_of_recorded(&answer.body));
            let mut frame = ((4 + reply.len() + body.len()) as u32).to_be_bytes().to_vec();
            frame.extend((reply.len() as u32).to_be_bytes());
            frame.extend(reply);
            frame.extend(body);
            stream.write_all(&frame)?;
        }
    }
}

/// A nameserver and a broker that answer as was recorded while `command` ran.
pub struct Servers {
    shared: Arc<Shared>,
}

impl Servers {
    pub fn start(recording: &Arc<Recording>, command: &str) -> Servers {
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [nameserver, broker] = [0, 1].map(|at| listeners[at].local_addr().unwrap().to_string());
        let port = listeners[1].local_addr().unwrap().port();
        // Columns keep their width.
        assert_eq!((nameserver.len(), broker.len()), (RECORDED_NAMESERVER.len(), RECORDED_BROKER.len()));
        let shared = Arc::new(Shared {
            recording: recording.clone(),
            command: command.to_owned(),
            nameserver,
            broker,
            broker_hex: format!("7F000001{port:08X}"),
            used: Mutex::default(),
            unknown: Mutex::default(),
        });
        for listener in listeners {
            let shared = shared.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    let shared = shared.clone();
                    // Ends with the connection.
                    std::thread::spawn(move || shared.serve(stream));
                }
            });
        }
        Servers { shared }
    }

    /// What was printed, with the recorded addresses.
    pub fn to_recorded(&self, text: &str) -> String {
        self.shared.to_recorded(text)
    }

    /// A word of a command line, with the addresses of these servers.
    pub fn of_recorded(&self, text: &str) -> String {
        self.shared.of_recorded(text)
    }

    /// Questions that were never recorded.
    pub fn unknown(&self) -> Vec<String> {
        self.shared.unknown.lock().unwrap().clone()
    }
}
