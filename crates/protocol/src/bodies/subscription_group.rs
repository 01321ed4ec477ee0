//! How consumer groups are configured.
//!
//! Sources: `remoting/.../protocol/subscription/*.java`,
//! `remoting/.../protocol/body/{SubscriptionGroupWrapper,SubscriptionGroupList,GroupForbidden}.java`.

use std::collections::BTreeMap;

use crate::bodies::data_version::DataVersion;
use crate::bodies::declare::{bodies, names};

bodies! {
    /// One consumer group; body of 200, answer of 352.
    #[derive(Eq)]
    SubscriptionGroupConfig {
        /// Attributes.
        attributes: BTreeMap<String, String> = "attributes",
        /// Broker to consume from, 0 for the master.
        broker_id: i64 = "brokerId",
        /// Whether broadcasting consumers may pull.
        consume_broadcast_enable: bool = "consumeBroadcastEnable" or true,
        /// Whether the group may consume at all.
        consume_enable: bool = "consumeEnable" or true,
        /// Whether a queue without a stored offset begins at its first message.
        consume_from_min_enable: bool = "consumeFromMinEnable" or true,
        /// Whether POP keeps the order of a queue.
        consume_message_orderly: bool = "consumeMessageOrderly",
        /// Minutes after which a client hands a message back that its listener holds.
        consume_timeout_minute: i32 = "consumeTimeoutMinute" or 15,
        /// Group.
        group_name: String = "groupName",
        /// How long a message waits before each retry.
        group_retry_policy: GroupRetryPolicy = "groupRetryPolicy",
        /// Unit bits.
        group_sys_flag: i32 = "groupSysFlag",
        /// Whether members are told when the group changes.
        notify_consumer_ids_changed_enable: bool = "notifyConsumerIdsChangedEnable" or true,
        /// Retries before a message goes to the dead letters.
        retry_max_times: i32 = "retryMaxTimes" or 16,
        /// Queues of the retry topic.
        retry_queue_nums: i32 = "retryQueueNums" or 1,
        /// Subscriptions that the operator fixed.
        subscription_data_set: Option<Vec<SimpleSubscription>> = "subscriptionDataSet",
        /// Broker to consume from when the group lags.
        which_broker_when_consume_slowly: i64 = "whichBrokerWhenConsumeSlowly" or 1,
    }

    /// How long a message waits before each retry. Without numbers of its own the kind has upstream's.
    #[derive(Eq)]
    GroupRetryPolicy {
        /// Numbers of the customized kind.
        customized_retry_policy: Option<CustomizedRetryPolicy> = "customizedRetryPolicy",
        /// Numbers of the exponential kind.
        exponential_retry_policy: Option<ExponentialRetryPolicy> = "exponentialRetryPolicy",
        /// Which kind counts.
        kind: RetryPolicyKind = "type" or RetryPolicyKind::Customized,
    }

    /// Waits one by one.
    #[derive(Eq)]
    CustomizedRetryPolicy {
        /// Milliseconds before the first retry, the second and so on; the last one repeats.
        next: Vec<i64> = "next",
    }

    /// Waits that grow by a factor.
    #[derive(Copy, Eq)]
    ExponentialRetryPolicy {
        /// Milliseconds before the first retry.
        initial: i64 = "initial" or 5_000,
        /// Longest wait in milliseconds.
        max: i64 = "max" or 7_200_000,
        /// Factor from one wait to the next.
        multiplier: i64 = "multiplier" or 2,
    }

    /// A subscription that the operator fixed.
    #[derive(Eq)]
    SimpleSubscription {
        /// The expression.
        expression: String = "expression",
        /// `TAG` or `SQL92`.
        expression_type: String = "expressionType",
        /// Topic.
        topic: String = "topic",
        /// Grows with every change.
        version: i64 = "version",
    }

    /// Answer of GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201). The Go admin client reads it as strict JSON.
    #[derive(Eq)]
    SubscriptionGroupTable {
        /// Version of the table.
        data_version: DataVersion = "dataVersion",
        /// Topics that a group may not pull, by group and topic; the number holds bits.
        forbidden_table: BTreeMap<String, BTreeMap<String, i32>> = "forbiddenTable",
        /// Every group by its name.
        subscription_group_table: BTreeMap<String, SubscriptionGroupConfig> = "subscriptionGroupTable",
    }

    /// Body of UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST (225).
    #[derive(Eq)]
    SubscriptionGroupList {
        /// The groups to create or change.
        group_config_list: Vec<SubscriptionGroupConfig> = "groupConfigList",
    }

    /// Answer of UPDATE_AND_GET_GROUP_FORBIDDEN (353).
    #[derive(Eq)]
    GroupForbidden {
        /// Group.
        group: String = "group",
        /// Whether the group may pull the topic.
        readable: bool = "readable",
        /// Topic.
        topic: String = "topic",
    }
}

names! {
    /// Kinds of retry policy.
    RetryPolicyKind {
        /// Waits that grow by a factor.
        Exponential = "EXPONENTIAL",
        /// Waits one by one.
        Customized = "CUSTOMIZED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lenient_json::{from_slice, to_vec};

    #[test]
    fn what_a_group_does_not_say_is_upstreams_default() {
        let read: SubscriptionGroupConfig = from_slice(br#"{"groupName":"g","consumeEnable":null}"#).unwrap();
        let expected = concat!(
            r#"{"attributes":{},"brokerId":0,"consumeBroadcastEnable":true,"consumeEnable":true,"#,
            r#""consumeFromMinEnable":true,"consumeMessageOrderly":false,"consumeTimeoutMinute":15,"#,
            r#""groupName":"g","groupRetryPolicy":{"type":"CUSTOMIZED"},"groupSysFlag":0,"#,
            r#""notifyConsumerIdsChangedEnable":true,"retryMaxTimes":16,"retryQueueNums":1,"#,
            r#""whichBrokerWhenConsumeSlowly":1}"#,
        );
        assert_eq!(String::from_utf8(to_vec(&read)).unwrap(), expected);
    }

    #[test]
    fn retry_policies_keep_their_numbers() {
        let text = r#"{"customizedRetryPolicy":{"next":[1000,5000]},"exponentialRetryPolicy":{"initial":1,"max":9,"multiplier":3},"type":"EXPONENTIAL"}"#;
        let read: GroupRetryPolicy = from_slice(text.as_bytes()).unwrap();
        assert_eq!(read.kind, RetryPolicyKind::Exponential);
        assert_eq!(String::from_utf8(to_vec(&read)).unwrap(), text);
    }
}
