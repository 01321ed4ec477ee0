//! Which queues a member of a group consumes, where the broker decides it. A pure core.
//!
//! Source: `broker/.../processor/QueryAssignmentProcessor.java`, `common/.../rebalance/AllocateMessageQueueAveragely*.java`.

use protocol::bodies::message_queue::MessageQueue;

/// How queues are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Neighbouring queues to each.
    Average,
    /// One to each in turn.
    Circle,
}

impl Strategy {
    /// The strategy of that name.
    pub fn named(name: &str) -> Option<Strategy> {
        match name {
            "AVG" => Some(Strategy::Average),
            "AVG_BY_CIRCLE" => Some(Strategy::Circle),
            _ => None,
        }
    }

    /// The queues of member number `index` of `members`.
    fn share(self, queues: &[MessageQueue], members: usize, index: usize) -> Vec<&MessageQueue> {
        match self {
            Strategy::Circle => queues.iter().skip(index).step_by(members.max(1)).collect(),
            Strategy::Average => {
                let (each, more) = (queues.len() / members.max(1), queues.len() % members.max(1));
                let first = index * each + index.min(more);
                let count = each + usize::from(index < more);
                queues.iter().skip(first).take(count).collect()
            }
        }
    }
}

/// The queues that a member pulls from. `queues` and `members` are sorted; somebody who is no member gets none.
pub fn to_pull(strategy: Strategy, queues: &[MessageQueue], members: &[String], client_id: &str) -> Vec<MessageQueue> {
    let Some(index) = members.iter().position(|member| member == client_id) else { return Vec::new() };
    strategy.share(queues, members.len(), index).into_iter().cloned().collect()
}

/// The queues that a member pops from: its own and those of the next `shared` members, so that each queue has several
/// consumers. With 0, less, or all the others it is every broker with queue -1, which means any.
pub fn to_pop(
    strategy: Strategy,
    queues: &[MessageQueue],
    members: &[String],
    client_id: &str,
    shared: i32,
) -> Vec<MessageQueue> {
    let shared = usize::try_from(shared).unwrap_or(0);
    if shared == 0 || members.len() <= shared + 1 {
        let mut brokers: Vec<MessageQueue> =
            queues.iter().map(|queue| MessageQueue { queue_id: -1, ..queue.clone() }).collect();
        brokers.dedup();
        return brokers;
    }
    let Some(index) = members.iter().position(|member| member == client_id) else { return Vec::new() };
    if queues.len() < members.len() {
        // There are more consumers than queues: each has one, and shares it.
        return queues.get(index % queues.len().max(1)).cloned().into_iter().collect();
    }
    let sharers = (0..=shared).map(|step| (index + step) % members.len());
    sharers.flat_map(|member| strategy.share(queues, members.len(), member)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{MessageQueue, Strategy, to_pop, to_pull};

    fn queues(count: i32) -> Vec<MessageQueue> {
        (0..count).map(|queue_id| MessageQueue { broker_name: "b".into(), queue_id, topic: "t".into() }).collect()
    }

    fn members(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("{number:03}")).collect()
    }

    fn ids(queues: Vec<MessageQueue>) -> Vec<i32> {
        queues.into_iter().map(|queue| queue.queue_id).collect()
    }

    #[test]
    fn queues_are_shared_out_as_java_clients_do_it_themselves() {
        let pull = |strategy, member: &str| ids(to_pull(strategy, &queues(8), &members(3), member));
        assert_eq!(
            ["000", "001", "002"].map(|member| pull(Strategy::Average, member)),
            [vec![0, 1, 2], vec![3, 4, 5], vec![6, 7]]
        );
        assert_eq!(
            ["000", "001", "002"].map(|member| pull(Strategy::Circle, member)),
            [vec![0, 3, 6], vec![1, 4, 7], vec![2, 5]]
        );
        assert!(pull(Strategy::Average, "nobody").is_empty());
        assert!(to_pull(Strategy::Average, &queues(8), &[], "000").is_empty());
    }

    #[test]
    fn who_pops_shares_queues_with_the_next() {
        let pop = |count, members: &[String], member: &str, shared| {
            ids(to_pop(Strategy::Average, &queues(count), members, member, shared))
        };
        assert_eq!(pop(8, &members(3), "000", 0), [-1]);
        assert_eq!(pop(8, &members(3), "000", 2), [-1]);
        assert_eq!(pop(8, &members(4), "003", 1), [6, 7, 0, 1]);
        assert_eq!(pop(2, &members(5), "003", 1), [1]);
        assert!(pop(0, &members(5), "003", 1).is_empty());
    }

    proptest! {
        #[test]
        fn every_queue_has_exactly_one_member_that_pulls(count in 0_i32..40, size in 1_usize..20, circle in any::<bool>()) {
            let strategy = if circle { Strategy::Circle } else { Strategy::Average };
            let members = members(size);
            let mut all: Vec<i32> =
                members.iter().flat_map(|member| ids(to_pull(strategy, &queues(count), &members, member))).collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..count).collect::<Vec<_>>());
        }
    }
}
