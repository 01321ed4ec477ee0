//! Clients that are connected.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use client::{Admin, clock};
use protocol::bodies::consumer_connection::ConsumerConnection;
use protocol::bodies::heartbeat::{ConsumeFromWhere, ConsumeType, MessageModel, SubscriptionData};
use protocol::bodies::queue_map::QueueMap;
use protocol::bodies::running_info::ConsumerRunningInfo;
use protocol::versions;
use serde::Serialize;
use serde_json::{Value, json};

use super::print::{Out, or_null};
use super::progress::{brokers_of_group, members};
use super::targets::{BrokerWith, brokers_with};
use super::times;
use crate::exit::NotFound;

/// Members of a group on a named broker, or on any that knows it.
async fn members_of(admin: &Admin, group: &str, broker: Option<&str>) -> anyhow::Result<(String, ConsumerConnection)> {
    let brokers = match broker {
        Some(address) => vec![BrokerWith { broker: String::new(), address: address.to_owned() }],
        None => brokers_of_group(admin, group, None).await?,
    };
    let found = members(admin, &brokers, group).await?;
    Ok(found.ok_or_else(|| NotFound(format!("nobody of group `{group}` is connected")))?)
}

/// Options of `consumerConnection`.
#[derive(Debug, Args)]
pub struct ConsumerConnections {
    /// Group
    #[arg(short, long = "consumerGroup")]
    pub group: String,
    /// Address of a broker
    #[arg(short, long = "brokerAddr")]
    pub broker: Option<String>,
}

impl ConsumerConnections {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let (_, members) = members_of(admin, self.group.trim(), self.broker.as_deref()).await?;
        let row = |cells: [&str; 4]| format!("{:<36} {:<22} {:<10} {}", cells[0], cells[1], cells[2], cells[3]);
        out.line(row(["#ClientId", "#ClientAddr", "#Language", "#Version"]));
        for member in &members.connection_set {
            let version = versions::name(member.version);
            let text = row([&member.client_id, &member.client_addr, &member.language, &version]);
            let value = json!({
                "client": member.client_id, "address": member.client_addr, "language": member.language,
                "version": version,
            });
            out.row(value, text);
        }
        out.line("");
        out.line("Below is subscription:");
        out.line(format!("{:<20} {}", "#Topic", "#SubExpression"));
        for subscription in members.subscription_table.values() {
            out.line(format!("{:<20} {}", subscription.topic, subscription.sub_string));
        }
        let consume_type = members.consume_type.map(ConsumeType::name);
        let message_model = members.message_model.map(MessageModel::name);
        let from_where = members.consume_from_where.map(ConsumeFromWhere::name);
        out.line("");
        out.line(format!("ConsumeType: {}", or_null(consume_type)));
        out.line(format!("MessageModel: {}", or_null(message_model)));
        out.line(format!("ConsumeFromWhere: {}", or_null(from_where)));
        out.fact("subscriptions", &members.subscription_table);
        out.fact("consume_type", consume_type);
        out.fact("message_model", message_model);
        out.fact("consume_from_where", from_where);
        Ok(())
    }
}

/// Options of `producerConnection`.
#[derive(Debug, Args)]
pub struct ProducerConnections {
    /// Group
    #[arg(short, long = "producerGroup")]
    group: String,
    /// A topic by which the brokers are found
    #[arg(short, long)]
    topic: String,
}

impl ProducerConnections {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let brokers = brokers_with(admin, self.topic.trim()).await?;
        let mut failure = None;
        let mut number = 0;
        for broker in &brokers {
            let members = match admin.producers(&broker.address, self.group.trim()).await {
                Ok(members) => members.connection_set,
                // A broker that has none of them says no; another one may have them.
                Err(error) => {
                    failure = Some(error);
                    continue;
                }
            };
            for member in members {
                number += 1;
                let version = versions::name(member.version);
                let text = format!(
                    "{number:04}  {:<32} {:<22} {:<8} {version}",
                    member.client_id, member.client_addr, member.language
                );
                let value = json!({
                    "client": member.client_id, "address": member.client_addr, "language": member.language,
                    "version": version,
                });
                out.row(value, text);
            }
        }
        match failure {
            Some(error) if number == 0 => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// Options of `producer`.
#[derive(Debug, Args)]
pub struct Producers {
    /// Address of the broker
    #[arg(short, long)]
    broker: String,
}

impl Producers {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let table = admin.producer_table(&self.broker).await?;
        for (group, producers) in &table.data {
            for producer in producers {
                let text = format!(
                    "producer group ({group}) instance : clientId={},remoteIP={}, language={}, version={}, \
                     lastUpdateTimestamp={}",
                    producer.client_id,
                    producer.remote_ip,
                    producer.language,
                    producer.version,
                    producer.last_update_timestamp
                );
                out.row(json!({ "group": group, "producer": producer }), text);
            }
        }
        Ok(())
    }
}

/// Options of `consumerStatus`.
#[derive(Debug, Args)]
pub struct ConsumerStatus {
    /// Group
    #[arg(short, long = "consumerGroup")]
    pub group: String,
    /// One member; its facts are printed, not written to a file
    #[arg(short = 'i', long = "clientId")]
    pub client_id: Option<String>,
    /// Address of a broker
    #[arg(short, long = "brokerAddr")]
    pub broker: Option<String>,
    /// With the stacks of its threads
    #[arg(short = 's', long, num_args = 0..=1, default_missing_value = "true", default_value = "false")]
    pub jstack: bool,
}

impl ConsumerStatus {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let group = self.group.trim();
        let (address, members) = members_of(admin, group, self.broker.as_deref()).await?;
        if let Some(client_id) = &self.client_id {
            let info = admin.running_info(&address, group, client_id.trim(), self.jstack).await?;
            out.text(info_text(&info));
            out.value(info_value(&info));
            return Ok(());
        }
        out.line(format!("{:<10} {:<40} {:<20} {}", "#Index", "#ClientId", "#Version", "#ConsumerRunningInfoFile"));
        let folder = PathBuf::from(clock::now_ms().to_string());
        let mut infos = Vec::new();
        for (at, member) in members.connection_set.iter().enumerate() {
            let info = match admin.running_info(&address, group, &member.client_id, self.jstack).await {
                Ok(info) => info,
                Err(error) => {
                    let _ = crate::tell(&format!("mqadmin: consumerStatus: client `{}`: {error}", member.client_id));
                    continue;
                }
            };
            let path = write_info(&folder, &member.client_id, &info)?;
            let version = versions::name(member.version);
            let text = format!("{:<10} {:<40} {version:<20} {}", at + 1, member.client_id, path.display());
            out.row(json!({ "client": member.client_id, "version": version, "file": path }), text);
            infos.push(info);
        }
        if infos.is_empty() {
            bail!("no member of group `{group}` told about itself");
        }
        verdicts(&infos, out);
        Ok(())
    }
}

/// Writes what a client told; its id names the file, and is no path.
fn write_info(folder: &Path, client_id: &str, info: &ConsumerRunningInfo) -> anyhow::Result<PathBuf> {
    let name: String =
        client_id.chars().map(|letter| if matches!(letter, '/' | '\\' | '\0') { '_' } else { letter }).collect();
    let path = folder.join(if name.starts_with('.') { format!("_{name}") } else { name });
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
    std::fs::write(&path, info_text(info)).with_context(|| format!("cannot write `{}`", path.display()))?;
    Ok(path)
}

/// Whether all members subscribe to the same, and whether each has queues.
fn verdicts(infos: &[ConsumerRunningInfo], out: &mut Out) {
    let wanted = |info: &ConsumerRunningInfo| -> Vec<(String, String)> {
        let one = |it: &SubscriptionData| (it.topic.clone(), it.sub_string.clone());
        let mut wanted: Vec<_> = info.subscription_set.iter().map(one).collect();
        wanted.sort();
        wanted
    };
    let same = infos.iter().all(|info| wanted(info) == wanted(&infos[0]));
    let verdict = if same {
        "Same subscription in the same group of consumer"
    } else {
        "WARN: Different subscription in the same group of consumer!!!"
    };
    out.line(format!("\n\n{verdict}"));
    let busy = |info: &ConsumerRunningInfo| !info.mq_table.0.is_empty() || !info.mq_pop_table.0.is_empty();
    let balanced = infos.iter().all(busy);
    out.line(format!("\n{}", if balanced { "Rebalance OK" } else { "WARN: a consumer has no queue" }));
    out.fact("same_subscription", same);
    out.fact("balanced", balanced);
}

/// Everything that a client tells, as JSON: the tables keyed by queues as lists.
fn info_value(info: &ConsumerRunningInfo) -> Value {
    fn list<S: Serialize>(table: &QueueMap<S>) -> Vec<Value> {
        table.0.iter().map(|(queue, state)| json!({ "queue": queue, "state": state })).collect()
    }
    json!({
        "properties": info.properties, "subscriptions": info.subscription_set, "queues": list(&info.mq_table),
        "pop_queues": list(&info.mq_pop_table), "rates": info.status_table, "user_info": info.user_consumer_info,
        "jstack": info.jstack,
    })
}

/// Everything that a client tells, as the official tool lays it out.
fn info_text(info: &ConsumerRunningInfo) -> String {
    let mut text = String::from("#Consumer Properties#\n");
    // Writing to a text does not fail.
    for (name, value) in &info.properties {
        let _ = writeln!(text, "{name:<40}: {value}");
    }
    text.push_str("\n\n#Consumer Subscription#\n");
    for (at, it) in info.subscription_set.iter().enumerate() {
        let (number, topic, filter) = (at + 1, &it.topic, it.class_filter_mode);
        let _ =
            writeln!(text, "{number:03} Topic: {topic:<40} ClassFilter: {filter:<8} SubExpression: {}", it.sub_string);
    }
    let mut queues = info.mq_table.0.clone();
    queues.sort_by(|(one, _), (other, _)| (&one.topic, one).cmp(&(&other.topic, other)));
    let header = |topic_width: usize, last: &str| {
        format!("{:<topic_width$}  {:<32}  {:<4}  {last:<20}\n", "#Topic", "#Broker Name", "#QID")
    };
    text.push_str(&format!("\n\n#Consumer Offset#\n{}", header(64, "#Consumer Offset")));
    for (queue, state) in &queues {
        let (topic, broker, id) = (&queue.topic, &queue.broker_name, queue.queue_id);
        let _ = writeln!(text, "{topic:<32}  {broker:<32}  {id:<4}  {:<20}", state.commit_offset);
    }
    text.push_str(&format!("\n\n#Consumer MQ Detail#\n{}", header(64, "#ProcessQueueInfo")));
    for (queue, state) in &queues {
        let (topic, broker, id) = (&queue.topic, &queue.broker_name, queue.queue_id);
        let _ = writeln!(
            text,
            "{topic:<64}  {broker:<32}  {id:<4}  ProcessQueueInfo [commitOffset={}, cachedMsgMinOffset={}, \
             cachedMsgMaxOffset={}, cachedMsgCount={}, cachedMsgSizeInMiB={}, transactionMsgMinOffset={}, \
             transactionMsgMaxOffset={}, transactionMsgCount={}, locked={}, tryUnlockTimes={}, lastLockTimestamp={}, \
             droped={}, lastPullTimestamp={}, lastConsumeTimestamp={}]",
            state.commit_offset,
            state.cached_msg_min_offset,
            state.cached_msg_max_offset,
            state.cached_msg_count,
            state.cached_msg_size_in_mib,
            state.transaction_msg_min_offset,
            state.transaction_msg_max_offset,
            state.transaction_msg_count,
            state.locked,
            state.try_unlock_times,
            times::digits(state.last_lock_timestamp),
            state.dropped,
            times::digits(state.last_pull_timestamp),
            times::digits(state.last_consume_timestamp)
        );
    }
    text.push_str(&format!("\n\n#Consumer Pop Detail#\n{}", header(32, "#ProcessQueueInfo")));
    for (queue, state) in &info.mq_pop_table.0 {
        let (topic, broker, id) = (&queue.topic, &queue.broker_name, queue.queue_id);
        let last = times::digits(state.last_pop_timestamp);
        let (wait, dropped) = (state.wait_ack_count, state.dropped);
        let _ = writeln!(
            text,
            "{topic:<32}  {broker:<32}  {id:<4}  PopProcessQueueInfo [waitAckCount={wait}, droped={dropped}, \
             lastPopTimestamp={last}]"
        );
    }
    text.push_str(&rates_text(info));
    text.push_str("\n\n#User Consume Info#\n");
    for (name, value) in &info.user_consumer_info {
        let _ = writeln!(text, "{name:<40}: {value}");
    }
    if let Some(stacks) = &info.jstack {
        let _ = write!(text, "\n\n#Consumer jstack#\n{stacks}");
    }
    text
}

fn rates_text(info: &ConsumerRunningInfo) -> String {
    let mut text = format!(
        "\n\n#Consumer RT&TPS#\n{:<64}  {:>14} {:>14} {:>14} {:>14} {:>18} {:>25}\n",
        "#Topic",
        "#Pull RT",
        "#Pull TPS",
        "#Consume RT",
        "#ConsumeOK TPS",
        "#ConsumeFailed TPS",
        "#ConsumeFailedMsgsInHour"
    );
    for (topic, status) in &info.status_table {
        let _ = writeln!(
            text,
            "{topic:<32}  {:>14.2} {:>14.2} {:>14.2} {:>14.2} {:>18.2} {:>25}",
            status.pull_rt,
            status.pull_tps,
            status.consume_rt,
            status.consume_ok_tps,
            status.consume_failed_tps,
            status.consume_failed_msgs
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use protocol::lenient_json;

    use super::*;

    #[test]
    fn queues_of_a_client_are_a_list_in_json() {
        let text =
            r#"{"mqTable":{{"brokerName":"b","queueId":1,"topic":"t"}:{"commitOffset":3}},"properties":{"a":"1"}}"#;
        let value = info_value(&lenient_json::from_slice(text.as_bytes()).unwrap());
        assert_eq!(
            (&value["queues"][0]["queue"]["queueId"], &value["queues"][0]["state"]["commitOffset"]),
            (&json!(1), &json!(3))
        );
        assert_eq!((&value["properties"]["a"], &value["pop_queues"]), (&json!("1"), &json!([])));
    }
}
