//! What one append stores, by topic.

use std::sync::Arc;

use super::history::Counted;
use super::tally::TopicTallies;

/// Records of an append, added up by topic as long as the topic stays the same: mostly that is one entry.
#[derive(Debug, Default)]
pub struct Puts {
    runs: Vec<(Arc<TopicTallies>, Counted)>,
}

impl Puts {
    /// A record of a topic was added.
    pub fn note(&mut self, topic: &Arc<TopicTallies>, bytes: usize) {
        let one = Counted { messages: 1, bytes: bytes as u64, times: 1 };
        match self.runs.last_mut() {
            Some((last, counted)) if Arc::ptr_eq(last, topic) => {
                counted.messages += 1;
                counted.bytes += one.bytes;
                counted.times += 1;
            }
            _ => self.runs.push((topic.clone(), one)),
        }
    }

    /// The last `records` records came with one request.
    pub fn came_together(&mut self, records: usize) {
        if let Some((_, counted)) = self.runs.last_mut() {
            counted.times = counted.times.saturating_sub((records as u64).saturating_sub(1)).max(1);
        }
    }

    /// The records are stored: they count.
    pub fn count(&self) {
        self.runs.iter().for_each(|(topic, counted)| topic.put.add(*counted));
    }

    /// Forgets the records; the room stays.
    pub fn clear(&mut self) {
        self.runs.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_for_their_topic_once_they_are_stored() {
        let (one, other) = (Arc::new(TopicTallies::default()), Arc::new(TopicTallies::default()));
        let mut puts = Puts::default();
        for topic in [&one, &one, &other, &one] {
            puts.note(topic, 100);
        }
        assert_eq!((puts.runs.len(), one.put.counted().messages), (3, 0));
        puts.count();
        assert_eq!(one.put.counted(), Counted { messages: 3, bytes: 300, times: 3 });
        assert_eq!(other.put.counted().messages, 1);
        puts.clear();
        puts.count();
        assert_eq!(one.put.counted().messages, 3);
    }

    #[test]
    fn a_batch_is_many_messages_at_one_time() {
        let topic = Arc::new(TopicTallies::default());
        let mut puts = Puts::default();
        (0..4).for_each(|_| puts.note(&topic, 10));
        puts.came_together(3);
        puts.count();
        assert_eq!(topic.put.counted(), Counted { messages: 4, bytes: 40, times: 2 });
    }
}
