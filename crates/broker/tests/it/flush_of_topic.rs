//! A topic can be answered before, or only after, the disk has its messages, whatever the broker does for others.

use broker::config::Flush;
use protocol::codes::{RequestCode, ResponseCode};

use crate::by_hand::ByHand;

/// Messages of the topic that readers see.
fn seen(by_hand: &ByHand, topic: &str) -> u64 {
    by_hand.broker.log.find_queue(topic, 0).map_or(0, |queue| by_hand.broker.log.offsets(queue).max)
}

#[test]
fn a_topic_waits_for_the_disk_where_others_do_not() {
    let mut by_hand = ByHand::new(Flush::Async);
    by_hand.make_topic("orders", "SYNC_FLUSH");
    by_hand.make_topic("metrics", "ASYNC_FLUSH");
    assert_eq!(by_hand.send("metrics"), [ResponseCode::SUCCESS]);
    assert_eq!(by_hand.send("orders"), []);
    by_hand.broker.writer.sync_now();
    assert_eq!(by_hand.answered(), [ResponseCode::SUCCESS]);
    assert_eq!(by_hand.broker.log.durable(), by_hand.broker.log.end());
}

#[test]
fn a_topic_is_answered_at_once_where_others_wait_and_is_seen_only_when_it_is_safe() {
    let mut by_hand = ByHand::new(Flush::Sync);
    by_hand.make_topic("orders", "SYNC_FLUSH");
    by_hand.make_topic("metrics", "ASYNC_FLUSH");
    assert_eq!(by_hand.send("metrics"), [ResponseCode::SUCCESS]);
    assert_eq!(seen(&by_hand, "metrics"), 0);
    assert_eq!(by_hand.send("orders"), []);
    by_hand.broker.writer.sync_now();
    assert_eq!(by_hand.answered(), [ResponseCode::SUCCESS]);
    assert_eq!((seen(&by_hand, "metrics"), seen(&by_hand, "orders")), (1, 1));
}

#[test]
fn what_was_answered_before_it_is_safe_still_becomes_what_it_is() {
    let mut by_hand = ByHand::new(Flush::Sync);
    by_hand.make_topic("metrics", "ASYNC_FLUSH");
    let prepared = [
        ("topic", "metrics"),
        ("queueId", "0"),
        ("sysFlag", "4"),
        ("properties", "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}g\u{2}"),
    ];
    assert_eq!(by_hand.ask(RequestCode::SEND_MESSAGE, &prepared), [ResponseCode::SUCCESS]);
    assert_eq!(by_hand.broker.transactions().iter().count(), 0);
    by_hand.broker.writer.sync_now();
    assert_eq!(by_hand.broker.transactions().iter().count(), 1);
    // A pull that waits is woken when the message can be seen.
    let pull = [
        ("consumerGroup", "g"),
        ("topic", "metrics"),
        ("queueId", "0"),
        ("queueOffset", "0"),
        ("maxMsgNums", "1"),
        ("sysFlag", "6"),
        ("suspendTimeoutMillis", "9000"),
        ("subscription", "*"),
    ];
    assert_eq!(by_hand.ask(RequestCode::PULL_MESSAGE, &pull), []);
    assert_eq!(by_hand.send("metrics"), [ResponseCode::SUCCESS]);
    broker::remoting::answer_ready_pulls(&by_hand.broker);
    assert_eq!(by_hand.answered(), []);
    by_hand.broker.writer.sync_now();
    broker::remoting::answer_ready_pulls(&by_hand.broker);
    assert_eq!(by_hand.answered(), [ResponseCode::SUCCESS]);
}

#[test]
fn a_flush_that_nobody_knows_is_refused() {
    let mut by_hand = ByHand::new(Flush::Sync);
    let fields = [
        ("topic", "orders"),
        ("defaultTopic", "TBW102"),
        ("readQueueNums", "1"),
        ("writeQueueNums", "1"),
        ("perm", "6"),
        ("attributes", "+flush.disk.type=NEVER"),
    ];
    assert_ne!(by_hand.ask(RequestCode::UPDATE_AND_CREATE_TOPIC, &fields), [ResponseCode::SUCCESS]);
    assert!(by_hand.broker.topics.get("orders").is_none());
}
