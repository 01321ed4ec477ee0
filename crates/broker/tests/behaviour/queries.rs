//! Finding messages again: by id, by key, by time.

use std::borrow::Cow;

use protocol::codes::{RequestCode, ResponseCode};
use protocol::properties;
use protocol::requests::{QueryMessage, SearchOffset, ViewMessage};

use crate::requests::{Came, Client, Message};
use crate::running::broker;

fn view(client: &mut Client, position: i64) -> Came {
    client.ask(RequestCode::VIEW_MESSAGE_BY_ID, &ViewMessage { offset: position }, b"")
}

fn by_key<'a>(key: &'a str, max_num: i32, times: std::ops::RangeInclusive<i64>) -> QueryMessage<'a> {
    QueryMessage {
        topic: Cow::Borrowed("orders"),
        key: Cow::Borrowed(key),
        max_num,
        begin_timestamp: *times.start(),
        end_timestamp: *times.end(),
        unique_key_query: false,
        index_type: None,
    }
}

const EVER: std::ops::RangeInclusive<i64> = 0..=i64::MAX;

#[track_caller]
fn found(client: &mut Client, query: &QueryMessage<'_>) -> Vec<Message> {
    let answer = client.ask(RequestCode::QUERY_MESSAGE, query, b"");
    if ResponseCode(answer.code) == ResponseCode::QUERY_NOT_FOUND {
        assert!(answer.body.is_empty());
        return Vec::new();
    }
    answer.expect(ResponseCode::SUCCESS).messages()
}

fn bodies(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.body.as_str()).collect()
}

#[test]
fn a_message_is_viewed_by_its_position_and_by_no_other() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let (first, second) = (client.send("orders", 0, "first"), client.send("orders", 0, "second"));
    let answer = view(&mut client, second.position).expect(ResponseCode::SUCCESS);
    assert_eq!(bodies(&answer.messages()), ["second"]);
    let nowhere = [first.position + 1, first.position - 1, second.position + 1_000_000, 0, -1, i64::MAX, i64::MIN];
    for position in nowhere {
        view(&mut client, position).expect(ResponseCode::SYSTEM_ERROR);
    }
    let broker = broker.restarted();
    let answer = view(&mut broker.client(), first.position).expect(ResponseCode::SUCCESS);
    assert_eq!(bodies(&answer.messages()), ["first"]);
}

#[test]
fn messages_are_found_by_each_of_their_keys_and_by_their_unique_id() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 2);
    client.create_topic("others", 1);
    client.send_with("orders", 0, "a", &[(properties::KEYS, "one two"), (properties::UNIQ_KEY, "U1")]);
    client.send_with("orders", 1, "b", &[(properties::KEYS, "two"), (properties::UNIQ_KEY, "U2")]);
    client.send_with("others", 0, "c", &[(properties::KEYS, "two"), (properties::UNIQ_KEY, "U3")]);
    for broker in [broker.crashed(), broker] {
        let mut client = broker.client();
        let mut look = |key: &str| bodies(&found(&mut client, &by_key(key, 32, EVER))).join(",");
        assert_eq!((look("one"), look("two")), ("a".into(), "a,b".into()));
        assert_eq!((look("three"), look("tw"), look("one two"), look("")), Default::default());
        assert_eq!((look("U2"), look("U3")), ("b".into(), String::new()));
        let unique = QueryMessage { unique_key_query: true, ..by_key("U1", 0, EVER) };
        assert_eq!(bodies(&found(&mut client, &unique)), ["a"]);
    }
}

#[test]
fn a_query_gives_the_newest_up_to_its_limit() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    for number in 0..80 {
        client.send_with("orders", 0, &number.to_string(), &[(properties::KEYS, "k")]);
    }
    for (limit, first, count) in [(1, "79", 1), (5, "75", 5), (64, "16", 64), (1000, "16", 64)] {
        let found = found(&mut client, &by_key("k", limit, EVER));
        assert_eq!((found.len(), found[0].body.as_str()), (count, first), "at most {limit}");
    }
    for limit in [0, -1, i32::MIN] {
        assert_eq!(found(&mut client, &by_key("k", limit, EVER)), []);
    }
}

#[test]
fn a_query_keeps_to_its_time_range() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let position = client.send_with("orders", 0, "a", &[(properties::KEYS, "k")]).position;
    let stored_ms = view(&mut client, position).messages()[0].store_ms;
    let mut count = |times| found(&mut client, &by_key("k", 9, times)).len();
    assert_eq!((count(stored_ms..=stored_ms), count(stored_ms - 5..=stored_ms + 5)), (1, 1));
    assert_eq!((count(0..=stored_ms - 1), count(stored_ms + 1..=i64::MAX), count(stored_ms..=0)), (0, 0, 0));
    assert_eq!(count(i64::MIN..=i64::MAX), 1);
}

#[test]
fn offsets_are_found_by_time() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    for number in 0..3 {
        client.send("orders", 0, &number.to_string());
        crate::waiting::pause(std::time::Duration::from_millis(3));
    }
    let times: Vec<i64> = client.all_of("orders", 0).iter().map(|message| message.store_ms).collect();
    let mut search = |timestamp: i64| {
        let header = SearchOffset { topic: Cow::Borrowed("orders"), queue_id: 0, timestamp, boundary_type: None };
        let answer = client.ask(RequestCode::SEARCH_OFFSET_BY_TIMESTAMP, &header, b"");
        answer.expect(ResponseCode::SUCCESS).number("offset")
    };
    assert_eq!([search(0), search(times[0]), search(times[0] + 1), search(times[2])], [0, 0, 1, 2]);
    assert_eq!(search(times[2] + 1), 3);
}
