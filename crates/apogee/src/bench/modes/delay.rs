//! Delayed messages.

use std::sync::Arc;
use std::time::Duration;

use super::{From, Spread, check_label_fits, readers, run_number, senders};
use crate::bench::PRODUCER_GROUP;
use crate::bench::arguments::DelayArguments;
use crate::bench::consuming::{Pulling, Since, Until};
use crate::bench::opening::Opening;
use crate::bench::producing::{Delays, Sending, What};
use crate::bench::report::Report;
use crate::bench::run::{self, Counted, Scene};
use crate::bench::target;
use crate::bench::topics::Topics;
use crate::bench::verify;
use crate::command_line::Access;
use crate::output::grouped;

/// `bench delay`.
pub fn run(arguments: &DelayArguments, access: &Access) -> anyhow::Result<Report> {
    let DelayArguments { common, count, queues, connections, window, size, rate, .. } = arguments;
    check_label_fits(*size)?;
    let topics = Topics::one(&common.topic);
    let targets = target::create(common, access, &topics, *queues)?;
    let targets = target::look(targets, common, access, &topics, *queues)?;
    let run = run_number();
    let seconds = Duration::from_secs_f64;
    let delays = Delays { count: *count, first: seconds(arguments.delay), spread: seconds(arguments.spread) };
    let pulling = Arc::new(Pulling {
        topics: topics.clone(),
        group: PRODUCER_GROUP.to_owned(),
        codec: common.header.codec(),
        messages_max: arguments.max,
        until: Until::Delivered { due: delays.first + delays.spread, patience: seconds(arguments.patience) },
        since: Since::Due,
        checksums: true,
        run: Some(run),
        scattered: None,
    });
    let sending = Arc::new(Sending {
        topics,
        group: PRODUCER_GROUP.to_owned(),
        queues: *queues,
        codec: common.header.codec(),
        window: *window,
        body_bytes: *size as usize,
        batch: 1,
        rate: *rate,
        connections: *connections,
        run: Some(run),
        until_read: false,
        what: What::Delayed(delays),
    });
    let mut both = readers(&pulling, &targets, arguments.readers, From::End);
    both.extend(senders(&sending, &targets, Spread::All));
    let title = format!(
        "delay, {} messages of {size} bytes due from {} s on for {} s, {connections} connections × {window}, {rate}",
        grouped(*count),
        arguments.delay,
        arguments.spread
    );
    let played = run::run(&Scene {
        title: &title,
        quiet: common.quiet,
        threads: common.threads,
        opening: Opening::Connect,
        counted: Counted::UntilDone,
        pid: common.pid,
        acknowledged: 0,
        connections: &both,
    })?;
    let mut report = Report::new("delay", title.clone());
    // What counts is the time from when the first message was due, not how long all of them waited.
    let times = played.arrivals.first_due_us.zip(played.arrivals.last_came_us);
    report.delivered_within_s = times.map(|(due, came)| (came - due) as f64 / 1e6);
    let delivered = match report.delivered_within_s {
        Some(seconds) => played.reading.within(seconds),
        None => played.reading,
    };
    report.part("deliveries", delivered);
    report.part("sends", played.sending);
    report.verification = Some(verify::compare(&played.sent, &played.came));
    report.server = played.server;
    report.own_cpu_percent = played.own_cpu_percent;
    Ok(report)
}
