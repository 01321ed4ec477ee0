//! The process as the system sees it, with the names that every client library of Prometheus has for that.

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use crate::text::{Family, Page};

const CPU: Family = Family::counter("process_cpu_seconds", "Processor time of the process, in seconds");
const RESIDENT: Family = Family::gauge("process_resident_memory_bytes", "Memory that the process has in use, in bytes");
const VIRTUAL: Family = Family::gauge("process_virtual_memory_bytes", "Address space of the process, in bytes");
const THREADS: Family = Family::gauge("process_threads", "Threads of the process");
const START: Family = Family::gauge("process_start_time_seconds", "Start of the process, in seconds since 1970");
const OPEN_FILES: Family = Family::gauge("process_open_fds", "Open files and connections of the process");
const MAX_FILES: Family = Family::gauge("process_max_fds", "Most files and connections that the process may open");
const BUILD: Family = Family::gauge("apogee_build_info", "Always 1; the label says which version runs");

/// What `/proc/self/stat` says.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    /// Since the start of the machine.
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

/// Writes what the system says. What it does not say is left out.
pub fn write(page: &mut Page) {
    page.with_labels(&[]);
    page.family(&BUILD, |series| series.value(&[("version", env!("CARGO_PKG_VERSION"))], 1_u64));
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    if let Some(stat) = parse_stat(&text) {
        let seconds = |ticks: u64| ticks as f64 / clock_ticks_per_second() as f64;
        page.family(&CPU, |series| series.value(&[], seconds(stat.cpu_ticks)));
        page.family(&RESIDENT, |series| series.value(&[], stat.resident_pages * page_size() as u64));
        page.family(&VIRTUAL, |series| series.value(&[], stat.virtual_bytes));
        page.family(&THREADS, |series| series.value(&[], stat.threads));
        if let Some(booted_s) = booted_s() {
            page.family(&START, |series| series.value(&[], booted_s + seconds(stat.start_ticks)));
        }
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        let count = files.count();
        page.family(&OPEN_FILES, |series| series.value(&[], count));
    }
    let limit = getrlimit(Resource::Nofile).current.map_or(f64::INFINITY, |limit| limit as f64);
    page.family(&MAX_FILES, |series| series.value(&[], limit));
}

/// Fields as `proc(5)` numbers them, from 3 on: the second is a name that may hold anything.
fn parse_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        cpu_ticks: field(14)? + field(15)?,
        threads: field(20)?,
        start_ticks: field(22)?,
        virtual_bytes: field(23)?,
        resident_pages: field(24)?,
    })
}

/// When the machine was started, in seconds since 1970.
fn booted_s() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_have_any_name() {
        let text = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 30 12 0 0 20 0 9 0 5000 1000000 250 18446744073709551615 1";
        let stat = Stat { cpu_ticks: 42, threads: 9, start_ticks: 5000, virtual_bytes: 1_000_000, resident_pages: 250 };
        assert_eq!(parse_stat(text), Some(stat));
        assert_eq!((parse_stat(""), parse_stat("7 (a) S 1")), (None, None));
    }
}
