//! Faults that the simulation plants, to prove that it would find them. Without the feature `planted-faults` none can be
//! switched on and nothing of this is compiled into the log.

#[cfg(not(feature = "planted-faults"))]
use std::sync::Arc;

#[cfg(not(feature = "planted-faults"))]
use crate::disk::DiskFile;

/// A promise that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An append is reported before its bytes are handed to the disk; they are with the next append.
    AckBeforeWrite,
    /// A sync is reported that never happened.
    SkipSync,
    /// After a failed sync the log goes on as if it had worked.
    ForgetFence,
    /// After a power cut queue offsets that consumers may have seen are given again.
    ReuseOffset,
    /// What settles a waiting message is not remembered, so that it comes back after a restart.
    ForgetSettlement,
    /// Readers see records before they are durable.
    ShowUnsynced,
}

#[cfg(feature = "planted-faults")]
mod switch {
    use std::cell::{Cell, RefCell};
    use std::io;
    use std::sync::Arc;

    use super::Fault;
    use crate::disk::DiskFile;

    type LateWrite = (Arc<dyn DiskFile>, Vec<u8>, u64);

    thread_local! {
        static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
        static LATE: RefCell<Option<LateWrite>> = const { RefCell::new(None) };
    }

    /// Plants a fault into every log that this thread drives, or takes it away. To be called again when a process is
    /// killed: what was not written then never is.
    pub fn plant(fault: Option<Fault>) {
        PLANTED.set(fault);
        LATE.set(None);
    }

    /// Keeps a write until the next one comes.
    pub(crate) fn write_later(file: &Arc<dyn DiskFile>, bytes: &[u8], at: u64) -> io::Result<()> {
        match LATE.replace(Some((file.clone(), bytes.to_vec(), at))) {
            Some((file, bytes, at)) => file.write_at(&bytes, at),
            None => Ok(()),
        }
    }

    pub(crate) fn is_planted(fault: Fault) -> bool {
        PLANTED.get() == Some(fault)
    }
}

#[cfg(feature = "planted-faults")]
pub use switch::plant;
#[cfg(feature = "planted-faults")]
pub(crate) use switch::{is_planted, write_later};

/// No fault can be planted.
#[cfg(not(feature = "planted-faults"))]
pub(crate) const fn is_planted(_: Fault) -> bool {
    false
}

/// Writes at once, since no fault can be planted.
#[cfg(not(feature = "planted-faults"))]
pub(crate) fn write_later(file: &Arc<dyn DiskFile>, bytes: &[u8], at: u64) -> std::io::Result<()> {
    file.write_at(bytes, at)
}
