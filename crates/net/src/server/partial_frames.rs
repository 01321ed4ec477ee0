//! How much memory frames take that have not been served, over all connections.
//!
//! Each connection may hold a frame of 16 MiB that never ends; many of them may not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of a connection that are not counted, so that small requests go through whatever others hold.
const FREE_BYTES: usize = 64 * 1024;

/// What all connections hold together.
#[derive(Debug)]
pub(super) struct PartialFrames {
    bytes: AtomicUsize,
    bytes_max: usize,
}

impl PartialFrames {
    pub(super) fn new(bytes_max: usize) -> PartialFrames {
        PartialFrames { bytes: AtomicUsize::new(0), bytes_max }
    }

    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }
}

/// What one connection holds; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    all: Arc<PartialFrames>,
    counted: usize,
}

impl Share {
    pub(super) fn new(all: Arc<PartialFrames>) -> Share {
        Share { all, counted: 0 }
    }

    /// Notes how much the connection holds now. `false` says that it has grown and that all hold too much.
    pub(super) fn set(&mut self, bytes: usize) -> bool {
        let counted = if bytes > FREE_BYTES { bytes } else { 0 };
        if counted <= self.counted {
            if counted < self.counted {
                self.all.bytes.fetch_sub(self.counted - counted, Ordering::Relaxed);
                self.counted = counted;
            }
            return true;
        }
        let more = counted - self.counted;
        let before = self.all.bytes.fetch_add(more, Ordering::Relaxed);
        self.counted = counted;
        before + more <= self.all.bytes_max
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_grows_beyond_the_sum_is_refused() {
        let all = Arc::new(PartialFrames::new(200_000));
        let (mut first, mut second) = (Share::new(all.clone()), Share::new(all.clone()));
        assert!(first.set(150_000) && second.set(FREE_BYTES));
        assert!(!second.set(FREE_BYTES + 1));
        assert!(second.set(FREE_BYTES) && first.set(140_000));
        drop(first);
        assert!(second.set(200_000) && !second.set(200_001));
        drop(second);
        assert_eq!(all.bytes.load(Ordering::Relaxed), 0);
    }
}
