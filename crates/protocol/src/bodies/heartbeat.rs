//! What a client tells a broker about itself (HEART_BEAT, 34).
//!
//! Sources: `remoting/.../protocol/heartbeat/*.java`; `internal/model.go` of the Go client, which writes the
//! numbers of `codeSet` as strings and leaves out `heartbeatFingerprint` and `withoutSub`.

use crate::bodies::declare::{bodies, names};

bodies! {
    /// All producers and consumers of one client.
    HeartbeatData {
        /// Client id; opaque, but the key of membership.
        client_id: String = "clientID",
        /// Its consumers, one per group.
        consumer_data_set: Vec<ConsumerData> = "consumerDataSet",
        /// Hash of the content without versions; 0 from clients that do not use it.
        heartbeat_fingerprint: i32 = "heartbeatFingerprint",
        /// Its producers, one per group.
        producer_data_set: Vec<ProducerData> = "producerDataSet",
        /// Whether subscriptions were left out because the broker has them.
        without_sub: bool = "withoutSub",
    }

    /// One consumer group of a client.
    ConsumerData {
        /// Where a queue without a stored offset begins.
        consume_from_where: Option<ConsumeFromWhere> = "consumeFromWhere",
        /// How the group gets its messages.
        consume_type: Option<ConsumeType> = "consumeType",
        /// Group.
        group_name: String = "groupName",
        /// Whether members share the messages.
        message_model: Option<MessageModel> = "messageModel",
        /// What it subscribes to, one entry per topic.
        subscription_data_set: Vec<SubscriptionData> = "subscriptionDataSet",
        /// Unit mode of the consumer.
        unit_mode: bool = "unitMode",
    }

    /// One producer group of a client.
    ProducerData {
        /// Group.
        group_name: String = "groupName",
    }

    /// What a group wants of a topic.
    #[derive(Eq)]
    SubscriptionData {
        /// Filtering by uploaded classes, long gone.
        class_filter_mode: bool = "classFilterMode",
        /// Hashes of the tags, as [`crate::record::java_string_hash`] computes them.
        code_set: Vec<i32> = "codeSet",
        /// `TAG` or `SQL92`.
        expression_type: String = "expressionType" or "TAG".into(),
        /// The expression; `*` wants everything.
        sub_string: String = "subString",
        /// Grows with every change: milliseconds since 1970 in Java, nanoseconds in Go.
        sub_version: i64 = "subVersion",
        /// The tags; none wants everything.
        tags_set: Vec<String> = "tagsSet",
        /// Topic.
        topic: String = "topic",
    }
}

names! {
    /// Where a queue without a stored offset begins.
    ConsumeFromWhere {
        /// After the last message.
        LastOffset = "CONSUME_FROM_LAST_OFFSET",
        /// Old name of [`ConsumeFromWhere::LastOffset`].
        LastOffsetAndFromMinWhenBootFirst = "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
        /// Old name of [`ConsumeFromWhere::FirstOffset`].
        MinOffset = "CONSUME_FROM_MIN_OFFSET",
        /// Old name of [`ConsumeFromWhere::LastOffset`].
        MaxOffset = "CONSUME_FROM_MAX_OFFSET",
        /// At the first message.
        FirstOffset = "CONSUME_FROM_FIRST_OFFSET",
        /// At a time that the client names.
        Timestamp = "CONSUME_FROM_TIMESTAMP",
    }

    /// How a group gets its messages.
    ConsumeType {
        /// The application pulls.
        Actively = "CONSUME_ACTIVELY",
        /// The client library pulls and calls a listener.
        Passively = "CONSUME_PASSIVELY",
        /// By POP.
        Pop = "CONSUME_POP",
    }

    /// Whether members of a group share the messages.
    MessageModel {
        /// Every member gets every message.
        Broadcasting = "BROADCASTING",
        /// Every message goes to one member.
        Clustering = "CLUSTERING",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lenient_json::{from_slice, to_vec};

    #[test]
    fn sets_of_the_go_client_read_as_those_of_java() {
        let go = br#"{"clientID":"c","producerDataSet":null,"consumerDataSet":[{"groupName":"g","subscriptionDataSet":
            [{"topic":"t","subString":"TagA","tagsSet":["TagA"],"codeSet":["2598919"],"subVersion":"7"}]}]}"#;
        let java = br#"{"clientID":"c","consumerDataSet":[{"groupName":"g","subscriptionDataSet":[{"classFilterMode":
            false,"codeSet":[2598919],"expressionType":"TAG","subString":"TagA","subVersion":7,"tagsSet":["TagA"],
            "topic":"t"}],"unitMode":false}],"heartbeatFingerprint":0,"producerDataSet":[],"withoutSub":false}"#;
        let read: HeartbeatData = from_slice(go).unwrap();
        assert_eq!(read, from_slice(java).unwrap());
        let data = &read.consumer_data_set[0].subscription_data_set[0];
        assert_eq!((data.code_set.as_slice(), data.sub_version), (&[2_598_919][..], 7));
    }

    #[test]
    fn a_name_that_nobody_knows_counts_as_absent() {
        let text = br#"{"consumeFromWhere":"CONSUME_FROM_MOON","consumeType":2,"messageModel":"CLUSTERING"}"#;
        let read: ConsumerData = from_slice(text).unwrap();
        assert_eq!(read.consume_from_where, None);
        assert_eq!(read.consume_type, Some(ConsumeType::Pop));
        assert_eq!(read.message_model, Some(MessageModel::Clustering));
    }

    #[test]
    fn an_empty_heartbeat_is_written_as_java_does() {
        let heartbeat = HeartbeatData { client_id: "1@2".into(), ..HeartbeatData::default() };
        let expected = r#"{"clientID":"1@2","consumerDataSet":[],"heartbeatFingerprint":0,"producerDataSet":[],"withoutSub":false}"#;
        assert_eq!(String::from_utf8(to_vec(&heartbeat)).unwrap(), expected);
    }
}
