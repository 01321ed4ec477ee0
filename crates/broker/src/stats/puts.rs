//! What one append stores, by topic.

use std::sync::Arc;

use super::history::Counted;
use super::tally::{SIZE_BOUNDS, TopicTallies};

/// Records of an append, added up by topic as long as the topic stays the same: mostly that is one entry.
#[derive(Debug, Default)]
pub struct Puts {
    runs: Vec<Run>,
}

#[derive(Debug)]
struct Run {
    topic: Arc<TopicTallies>,
    counted: Counted,
    /// Records by the bounds of sizes.
    sizes: [u32; SIZE_BOUNDS.len() + 1],
}

impl Puts {
    /// A record of a topic was added.
    pub fn note(&mut self, topic: &Arc<TopicTallies>, bytes: usize) {
        if self.runs.last().is_none_or(|last| !Arc::ptr_eq(&last.topic, topic)) {
            self.runs.push(Run { topic: topic.clone(), counted: Counted::default(), sizes: Default::default() });
        }
        let Some(run) = self.runs.last_mut() else { return };
        run.counted.messages += 1;
        run.counted.bytes += bytes as u64;
        run.counted.times += 1;
        // Mostly it is the first bound, or the second.
        let bound = SIZE_BOUNDS.iter().position(|bound| bytes as u64 <= *bound);
        run.sizes[bound.unwrap_or(SIZE_BOUNDS.len())] += 1;
    }

    /// The last `records` records came with one request.
    pub fn came_together(&mut self, records: usize) {
        if let Some(Run { counted, .. }) = self.runs.last_mut() {
            counted.times = counted.times.saturating_sub((records as u64).saturating_sub(1)).max(1);
        }
    }

    /// The records are stored: they count.
    pub fn count(&self) {
        for run in &self.runs {
            run.topic.put.add(run.counted);
            run.topic.sizes().observe_sorted(&run.sizes, run.counted.bytes);
        }
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
        assert_eq!(one.known_sizes().unwrap().read().cumulative, [3; 7]);
        puts.clear();
        puts.count();
        assert_eq!(one.put.counted().messages, 3);
    }

    #[test]
    fn records_are_told_apart_by_size() {
        let topic = Arc::new(TopicTallies::default());
        let mut puts = Puts::default();
        for bytes in [1, 1_024, 1_025, 4_096, 4_097, 600_000, 4_194_304, 4_194_305] {
            puts.note(&topic, bytes);
        }
        assert!(topic.known_sizes().is_none());
        puts.count();
        assert_eq!(topic.known_sizes().unwrap().read().cumulative, [2, 4, 5, 6, 6, 7, 8]);
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
