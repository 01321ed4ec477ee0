//! Names of topics and groups: which are legal, and which the system keeps for itself.
//!
//! Source: `common/.../topic/TopicValidator.java`, `common/.../MixAll.java`.

use log::DELETED_QUEUES_TOPIC;

/// Longest name of an ordinary topic, in bytes.
pub const TOPIC_BYTES_MAX: usize = 127;
/// Longest name of a retry or dead-letter topic, in bytes.
pub const RETRY_TOPIC_BYTES_MAX: usize = 255;
/// Longest name of a group, in bytes.
pub const GROUP_BYTES_MAX: usize = 120;

/// Template for auto-created topics.
pub const TEMPLATE_TOPIC: &str = "TBW102";
/// Where delayed messages wait.
pub const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
/// Where messages that are due at any given time wait.
pub const TIMER_TOPIC: &str = "rmq_sys_wheel_timer";
/// Where half messages wait for a decision.
pub const HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
/// Where decisions about half messages are recorded.
pub const OP_HALF_TOPIC: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
/// Where half messages go that nobody decided about.
pub const CHECK_MAX_TOPIC: &str = "TRANS_CHECK_MAX_TIME_TOPIC";
/// Where clients send traces.
pub const TRACE_TOPIC: &str = "RMQ_SYS_TRACE_TOPIC";

const RETRY_PREFIX: &str = "%RETRY%";
const DLQ_PREFIX: &str = "%DLQ%";

/// Why a name is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing but blanks.
    #[error("the {what} is blank")]
    Blank {
        /// `topic` or `group`.
        what: &'static str,
    },
    /// Longer than allowed.
    #[error("the {what} is {size} bytes long; the limit is {limit}")]
    TooLong {
        /// `topic` or `group`.
        what: &'static str,
        /// Bytes of the name.
        size: usize,
        /// Most bytes allowed.
        limit: usize,
    },
    /// A character that is not allowed.
    #[error("the {what} contains the illegal character {character:?}; allowed are letters, digits and %|_-")]
    IllegalCharacter {
        /// `topic` or `group`.
        what: &'static str,
        /// The first such character.
        character: char,
    },
}

/// Checks the name of a topic.
pub fn check_topic(name: &str) -> Result<(), NameError> {
    let limit = if is_retry(name) || is_dead_letter(name) { RETRY_TOPIC_BYTES_MAX } else { TOPIC_BYTES_MAX };
    check(name, "topic", limit)
}

/// Checks the name of a producer or consumer group.
pub fn check_group(name: &str) -> Result<(), NameError> {
    check(name, "group", GROUP_BYTES_MAX)
}

fn check(name: &str, what: &'static str, limit: usize) -> Result<(), NameError> {
    if name.trim().is_empty() {
        return Err(NameError::Blank { what });
    }
    if name.len() > limit {
        return Err(NameError::TooLong { what, size: name.len(), limit });
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '%' | '|' | '_' | '-');
    match name.chars().find(|c| !legal(*c)) {
        Some(character) => Err(NameError::IllegalCharacter { what, character }),
        None => Ok(()),
    }
}

/// The retry topic of a consumer group.
pub fn retry_topic(group: &str) -> String {
    format!("{RETRY_PREFIX}{group}")
}

/// The dead-letter topic of a consumer group.
pub fn dead_letter_topic(group: &str) -> String {
    format!("{DLQ_PREFIX}{group}")
}

/// The consumer group of a retry topic.
pub fn group_of_retry_topic(topic: &str) -> Option<&str> {
    topic.strip_prefix(RETRY_PREFIX)
}

/// The consumer group of a dead-letter topic.
pub fn group_of_dead_letter_topic(topic: &str) -> Option<&str> {
    topic.strip_prefix(DLQ_PREFIX)
}

/// Whether the topic holds retries.
pub fn is_retry(topic: &str) -> bool {
    topic.starts_with(RETRY_PREFIX)
}

/// Whether the topic holds dead letters.
pub fn is_dead_letter(topic: &str) -> bool {
    topic.starts_with(DLQ_PREFIX)
}

/// Whether clients may send to the topic; the system's own queues are written by the broker alone.
pub fn is_sendable(topic: &str) -> bool {
    !matches!(
        topic,
        SCHEDULE_TOPIC
            | HALF_TOPIC
            | OP_HALF_TOPIC
            | CHECK_MAX_TOPIC
            | TIMER_TOPIC
            | DELETED_QUEUES_TOPIC
            | "SELF_TEST_TOPIC"
            | "OFFSET_MOVED_EVENT"
            | "RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC"
            | "RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC"
    )
}

/// Whether the topic belongs to the system, so that it can be neither changed nor deleted by clients.
pub fn is_system(topic: &str, cluster: &str, broker: &str) -> bool {
    !is_sendable(topic)
        || matches!(topic, TEMPLATE_TOPIC | TRACE_TOPIC | "BenchmarkTest" | "CHECKPOINT_TOPIC")
        || topic == cluster
        || topic == broker
        || topic.starts_with("rmq_sys_")
        || topic.strip_suffix("_REPLY_TOPIC").is_some_and(|rest| rest == cluster)
}

/// Whether the group belongs to the system.
pub fn is_system_group(group: &str) -> bool {
    const PREFIX: &str = "cid_rmq_sys_";
    group.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_the_network_are_checked() {
        for name in ["orders", "%RETRY%g", "a|b_c-1", &"x".repeat(127), &format!("%DLQ%{}", "g".repeat(250))] {
            assert_eq!(check_topic(name), Ok(()), "{name}");
        }
        for name in ["", " ", "a/b", "..", "a\0b", "überall", &"x".repeat(128), &format!("%DLQ%{}", "g".repeat(251))] {
            assert!(check_topic(name).is_err(), "{name}");
        }
        assert!(check_group(&"g".repeat(120)).is_ok() && check_group(&"g".repeat(121)).is_err());
        assert_eq!(
            check_topic("a/b").unwrap_err().to_string(),
            "the topic contains the illegal character '/'; allowed are letters, digits and %|_-"
        );
    }

    #[test]
    fn the_system_keeps_its_topics() {
        assert!(is_system("DefaultCluster", "DefaultCluster", "broker-a"));
        assert!(is_system("DefaultCluster_REPLY_TOPIC", "DefaultCluster", "broker-a"));
        assert!(!is_system("orders", "DefaultCluster", "broker-a") && is_sendable("orders"));
        assert!(is_sendable("TBW102") && !is_sendable(SCHEDULE_TOPIC));
        // A record of this topic says to the log that a queue is gone.
        let own = "APOGEE_DELETED_QUEUES";
        assert!(!is_sendable(own) && is_system(own, "DefaultCluster", "broker-a"));
    }
}
