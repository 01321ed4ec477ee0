//! Messages as files.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use client::stand_in::{Asked, Reply};
use protocol::codes::RequestCode;
use protocol::record::{self, NewRecord};
use protocol::sys_flag::SysFlag;
use serde_json::Value;

use crate::cluster::{Scene, usual};

/// Messages of the first queue; the second has every seventh as many.
const MESSAGES: i64 = 100;

/// First store time. Messages of both queues take turns, a second apart.
const BEGIN_MS: i64 = 1_796_000_000_000;

fn count(queue: &str) -> i64 {
    if queue == "0" { MESSAGES } else { MESSAGES / 7 }
}

fn stored_ms(queue: &str, offset: i64) -> i64 {
    BEGIN_MS + if queue == "0" { offset * 1000 } else { offset * 7000 + 500 }
}

/// A broker with two queues, that gives ten messages at a time.
fn answer(asked: Asked) -> Reply {
    let queue = asked.field("queueId");
    match asked.code {
        RequestCode::GET_TOPIC_STATS_INFO => {
            let entry = |queue: i32, max: i64| {
                format!(
                    r#"{{"brokerName":"broker-a","queueId":{queue},"topic":"orders"}}:{{"lastUpdateTimestamp":1796000000000,"maxOffset":{max},"minOffset":0}}"#
                )
            };
            asked.body(format!(r#"{{"offsetTable":{{{},{}}}}}"#, entry(0, count("0")), entry(1, count("1"))))
        }
        RequestCode::SEARCH_OFFSET_BY_TIMESTAMP => {
            let time: i64 = asked.field("timestamp").parse().unwrap();
            let found = (0..count(&queue)).find(|offset| time <= stored_ms(&queue, *offset));
            asked.with(&[("offset", &found.unwrap_or(count(&queue)).to_string())])
        }
        RequestCode::PULL_MESSAGE => {
            let from: i64 = asked.field("queueOffset").parse().unwrap();
            let to = (from + 10).min(count(&queue));
            let max = count(&queue).to_string();
            let fields = [
                ("nextBeginOffset", &*to.to_string()),
                ("minOffset", "0"),
                ("maxOffset", &max),
                ("suggestWhichBrokerId", "0"),
            ];
            let records: Vec<u8> = (from..to).flat_map(|offset| stored(&queue, offset)).collect();
            asked.with(&fields).and_body(records)
        }
        _ => usual(asked),
    }
}

fn stored(queue: &str, offset: i64) -> Vec<u8> {
    let body = match offset {
        3 => vec![0xff, 0xfe],
        _ => format!("=queue {queue}, \"{offset}\"").into_bytes(),
    };
    let record = NewRecord {
        topic: "orders",
        queue_id: queue.parse().unwrap(),
        flag: 0,
        sys_flag: SysFlag(0),
        born_timestamp_ms: BEGIN_MS,
        born_host: "10.0.0.1:5".parse().unwrap(),
        store_host: "127.0.0.1:10911".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: &body,
        properties: "KEYS\u{1}@k\u{2}".as_bytes(),
    };
    let mut bytes = Vec::new();
    record.encode(&mut bytes).unwrap();
    record::stamp(&mut bytes, offset as u64, 1, stored_ms(queue, offset));
    bytes
}

fn scene() -> Scene {
    Scene::answering("", |_| {}, answer)
}

const PATH: &str = "/api/v1/topics/orders/messages/export";

/// Messages as queue and offset, and the summary.
fn exported(scene: &Scene, query: &str) -> (Vec<(i64, i64)>, Value) {
    let page = scene.admin().get(&format!("{PATH}{query}"));
    assert_eq!((page.status, page.header("content-type")), (200, Some("application/x-ndjson")), "{}", page.text);
    let mut lines: Vec<Value> = page.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = lines.pop().unwrap()["summary"].take();
    let place = |line: &Value| (line["queue"].as_i64().unwrap(), line["offset"].as_str().unwrap().parse().unwrap());
    (lines.iter().map(place).collect(), summary)
}

/// All messages, in the order in which they were stored.
fn all() -> Vec<(i64, i64)> {
    let of = |queue: i64| (0..count(&queue.to_string())).map(move |offset| (queue, offset));
    let mut all: Vec<(i64, i64)> = of(0).chain(of(1)).collect();
    all.sort_by_key(|(queue, offset)| stored_ms(&queue.to_string(), *offset));
    all
}

#[test]
fn all_messages_are_exported_once_and_in_order() {
    let scene = scene();
    let (oldest, summary) = exported(&scene, "");
    assert_eq!(oldest, all());
    assert_eq!((&summary["complete"], &summary["scanned"]), (&true.into(), &"114".into()));
    let pulls = scene.count(RequestCode::PULL_MESSAGE);
    assert!(pulls <= 13, "{pulls} pulls of ten messages each");
    let (newest, summary) = exported(&scene, "?order=newest");
    assert!(newest.iter().rev().eq(&all()));
    assert_eq!((&summary["complete"], &summary["scanned"]), (&true.into(), &"114".into()));
}

#[test]
fn an_export_that_ends_early_says_so_and_where_to_go_on() {
    let scene = scene();
    for order in ["oldest", "newest"] {
        let mut found = Vec::new();
        let mut query = format!("?order={order}&limit=40");
        for round in 0..3 {
            let (more, summary) = exported(&scene, &query);
            found.extend(more);
            assert_eq!(summary["complete"], round == 2, "{summary}");
            let Some(next) = summary["next"].as_str() else { break };
            assert_eq!(summary["why"], "the limit is 40 messages");
            query = format!("?order={order}&limit=40&cursor={next}");
        }
        if order == "newest" {
            found.reverse();
        }
        assert_eq!(found, all(), "{order}");
    }
}

#[test]
fn filters_of_the_search_are_those_of_the_export() {
    let scene = scene();
    let (from, to) = (BEGIN_MS + 20_000, BEGIN_MS + 30_500);
    for order in ["oldest", "newest"] {
        let (mut found, _) = exported(&scene, &format!("?from={from}&to={to}&order={order}"));
        if order == "newest" {
            found.reverse();
        }
        let in_range = |(queue, offset): &(i64, i64)| (from..=to).contains(&stored_ms(&queue.to_string(), *offset));
        assert_eq!(found, all().into_iter().filter(in_range).collect::<Vec<_>>(), "{order}");
    }
    assert_eq!(exported(&scene, "?queue=broker-a.1&text=%225%22").0, [(1, 5)]);
    assert_eq!(exported(&scene, "?key=k").0.len(), 1);
    let mut admin = scene.admin();
    let page = admin.get("/messages?topic=orders&by=time&from=2026-11-30&text=queue&queue=broker-a.1");
    let link = page.values("href").into_iter().find(|link| link.contains("format=jsonl")).unwrap();
    let told = admin.get(&link).text;
    // The fourth is no text.
    assert_eq!(told.lines().count(), 14, "{link}: {told}");
}

#[test]
fn tables_hold_text_that_no_spreadsheet_computes() {
    let scene = scene();
    let page = scene.admin().get(&format!("{PATH}?format=csv&limit=5"));
    assert_eq!(page.header("content-type"), Some("text/csv; charset=utf-8"));
    assert_eq!(page.header("content-disposition"), Some("attachment; filename=\"orders.csv\""));
    let rows: Vec<&str> = page.text.split_terminator("\r\n").collect();
    assert_eq!(rows.len(), 7, "{}", page.text);
    assert!(rows[1].ends_with(",\"'=queue 0, \"\"0\"\"\",\"utf-8\""), "{}", rows[1]);
    assert!(rows[1].contains(",\"'@k\","), "{}", rows[1]);
    assert!(rows[5].ends_with(",\"//4=\",\"base64\""), "{}", rows[5]);
    assert!(
        rows[6].starts_with("\"incomplete: the limit is 5 messages; go on with cursor=broker-a.0.4~broker-a.1.1\",")
    );
}

#[test]
fn exports_take_the_right_to_read_bodies_and_are_noted() {
    let scene = scene();
    let mut guest = scene.browser();
    assert_eq!(guest.get(PATH).status, 403);
    guest.get("/messages?topic=orders").lacks("messages/export");
    let mut admin = scene.admin();
    admin.get("/messages?topic=orders").has("/api/v1/topics/orders/messages/export?order=newest&amp;format=csv");
    for query in ["?format=xml", "?order=random", "?limit=0", "?limit=100001", "?cursor=x", "?queue=x", "?from=x"] {
        assert_eq!(admin.get(&format!("{PATH}{query}")).status, 400, "{query}");
    }
    assert_eq!(admin.get("/api/v1/topics/none/messages/export").status, 404);
    exported(&scene, "?text=queue");
    let noted: Value = serde_json::from_str(&admin.get("/api/v1/audit?action=message.export").text).unwrap();
    let last = &noted["items"][0];
    assert_eq!(
        (&last["user"], &last["result"], &last["after"]["text"]),
        (&"admin".into(), &"done".into(), &"queue".into())
    );
}

#[test]
fn what_a_broker_does_not_tell_makes_an_export_incomplete() {
    let scene = Scene::answering("broker-b=127.0.0.1:1", |_| {}, answer);
    let (found, summary) = exported(&scene, "");
    assert_eq!((found.len(), &summary["complete"]), (all().len(), &false.into()));
    assert_eq!(summary["errors"][0]["node"], "broker-b", "{summary}");
    // Who went on from there would take the queues of the silent broker for read.
    let (_, summary) = exported(&scene, "?limit=5");
    assert_eq!((&summary["complete"], &summary["next"]), (&false.into(), &Value::Null), "{summary}");
}

#[test]
fn a_broker_that_falls_silent_in_the_middle_is_read_on_by_the_next_export() {
    let refuses = Arc::new(AtomicBool::new(true));
    let refusing = refuses.clone();
    let scene = Scene::answering(
        "",
        |_| {},
        move |asked| {
            let is_late = asked.code == RequestCode::PULL_MESSAGE && asked.field("queueOffset") == "20";
            if is_late && refusing.load(Ordering::Relaxed) { asked.with(&[]).and_code(1) } else { answer(asked) }
        },
    );
    let (first, summary) = exported(&scene, "");
    assert_eq!(summary["complete"], false, "{summary}");
    let next = summary["next"].as_str().unwrap();
    refuses.store(false, Ordering::Relaxed);
    let (rest, summary) = exported(&scene, &format!("?cursor={next}"));
    assert_eq!(summary["complete"], true, "{summary}");
    let mut found: Vec<_> = first.into_iter().chain(rest).collect();
    found.sort_unstable();
    let mut expected = all();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn an_export_is_not_kept_to_be_repeated() {
    let scene = scene();
    let mut admin = scene.admin();
    for _ in 0..2 {
        let page = admin.send("GET", PATH, &[("idempotency-key", "k")], "");
        assert_eq!((page.status, page.header("idempotency-replayed")), (200, None));
        assert!(page.text.contains("\"complete\":true"), "{}", page.text);
    }
    assert_eq!(scene.count(RequestCode::PULL_MESSAGE) % 2, 0);
}
