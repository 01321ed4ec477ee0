//! Settings: what a client says it is, and what the server answers that holds.

use std::sync::Arc;
use std::time::Duration;

use protocol::bodies::subscription_group::RetryPolicyKind;
use protocol::v2::settings::PubSub;
use protocol::v2::{self, ClientType, Code, retry_policy};

use super::clients::{consume_type, existing_group};
use super::code::Refused;
use super::validate;
use crate::broker::Broker;
use crate::delivery::expiry::attempts_max;
use crate::groups::GroupSettings;
use crate::membership::Subscription;
use crate::sessions::Role;

/// Most topics that a client may name.
const TOPICS_MAX: usize = 1_000;
/// Most messages in the answer to a ReceiveMessage.
pub const RECEIVE_BATCH_MAX: i32 = 32;
/// Longest wait of a ReceiveMessage.
pub const LONG_POLL_MAX: Duration = Duration::from_secs(20);
/// What producers are told: attempts, and waits after an answer that the broker is busy.
const SEND_ATTEMPTS: i32 = 3;
const SEND_WAITS: (Duration, Duration, f32) = (Duration::from_millis(10), Duration::from_secs(1), 2.0);
/// Told to every consumer, since one client takes an answer without them for none.
const LITE_SUBSCRIPTIONS_MAX: i32 = 2000;
const LITE_TOPIC_BYTES_MAX: i32 = 64;

/// What the client says that it does.
pub fn role_of(broker: &Broker, said: &v2::Settings) -> Result<Role, Refused> {
    match &said.pub_sub {
        None => Err(Refused::new(Code::BadRequest, "there is no publishing or subscription data in settings")),
        Some(PubSub::Publishing(publishing)) => {
            check_count(publishing.topics.len())?;
            let topics = publishing.topics.iter().map(|topic| {
                let named = Some(topic.clone());
                validate::topic(&named).map(str::to_owned)
            });
            Ok(Role::Producer { topics: topics.collect::<Result<_, _>>()? })
        }
        Some(PubSub::Subscription(subscription)) => {
            check_count(subscription.subscriptions.len())?;
            let group = existing_group(broker, &subscription.group)?;
            let kind = match said.client_type() {
                // Not said: what is subscribed to is pushed or asked for, which makes no difference to us.
                ClientType::Unspecified => ClientType::SimpleConsumer,
                kind => kind,
            };
            let now_ms = broker.clock.now_ms();
            let wanted = subscription.subscriptions.iter().map(|entry| wanted(broker, entry, now_ms));
            let wanted: Vec<Subscription> = wanted.collect::<Result<_, _>>()?;
            // One client says nothing here and names topics when it receives.
            let subscriptions = Some(wanted).filter(|wanted| !wanted.is_empty());
            Ok(Role::Consumer { group, consume_type: consume_type(kind)?, subscriptions })
        }
    }
}

fn check_count(topics: usize) -> Result<(), Refused> {
    if topics > TOPICS_MAX {
        return Err(Refused::new(
            Code::BadRequest,
            format!("settings name {topics} topics; the limit is {TOPICS_MAX}"),
        ));
    }
    Ok(())
}

fn wanted(broker: &Broker, entry: &v2::SubscriptionEntry, version: i64) -> Result<Subscription, Refused> {
    let topic = validate::topic(&entry.topic)?;
    // Said now, for a client that starts: later it would be told at each receive, which push consumers only log.
    validate::filter(broker, entry.expression.as_ref())?;
    let (kind, text) = validate::expression(entry.expression.as_ref());
    Ok(Subscription::new(&broker.filters, topic, kind.name(), text, version))
}

/// What holds for the client: what it said, with what the server says in its place.
pub fn merged(broker: &Broker, mut said: v2::Settings) -> v2::Settings {
    match said.pub_sub.as_mut() {
        Some(PubSub::Publishing(publishing)) => {
            publishing.max_body_size = i32::try_from(broker.config.max_message_bytes.get()).unwrap_or(i32::MAX);
            publishing.validate_message_type = broker.config.topic_type_check.get();
            said.backoff_policy = Some(producer_policy());
        }
        Some(PubSub::Subscription(subscription)) => {
            let name = subscription.group.as_ref().map_or("", |group| &group.name);
            let group = broker.groups.get(name);
            subscription.fifo = Some(group.as_ref().is_some_and(|group| group.consume_message_orderly));
            subscription.receive_batch_size = Some(RECEIVE_BATCH_MAX);
            subscription.long_polling_timeout = Some(duration(LONG_POLL_MAX));
            subscription.lite_subscription_quota = Some(LITE_SUBSCRIPTIONS_MAX);
            subscription.max_lite_topic_size = Some(LITE_TOPIC_BYTES_MAX);
            let group = group.unwrap_or_else(|| Arc::new(GroupSettings::new(name)));
            said.backoff_policy = Some(consumer_policy(broker, &group));
        }
        None => {}
    }
    said.metric = Some(v2::Metric { on: false, endpoints: None });
    said
}

fn producer_policy() -> v2::RetryPolicy {
    let (initial, max, multiplier) = SEND_WAITS;
    let waits = v2::ExponentialBackoff { initial: Some(duration(initial)), max: Some(duration(max)), multiplier };
    let strategy = Some(retry_policy::Strategy::ExponentialBackoff(waits));
    v2::RetryPolicy { max_attempts: SEND_ATTEMPTS, strategy }
}

/// The waits of the group, or those of the delay levels, as upstream has it. The same every time: one client adds a table to
/// what it has.
fn consumer_policy(broker: &Broker, group: &GroupSettings) -> v2::RetryPolicy {
    let milliseconds = |ms: i64| duration(Duration::from_millis(ms.max(0) as u64));
    let policy = &group.retry_policy;
    let strategy = match policy.kind {
        RetryPolicyKind::Exponential => {
            let waits = policy.exponential_retry_policy.unwrap_or_default();
            retry_policy::Strategy::ExponentialBackoff(v2::ExponentialBackoff {
                initial: Some(milliseconds(waits.initial)),
                max: Some(milliseconds(waits.max)),
                multiplier: waits.multiplier as f32,
            })
        }
        RetryPolicyKind::Customized => {
            let own = policy.customized_retry_policy.as_ref().map(|own| own.next.as_slice());
            let next = match own.filter(|own| !own.is_empty()) {
                Some(own) => own.iter().map(|wait| milliseconds(*wait)).collect(),
                None => broker.config.delay_levels.iter().map(|wait| duration(*wait)).collect(),
            };
            retry_policy::Strategy::CustomizedBackoff(v2::CustomizedBackoff { next })
        }
    };
    v2::RetryPolicy { max_attempts: i32::from(attempts_max(group)), strategy: Some(strategy) }
}

fn duration(time: Duration) -> prost_types::Duration {
    prost_types::Duration { seconds: time.as_secs() as i64, nanos: time.subsec_nanos() as i32 }
}
