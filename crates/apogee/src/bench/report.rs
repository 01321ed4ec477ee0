//! What a measurement comes to, as a table or as JSON.

use std::io;

use serde_json::{Map, Value, json};

use super::opening::Opened;
use super::server_use::{Course, ServerUse};
use super::tally::{Outcome, Quantiles};
use super::verify::Verification;
use crate::output::{self, Align, Table, grouped};

/// What a measurement comes to.
#[derive(Debug)]
pub struct Report {
    mode: &'static str,
    title: String,
    parts: Vec<(&'static str, Outcome)>,
    /// What a comparison of everything sent with everything that came found.
    pub verification: Option<Verification>,
    /// How the connections were made, where that is measured.
    pub opened: Option<Opened>,
    /// Whether nothing is to come: then it is enough that the connections were made.
    pub is_idle: bool,
    /// Seconds from the time the first delayed message was due until the last one came.
    pub delivered_within_s: Option<f64>,
    /// What the server took.
    pub server: Option<ServerUse>,
    /// Processor time of the load generator itself, in percent of one core.
    pub own_cpu_percent: f64,
}

impl Report {
    /// Nothing measured yet. The title says what was asked for.
    pub fn new(mode: &'static str, title: String) -> Report {
        Report {
            mode,
            title,
            parts: Vec::new(),
            verification: None,
            opened: None,
            is_idle: false,
            delivered_within_s: None,
            server: None,
            own_cpu_percent: 0.0,
        }
    }

    /// Adds what was counted. The first part is what the measurement is about.
    pub fn part(&mut self, name: &'static str, outcome: Outcome) {
        self.parts.push((name, outcome));
    }

    /// Whether there were messages and all was as it should be.
    pub fn is_clean(&self) -> bool {
        let verified = self.verification.as_ref().is_none_or(|found| found.lost == 0 && found.invented == 0);
        let measured = self.parts.first().is_some_and(|(_, outcome)| outcome.messages > 0 || self.is_idle);
        verified && measured && self.parts.iter().all(|(_, outcome)| outcome.is_clean())
    }

    /// As JSON: `outcome` is the first part, `parts` has all of them by their names.
    pub fn json(&self) -> Value {
        let mut parts = Map::new();
        for (name, outcome) in &self.parts {
            parts.insert((*name).to_owned(), json!(outcome));
        }
        json!({
            "mode": self.mode,
            "bench": self.title,
            "clean": self.is_clean(),
            "outcome": self.parts.first().map(|(_, outcome)| outcome),
            "parts": parts,
            "verification": self.verification,
            "opened": self.opened,
            "delivered_within_s": self.delivered_within_s,
            "server": self.server,
            "own_cpu_percent": self.own_cpu_percent,
        })
    }

    /// For people.
    pub fn print(&self) -> io::Result<()> {
        output::line(&self.title)?;
        self.table().print()?;
        for line in self.lines() {
            output::line(&line)?;
        }
        Ok(())
    }

    fn table(&self) -> Table {
        let numbers = ["MSG/S", "MB/S", "P50 MS", "P99", "P99.9", "P99.99", "MAX", "MEAN"];
        let columns: Vec<(&'static str, Align)> =
            std::iter::once(("", Align::Left)).chain(numbers.map(|name| (name, Align::Right))).collect();
        let mut table = Table::new(&columns);
        for (name, outcome) in &self.parts {
            let rate = [
                grouped(outcome.messages_per_second.round() as u64),
                format!("{:.1}", outcome.body_bytes_per_second / 1e6),
            ];
            let mut row = |name: String, times: [String; 6]| {
                table.row(std::iter::once(name).chain(rate.clone()).chain(times));
            };
            match (&outcome.latency_us, &outcome.delivery_ms) {
                (None, None) => row((*name).to_owned(), [(); 6].map(|()| String::new())),
                (latency, delivery) => {
                    if let Some(latency) = latency {
                        row((*name).to_owned(), points(latency, 1e3));
                    }
                    if let Some(delivery) = delivery {
                        row((*name).to_owned(), points(delivery, 1.0));
                    }
                }
            }
        }
        table
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(Opened { connections, connected_s, answered_s }) = &self.opened {
            lines.push(format!(
                "{} connections: connected within {connected_s:.3} s, answered within {answered_s:.3} s",
                grouped(*connections)
            ));
        }
        if let Some(seconds) = self.delivered_within_s {
            lines.push(format!("from the first due time to the last delivery: {seconds:.3} s"));
        }
        for (name, outcome) in &self.parts {
            let mut line = format!("{name}: {} messages in {:.2} s", grouped(outcome.messages), outcome.seconds);
            for (count, what) in [(outcome.overdue, "not sent in time"), (outcome.unanswered, "UNANSWERED")] {
                if count > 0 {
                    line += &format!(", {} {what}", grouped(count));
                }
            }
            lines.push(line);
            lines.extend(
                outcome
                    .faults
                    .iter()
                    .map(|(kind, fault)| format!("FAULT: {} × {kind}: {}", grouped(fault.count), fault.first)),
            );
        }
        lines.extend(self.verification.as_ref().map(verified));
        lines.extend(self.server.as_ref().map(used));
        lines.push(format!("load generator: {:.2} cores", self.own_cpu_percent / 100.0));
        lines
    }
}

fn verified(found: &Verification) -> String {
    let Verification { sent, came, lost, unsure, first_lost, invented } = found;
    let mut line = format!("verified: {} sent, {} came, {} lost", grouped(*sent), grouped(*came), grouped(*lost));
    if let Some(first) = first_lost {
        line += &format!(" (the first: {first})");
    }
    for (count, what) in [(*unsure, "failed and did not come"), (*invented, "came that nobody sent")] {
        if count > 0 {
            line += &format!(", {} {what}", grouped(count));
        }
    }
    line
}

fn used(server: &ServerUse) -> String {
    let ServerUse { pid, cores, resident_bytes, anonymous_bytes } = server;
    let course = |Course { before, connected, max, end }: &Course| {
        let mib = |bytes: &u64| *bytes as f64 / f64::from(1 << 20);
        format!("{:.1} / {:.1} / {:.1} / {:.1} MiB", mib(before), mib(connected), mib(max), mib(end))
    };
    format!(
        "server {pid}: {cores:.2} cores; memory before / connected / most / end: resident {}, anonymous {}",
        course(resident_bytes),
        course(anonymous_bytes)
    )
}

/// Points of a distribution in milliseconds; `per_ms` of their unit are one.
fn points(quantiles: &Quantiles, per_ms: f64) -> [String; 6] {
    [quantiles.p50, quantiles.p99, quantiles.p999, quantiles.p9999, quantiles.max, quantiles.mean]
        .map(|value| format!("{:.3}", value / per_ms))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::bench::tally::Tally;

    fn outcome(faults: &[&str]) -> Outcome {
        let start = Instant::now();
        let mut tally = Tally::new(start..start + Duration::from_secs(2), Arc::default());
        tally.answer(start, 3_000, 300_000);
        tally.latency(start, start + Duration::from_millis(2));
        for fault in faults {
            tally.fault(*fault, || "why".into());
        }
        tally.outcome(false)
    }

    #[test]
    fn a_report_is_clean_unless_something_is_wrong() {
        let mut report = Report::new("produce", "produce".into());
        assert!(!report.is_clean());
        report.part("sends", outcome(&[]));
        assert!(report.is_clean());
        report.verification = Some(Verification { lost: 1, ..Verification::default() });
        assert!(!report.is_clean());
        report.verification = Some(Verification { invented: 1, ..Verification::default() });
        assert!(!report.is_clean());
        report.verification = Some(Verification::default());
        assert!(report.is_clean());
        report.part("read back", outcome(&["duplicate"]));
        assert!(!report.is_clean());
    }

    #[test]
    fn the_table_and_its_lines_tell_everything() {
        let mut report = Report::new("produce", "produce".into());
        report.part("sends", outcome(&["SYSTEM_BUSY (2)"]));
        report.verification = Some(Verification { sent: 3_000, came: 2_999, lost: 1, ..Verification::default() });
        let lines = report.lines();
        assert_eq!(lines[0], "sends: 3,000 messages in 2.00 s");
        assert_eq!(lines[1], "FAULT: 1 × SYSTEM_BUSY (2): why");
        assert_eq!(lines[2], "verified: 3,000 sent, 2,999 came, 1 lost");
        let json = report.json();
        assert_eq!((&json["outcome"]["messages"], &json["clean"]), (&json!(3_000), &json!(false)));
        assert_eq!(json["parts"]["sends"]["faults"]["SYSTEM_BUSY (2)"]["count"], 1);
    }
}
