//! Bodies with any content are read as they were written.

use std::collections::BTreeMap;
use std::fmt::Debug;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use protocol::bodies::check_client::CheckClientConfig;
use protocol::bodies::consumer_connection::{Connection, ConsumerConnection};
use protocol::bodies::data_version::DataVersion;
use protocol::bodies::heartbeat::*;
use protocol::bodies::message_queue::MessageQueue;
use protocol::bodies::queue_lock::{LockedQueues, QueueLockRequest};
use protocol::bodies::queue_map::QueueMap;
use protocol::bodies::stats::*;
use protocol::bodies::subscription_group::*;
use protocol::bodies::topic_config::*;
use protocol::lenient_json::{from_slice, normalise, to_vec};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Writes and reads `body`, and looks that its names are in the order of the alphabet, as fastjson writes them.
fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(body: &T) -> Result<(), TestCaseError> {
    let text = to_vec(body);
    prop_assert_eq!(&from_slice::<T>(&text).unwrap(), body);
    let strict = normalise(&text).unwrap();
    let value: Value = serde_json::from_slice(&strict).unwrap();
    // A `Value` keeps its names sorted.
    prop_assert_eq!(String::from_utf8_lossy(&strict), value.to_string());
    Ok(())
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z%_|*-]{0,12}", any::<String>()]
}

/// Fractions that decimal text holds exactly.
fn rate() -> impl Strategy<Value = f64> {
    any::<i32>().prop_map(|number| f64::from(number) / 4.0)
}

fn subscription() -> impl Strategy<Value = SubscriptionData> {
    (any::<bool>(), vec(any::<i32>(), 0..3), text(), text(), any::<i64>(), vec(text(), 0..3), text()).prop_map(
        |(class_filter_mode, code_set, expression_type, sub_string, sub_version, tags_set, topic)| SubscriptionData {
            class_filter_mode,
            code_set,
            expression_type,
            sub_string,
            sub_version,
            tags_set,
            topic,
        },
    )
}

fn consumer() -> impl Strategy<Value = ConsumerData> {
    (
        option::of(select(ConsumeFromWhere::ALL)),
        option::of(select(ConsumeType::ALL)),
        text(),
        option::of(select(MessageModel::ALL)),
        vec(subscription(), 0..3),
        any::<bool>(),
    )
        .prop_map(
            |(consume_from_where, consume_type, group_name, message_model, subscription_data_set, unit_mode)| {
                ConsumerData {
                    consume_from_where,
                    consume_type,
                    group_name,
                    message_model,
                    subscription_data_set,
                    unit_mode,
                }
            },
        )
}

fn queue() -> impl Strategy<Value = MessageQueue> {
    (text(), any::<i32>(), text()).prop_map(|(broker_name, queue_id, topic)| MessageQueue {
        broker_name,
        queue_id,
        topic,
    })
}

fn queue_map<V: Strategy>(value: V) -> impl Strategy<Value = QueueMap<V::Value>> {
    vec((queue(), value), 0..4).prop_map(QueueMap)
}

fn version() -> impl Strategy<Value = DataVersion> {
    any::<(i64, i64, i64)>().prop_map(|(counter, state_version, timestamp)| DataVersion {
        counter,
        state_version,
        timestamp,
    })
}

fn topic() -> impl Strategy<Value = TopicConfig> {
    (btree_map(text(), text(), 0..3), any::<bool>(), any::<[i32; 4]>(), select(TopicFilterType::ALL), text()).prop_map(
        |(attributes, order, [perm, read_queue_nums, topic_sys_flag, write_queue_nums], topic_filter_type, name)| {
            TopicConfig {
                attributes,
                order,
                perm,
                read_queue_nums,
                topic_filter_type,
                topic_name: name,
                topic_sys_flag,
                write_queue_nums,
            }
        },
    )
}

fn retry_policy() -> impl Strategy<Value = GroupRetryPolicy> {
    let customized = vec(any::<i64>(), 0..3).prop_map(|next| CustomizedRetryPolicy { next });
    let exponential = any::<(i64, i64, i64)>().prop_map(|(initial, max, multiplier)| ExponentialRetryPolicy {
        initial,
        max,
        multiplier,
    });
    (option::of(customized), option::of(exponential), select(RetryPolicyKind::ALL)).prop_map(
        |(customized_retry_policy, exponential_retry_policy, kind)| GroupRetryPolicy {
            customized_retry_policy,
            exponential_retry_policy,
            kind,
        },
    )
}

fn group() -> impl Strategy<Value = SubscriptionGroupConfig> {
    let simple = (text(), text(), text(), any::<i64>()).prop_map(|(expression, expression_type, topic, version)| {
        SimpleSubscription { expression, expression_type, topic, version }
    });
    (
        btree_map(text(), text(), 0..3),
        any::<[i64; 2]>(),
        any::<[bool; 5]>(),
        any::<[i32; 4]>(),
        text(),
        retry_policy(),
        option::of(vec(simple, 0..3)),
    )
        .prop_map(|(attributes, ids, flags, numbers, group_name, group_retry_policy, subscription_data_set)| {
            SubscriptionGroupConfig {
                attributes,
                broker_id: ids[0],
                consume_broadcast_enable: flags[0],
                consume_enable: flags[1],
                consume_from_min_enable: flags[2],
                consume_message_orderly: flags[3],
                consume_timeout_minute: numbers[0],
                group_name,
                group_retry_policy,
                group_sys_flag: numbers[1],
                notify_consumer_ids_changed_enable: flags[4],
                retry_max_times: numbers[2],
                retry_queue_nums: numbers[3],
                subscription_data_set,
                which_broker_when_consume_slowly: ids[1],
            }
        })
}

fn consume_stats() -> impl Strategy<Value = ConsumeStats> {
    let offset = any::<[i64; 4]>().prop_map(|[broker_offset, consumer_offset, last_timestamp, pull_offset]| {
        ConsumeOffset { broker_offset, consumer_offset, last_timestamp, pull_offset }
    });
    (rate(), queue_map(offset)).prop_map(|(consume_tps, offset_table)| ConsumeStats { consume_tps, offset_table })
}

fn by_name<T>(items: Vec<T>, name: impl Fn(&T) -> String) -> BTreeMap<String, T> {
    items.into_iter().map(|item| (name(&item), item)).collect()
}

proptest! {
    #[test]
    fn heartbeats(
        client_id in text(), consumer_data_set in vec(consumer(), 0..3), heartbeat_fingerprint in any::<i32>(),
        producers in vec(text(), 0..3), without_sub in any::<bool>(),
    ) {
        let producer_data_set = producers.into_iter().map(|group_name| ProducerData { group_name }).collect();
        check(&HeartbeatData { client_id, consumer_data_set, heartbeat_fingerprint, producer_data_set, without_sub })?;
    }

    #[test]
    fn subscription_checks(
        client_id in text(), group in text(), namespace in option::of(text()), subscription_data in subscription(),
    ) {
        check(&CheckClientConfig { client_id, group, namespace, subscription_data })?;
    }

    #[test]
    fn queue_locks(
        client_id in text(), consumer_group in text(), mq_set in vec(queue(), 0..4), only_this_broker in any::<bool>(),
    ) {
        check(&LockedQueues { lock_ok_mq_set: mq_set.clone() })?;
        check(&QueueLockRequest { client_id, consumer_group, mq_set, only_this_broker })?;
    }

    #[test]
    fn topic_tables(
        data_version in version(), mapping_data_version in option::of(version()), topics in vec(topic(), 0..4),
    ) {
        let topic_config_table = by_name(topics, |topic| topic.topic_name.clone());
        check(&TopicConfigTable { data_version, mapping_data_version, topic_config_table })?;
    }

    #[test]
    fn group_tables(
        data_version in version(), groups in vec(group(), 0..3),
        forbidden_table in btree_map(text(), btree_map(text(), any::<i32>(), 0..3), 0..3),
    ) {
        let subscription_group_table = by_name(groups, |group| group.group_name.clone());
        check(&SubscriptionGroupTable { data_version, forbidden_table, subscription_group_table })?;
    }

    #[test]
    fn topic_statistics(
        topic_put_tps in rate(), offsets in queue_map(any::<[i64; 3]>()), reset in queue_map(any::<i64>()),
    ) {
        let offset = |[last_update_timestamp, max_offset, min_offset]: [i64; 3]| {
            TopicOffset { last_update_timestamp, max_offset, min_offset }
        };
        let offset_table = offsets.0.into_iter().map(|(queue, numbers)| (queue, offset(numbers))).collect();
        check(&TopicStatsTable { offset_table, topic_put_tps })?;
        check(&ResetOffsets { offset_table: reset })?;
    }

    #[test]
    fn consumption_statistics(
        broker_addr in option::of(text()), totals in any::<[i64; 2]>(),
        consume_stats_list in vec(btree_map(text(), vec(consume_stats(), 0..3), 0..2), 0..3),
    ) {
        let [total_diff, total_inflight_diff] = totals;
        check(&ConsumeStatsList { broker_addr, consume_stats_list, total_diff, total_inflight_diff })?;
    }

    #[test]
    fn connections(
        members in vec((text(), text(), text(), any::<i32>()), 0..3), consumer in consumer(),
    ) {
        let connection_set = members.into_iter().map(|(client_addr, client_id, language, version)| {
            Connection { client_addr, client_id, language, version }
        });
        check(&ConsumerConnection {
            connection_set: connection_set.collect(),
            consume_from_where: consumer.consume_from_where,
            consume_type: consumer.consume_type,
            message_model: consumer.message_model,
            subscription_table: by_name(consumer.subscription_data_set, |data| data.topic.clone()),
        })?;
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in r#"\{?[{}\[\]"':,a-z0-9 ]{0,60}"#) {
        let _ = from_slice::<HeartbeatData>(text.as_bytes());
        let _ = from_slice::<ConsumeStats>(text.as_bytes());
        let _ = from_slice::<SubscriptionGroupTable>(text.as_bytes());
    }
}
