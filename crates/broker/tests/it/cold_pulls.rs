//! Pulls of what is not in memory: whoever serves connections does not wait for the disk.

use broker::config::Flush;
use broker::remoting::{answer_ready_pulls, answer_slow_pulls_here};
use protocol::codes::{RequestCode, ResponseCode};

use crate::by_hand::ByHand;

fn pull_fields(offset: &'static str) -> Vec<(&'static str, &'static str)> {
    vec![
        ("consumerGroup", "g"),
        ("topic", "orders"),
        ("queueId", "0"),
        ("queueOffset", offset),
        ("maxMsgNums", "32"),
        ("sysFlag", "7"),
        ("commitOffset", "1"),
        ("suspendTimeoutMillis", "9000"),
        ("subscription", "*"),
    ]
}

fn with_messages() -> ByHand {
    let mut by_hand = ByHand::new(Flush::Async);
    by_hand.make_topic("orders", "ASYNC_FLUSH");
    for _ in 0..3 {
        assert_eq!(by_hand.send("orders"), [ResponseCode::SUCCESS]);
    }
    by_hand
}

fn committed(by_hand: &ByHand) -> Option<i64> {
    by_hand.broker.offsets.get("g", "orders", 0)
}

#[test]
fn a_pull_of_what_is_not_in_memory_is_answered_later_and_holds_up_nobody() {
    let mut by_hand = with_messages();
    by_hand.disk.set_cold(true);
    assert_eq!(by_hand.ask(RequestCode::PULL_MESSAGE, &pull_fields("0")), []);
    assert_eq!(committed(&by_hand), None);
    // Whoever comes after it is served.
    assert_eq!(by_hand.send("orders"), [ResponseCode::SUCCESS]);
    answer_slow_pulls_here(&by_hand.broker);
    assert_eq!(by_hand.answered(), [ResponseCode::SUCCESS]);
    assert_eq!(committed(&by_hand), Some(1));
}

#[test]
fn a_pull_of_what_is_in_memory_is_answered_at_once() {
    let mut by_hand = with_messages();
    assert_eq!(by_hand.ask(RequestCode::PULL_MESSAGE, &pull_fields("0")), [ResponseCode::SUCCESS]);
    assert_eq!(committed(&by_hand), Some(1));
}

#[test]
fn a_held_pull_whose_message_has_left_memory_is_answered_all_the_same() {
    let mut by_hand = with_messages();
    assert_eq!(by_hand.ask(RequestCode::PULL_MESSAGE, &pull_fields("3")), []);
    by_hand.disk.set_cold(true);
    assert_eq!(by_hand.send("orders"), [ResponseCode::SUCCESS]);
    answer_ready_pulls(&by_hand.broker);
    assert_eq!(by_hand.answered(), []);
    answer_slow_pulls_here(&by_hand.broker);
    assert_eq!(by_hand.answered(), [ResponseCode::SUCCESS]);
}

#[test]
fn a_connection_that_asks_for_too_much_at_once_waits_for_the_disk_itself() {
    let mut by_hand = with_messages();
    by_hand.disk.set_cold(true);
    let at_once = (0..100).map(|_| by_hand.ask(RequestCode::PULL_MESSAGE, &pull_fields("0")).len()).sum::<usize>();
    assert!((1..100).contains(&at_once), "{at_once} of 100 were answered at once");
    answer_slow_pulls_here(&by_hand.broker);
    assert_eq!(by_hand.answered().len(), 100 - at_once);
    // Those that were answered count no more.
    assert_eq!(by_hand.ask(RequestCode::PULL_MESSAGE, &pull_fields("0")), []);
    answer_slow_pulls_here(&by_hand.broker);
    assert_eq!(by_hand.answered(), [ResponseCode::SUCCESS]);
}
