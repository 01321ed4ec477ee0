//! How much memory there is for this process.

/// Where the kernel says how much memory the processes of this container may have: control groups of version 2, and of 1.
const LIMITS: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];

/// The machine's memory, or what the container may have of it, whichever is less; 8 GiB where nothing can be read.
pub(super) fn available_bytes() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let of_machine = of_machine(&read("/proc/meminfo")).unwrap_or(8 << 30);
    LIMITS.iter().filter_map(|path| limit(&read(path))).fold(of_machine, u64::min)
}

fn of_machine(meminfo: &str) -> Option<u64> {
    let kib: u64 = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse().ok())?;
    Some(kib * 1024)
}

/// `max` is no limit; version 1 says so with a number that no machine has.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_has_what_it_is_given() {
        assert_eq!(of_machine("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
        assert_eq!(
            (of_machine(""), limit("max\n"), limit("67108864\n"), limit("")),
            (None, None, Some(64 << 20), None)
        );
        assert!(available_bytes() > 0);
    }
}
