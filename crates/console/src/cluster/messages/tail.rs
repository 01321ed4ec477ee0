//! The end of a topic, read again and again: one reading serves all who watch.

use client::admin::StoredMessage;

use super::super::Cluster;
use super::{Filter, PULL_MAX, Scanned};

/// Messages that one look at the end of a topic brings at most.
pub const LOOK_MAX: usize = 100;

/// Which messages somebody who watches wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The tag, exactly.
    pub tag: Option<String>,
    /// One of the keys, exactly.
    pub key: Option<String>,
    /// Text that the body or a property has.
    pub text: Option<String>,
}

impl Wanted {
    /// Whether `message` is to be shown.
    pub fn passes(&self, message: &StoredMessage) -> bool {
        let received = &message.received;
        let has_key = |key: &str| received.keys.as_deref().unwrap_or_default().split_whitespace().any(|own| own == key);
        let text = Filter { text: self.text.clone(), ..Filter::default() };
        self.tag.as_deref().is_none_or(|tag| received.tag.as_deref() == Some(tag))
            && self.key.as_deref().is_none_or(has_key)
            && text.passes(message)
    }
}

/// Messages that one look can see of a topic of so many queues: of one queue, a look reads no more than one answer
/// of a broker.
pub fn look_of(queues: usize) -> usize {
    LOOK_MAX.min(queues.saturating_mul(PULL_MAX.unsigned_abs() as usize))
}

impl Cluster {
    pub(in crate::cluster) async fn fetch_tail(&self, topic: &str) -> Scanned {
        self.newest_messages(topic, None, &Filter::default(), LOOK_MAX).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_sees_one_answer_of_each_queue_and_no_more_than_fits() {
        assert_eq!([look_of(0), look_of(1), look_of(3), look_of(4), look_of(1000)], [0, 32, 96, 100, 100]);
    }
}
