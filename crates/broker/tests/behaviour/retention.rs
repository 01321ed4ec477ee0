//! Old parts of the log go; what waits in them stays.

use broker::config::live::Hours;
use std::time::Duration;

use protocol::codes::ResponseCode;
use protocol::properties;

use crate::membership::{beat, producer};
use crate::requests::{Client, pull};
use crate::running::{Running, broker_with};
use crate::waiting::{now_ms, until};

const GROUP: &str = "payers";

/// A broker with small segments that deletes at every hour whatever is not in the newest one.
fn forgetful_broker() -> Running {
    broker_with(|config| {
        config.max_message_bytes = (8 << 10).into();
        config.segment_bytes = 64 << 10;
        config.retention = Duration::ZERO.into();
        config.delete_hours = (0..24).collect::<Hours>().into();
        config.transaction_timeout = Duration::from_millis(200).into();
        config.transaction_check_interval = Duration::from_secs(2).into();
        config.transaction_check_max = 1000.into();
    })
}

/// Fills a few segments.
fn fill(client: &mut Client) {
    for _ in 0..40 {
        client.send("filler", 0, &"f".repeat(6000));
    }
}

#[test]
fn old_messages_go_and_waiting_ones_survive_the_deletion_of_their_segment() {
    let broker = forgetful_broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    client.create_topic("payments", 1);
    client.create_topic("filler", 1);
    let in_seconds = |seconds: i64| (now_ms() + seconds * 1000).to_string();
    for number in 0..30 {
        // More than one segment of them, so that they cannot all be moved into one either.
        let body = format!("late {number} {}", "w".repeat(5000));
        client.send_with("orders", 0, &body, &[(properties::TIMER_DELIVER_MS, &in_seconds(16))]);
    }
    let half = client.half(GROUP, "payments", "paid", &[]);
    fill(&mut client);

    // A producer that never knows, so that the count of questions goes on.
    let mut producing = broker.client();
    beat(&mut producing, &producer("producer-1", GROUP));
    let times = |question: &crate::requests::Came| -> u32 {
        question.messages()[0].property(properties::TRANSACTION_CHECK_TIMES).parse().unwrap()
    };
    let first = producing.pushed();
    assert_eq!(first.number("commitLogOffset"), half.position);
    let mut last = times(&first);
    let start = |broker: &Running| broker.inside().broker.log.start().0;
    until("the deletion of the first segments", || (start(&broker) > half.position as u64).then_some(()));

    // Segment by segment they go; then the first offset stands still.
    let min = until("the end of the deletion", || {
        let moved = client.pull(&pull("filler", 0, 0)).expect(ResponseCode::PULL_OFFSET_MOVED);
        assert_eq!(moved.number("nextBeginOffset"), moved.number("minOffset"));
        (client.min_offset("filler", 0) == moved.number("minOffset")).then(|| moved.number("minOffset"))
    });
    assert!(0 < min && min < 40);
    assert_eq!(client.wait_for("filler", 0, min, 1)[0].body.len(), 6000);

    let moved = loop {
        let question = producing.pushed();
        assert_eq!(times(&question), last + 1, "the count goes on");
        last += 1;
        if question.number("commitLogOffset") != half.position {
            break question;
        }
    };
    let half = crate::requests::Placed {
        queue_id: 0,
        queue_offset: moved.number("tranStateTableOffset"),
        position: moved.number("commitLogOffset"),
    };
    assert_eq!(client.max_offset("orders", 0), 0, "the machine is too slow for this test");
    let crashed = broker.crashed();
    for broker in [crashed, broker.restarted()] {
        let mut client = broker.client();
        client.commit(GROUP, half);
        client.commit(GROUP, half);
        assert_eq!(client.bodies_of("payments", 0), ["paid"]);
        let late = client.wait_for("orders", 0, 0, 30);
        let mut numbers: Vec<i32> =
            late.iter().map(|message| message.body.split(' ').nth(1).unwrap().parse().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..30).collect::<Vec<_>>());
        client.send_with("orders", 0, "fence", &[(properties::TIMER_DELAY_MS, "50")]);
        assert_eq!(client.wait_for("orders", 0, 30, 1)[0].body, "fence");
    }
}
