//! Typed headers of the requests that clients, tools and brokers send, and of their answers.
//!
//! Sources: `remoting/.../protocol/header/**`. Fields that every handler ignores (`bname`, `lo`, `ns`, …) are left
//! out; they are passed over when read.

pub mod tools;

use std::borrow::Cow;

use crate::typed::headers;

type S<'a> = Cow<'a, str>;

headers! {
    /// SEND_MESSAGE (10, long names), SEND_MESSAGE_V2 (310) and SEND_BATCH_MESSAGE (320, one-letter names).
    /// Either form of a name is read; the letters are written.
    SendMessage<'a> {
        /// Producer group.
        producer_group: S<'a> = "a" | "producerGroup" or Cow::Borrowed(""),
        /// Topic.
        topic: S<'a> = "b" | "topic",
        /// Template topic for auto-creation.
        default_topic: S<'a> = "c" | "defaultTopic" or Cow::Borrowed(""),
        /// Queues that an auto-created topic should get.
        default_topic_queue_nums: i32 = "d" | "defaultTopicQueueNums" or 0,
        /// Queue; negative lets the broker choose.
        queue_id: i32 = "e" | "queueId",
        /// System flag.
        sys_flag: i32 = "f" | "sysFlag" or 0,
        /// When the client made the message, in milliseconds since 1970.
        born_timestamp: i64 = "g" | "bornTimestamp" or 0,
        /// The user's own flag.
        flag: i32 = "h" | "flag" or 0,
        /// Properties in stored form.
        properties: Option<S<'a>> = "i" | "properties",
        /// How often the message was handed back by consumers.
        reconsume_times: Option<i32> = "j" | "reconsumeTimes",
        /// Unit mode of the producer.
        unit_mode: Option<bool> = "k" | "unitMode",
        /// Times that consumers may hand the message back.
        max_reconsume_times: Option<i32> = "l" | "maxReconsumeTimes",
        /// Whether the body is a batch.
        batch: Option<bool> = "m" | "batch",
    }

    /// Answer to a send.
    SendMessageResult<'a> {
        /// Offset message id; of a batch, all of them joined by commas.
        msg_id: S<'a> = "msgId",
        /// Queue that was used.
        queue_id: i32 = "queueId",
        /// Offset in the queue; of a batch, that of the first message.
        queue_offset: i64 = "queueOffset",
        /// Unique id of the message.
        transaction_id: Option<S<'a>> = "transactionId",
        /// By which a message that is due at some time can be taken back.
        recall_handle: Option<S<'a>> = "recallHandle",
    }

    /// RECALL_MESSAGE (370).
    RecallMessage<'a> {
        /// Producer group.
        producer_group: Option<S<'a>> = "producerGroup",
        /// Topic of the message.
        topic: S<'a> = "topic",
        /// What the answer to the send said.
        recall_handle: S<'a> = "recallHandle",
    }

    /// PULL_MESSAGE (11) and LITE_PULL_MESSAGE (361).
    PullMessage<'a> {
        /// Consumer group.
        consumer_group: S<'a> = "consumerGroup",
        /// Topic.
        topic: S<'a> = "topic",
        /// Queue.
        queue_id: i32 = "queueId",
        /// First offset wanted.
        queue_offset: i64 = "queueOffset",
        /// Most messages wanted; 0 still wants one.
        max_msg_nums: i32 = "maxMsgNums",
        /// See [`PullFlags`].
        sys_flag: i32 = "sysFlag",
        /// Offset to commit, when the flag says so.
        commit_offset: i64 = "commitOffset" or -1,
        /// How long the request may be held, in milliseconds.
        suspend_timeout_millis: i64 = "suspendTimeoutMillis" or 0,
        /// Filter expression, when the flag says so.
        subscription: Option<S<'a>> = "subscription",
        /// Version of the subscription that the client means.
        sub_version: i64 = "subVersion" or 0,
        /// `TAG` or `SQL92`.
        expression_type: Option<S<'a>> = "expressionType",
        /// Most bytes wanted.
        max_msg_bytes: Option<i32> = "maxMsgBytes",
    }

    /// Answer to a pull; all four fields are there with codes 0, 19, 20 and 21.
    PullMessageResult {
        /// Broker id to pull from next.
        suggest_which_broker_id: i64 = "suggestWhichBrokerId",
        /// Offset to pull next.
        next_begin_offset: i64 = "nextBeginOffset",
        /// First offset that is there.
        min_offset: i64 = "minOffset",
        /// Offset after the last that is there.
        max_offset: i64 = "maxOffset",
    }

    /// QUERY_CONSUMER_OFFSET (14).
    QueryConsumerOffset<'a> {
        /// Consumer group.
        consumer_group: S<'a> = "consumerGroup",
        /// Topic.
        topic: S<'a> = "topic",
        /// Queue.
        queue_id: i32 = "queueId",
        /// Whether 0 may stand for an offset that nobody stored; absent counts as true.
        set_zero_if_not_found: bool = "setZeroIfNotFound" or true,
    }

    /// UPDATE_CONSUMER_OFFSET (15).
    UpdateConsumerOffset<'a> {
        /// Consumer group.
        consumer_group: S<'a> = "consumerGroup",
        /// Topic.
        topic: S<'a> = "topic",
        /// Queue.
        queue_id: i32 = "queueId",
        /// Next offset to consume.
        commit_offset: i64 = "commitOffset",
    }

    /// GET_MAX_OFFSET (30), GET_MIN_OFFSET (31) and GET_EARLIEST_MSG_STORETIME (32).
    QueueOfTopic<'a> {
        /// Topic.
        topic: S<'a> = "topic",
        /// Queue.
        queue_id: i32 = "queueId",
    }

    /// SEARCH_OFFSET_BY_TIMESTAMP (29).
    SearchOffset<'a> {
        /// Topic.
        topic: S<'a> = "topic",
        /// Queue.
        queue_id: i32 = "queueId",
        /// Store time in milliseconds since 1970.
        timestamp: i64 = "timestamp",
        /// `LOWER` or `UPPER`; anything but the latter means the former.
        boundary_type: Option<S<'a>> = "boundaryType",
    }

    /// Answer of 14, 29, 30 and 31.
    OffsetResult {
        /// The offset.
        offset: i64 = "offset",
    }

    /// Answer of 32.
    TimestampResult {
        /// Milliseconds since 1970, -1 when the queue is empty.
        timestamp: i64 = "timestamp",
    }

    /// UNREGISTER_CLIENT (35).
    UnregisterClient<'a> {
        /// Client id.
        client_id: S<'a> = "clientID",
        /// Producer group to leave.
        producer_group: Option<S<'a>> = "producerGroup",
        /// Consumer group to leave.
        consumer_group: Option<S<'a>> = "consumerGroup",
    }

    /// GET_CONSUMER_LIST_BY_GROUP (38), GET_CONSUMER_CONNECTION_LIST (203), NOTIFY_CONSUMER_IDS_CHANGED (40).
    ConsumerGroup<'a> {
        /// Consumer group.
        consumer_group: S<'a> = "consumerGroup",
    }

    /// CONSUMER_SEND_MSG_BACK (36).
    ConsumerSendMsgBack<'a> {
        /// Consumer group.
        group: S<'a> = "group",
        /// Position of the message in the commit log.
        offset: i64 = "offset",
        /// 0: the broker decides; -1: dead letter; otherwise the delay level.
        delay_level: i32 = "delayLevel" or 0,
        /// The client's id of the message.
        origin_msg_id: Option<S<'a>> = "originMsgId",
        /// Topic as consumed.
        origin_topic: Option<S<'a>> = "originTopic",
        /// Unit mode of the consumer.
        unit_mode: bool = "unitMode" or false,
        /// Times that the message may be handed back.
        max_reconsume_times: Option<i32> = "maxReconsumeTimes",
    }

    /// END_TRANSACTION (37).
    EndTransaction<'a> {
        /// Producer group.
        producer_group: S<'a> = "producerGroup",
        /// Offset of the half message in the half topic.
        tran_state_table_offset: i64 = "tranStateTableOffset",
        /// Position of the half message in the commit log.
        commit_log_offset: i64 = "commitLogOffset",
        /// 8 commit, 12 rollback, 0 unknown.
        commit_or_rollback: i32 = "commitOrRollback",
        /// Whether it answers a check.
        from_transaction_check: bool = "fromTransactionCheck" or false,
        /// Unique id of the message.
        msg_id: Option<S<'a>> = "msgId",
        /// Transaction id.
        transaction_id: Option<S<'a>> = "transactionId",
    }

    /// CHECK_TRANSACTION_STATE (39), broker to producer.
    CheckTransactionState<'a> {
        /// Topic of the half message.
        topic: Option<S<'a>> = "topic",
        /// Offset of the half message in the half topic.
        tran_state_table_offset: i64 = "tranStateTableOffset",
        /// Position of the half message in the commit log.
        commit_log_offset: i64 = "commitLogOffset",
        /// Unique id of the message.
        msg_id: Option<S<'a>> = "msgId",
        /// Transaction id.
        transaction_id: Option<S<'a>> = "transactionId",
        /// Offset message id of the half message.
        offset_msg_id: Option<S<'a>> = "offsetMsgId",
    }

    /// VIEW_MESSAGE_BY_ID (33).
    ViewMessage {
        /// Position in the commit log.
        offset: i64 = "offset",
    }

    /// QUERY_MESSAGE (12).
    QueryMessage<'a> {
        /// Topic.
        topic: S<'a> = "topic",
        /// Key to look for.
        key: S<'a> = "key",
        /// Most messages wanted.
        max_num: i32 = "maxNum",
        /// Earliest store time, in milliseconds since 1970.
        begin_timestamp: i64 = "beginTimestamp",
        /// Latest store time, in milliseconds since 1970.
        end_timestamp: i64 = "endTimestamp",
        /// Whether the key is a unique id.
        unique_key_query: bool = "_UNIQUE_KEY_QUERY" or false,
        /// `U` unique key, `K` key, `T` tag.
        index_type: Option<S<'a>> = "indexType",
    }

    /// Answer of 12.
    QueryMessageResult {
        /// Store time of the newest indexed message.
        index_last_update_timestamp: i64 = "indexLastUpdateTimestamp",
        /// Position of the newest indexed message.
        index_last_update_phyoffset: i64 = "indexLastUpdatePhyoffset",
    }

    /// UPDATE_AND_CREATE_TOPIC (17).
    CreateTopic<'a> {
        /// Topic.
        topic: S<'a> = "topic",
        /// Template topic, unused.
        default_topic: Option<S<'a>> = "defaultTopic",
        /// Queues that can be read.
        read_queue_nums: i32 = "readQueueNums",
        /// Queues that can be written.
        write_queue_nums: i32 = "writeQueueNums",
        /// Permission bits.
        perm: i32 = "perm",
        /// `SINGLE_TAG` or `MULTI_TAG`.
        topic_filter_type: Option<S<'a>> = "topicFilterType",
        /// Topic system flag.
        topic_sys_flag: Option<i32> = "topicSysFlag",
        /// Whether the topic is ordered.
        order: bool = "order" or false,
        /// `+key=value,-key` changes of attributes.
        attributes: Option<S<'a>> = "attributes",
    }

    /// DELETE_TOPIC_IN_BROKER (215), GET_TOPIC_STATS_INFO (202), GET_TOPIC_CONFIG (351), REGISTER_TOPIC_IN_NAMESRV
    /// (217), QUERY_TOPIC_CONSUME_BY_WHO (300).
    OneTopic<'a> {
        /// Topic.
        topic: S<'a> = "topic",
    }

    /// GET_ROUTEINFO_BY_TOPIC (105).
    GetRoute<'a> {
        /// Topic.
        topic: S<'a> = "topic",
        /// Whether the sender insists on standard JSON.
        accept_standard_json_only: bool = "acceptStandardJsonOnly" or false,
        /// `true` turns the zone filter on.
        zone_mode: bool = "__ZONE_MODE" or false,
        /// Zone of the sender.
        zone_name: Option<S<'a>> = "__ZONE_NAME",
    }

    /// DELETE_TOPIC_IN_NAMESRV (216).
    DeleteTopicInNameserver<'a> {
        /// Topic.
        topic: S<'a> = "topic",
        /// Only the brokers of this cluster.
        cluster_name: Option<S<'a>> = "clusterName",
    }

    /// GET_CONSUME_STATS (208).
    GetConsumeStats<'a> {
        /// Consumer group.
        consumer_group: S<'a> = "consumerGroup",
        /// Only this topic.
        topic: Option<S<'a>> = "topic",
        /// Only these topics, separated by `;`.
        topic_list: Option<S<'a>> = "topicList",
    }

    /// QUERY_CONSUME_TIME_SPAN (303) and QUERY_SUBSCRIPTION_BY_CONSUMER (345).
    TopicOfGroup<'a> {
        /// Consumer group.
        group: S<'a> = "group",
        /// Topic.
        topic: S<'a> = "topic",
    }

    /// QUERY_CORRECTION_OFFSET (308).
    QueryCorrectionOffset<'a> {
        /// Topic.
        topic: S<'a> = "topic",
        /// Group whose offsets are to be corrected.
        compare_group: S<'a> = "compareGroup",
        /// Groups that do not count, separated by commas.
        filter_groups: Option<S<'a>> = "filterGroups",
    }

    /// CLONE_GROUP_OFFSET (314).
    CloneGroupOffset<'a> {
        /// Group whose offsets are copied.
        src_group: S<'a> = "srcGroup",
        /// Group that gets them.
        dest_group: S<'a> = "destGroup",
        /// Only this topic.
        topic: Option<S<'a>> = "topic",
        /// Whether it does not matter what the members of the group subscribe to.
        offline: bool = "offline" or false,
    }

    /// VIEW_BROKER_STATS_DATA (315).
    ViewBrokerStats<'a> {
        /// What is counted, like `TOPIC_PUT_NUMS`.
        stats_name: S<'a> = "statsName",
        /// Of what, like a topic or `topic@group`.
        stats_key: S<'a> = "statsKey",
    }

    /// GET_BROKER_CONSUME_STATS (317).
    GetBrokerConsumeStats {
        /// Whether only ordered topics count.
        is_order: bool = "isOrder" or false,
    }

    /// QUERY_CONSUME_QUEUE (321).
    QueryConsumeQueue<'a> {
        /// Topic.
        topic: S<'a> = "topic",
        /// Queue.
        queue_id: i32 = "queueId",
        /// First offset wanted.
        index: i64 = "index",
        /// Most entries wanted.
        count: i32 = "count",
        /// Group whose filter is tried on them.
        consumer_group: Option<S<'a>> = "consumerGroup",
    }

    /// GET_PRODUCER_CONNECTION_LIST (204).
    ProducerGroup<'a> {
        /// Producer group.
        producer_group: S<'a> = "producerGroup",
    }

    /// GET_SUBSCRIPTIONGROUP_CONFIG (352) and QUERY_TOPICS_BY_CONSUMER (343).
    GetSubscriptionGroup<'a> {
        /// Group.
        group: S<'a> = "group",
    }

    /// UPDATE_AND_GET_GROUP_FORBIDDEN (353).
    GroupMayRead<'a> {
        /// Group.
        group: S<'a> = "group",
        /// Topic.
        topic: S<'a> = "topic",
        /// Whether the group may read the topic from now on; nothing is changed without it.
        readable: Option<bool> = "readable",
    }

    /// RESUME_CHECK_HALF_MESSAGE (323).
    ResumeCheck<'a> {
        /// Offset message id of a half message that was given up.
        msg_id: S<'a> = "msgId",
    }

    /// DELETE_SUBSCRIPTIONGROUP (207).
    DeleteSubscriptionGroup<'a> {
        /// Group.
        group_name: S<'a> = "groupName",
        /// Whether its offsets go too.
        clean_offset: bool = "cleanOffset" or false,
    }

    /// REGISTER_BROKER (103).
    RegisterBroker<'a> {
        /// Broker name.
        broker_name: S<'a> = "brokerName",
        /// Address that clients dial.
        broker_addr: S<'a> = "brokerAddr",
        /// Cluster.
        cluster_name: S<'a> = "clusterName",
        /// Address for replication.
        ha_server_addr: Option<S<'a>> = "haServerAddr",
        /// 0 is the master.
        broker_id: i64 = "brokerId",
        /// Silence after which the broker counts as gone, in milliseconds.
        heartbeat_timeout_millis: Option<i64> = "heartbeatTimeoutMillis",
        /// Whether a slave may stand in for the master.
        enable_acting_master: Option<bool> = "enableActingMaster",
        /// Whether the body is compressed; 5.x senders do not tell the truth here.
        compressed: bool = "compressed" or false,
        /// CRC-32 of the body without its top bit; 0 says nothing.
        body_crc32: i32 = "bodyCrc32" or 0,
        /// Zone of the broker.
        zone_name: Option<S<'a>> = "__ZONE_NAME",
        /// Whether nobody chose the address: the broker took the one that its machine had. Apogee's own field.
        address_is_default: bool = "addressIsDefault" or false,
    }

    /// Answer of 103.
    RegisterBrokerResult<'a> {
        /// Replication address of the master, for slaves.
        ha_server_addr: Option<S<'a>> = "haServerAddr",
        /// Address of the master, for slaves.
        master_addr: Option<S<'a>> = "masterAddr",
    }

    /// UNREGISTER_BROKER (104), QUERY_DATA_VERSION (322).
    BrokerIdentity<'a> {
        /// Broker name.
        broker_name: S<'a> = "brokerName",
        /// Address that clients dial.
        broker_addr: S<'a> = "brokerAddr",
        /// Cluster.
        cluster_name: S<'a> = "clusterName",
        /// 0 is the master.
        broker_id: i64 = "brokerId",
    }

    /// Answer of 322.
    QueryDataVersionResult {
        /// Whether the nameserver knows another version.
        changed: bool = "changed",
    }

    /// BROKER_HEARTBEAT (904). The spelling of the timeout is upstream's.
    BrokerHeartbeat<'a> {
        /// Cluster.
        cluster_name: S<'a> = "clusterName",
        /// Address that clients dial.
        broker_addr: S<'a> = "brokerAddr",
        /// Broker name.
        broker_name: S<'a> = "brokerName",
        /// 0 is the master.
        broker_id: Option<i64> = "brokerId",
        /// Silence after which the broker counts as gone, in milliseconds.
        heartbeat_timeout_millis: Option<i64> = "heartbeatTimeoutMills",
    }

    /// GET_BROKER_MEMBER_GROUP (901).
    GetBrokerMemberGroup<'a> {
        /// Cluster.
        cluster_name: S<'a> = "clusterName",
        /// Broker name.
        broker_name: S<'a> = "brokerName",
    }

    /// PUT_KV_CONFIG (100).
    PutKvConfig<'a> {
        /// Namespace.
        namespace: S<'a> = "namespace",
        /// Key.
        key: S<'a> = "key",
        /// Value.
        value: S<'a> = "value",
    }

    /// GET_KV_CONFIG (101), DELETE_KV_CONFIG (102).
    KvKey<'a> {
        /// Namespace.
        namespace: S<'a> = "namespace",
        /// Key.
        key: S<'a> = "key",
    }

    /// Answer of 101.
    KvValue<'a> {
        /// Value.
        value: Option<S<'a>> = "value",
    }

    /// GET_KVLIST_BY_NAMESPACE (219).
    KvNamespace<'a> {
        /// Namespace.
        namespace: S<'a> = "namespace",
    }

    /// GET_TOPICS_BY_CLUSTER (224).
    OneCluster<'a> {
        /// Cluster.
        cluster: S<'a> = "cluster",
    }

    /// INVOKE_BROKER_TO_RESET_OFFSET (222).
    ResetOffset<'a> {
        /// Topic.
        topic: S<'a> = "topic",
        /// Consumer group.
        group: S<'a> = "group",
        /// Messages stored since then are wanted, in milliseconds since 1970; negative wants only what comes.
        timestamp: i64 = "timestamp" or -1,
        /// Whether an offset may move forwards.
        is_force: bool = "isForce" or true,
        /// The one queue that is meant; absent or negative means all.
        queue_id: Option<i32> = "queueId",
        /// The new offset of that queue; absent or negative leaves it to the time.
        offset: Option<i64> = "offset",
    }

    /// RESET_CONSUMER_CLIENT_OFFSET (220), from a broker to a consumer.
    ResetClientOffset<'a> {
        /// Topic.
        topic: S<'a> = "topic",
        /// Consumer group.
        group: S<'a> = "group",
        /// The time that was asked for, in milliseconds since 1970.
        timestamp: i64 = "timestamp",
        /// Whether an offset may move forwards.
        is_force: bool = "isForce",
        /// The one queue that was asked for, or -1.
        queue_id: i32 = "queueId" or -1,
    }

    /// INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223) and GET_CONSUMER_STATUS_FROM_CLIENT (221).
    ConsumerStatusOf<'a> {
        /// Topic.
        topic: S<'a> = "topic",
        /// Consumer group.
        group: S<'a> = "group",
        /// The one client that is meant, by its id; absent or empty means all.
        client_addr: Option<S<'a>> = "clientAddr",
    }

    /// GET_CONSUMER_RUNNING_INFO (307).
    RunningInfoOf<'a> {
        /// Consumer group.
        consumer_group: S<'a> = "consumerGroup",
        /// Client id.
        client_id: S<'a> = "clientId",
        /// Whether the stacks of its threads are wanted.
        jstack_enable: bool = "jstackEnable" or false,
    }

    /// CONSUME_MESSAGE_DIRECTLY (309).
    ConsumeDirectly<'a> {
        /// Consumer group.
        consumer_group: S<'a> = "consumerGroup",
        /// Client id.
        client_id: S<'a> = "clientId",
        /// Offset message id.
        msg_id: S<'a> = "msgId",
        /// Topic.
        topic: Option<S<'a>> = "topic",
    }

    /// PUSH_REPLY_MESSAGE_TO_CLIENT (326), from a broker to a producer.
    PushReply<'a> {
        /// Producer group of whoever replies.
        producer_group: S<'a> = "producerGroup",
        /// Topic of replies.
        topic: S<'a> = "topic",
        /// As the reply was sent.
        default_topic: S<'a> = "defaultTopic",
        /// As the reply was sent.
        default_topic_queue_nums: i32 = "defaultTopicQueueNums",
        /// As the reply was sent.
        queue_id: i32 = "queueId",
        /// System flag.
        sys_flag: i32 = "sysFlag",
        /// When the reply was made, in milliseconds since 1970.
        born_timestamp: i64 = "bornTimestamp",
        /// The user's own flag.
        flag: i32 = "flag",
        /// Properties in stored form.
        properties: S<'a> = "properties",
        /// As the reply was sent.
        reconsume_times: i32 = "reconsumeTimes",
        /// Unit mode of the producer.
        unit_mode: bool = "unitMode",
        /// Address of whoever replies.
        born_host: S<'a> = "bornHost",
        /// Address of the broker.
        store_host: S<'a> = "storeHost",
        /// When the broker had the reply, in milliseconds since 1970.
        store_timestamp: i64 = "storeTimestamp",
    }

    /// WIPE_WRITE_PERM_OF_BROKER (205), ADD_WRITE_PERM_OF_BROKER (327).
    OneBroker<'a> {
        /// Broker name.
        broker_name: S<'a> = "brokerName",
    }

    /// Answer of 205.
    WipeWritePermResult {
        /// Topics that were changed.
        wipe_topic_count: i32 = "wipeTopicCount",
    }

    /// Answer of 327.
    AddWritePermResult {
        /// Topics that were changed.
        add_topic_count: i32 = "addTopicCount",
    }
}

/// Bits of a pull's `sysFlag` (`common/.../sysflag/PullSysFlag.java`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PullFlags(pub i32);

impl PullFlags {
    /// `commitOffset` is to be stored.
    pub fn commits(self) -> bool {
        self.0 & 1 != 0
    }
    /// The request may be held until a message arrives.
    pub fn may_suspend(self) -> bool {
        self.0 & 2 != 0
    }
    /// The request brings its own subscription.
    pub fn has_subscription(self) -> bool {
        self.0 & 4 != 0
    }
    /// The sender pulls by itself instead of being a push consumer.
    pub fn is_lite_pull(self) -> bool {
        self.0 & 16 != 0
    }
    /// The same flags without leave to hold the request.
    pub fn without_suspend(self) -> PullFlags {
        PullFlags(self.0 & !2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::RequestCode;
    use crate::frame::{self, Codec};
    use crate::header::{FieldSpans, Header};
    use crate::typed::{FieldError, TypedHeader};
    use crate::writer::{Expect, FrameWriter};

    fn fields_of(fields: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut frame = FrameWriter::request(&mut out, Codec::Json, RequestCode::SEND_MESSAGE, 1, Expect::Answer);
        for (name, value) in fields {
            frame = frame.text(name, value);
        }
        frame.finish(b"");
        out
    }

    #[test]
    fn a_send_is_read_by_long_names_and_by_letters() {
        let long = fields_of(&[("topic", "t"), ("queueId", "-1"), ("properties", "a\u{1}b\u{2}"), ("batch", "TRUE")]);
        let letters = fields_of(&[("b", "t"), ("e", "-1"), ("i", "a\u{1}b\u{2}"), ("m", "true")]);
        let mut read = Vec::new();
        for bytes in [long, letters] {
            let frame = frame::split(&bytes).unwrap().unwrap();
            let mut spans = FieldSpans::default();
            let header = Header::decode(Codec::Json, frame.header, &mut spans).unwrap();
            let send = SendMessage::decode(&header.fields).unwrap();
            assert_eq!((send.queue_id, send.properties.as_deref(), send.batch), (-1, Some("a\u{1}b\u{2}"), Some(true)));
            let mut out = Vec::new();
            send.encode(FrameWriter::request(&mut out, Codec::Binary, RequestCode(310), 1, Expect::Nothing))
                .finish(b"x");
            read.push(out);
        }
        assert_eq!(read[0], read[1]);
    }

    #[test]
    fn what_is_missing_or_no_number_is_named() {
        for (fields, expected) in [
            (vec![("topic", "t")], "field `e` is missing"),
            (vec![("topic", "t"), ("e", "many")], "field `e` is `many`, which is no 32-bit number"),
            (vec![("topic", "t"), ("e", "3000000000")], "field `e` is `3000000000`, which is no 32-bit number"),
        ] {
            let bytes = fields_of(&fields);
            let frame = frame::split(&bytes).unwrap().unwrap();
            let mut spans = FieldSpans::default();
            let header = Header::decode(Codec::Json, frame.header, &mut spans).unwrap();
            let error: FieldError = SendMessage::decode(&header.fields).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
