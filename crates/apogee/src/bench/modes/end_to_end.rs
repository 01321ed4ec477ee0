//! Sending and reading at once.

use std::sync::Arc;
use std::time::Duration;

use super::{From, Spread, check_label_fits, readers, run_number, senders};
use crate::bench::PRODUCER_GROUP;
use crate::bench::arguments::EndToEndArguments;
use crate::bench::consuming::{Pulling, Since, Until};
use crate::bench::opening::Opening;
use crate::bench::producing::{Sending, What};
use crate::bench::report::Report;
use crate::bench::run::{self, Scene};
use crate::bench::target;
use crate::bench::topics::Topics;
use crate::bench::verify;
use crate::command_line::Access;

/// `bench end-to-end`.
pub fn run(arguments: &EndToEndArguments, access: &Access) -> anyhow::Result<Report> {
    let EndToEndArguments { common, timing, queues, connections, window, size, rate, .. } = arguments;
    check_label_fits(*size)?;
    let topics = Topics::one(&common.topic);
    let targets = target::create(common, access, &topics, *queues)?;
    let targets = target::look(targets, common, access, &topics, *queues)?;
    let run = run_number();
    let pulling = Arc::new(Pulling {
        topics: topics.clone(),
        group: PRODUCER_GROUP.to_owned(),
        codec: common.header.codec(),
        messages_max: arguments.max,
        until: Until::Drained(Duration::from_secs_f64(arguments.patience)),
        since: Since::Intended,
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
        what: What::Messages,
    });
    let mut both = readers(&pulling, &targets, arguments.readers, From::End);
    both.extend(senders(&sending, &targets, Spread::All));
    let title = format!(
        "end-to-end, {connections} connections × {window}, {} readers, {size}-byte bodies, {rate}",
        arguments.readers
    );
    let played = run::run(&Scene {
        title: &title,
        quiet: common.quiet,
        threads: common.threads,
        opening: Opening::Connect,
        counted: timing.counted(),
        pid: common.pid,
        acknowledged: 0,
        connections: &both,
    })?;
    let mut report = Report::new("end-to-end", title.clone());
    report.part("deliveries", played.reading);
    report.part("sends", played.sending);
    report.verification = Some(verify::compare(&played.sent, &played.came));
    report.server = played.server;
    report.own_cpu_percent = played.own_cpu_percent;
    Ok(report)
}
