//! How full the disk is on which a folder lies.

use std::path::Path;

/// Sizes of a file system in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// Bytes in use.
    pub used: u64,
    /// Bytes that this process may still take.
    pub free: u64,
}

impl DiskSpace {
    /// Of the file system of `folder`; `None` when it cannot be asked.
    pub fn of(folder: &Path) -> Option<DiskSpace> {
        let stat = rustix::fs::statvfs(folder).ok()?;
        let used = stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(stat.f_frsize);
        Some(DiskSpace { used, free: stat.f_bavail.saturating_mul(stat.f_frsize) })
    }

    /// Bytes in all, as far as this process is concerned: space kept for the system is neither used nor free.
    pub fn total(self) -> u64 {
        self.used + self.free
    }

    /// Share in use, 0 to 1, as `df` shows it.
    pub fn used_ratio(self) -> f64 {
        if self.total() == 0 { 0.0 } else { self.used as f64 / self.total() as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_for_the_system_counts_for_nothing() {
        let space = DiskSpace { used: 15, free: 45 };
        assert_eq!((space.total(), space.used_ratio()), (60, 0.25));
        assert_eq!(DiskSpace { used: 0, free: 0 }.used_ratio(), 0.0);
        assert!(DiskSpace::of(Path::new("/")).unwrap().total() > 0);
    }
}
