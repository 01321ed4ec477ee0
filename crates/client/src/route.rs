//! Where the queues of a topic are.

use protocol::bodies::route::{BrokerData, MASTER_ID, TopicRouteData};
use protocol::bodies::topic_config::{PERM_READ, PERM_WRITE};

/// A queue and who has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueAt {
    /// Broker name.
    pub broker: String,
    /// Number of the queue on that broker.
    pub queue_id: i32,
    /// Address to dial.
    pub address: String,
}

/// Queues that take messages: those of masters, broker by broker in the order of their names. An order
/// configuration replaces the numbers of queues, as in stock clients.
pub fn writable(route: &TopicRouteData) -> Vec<QueueAt> {
    let ordered = route.order_topic_conf.as_deref().filter(|text| !text.is_empty());
    let mut queues: Vec<QueueAt> = match ordered {
        Some(text) => {
            order_configuration(text).flat_map(|(name, count)| queues_of(route, &name, count, master_address)).collect()
        }
        None => route
            .queue_datas
            .iter()
            .filter(|queues| queues.perm & PERM_WRITE != 0)
            .flat_map(|queues| queues_of(route, &queues.broker_name, queues.write_queue_nums, master_address))
            .collect(),
    };
    queues.sort();
    queues
}

/// Queues that give messages; from the master, or from whoever has the lowest id.
pub fn readable(route: &TopicRouteData) -> Vec<QueueAt> {
    let mut queues: Vec<QueueAt> = route
        .queue_datas
        .iter()
        .filter(|queues| queues.perm & PERM_READ != 0)
        .flat_map(|queues| queues_of(route, &queues.broker_name, queues.read_queue_nums, any_address))
        .collect();
    queues.sort();
    queues
}

fn queues_of(
    route: &TopicRouteData,
    broker: &str,
    count: i32,
    address: fn(&BrokerData) -> Option<&str>,
) -> impl Iterator<Item = QueueAt> + use<> {
    let address = route.broker_datas.iter().find(|data| data.broker_name == broker).and_then(address);
    let queues = 0..if address.is_some() { count } else { 0 };
    let (broker, address) = (broker.to_owned(), address.unwrap_or_default().to_owned());
    queues.map(move |queue_id| QueueAt { broker: broker.clone(), queue_id, address: address.clone() })
}

/// Address of the master.
pub fn master_address(broker: &BrokerData) -> Option<&str> {
    broker.broker_addrs.get(&MASTER_ID).map(String::as_str)
}

/// Address of the master, or of the slave with the lowest id.
pub fn any_address(broker: &BrokerData) -> Option<&str> {
    broker.broker_addrs.values().next().map(String::as_str)
}

/// `broker-a:4;broker-b:4`; what is not of that form is passed over.
fn order_configuration(text: &str) -> impl Iterator<Item = (String, i32)> {
    text.split(';').filter_map(|item| {
        let (name, count) = item.rsplit_once(':')?;
        Some((name.trim().to_owned(), count.trim().parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use protocol::bodies::route::QueueData;

    use super::*;

    fn route(order: Option<&str>) -> TopicRouteData {
        let broker = |name: &str, addresses: &[(i64, &str)]| BrokerData {
            broker_name: name.into(),
            broker_addrs: addresses.iter().map(|(id, address)| (*id, (*address).into())).collect(),
            ..BrokerData::default()
        };
        let queues = |name: &str, perm, count| QueueData {
            broker_name: name.into(),
            perm,
            read_queue_nums: count,
            write_queue_nums: count,
            topic_sys_flag: 0,
        };
        TopicRouteData {
            broker_datas: vec![
                broker("b", &[(0, "b0:1"), (1, "b1:1")]),
                broker("a", &[(0, "a0:1")]),
                broker("slaves", &[(1, "s1:1"), (2, "s2:1")]),
            ],
            queue_datas: vec![queues("b", 4, 1), queues("a", 6, 2), queues("slaves", 6, 1), queues("gone", 6, 1)],
            order_topic_conf: order.map(Into::into),
            ..TopicRouteData::default()
        }
    }

    fn shown(queues: Vec<QueueAt>) -> Vec<String> {
        queues.iter().map(|queue| format!("{} {} {}", queue.broker, queue.queue_id, queue.address)).collect()
    }

    #[test]
    fn writes_go_to_masters_that_allow_them() {
        assert_eq!(shown(writable(&route(None))), ["a 0 a0:1", "a 1 a0:1"]);
        assert_eq!(shown(writable(&route(Some("")))), ["a 0 a0:1", "a 1 a0:1"]);
    }

    #[test]
    fn an_order_configuration_says_how_many_queues_there_are() {
        assert_eq!(shown(writable(&route(Some("b:2;a:1;gone:3;junk")))), ["a 0 a0:1", "b 0 b0:1", "b 1 b0:1"]);
    }

    #[test]
    fn reads_go_to_the_lowest_id() {
        assert_eq!(shown(readable(&route(None))), ["a 0 a0:1", "a 1 a0:1", "b 0 b0:1", "slaves 0 s1:1"]);
    }
}
