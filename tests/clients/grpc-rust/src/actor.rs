//! The clients of one process by their names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rocketmq::conf::{ClientOption, ProducerOption, SimpleConsumerOption};
use rocketmq::model::common::{FilterExpression, FilterType};
use rocketmq::model::message::{MessageBuilder, MessageView};
use rocketmq::model::transaction::{Transaction, TransactionResolution};
use rocketmq::{Producer, SimpleConsumer};
use tokio::sync::oneshot;

use crate::wire::{Events, Message, Order, Report, Sent, Subscription};

/// What carries out orders.
pub struct Actor {
    endpoint: String,
    pub events: Arc<Events>,
    producers: Table<Producer>,
    consumers: Table<(SimpleConsumer, Subscription)>,
    received: Table<MessageView>,
    ends: Mutex<HashMap<String, oneshot::Sender<End>>>,
    receipts: Mutex<u64>,
}

/// How a transaction is to end, and where to tell what came of it.
struct End {
    commit: bool,
    done: oneshot::Sender<Result<(), String>>,
}

struct Table<T>(Mutex<HashMap<String, Arc<T>>>);

impl<T> Table<T> {
    fn new() -> Self {
        Table(Mutex::new(HashMap::new()))
    }

    fn keep(&self, name: &str, thing: T) {
        self.0.lock().expect("no panic while locked").insert(name.into(), Arc::new(thing));
    }

    fn find(&self, name: &str) -> Result<Arc<T>, String> {
        self.0.lock().expect("no panic while locked").get(name).cloned().ok_or(format!("there is no {name}"))
    }

    fn take(&self, name: &str) -> Option<Arc<T>> {
        self.0.lock().expect("no panic while locked").remove(name)
    }

    fn names(&self) -> Vec<String> {
        self.0.lock().expect("no panic while locked").keys().cloned().collect()
    }
}

impl Actor {
    pub fn new(endpoint: String) -> Self {
        Actor {
            endpoint,
            events: Arc::default(),
            producers: Table::new(),
            consumers: Table::new(),
            received: Table::new(),
            ends: Mutex::default(),
            receipts: Mutex::default(),
        }
    }

    pub async fn perform(&self, order: Order) -> Result<Report, String> {
        match order.r#do.as_str() {
            "start-producer" => self.start_producer(&order).await,
            "start-simple" => self.start_simple(&order).await,
            "stop" => self.stop(&order.name).await,
            "send" => {
                let producer = self.producers.find(&order.name)?;
                let receipt = producer.send(builder(&order.message)?.build().map_err(text)?).await.map_err(text)?;
                Ok(sent(receipt.message_id()))
            }
            "send-half" => self.send_half(order).await,
            "end" => self.end(&order).await,
            "receive" => self.receive(&order).await,
            "ack" => {
                let (consumer, message) = (self.consumers.find(&order.name)?, self.received.find(&order.receipt)?);
                consumer.0.ack(&*message).await.map_err(text)?;
                Ok(Report::default())
            }
            unknown => Err(format!("unknown order {unknown}")),
        }
    }

    pub async fn stop_all(&self) {
        for name in self.producers.names().into_iter().chain(self.consumers.names()) {
            // All is over; what a goodbye comes to does not matter.
            let _ = self.stop(&name).await;
        }
    }

    fn client(&self) -> ClientOption {
        let mut option = ClientOption::default();
        option.set_access_url(&self.endpoint);
        option
    }

    async fn start_producer(&self, order: &Order) -> Result<Report, String> {
        let mut option = ProducerOption::default();
        option.set_topics(order.topics.clone());
        let mut producer = if order.checks {
            let (events, name) = (Arc::clone(&self.events), order.name.clone());
            Producer::new_transaction_producer(
                option,
                self.client(),
                Box::new(move |_, view| match events.ask(&name, said(&view)).as_str() {
                    "commit" => TransactionResolution::COMMIT,
                    "rollback" => TransactionResolution::ROLLBACK,
                    _ => TransactionResolution::UNKNOWN,
                }),
            )
        } else {
            Producer::new(option, self.client())
        }
        .map_err(text)?;
        producer.start().await.map_err(text)?;
        self.producers.keep(&order.name, producer);
        Ok(Report::default())
    }

    async fn start_simple(&self, order: &Order) -> Result<Report, String> {
        let [subscription] = order.subscriptions.as_slice() else {
            return Err("this client receives from one topic at a time".into());
        };
        let mut option = SimpleConsumerOption::default();
        option.set_consumer_group(&order.group);
        option.set_topics(vec![subscription.topic.clone()]);
        let mut client = self.client();
        client.set_long_polling_timeout(Duration::from_millis(order.await_ms));
        let mut consumer = SimpleConsumer::new(option, client).map_err(text)?;
        consumer.start().await.map_err(text)?;
        self.consumers.keep(&order.name, (consumer, subscription.clone()));
        Ok(Report::default())
    }

    async fn stop(&self, name: &str) -> Result<Report, String> {
        if let Some(producer) = self.producers.take(name).and_then(Arc::into_inner) {
            producer.shutdown().await.map_err(text)?;
        }
        if let Some((consumer, _)) = self.consumers.take(name).and_then(Arc::into_inner) {
            consumer.shutdown().await.map_err(text)?;
        }
        Ok(Report::default())
    }

    /// Transactions have a type without a name: a task keeps each until it is to end.
    async fn send_half(&self, order: Order) -> Result<Report, String> {
        let producer = self.producers.find(&order.name)?;
        let (end, ended) = oneshot::channel::<End>();
        self.ends.lock().expect("no panic while locked").insert(order.transaction.clone(), end);
        let (tell, told) = oneshot::channel();
        tokio::spawn(async move {
            let message = match builder(&order.message).and_then(|builder| builder.enable_transaction().build().map_err(text)) {
                Ok(message) => message,
                Err(error) => return drop(tell.send(Err(error))),
            };
            match producer.send_transaction_message(message).await {
                Err(error) => drop(tell.send(Err(text(error)))),
                Ok(transaction) => {
                    let _ = tell.send(Ok(transaction.message_id().to_string()));
                    if let Ok(End { commit, done }) = ended.await {
                        let result = if commit { transaction.commit().await } else { transaction.rollback().await };
                        let _ = done.send(result.map_err(text));
                    }
                }
            }
        });
        Ok(sent(&told.await.map_err(|error| error.to_string())??))
    }

    async fn end(&self, order: &Order) -> Result<Report, String> {
        let end = self.ends.lock().expect("no panic while locked").remove(&order.transaction);
        let (done, result) = oneshot::channel();
        let end = end.ok_or_else(|| format!("there is no open {}", order.transaction))?;
        let _ = end.send(End { commit: order.outcome == "commit", done });
        result.await.map_err(|error| error.to_string())??;
        Ok(Report::default())
    }

    async fn receive(&self, order: &Order) -> Result<Report, String> {
        let consumer = self.consumers.find(&order.name)?;
        let (client, subscription) = &*consumer;
        let kind = if subscription.sql { FilterType::Sql } else { FilterType::Tag };
        let filter = FilterExpression::new(kind, &subscription.expression);
        let invisible = Duration::from_millis(order.invisible_ms);
        let views = client.receive_with(&subscription.topic, &filter, order.max, invisible).await.map_err(text)?;
        let mut messages = Vec::new();
        for view in views {
            let receipt = {
                let mut receipts = self.receipts.lock().expect("no panic while locked");
                *receipts += 1;
                receipts.to_string()
            };
            messages.push(Message { receipt: receipt.clone(), ..said(&view) });
            self.received.keep(&receipt, view);
        }
        Ok(Report { messages, ..Report::default() })
    }
}

fn sent(id: &str) -> Report {
    Report { sent: Some(Sent { id: id.into() }), ..Report::default() }
}

fn text(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}

fn builder(said: &Message) -> Result<MessageBuilder, String> {
    let body = BASE64_STANDARD.decode(&said.body).map_err(text)?;
    let mut builder = MessageBuilder::builder()
        .set_topic(&said.topic)
        .set_body(body)
        .set_keys(said.keys.clone())
        .set_properties(said.properties.clone());
    if !said.tag.is_empty() {
        builder = builder.set_tag(&said.tag);
    }
    if !said.group.is_empty() {
        builder = builder.set_message_group(&said.group);
    }
    if said.deliver_at_ms != 0 {
        builder = builder.set_delivery_timestamp(said.deliver_at_ms.div_euclid(1000));
    }
    Ok(builder)
}

fn said(view: &MessageView) -> Message {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is right");
    Message {
        topic: view.topic().into(),
        body: BASE64_STANDARD.encode(view.body()),
        tag: view.tag().unwrap_or_default().into(),
        keys: view.keys().to_vec(),
        properties: view.properties().clone(),
        group: view.message_group().unwrap_or_default().into(),
        deliver_at_ms: view.delivery_timestamp().unwrap_or_default() * 1000,
        id: view.message_id().into(),
        attempt: view.delivery_attempt(),
        born_ms: view.born_timestamp() * 1000,
        at_ms: now.as_millis() as i64,
        receipt: String::new(),
    }
}
