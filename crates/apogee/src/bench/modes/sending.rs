//! Measurements that send: messages, batches, transactions, to many queues, over many connections.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{From, Spread, check_label_fits, grpc, readers, run_number, senders};
use crate::bench::arguments::{
    BatchArguments, Common, ConnectionsArguments, ManyQueuesArguments, ProduceArguments, Protocol, Sends, Timing,
    TransactionArguments,
};
use crate::bench::consuming::{Pulling, Since, Until};
use crate::bench::ledger::Sent;
use crate::bench::opening::Opening;
use crate::bench::producing::{Sending, What};
use crate::bench::report::Report;
use crate::bench::run::{self, Counted, Played, Scene};
use crate::bench::target::{self, Target};
use crate::bench::topics::Topics;
use crate::bench::verify::{self, StreamKey, Verification};
use crate::bench::{PRODUCER_GROUP, run::Connection};
use crate::command_line::Access;
use crate::output::grouped;

/// Messages in one pull when everything is read back.
pub const READ_BACK_MAX: i32 = 1024;
/// Connections to each broker then.
pub const READ_BACK_CONNECTIONS: u32 = 4;

/// What the measurements of this file differ in.
struct Mode<'a> {
    name: &'static str,
    common: &'a Common,
    timing: Timing,
    sends: Sends,
    topics: Topics,
    queues: i32,
    connections: u32,
    window: u32,
    batch: u32,
    what: What,
    spread: Spread,
    greets: bool,
    /// Said about what is sent, after connections and sizes.
    about: String,
}

/// `bench produce`.
pub fn produce(arguments: &ProduceArguments, access: &Access) -> anyhow::Result<Report> {
    if arguments.common.protocol == Protocol::Grpc {
        return grpc::produce(arguments, access);
    }
    let ProduceArguments { common, timing, sends, queues, connections, window, batch } = arguments;
    let (queues, connections, window, batch) = (*queues, *connections, *window, *batch);
    let about = if batch > 1 { format!(", batches of {batch}") } else { String::new() };
    Mode { queues, connections, window, batch, about, ..Mode::new("produce", common, *timing, *sends) }.run(access)
}

/// `bench batch`.
pub fn batch(arguments: &BatchArguments, access: &Access) -> anyhow::Result<Report> {
    let BatchArguments { common, timing, sends, queues, connections, window, messages } = arguments;
    let (queues, connections, window, batch) = (*queues, *connections, *window, *messages);
    let about = format!(", batches of {batch}");
    Mode { queues, connections, window, batch, about, ..Mode::new("batch", common, *timing, *sends) }.run(access)
}

/// `bench transaction`.
pub fn transaction(arguments: &TransactionArguments, access: &Access) -> anyhow::Result<Report> {
    let TransactionArguments { common, timing, sends, queues, connections, window, rollback } = arguments;
    let (queues, connections, window) = (*queues, *connections, *window);
    let what = What::Transactions { rolled_back: *rollback };
    let about = format!(", {rollback} % rolled back");
    Mode { queues, connections, window, what, about, ..Mode::new("transaction", common, *timing, *sends) }.run(access)
}

/// `bench many-queues`.
pub fn many_queues(arguments: &ManyQueuesArguments, access: &Access) -> anyhow::Result<Report> {
    let ManyQueuesArguments { common, timing, sends, topics, queues, connections, window } = arguments;
    let (queues, connections, window) = (*queues, *connections, *window);
    let about = format!(", {} queues", grouped(u64::from(*topics) * queues.unsigned_abs() as u64));
    let topics = Topics::numbered(&common.topic, *topics);
    let spread = Spread::SharedOut;
    let mode = Mode::new("many-queues", common, *timing, *sends);
    Mode { topics, queues, connections, window, spread, about, ..mode }.run(access)
}

/// `bench connections`.
pub fn connections(arguments: &ConnectionsArguments, access: &Access) -> anyhow::Result<Report> {
    if arguments.common.protocol == Protocol::Grpc {
        return grpc::connections(arguments, access);
    }
    let ConnectionsArguments { common, timing, sends, queues, connections, window } = arguments;
    let (queues, connections, window) = (*queues, *connections, *window);
    let mode = Mode::new("connections", common, *timing, *sends);
    Mode { queues, connections, window, spread: Spread::One, greets: true, ..mode }.run(access)
}

impl<'a> Mode<'a> {
    fn new(name: &'static str, common: &'a Common, timing: Timing, sends: Sends) -> Mode<'a> {
        Mode {
            name,
            common,
            timing,
            sends,
            topics: Topics::one(&common.topic),
            queues: 1,
            connections: 1,
            window: 1,
            batch: 1,
            what: What::Messages,
            spread: Spread::All,
            greets: false,
            about: String::new(),
        }
    }

    fn run(self, access: &Access) -> anyhow::Result<Report> {
        let Mode { common, sends, .. } = &self;
        let mut targets = target::create(common, access, &self.topics, self.queues)?;
        if sends.verify {
            check_label_fits(sends.size)?;
            targets = target::look(targets, common, access, &self.topics, self.queues)?;
        }
        let sending = Arc::new(self.sending());
        let connections = senders(&sending, &targets, self.spread);
        let title = self.title();
        let codec = common.header.codec();
        let opening = if self.greets { Opening::Greet(codec) } else { Opening::Connect };
        let scene = Scene { opening, pid: common.pid, ..self.scene(&title, self.timing.counted(), &connections) };
        let played = run::run(&scene)?;
        let mut report = Report::new(self.name, title.clone());
        let unit = if matches!(self.what, What::Transactions { .. }) { "transactions" } else { "sends" };
        report.part(unit, played.sending);
        report.server = played.server;
        report.own_cpu_percent = played.own_cpu_percent;
        report.opened = self.greets.then_some(played.opened);
        if let Some(run) = sending.run {
            let (verification, read) = self.read_back(&targets, run, &played.sent)?;
            report.part("read back", read.reading);
            report.verification = Some(verification);
        }
        Ok(report)
    }

    fn sending(&self) -> Sending {
        Sending {
            topics: self.topics.clone(),
            group: PRODUCER_GROUP.to_owned(),
            queues: self.queues,
            codec: self.common.header.codec(),
            window: self.window,
            body_bytes: self.sends.size as usize,
            batch: self.batch,
            rate: self.sends.rate,
            connections: self.connections,
            run: self.sends.verify.then(run_number),
            until_read: false,
            what: self.what,
        }
    }

    fn scene<'s>(&self, title: &'s str, counted: Counted, connections: &'s [Connection]) -> Scene<'s> {
        let Common { threads, quiet, .. } = *self.common;
        let opening = Opening::Connect;
        Scene { title, quiet, threads, opening, counted, pid: None, acknowledged: 0, connections }
    }

    /// Reads everything that came since `targets` were looked at, and compares.
    fn read_back(
        &self,
        targets: &[Target],
        run: u32,
        sent: &HashMap<StreamKey, Sent>,
    ) -> anyhow::Result<(Verification, Played)> {
        let pulling = Arc::new(Pulling {
            topics: self.topics.clone(),
            group: PRODUCER_GROUP.to_owned(),
            codec: self.common.header.codec(),
            messages_max: READ_BACK_MAX,
            until: Until::ReadBack(Duration::from_secs_f64(self.sends.patience)),
            since: Since::Asked,
            checksums: true,
            run: Some(run),
            scattered: None,
        });
        let connections = readers(&pulling, targets, READ_BACK_CONNECTIONS * targets.len() as u32, From::End);
        let scene = self.scene("reading back", Counted::UntilDone, &connections);
        let played = run::run(&Scene { acknowledged: sent.values().map(Sent::certain).sum(), ..scene })?;
        Ok((verify::compare(sent, &played.came), played))
    }

    fn title(&self) -> String {
        let Mode { name, connections, window, about, .. } = self;
        let Sends { size, rate, .. } = self.sends;
        format!("{name}, {} connections × {window}, {size}-byte bodies{about}, {rate}", grouped((*connections).into()))
    }
}
