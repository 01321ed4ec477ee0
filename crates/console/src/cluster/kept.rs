//! Answers that are kept for a short time, so that many viewers cost no more requests than one.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Answers by what was asked. Of several that ask the same at a time one fetches, the others wait for it.
#[derive(Debug)]
pub struct Kept<K, V> {
    age_max: Duration,
    count_max: usize,
    slots: Mutex<HashMap<K, Arc<Slot<V>>>>,
}

#[derive(Debug)]
struct Slot<V> {
    /// Locked while somebody fetches. Whoever fetches and goes away leaves it to the next.
    answer: tokio::sync::Mutex<Option<(Instant, Arc<V>)>>,
}

impl<K: Hash + Eq + Clone, V> Kept<K, V> {
    /// Keeps up to `count_max` answers for `age_max` each.
    pub fn new(age_max: Duration, count_max: usize) -> Kept<K, V> {
        Kept { age_max, count_max, slots: Mutex::default() }
    }

    /// The kept answer, or what `fetch` brings.
    pub async fn get(&self, key: &K, fetch: impl Future<Output = V>) -> Arc<V> {
        let slot = self.slot(key);
        let mut answer = slot.answer.lock().await;
        if let Some((_, kept)) = answer.as_ref().filter(|(since, _)| since.elapsed() < self.age_max) {
            return kept.clone();
        }
        let fetched = Arc::new(fetch.await);
        *answer = Some((Instant::now(), fetched.clone()));
        fetched
    }

    /// Forgets what is older than `age`: nobody looks at it any more.
    pub fn forget_older(&self, age: Duration) {
        self.retain_younger(&mut self.slots(), age);
    }

    /// Forgets everything: what is asked next is fetched.
    pub fn forget(&self) {
        self.slots().clear();
    }

    fn slot(&self, key: &K) -> Arc<Slot<V>> {
        let mut slots = self.slots();
        if let Some(slot) = slots.get(key) {
            return slot.clone();
        }
        if self.count_max <= slots.len() {
            self.retain_younger(&mut slots, self.age_max);
        }
        let slot = Arc::new(Slot { answer: tokio::sync::Mutex::new(None) });
        if slots.len() < self.count_max {
            slots.insert(key.clone(), slot.clone());
        }
        slot
    }

    /// Those that somebody fetches right now cannot be looked into, and stay.
    fn retain_younger(&self, slots: &mut HashMap<K, Arc<Slot<V>>>, age: Duration) {
        slots.retain(|_, slot| match slot.answer.try_lock() {
            Ok(answer) => answer.as_ref().is_some_and(|(since, _)| since.elapsed() < age),
            Err(_) => true,
        });
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<K, Arc<Slot<V>>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_of_many_viewers_fetches() {
        let kept = Kept::new(Duration::from_secs(2), 10);
        let fetched = AtomicUsize::new(0);
        let ask = || {
            kept.get(&"k", async {
                tokio::time::sleep(Duration::from_millis(500)).await;
                fetched.fetch_add(1, Ordering::Relaxed)
            })
        };
        let (first, second, third) = tokio::join!(ask(), ask(), ask());
        assert_eq!((*first, *second, *third), (0, 0, 0));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(*ask().await, 1);
        kept.forget();
        assert_eq!(*ask().await, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_viewer_that_goes_away_does_not_hold_up_the_next() {
        let kept = Kept::new(Duration::from_secs(2), 10);
        let never = kept.get(&1, std::future::pending::<u32>());
        assert!(tokio::time::timeout(Duration::from_secs(1), never).await.is_err());
        assert_eq!(*kept.get(&1, async { 7 }).await, 7);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_is_bounded() {
        let kept = Kept::new(Duration::from_secs(2), 3);
        for key in 0..10 {
            assert_eq!(*kept.get(&key, async { key }).await, key);
        }
        assert_eq!(kept.slots().len(), 3);
        tokio::time::advance(Duration::from_secs(3)).await;
        kept.get(&11, async { 11 }).await;
        assert_eq!(kept.slots().len(), 1);
        kept.forget_older(Duration::from_secs(60));
        assert_eq!(kept.slots().len(), 1);
        tokio::time::advance(Duration::from_secs(60)).await;
        kept.forget_older(Duration::from_secs(60));
        assert_eq!(kept.slots().len(), 0);
    }
}
