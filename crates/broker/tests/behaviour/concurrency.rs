//! Many producers at once.

use std::collections::{BTreeMap, HashMap, VecDeque};

use broker::config::Flush;
use protocol::codes::{RequestCode, ResponseCode};

use crate::requests::{Client, Placed, message, placed};
use crate::running::{Running, broker_with};

const PRODUCERS: usize = 8;
const MESSAGES: usize = 500;
const QUEUES: i32 = 3;
/// Sends of one connection that are under way together.
const WINDOW: usize = 16;

/// What one producer sent, in the order in which it sent it, and where it was stored.
fn produce(mut client: Client, producer: usize) -> Vec<(String, Placed)> {
    let (mut under_way, mut sent) = (VecDeque::new(), Vec::new());
    for number in 0..MESSAGES + WINDOW {
        if number < MESSAGES {
            let queue_id = ((producer + number / 7) % QUEUES as usize) as i32;
            let body = format!("{producer}-{number}");
            let opaque = client.start(RequestCode::SEND_MESSAGE_V2, &message("orders", queue_id, &[]), body.as_bytes());
            under_way.push_back((opaque, body));
        }
        if WINDOW <= number
            && let Some((opaque, body)) = under_way.pop_front()
        {
            let answer = client.answer(opaque).expect(ResponseCode::SUCCESS);
            sent.push((body, placed(&answer)));
        }
    }
    sent
}

/// Lets all producers run and checks what their answers said against what is stored.
fn check_concurrent_producers(broker: Running) {
    broker.client().create_topic("orders", QUEUES);
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|number| {
            let client = broker.client();
            std::thread::spawn(move || produce(client, number))
        })
        .collect();
    let sent: Vec<Vec<(String, Placed)>> = producers.into_iter().map(|thread| thread.join().unwrap()).collect();

    let mut places: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for (_, placed) in sent.iter().flatten() {
        places.entry(placed.queue_id).or_default().push(placed.queue_offset);
    }
    for (queue_id, offsets) in &mut places {
        offsets.sort_unstable();
        let dense: Vec<i64> = (0..offsets.len() as i64).collect();
        assert_eq!(*offsets, dense, "offsets of queue {queue_id}");
    }

    let crashed = broker.crashed();
    for broker in [&broker, &crashed] {
        let mut client = broker.client();
        let found = (0..QUEUES).flat_map(|queue_id| client.all_of("orders", queue_id));
        let found: HashMap<String, (i32, i64)> =
            found.map(|message| (message.body, (message.queue_id, message.queue_offset))).collect();
        assert_eq!(found.len(), PRODUCERS * MESSAGES);
        for (body, placed) in sent.iter().flatten() {
            assert_eq!(found.get(body), Some(&(placed.queue_id, placed.queue_offset)), "{body}");
        }
    }

    for messages in &sent {
        let mut last: HashMap<i32, (i64, &str)> = HashMap::new();
        for (body, placed) in messages {
            if let Some((before, earlier)) = last.insert(placed.queue_id, (placed.queue_offset, body)) {
                assert!(before < placed.queue_offset, "{body} overtook {earlier}, which its connection sent earlier");
            }
        }
    }
}

#[test]
fn producers_on_one_thread_get_a_place_each_in_their_order() {
    check_concurrent_producers(broker_with(|_| {}));
}

#[test]
fn producers_on_one_thread_get_a_place_each_in_their_order_when_the_broker_syncs() {
    check_concurrent_producers(broker_with(|config| config.flush = Flush::Sync));
}

#[test]
fn producers_on_four_threads_get_a_place_each_in_their_order() {
    check_concurrent_producers(broker_with(|config| config.io_threads = 4));
}

#[test]
fn producers_on_four_threads_get_a_place_each_in_their_order_when_the_broker_syncs() {
    check_concurrent_producers(broker_with(|config| {
        config.io_threads = 4;
        config.flush = Flush::Sync;
    }));
}
