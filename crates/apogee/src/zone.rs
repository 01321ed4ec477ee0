//! The time zone of this process: hours at which servers delete, and times that tools read and print.

use std::sync::LazyLock;

use client::zone::{Zone, ZoneError};

use crate::roles::java_options::JavaOptions;

/// The zone: `-Duser.timezone` in the options of a JVM, as a stock server has it, or the variable TZ, or the system's.
pub fn of_process() -> Result<Zone, ZoneError> {
    match JavaOptions::of_environment().zone {
        Some(told) => Zone::named(&told.value, told.variable),
        None => Zone::of_machine(),
    }
}

/// The same for tools, which have nobody to tell that it is not known: then it is UTC.
pub fn of_tools() -> &'static Zone {
    static ZONE: LazyLock<Zone> = LazyLock::new(|| of_process().unwrap_or_default());
    &ZONE
}
