//! Requests that several kinds of clients make: where a topic is, and what consumers ask of a queue.

use protocol::codes::RequestCode;
use protocol::requests::{GetRoute, PullMessage, QueryConsumerOffset, UpdateConsumerOffset};
use protocol::typed::TypedHeader;

use super::session::Session;
use super::{Context, NAMESERVER};
use crate::history::QueueAt;

/// A pull of a queue.
#[derive(Clone, Copy, Debug)]
pub struct Pull {
    /// First offset wanted.
    pub from: i64,
    /// Most messages wanted.
    pub max: i32,
    /// Longest time that the pull may be held, in milliseconds; 0 wants the answer at once.
    pub hold_ms: i64,
}

impl<T> Session<T> {
    /// Asks the nameserver where a topic is.
    pub fn ask_route(&mut self, context: &mut Context<'_>, topic: &str, about: T) {
        let header =
            GetRoute { topic: topic.into(), accept_standard_json_only: false, zone_mode: false, zone_name: None };
        let code = RequestCode::GET_ROUTEINFO_BY_TOPIC;
        self.request(context, NAMESERVER, code, |frame| header.encode(frame), b"", Some(about));
    }

    /// Asks how far a group is in a queue.
    pub fn ask_offset(&mut self, context: &mut Context<'_>, group: &str, queue: &QueueAt, about: T) {
        let header = QueryConsumerOffset {
            consumer_group: group.into(),
            topic: queue.1.as_str().into(),
            queue_id: queue.2,
            set_zero_if_not_found: false,
        };
        let code = RequestCode::QUERY_CONSUMER_OFFSET;
        self.request(context, queue.0, code, |frame| header.encode(frame), b"", Some(about));
    }

    /// Says how far a group is in a queue.
    pub fn commit_offset(
        &mut self,
        context: &mut Context<'_>,
        group: &str,
        queue: &QueueAt,
        commit_offset: i64,
        about: T,
    ) {
        let topic = queue.1.as_str().into();
        let header = UpdateConsumerOffset { consumer_group: group.into(), topic, queue_id: queue.2, commit_offset };
        let code = RequestCode::UPDATE_CONSUMER_OFFSET;
        self.request(context, queue.0, code, |frame| header.encode(frame), b"", Some(about));
    }

    /// Pulls messages of a queue.
    pub fn pull(&mut self, context: &mut Context<'_>, group: &str, queue: &QueueAt, pull: Pull, about: T) {
        const MAY_BE_HELD: i32 = 2;
        const WITH_SUBSCRIPTION: i32 = 4;
        let header = PullMessage {
            consumer_group: group.into(),
            topic: queue.1.as_str().into(),
            queue_id: queue.2,
            queue_offset: pull.from,
            max_msg_nums: pull.max,
            sys_flag: WITH_SUBSCRIPTION | if pull.hold_ms == 0 { 0 } else { MAY_BE_HELD },
            commit_offset: 0,
            suspend_timeout_millis: pull.hold_ms,
            subscription: Some("*".into()),
            sub_version: 1,
            expression_type: Some("TAG".into()),
            max_msg_bytes: None,
        };
        let code = RequestCode::PULL_MESSAGE;
        self.request(context, queue.0, code, |frame| header.encode(frame), b"", Some(about));
        self.wait_longer(pull.hold_ms as u64 * 1_000);
    }
}
