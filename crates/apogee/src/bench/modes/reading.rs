//! Measurements that read what is there.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;

use super::{From, Spread, grpc, readers, senders};
use crate::bench::PRODUCER_GROUP;
use crate::bench::arguments::{CatchUpArguments, Common, ConsumeArguments, Protocol, Reads};
use crate::bench::consuming::{Pulling, Since, Until};
use crate::bench::opening::Opening;
use crate::bench::producing::{Sending, What};
use crate::bench::report::Report;
use crate::bench::run::{self, Counted, Scene};
use crate::bench::target;
use crate::bench::topics::Topics;
use crate::command_line::Access;

/// `bench consume`.
pub fn consume(arguments: &ConsumeArguments, access: &Access) -> anyhow::Result<Report> {
    if arguments.common.protocol == Protocol::Grpc {
        return grpc::consume(arguments, access);
    }
    let ConsumeArguments { common, timing, reads, connections, follow, .. } = arguments;
    ensure!(
        !arguments.verify,
        "consume --verify is there for gRPC: with remoting, produce --verify reads everything back"
    );
    let targets = target::find(common, access, reads.queues)?;
    let (until, since, from) = match follow {
        true => (Until::TimeFollowing, Since::Birth, From::End),
        false => (Until::TimeOver, Since::Asked, From::Start),
    };
    let pulling = pulling(common, reads, until, since);
    let end = if *follow { "waiting for new ones" } else { "over and over" };
    let title = format!("consume, {connections} connections, up to {} messages a pull, {end}", reads.max);
    let connections = readers(&pulling, &targets, *connections, from);
    let played = run::run(&Scene {
        title: &title,
        quiet: common.quiet,
        threads: common.threads,
        opening: Opening::Connect,
        counted: timing.counted(),
        pid: common.pid,
        acknowledged: 0,
        connections: &connections,
    })?;
    let mut report = Report::new("consume", title.clone());
    report.part(if *follow { "deliveries" } else { "pulls" }, played.reading);
    report.server = played.server;
    report.own_cpu_percent = played.own_cpu_percent;
    Ok(report)
}

/// `bench catch-up`.
pub fn catch_up(arguments: &CatchUpArguments, access: &Access) -> anyhow::Result<Report> {
    let CatchUpArguments { common, timing, reads, connections, window, size, rate, .. } = arguments;
    let targets = target::find(common, access, reads.queues)?;
    let live = Topics::one(&arguments.live_topic);
    let live_targets = target::create(common, access, &live, reads.queues)?;
    let sending = Sending {
        topics: live,
        group: PRODUCER_GROUP.to_owned(),
        queues: reads.queues,
        codec: common.header.codec(),
        window: *window,
        body_bytes: *size as usize,
        batch: 1,
        rate: *rate,
        connections: *connections,
        run: None,
        until_read: false,
        what: What::Messages,
    };
    let producers = senders(&Arc::new(sending.clone()), &live_targets, Spread::All);
    let title = format!(
        "catch-up, {} readers, up to {} messages a pull, beside {connections} connections × {window}, {size}-byte \
         bodies, {rate}",
        arguments.readers, reads.max
    );
    let scene = Scene {
        title: "producers alone",
        quiet: common.quiet,
        threads: common.threads,
        opening: Opening::Connect,
        counted: timing.counted(),
        pid: common.pid,
        acknowledged: 0,
        connections: &producers,
    };
    let alone = run::run(&scene)?;

    let pulling = pulling(common, reads, Until::CaughtUp, Since::Asked);
    let mut both = readers(&pulling, &targets, arguments.readers, From::Start);
    both.extend(senders(&Arc::new(Sending { until_read: true, ..sending }), &live_targets, Spread::All));
    let counted = Counted::For { warmup: Duration::ZERO, measured: Duration::from_secs_f64(timing.seconds) };
    let beside = run::run(&Scene { title: &title, counted, connections: &both, ..scene })?;
    let mut report = Report::new("catch-up", title.clone());
    report.part("pulls", beside.reading);
    report.part("sends, alone", alone.sending);
    report.part("sends, beside", beside.sending);
    report.server = beside.server;
    report.own_cpu_percent = beside.own_cpu_percent;
    Ok(report)
}

fn pulling(common: &Common, reads: &Reads, until: Until, since: Since) -> Arc<Pulling> {
    Arc::new(Pulling {
        topics: Topics::one(&common.topic),
        group: reads.group.clone(),
        codec: common.header.codec(),
        messages_max: reads.max,
        until,
        since,
        checksums: !reads.no_checksums,
        run: None,
        scattered: None,
    })
}
