//! A consumer that waits: a telemetry stream, and a receive that the server holds.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use protocol::v2::telemetry_command::Command;
use protocol::v2::{
    ClientType, FilterExpression, FilterType, Settings, Subscription, SubscriptionEntry, TelemetryCommand, settings,
};
use tokio::time::Instant;

use super::calls::{Calls, Rpc, framed};
use super::receiving::{HOLD_SECONDS, question, receive};
use super::{refused, resource};
use crate::bench::producing::Schedule;
use crate::bench::tally::Tally;

/// What the waiting consumers of a group have in common.
#[derive(Clone, Debug)]
pub struct Idling {
    /// Topic, in which there is nothing.
    pub topic: String,
    /// Consumer group.
    pub group: String,
}

/// Says what kind of consumer it is, as clients do first, and waits for the answer. The stream stays open.
pub async fn introduce(calls: &mut Calls, topic: &str, group: &str) -> io::Result<()> {
    let subscription = Subscription {
        group: Some(resource(group)),
        subscriptions: vec![SubscriptionEntry {
            topic: Some(resource(topic)),
            expression: Some(FilterExpression { r#type: FilterType::Tag.into(), expression: "*".to_owned() }),
        }],
        long_polling_timeout: Some(prost_types::Duration { seconds: HOLD_SECONDS as i64, nanos: 0 }),
        ..Subscription::default()
    };
    let settings = Settings {
        client_type: Some(ClientType::SimpleConsumer.into()),
        request_timeout: Some(prost_types::Duration { seconds: 3, nanos: 0 }),
        pub_sub: Some(settings::PubSub::Subscription(subscription)),
        ..Settings::default()
    };
    let command = TelemetryCommand { status: None, command: Some(Command::Settings(settings)) };
    let failed = |kind: &str, text: &str| io::Error::other(format!("{kind}: {text}"));
    let opened = calls.open(Rpc::Telemetry, framed(&command), None, false).await;
    let (stream, mut commands) = opened.map_err(|error| failed(&error.kind, &error.text))?;
    loop {
        let command = commands.next::<TelemetryCommand>().await.map_err(|error| failed(&error.kind, &error.text))?;
        let command = command.ok_or_else(|| failed("the telemetry stream ended", ""))?;
        if let Some((kind, text)) = command.status.as_ref().and_then(|status| refused(Some(status))) {
            return Err(failed(&kind, &text));
        }
        if matches!(command.command, Some(Command::Settings(_))) {
            break;
        }
    }
    calls.kept = Some((stream, commands));
    Ok(())
}

/// Waits for messages that do not come until the schedule ends. An answer that says so counts.
pub async fn wait(calls: Calls, idling: Arc<Idling>, schedule: Schedule, tally: Rc<RefCell<Tally>>) {
    let question = framed(&question(&idling.topic, &idling.group, 32));
    let waiting = async {
        loop {
            let begun = Instant::now();
            let messages = receive(&calls, question.clone()).await;
            let now = Instant::now();
            let mut tally = tally.borrow_mut();
            match messages {
                Ok(messages) if messages.is_empty() => {
                    tally.latency(begun, now);
                    tally.answer(now, 0, 0);
                }
                Ok(messages) => tally.fault("message in a topic that is to be empty", || format!("{}", messages.len())),
                Err(failed) => {
                    tally.fault(failed.kind, || failed.text);
                    return;
                }
            }
        }
    };
    let _ = tokio::time::timeout_at(schedule.end, waiting).await;
    tally.borrow().progress().consuming.fetch_sub(1, Ordering::Release);
}
