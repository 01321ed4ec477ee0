//! Names, sizes and batches that no message may have.

use std::path::Path;

use protocol::batch::{self, BatchItem};
use protocol::codes::{RequestCode, ResponseCode};
use protocol::record::PROPERTIES_BYTES_MAX;

use super::{Guarded, KEPT};
use crate::calls::{pull, send};

/// Names that no topic or group may have.
fn illegal_names() -> Vec<String> {
    let named =
        ["", " ", ".", "..", "../../etc/passwd", "a/b", "/", "a\\b", "nul\0nul", "a b", "ü", "a\nb", "a:b", "*"];
    named.iter().map(|name| (*name).to_owned()).chain([128, 1000, 60_000].map(|length| "x".repeat(length))).collect()
}

/// Every file that the broker made has a plain name in the broker's own folder.
#[track_caller]
fn check_files(folder: &Path) {
    let names = |folder: &Path| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    assert_eq!(names(folder.parent().unwrap()).collect::<Vec<_>>(), [folder]);
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in names(&folder) {
            let name = path.file_name().unwrap().to_str().unwrap();
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            assert!(name.len() < 64 && name.bytes().all(plain), "{}", path.display());
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
}

#[test]
fn illegal_names_create_nothing() {
    let mut guarded = Guarded::start();
    let folder = guarded.server.broker().config.data_dir.clone();
    let topics = guarded.server.broker().topics.all().len();
    for name in illegal_names() {
        let wire = &mut guarded.wire;
        let answer = send(wire, &name, &[], b"x");
        assert_eq!(answer.response_code(), ResponseCode::INVALID_PARAMETER, "{name:?}: {answer:?}");
        let fields = [("topic", &*name), ("readQueueNums", "4"), ("writeQueueNums", "4"), ("perm", "6")];
        let answer = wire.call(RequestCode::UPDATE_AND_CREATE_TOPIC, &fields, b"");
        assert_eq!(answer.response_code(), ResponseCode::INVALID_PARAMETER, "{name:?}: {answer:?}");
        let answer = wire.call(RequestCode::DELETE_TOPIC_IN_BROKER, &[("topic", &name)], b"");
        assert_eq!(answer.response_code(), ResponseCode::INVALID_PARAMETER, "{name:?}: {answer:?}");
        assert_eq!(pull(wire, &name, &[]).response_code(), ResponseCode::TOPIC_NOT_EXIST, "{name:?}");
        let group = serde_json::json!({ "groupName": name }).to_string();
        let answer = wire.call(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &[], group.as_bytes());
        assert_eq!(answer.response_code(), ResponseCode::INVALID_PARAMETER, "{name:?}: {answer:?}");
        let answer = pull(wire, KEPT, &[("consumerGroup", &name)]);
        assert_eq!(answer.response_code(), ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, "{name:?}: {answer:?}");
        let subscription = serde_json::json!([{ "topic": name, "subString": "*" }]);
        let consumers = serde_json::json!([{ "groupName": name, "subscriptionDataSet": subscription },
            { "groupName": "good", "subscriptionDataSet": subscription }]);
        let producers = serde_json::json!([{ "groupName": name }]);
        let heartbeat =
            serde_json::json!({ "clientID": name, "consumerDataSet": consumers, "producerDataSet": producers });
        wire.call(RequestCode::HEART_BEAT, &[], heartbeat.to_string().as_bytes());
        let retry = format!("%RETRY%{name}");
        let answer = send(wire, &retry, &[], b"x");
        assert!(answer.response_code() != ResponseCode::SUCCESS, "{retry:?}: {answer:?}");
    }
    let broker = guarded.server.broker();
    let good: Vec<String> =
        broker.topics.all().into_keys().filter(|name| broker::names::check_topic(name).is_ok()).collect();
    // The one that is new is where the group with a legal name retries.
    assert_eq!((good.len(), broker.topics.all().len()), (topics + 1, topics + 1));
    assert!(broker.groups.all().keys().all(|name| broker::names::check_group(name).is_ok()));
    check_files(&folder);
    guarded.finish();
}

#[test]
fn messages_over_a_limit_are_refused_and_the_largest_are_kept() {
    let mut guarded = Guarded::start_with(|config| config.max_message_bytes = 100_000.into());
    let refused = guarded.count(|counters| &counters.sends_refused);
    let wire = &mut guarded.wire;
    let own_bytes = guarded.server.broker().own_properties.len();
    let of_size = |size: usize| format!("UNIQ_KEY\u{1}id\u{2}p\u{1}{}\u{2}", "v".repeat(size - 15));
    let block = of_size(32_768);
    assert_eq!(block.len(), 32_768);
    let answer = send(wire, "limits", &[("properties", &block)], b"x");
    assert_eq!(answer.response_code(), ResponseCode::MESSAGE_ILLEGAL, "{answer:?}");
    let answer = send(wire, "limits", &[("properties", &of_size(PROPERTIES_BYTES_MAX - own_bytes + 1))], b"x");
    assert_eq!(answer.response_code(), ResponseCode::MESSAGE_ILLEGAL, "{answer:?}");
    let answer = send(wire, "limits", &[("properties", &of_size(PROPERTIES_BYTES_MAX - own_bytes))], b"x");
    assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{answer:?}");
    let answer = send(wire, "limits", &[], &vec![b'x'; 100_001]);
    assert_eq!(answer.response_code(), ResponseCode::MESSAGE_ILLEGAL, "{answer:?}");
    let answer = send(wire, "limits", &[], &vec![b'x'; 100_000]);
    assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{answer:?}");
    let answer = send(wire, "limits", &[], b"");
    assert_eq!(answer.response_code(), ResponseCode::SYSTEM_ERROR, "{answer:?}");
    let offset = wire.call(RequestCode::GET_MAX_OFFSET, &[("topic", "limits"), ("queueId", "0")], b"");
    assert_eq!(offset.number("offset"), 2);
    assert_eq!(guarded.count(|counters| &counters.sends_refused), refused + 4);
    guarded.finish();
}

/// A batch of three, whose second item has these properties.
fn batch_of_three(properties: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for properties in [&b"TAGS\x01a\x02"[..], properties, b""] {
        batch::push(&mut bytes, BatchItem { flag: 0, body: b"item", properties }).unwrap();
    }
    bytes
}

#[test]
fn broken_batches_store_nothing_at_all() {
    let mut guarded = Guarded::start();
    let wire = &mut guarded.wire;
    let fine = batch_of_three(b"KEYS\x01k\x02");
    let answer = send(wire, "batches", &[("batch", "true")], &fine);
    assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{answer:?}");
    assert_eq!(answer.fields["msgId"].split(',').count(), 3);

    let mut broken: Vec<Vec<u8>> = (0..fine.len()).map(|cut| fine[..cut].to_vec()).collect();
    for at in (0..fine.len() - 4).step_by(3) {
        for word in [i32::MAX, i32::MIN, -1] {
            let mut bytes = fine.clone();
            bytes[at..at + 4].copy_from_slice(&word.to_be_bytes());
            if batch::check(&bytes).is_err() {
                broken.push(bytes);
            }
        }
    }
    broken.push(batch_of_three(b"DELAY\x013\x02"));
    broken.push(batch_of_three(b"TIMER_DELAY_SEC\x0199999999\x02"));
    let own_bytes = guarded.server.broker().own_properties.len();
    for size in [PROPERTIES_BYTES_MAX, PROPERTIES_BYTES_MAX - own_bytes, PROPERTIES_BYTES_MAX - own_bytes - 40] {
        broken.push(batch_of_three(&[b"p\x01", &vec![b'v'; size - 3][..], b"\x02"].concat()));
    }
    for (number, body) in broken.iter().enumerate() {
        let answer = send(wire, "batches", &[("batch", "true")], body);
        // A cut between two items leaves a batch that is shorter and whole.
        if batch::check(body).is_ok() && number < fine.len() {
            assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{number}: {answer:?}");
            continue;
        }
        let refused = [ResponseCode::MESSAGE_ILLEGAL, ResponseCode::SYSTEM_ERROR];
        assert!(refused.contains(&answer.response_code()), "{number}: {answer:?}");
    }
    let whole_cuts: i64 = (1..fine.len()).filter_map(|cut| batch::check(&fine[..cut]).ok()).sum::<usize>() as i64;
    let offset = wire.call(RequestCode::GET_MAX_OFFSET, &[("topic", "batches"), ("queueId", "0")], b"");
    assert_eq!(offset.number("offset"), 3 + whole_cuts);
    let answer = send(wire, "%RETRY%cg", &[("batch", "true")], &fine);
    assert_eq!(answer.response_code(), ResponseCode::MESSAGE_ILLEGAL, "{answer:?}");
    guarded.finish();
}

#[test]
fn properties_that_the_broker_keeps_for_itself_do_no_harm() {
    let mut guarded = Guarded::start_with(|config| {
        config.delay_levels = vec![std::time::Duration::from_millis(10)];
        config.transaction_timeout = std::time::Duration::from_secs(3600).into();
    });
    let forged = "REAL_TOPIC\u{1}../elsewhere\u{2}REAL_QID\u{1}2000000000\u{2}__transactionId__\u{1}x\u{2}\
                  TRANSACTION_CHECK_TIMES\u{1}99999999999\u{2}TIMER_OUT_MS\u{1}1\u{2}POP_CK\u{1}x\u{2}";
    let wire = &mut guarded.wire;
    let delayed = format!("{forged}DELAY\u{1}1\u{2}");
    assert_eq!(send(wire, "own", &[("properties", &delayed)], b"delayed").response_code(), ResponseCode::SUCCESS);
    let answer = pull(wire, "own", &[("sysFlag", "6"), ("suspendTimeoutMillis", "10000")]);
    assert_eq!(protocol::record::records(&answer.body).count(), 1, "{answer:?}");

    let half = format!("{forged}TRAN_MSG\u{1}true\u{2}PGROUP\u{1}pg\u{2}UNIQ_KEY\u{1}half\u{2}");
    let sent = send(wire, "own", &[("properties", &half), ("sysFlag", "4")], b"half");
    assert_eq!(sent.response_code(), ResponseCode::SUCCESS, "{sent:?}");
    let position = protocol::message_id::OffsetMessageId::parse(&sent.fields["msgId"]).unwrap().position.to_string();
    let fields = [
        ("producerGroup", "pg"),
        ("tranStateTableOffset", &*sent.fields["queueOffset"]),
        ("commitLogOffset", &position),
        ("commitOrRollback", "8"),
    ];
    assert_eq!(wire.call(RequestCode::END_TRANSACTION, &fields, b"").response_code(), ResponseCode::SUCCESS);
    let answer = pull(wire, "own", &[("queueOffset", "1")]);
    let bodies: Vec<&[u8]> = protocol::record::records(&answer.body).map(|record| record.body()).collect();
    assert_eq!(bodies, [b"half"]);
    assert!(guarded.server.broker().topics.get("../elsewhere").is_none());
    guarded.finish();
}

#[test]
fn two_billion_queues_are_refused() {
    let mut guarded = Guarded::start();
    let wire = &mut guarded.wire;
    for (read, write) in
        [("2000000000", "4"), ("4", "2000000000"), ("-1", "4"), ("4", "-1"), ("0", "0"), ("65537", "1")]
    {
        let fields = [("topic", "wide"), ("readQueueNums", read), ("writeQueueNums", write), ("perm", "6")];
        let answer = wire.call(RequestCode::UPDATE_AND_CREATE_TOPIC, &fields, b"");
        assert_eq!(answer.response_code(), ResponseCode::INVALID_PARAMETER, "{read} {write}: {answer:?}");
    }
    for perm in ["8", "-1", "2147483647"] {
        let fields = [("topic", "wide"), ("readQueueNums", "4"), ("writeQueueNums", "4"), ("perm", perm)];
        let answer = wire.call(RequestCode::UPDATE_AND_CREATE_TOPIC, &fields, b"");
        assert_eq!(answer.response_code(), ResponseCode::INVALID_PARAMETER, "{perm}: {answer:?}");
    }
    for queues in [65_537, 2_000_000_000, i32::MAX] {
        let group = format!(r#"{{"groupName":"wide","retryQueueNums":{queues}}}"#);
        let answer = wire.call(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &[], group.as_bytes());
        assert_eq!(answer.response_code(), ResponseCode::INVALID_PARAMETER, "{queues}: {answer:?}");
    }
    for (number, queues) in ["2000000000", "-5", "0"].iter().enumerate() {
        let topic = format!("auto{number}");
        let answer = send(wire, &topic, &[("defaultTopicQueueNums", queues)], b"x");
        assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{queues}: {answer:?}");
        let made = guarded.server.broker().topics.get(&topic).unwrap().queue_count();
        assert!((1..=4).contains(&made), "{queues}: {made}");
    }
    guarded.finish();
}
