//! Questions of tools to a consumer, passed on and back: GET_CONSUMER_RUNNING_INFO (307), CONSUME_MESSAGE_DIRECTLY (309)
//! and INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223).
//!
//! Sources: `broker/.../processor/AdminBrokerProcessor.java`, `broker/.../client/net/Broker2Client.java`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use log::LogPosition;
use net::ConnectionId;
use protocol::bodies::relayed::{ConsumerStatus, ConsumerStatusTable};
use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::Codec;
use protocol::lenient_json;
use protocol::message_id::OffsetMessageId;
use protocol::record::Record;
use protocol::requests::{ConsumeDirectly, ConsumerStatusOf, RunningInfoOf};
use protocol::typed::TypedHeader;
use protocol::writer::{Expect, FrameWriter};

use super::call::{Call, LateAnswer, Refusal};
use crate::client_requests::{ClientAnswer, NoAnswer};
use crate::grpc;
use crate::membership::{Client, Door};
use crate::topics::Topic;

/// How long a consumer may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// How long each consumer may take to say how far it has come.
const STATUS_TIME: Duration = Duration::from_secs(5);
/// First version of a client that can be asked (3.0.7).
const VERSION_THAT_ANSWERS: i32 = 62;

pub fn running_info(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: RunningInfoOf<'_> = call.read()?;
    let (member, client) = find(call, &header.consumer_group, &header.client_id)?;
    if client.door == Door::Grpc {
        let answer = passed_back(call.later());
        grpc::running_info(call.broker, member, &header.consumer_group, header.jstack_enable, answer);
        return Ok(());
    }
    pass_on(call, member, &[], b"");
    Ok(())
}

pub fn consume_directly(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: ConsumeDirectly<'_> = call.read()?;
    let (member, client) = find(call, &header.consumer_group, &header.client_id)?;
    let no_message =
        || Refusal::new(ResponseCode::SYSTEM_ERROR, format!("there is no message of id `{}`", header.msg_id));
    let position = OffsetMessageId::parse(&header.msg_id).ok_or_else(no_message)?.position;
    let mut bytes = Vec::new();
    call.broker.log.read(LogPosition(position), &mut bytes).map_err(|_| no_message())?;
    if client.door == Door::Grpc {
        let record = Record::parse(&bytes).map_err(|_| no_message())?;
        let message = grpc::message_of(&record, Bytes::copy_from_slice(record.body()));
        grpc::consume_directly(call.broker, member, message, passed_back(call.later()));
        return Ok(());
    }
    let broker = call.broker;
    let name = Record::parse(&bytes).map(|record| record.topic().to_owned()).map_err(|_| no_message())?;
    let topic_flag = broker.topics.get(&name).map_or(0, |topic: Arc<Topic>| topic.settings.sys_flag);
    let group_flag = broker.groups.get(&header.consumer_group).map_or(0, |group| group.sys_flag);
    let added = [
        ("brokerName", broker.config.broker_name.clone()),
        ("topicSysFlag", topic_flag.to_string()),
        ("groupSysFlag", group_flag.to_string()),
    ];
    pass_on(call, member, &added, &bytes);
    Ok(())
}

/// The consumer of that group and client id, if it is there and can be asked.
fn find(call: &Call<'_>, group: &str, client_id: &str) -> Result<(ConnectionId, Client), Refusal> {
    let membership = call.broker.membership();
    let (member, client) = membership.consumer(group, client_id).ok_or_else(|| {
        Refusal::new(ResponseCode::SYSTEM_ERROR, format!("The Consumer <{group}> <{client_id}> not online"))
    })?;
    check_version(client)?;
    Ok((member, client.clone()))
}

fn check_version(client: &Client) -> Result<(), Refusal> {
    if client.door == Door::Remoting && client.version < VERSION_THAT_ANSWERS {
        let (id, version) = (&client.id, client.version);
        let remark =
            format!("the consumer <{id}> has version {version}; from {VERSION_THAT_ANSWERS} on it can be asked");
        return Err(Refusal::new(ResponseCode::SYSTEM_ERROR, remark));
    }
    Ok(())
}

/// Asks a remoting client the same, with these fields added, and gives its answer back as it is.
fn pass_on(call: &Call<'_>, member: ConnectionId, added: &[(&str, String)], body: &[u8]) {
    let then = passed_back(call.later());
    let Some(connection) = call.broker.connections.get(member) else { return then(Err(NoAnswer::Gone)) };
    let write = |out: &mut Vec<u8>, opaque: i32| {
        let code = RequestCode(call.header.code);
        let mut frame = FrameWriter::request(out, Codec::Json, code, opaque, Expect::Answer);
        for (name, value) in call.header.fields.iter() {
            let name = name.resolve();
            if added.iter().all(|(added, _)| *added != name) {
                frame = frame.text(&name, &value.resolve());
            }
        }
        added.iter().fold(frame, |frame, (name, value)| frame.text(name, value)).finish(body);
    };
    call.broker.ask_connection(&connection, ANSWER_TIME, write, then);
}

/// Gives a client's answer to whoever asked for it.
fn passed_back(asker: LateAnswer) -> impl FnOnce(Result<ClientAnswer, NoAnswer>) + Send + 'static {
    move |answer| match answer {
        Ok(answer) => asker.give(answer.code, answer.remark.as_deref(), |frame| frame.finish(&answer.body)),
        Err(error) => {
            let code = match error {
                NoAnswer::NotInTime(_) => ResponseCode::CONSUME_MSG_TIMEOUT,
                NoAnswer::Gone | NoAnswer::TooMany => ResponseCode::SYSTEM_ERROR,
            };
            asker.give(code, Some(&error.to_string()), |frame| frame.finish(b""));
        }
    }
}

pub fn consumer_status(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: ConsumerStatusOf<'_> = call.read()?;
    let only = header.client_addr.as_deref().filter(|id| !id.is_empty());
    let members: Vec<(ConnectionId, Client)> = {
        let membership = call.broker.membership();
        let group = membership.consumer_group(&header.group);
        // gRPC clients keep no offsets.
        let members = group.into_iter().flat_map(|group| group.members());
        let wanted =
            members.filter(|(_, client)| client.door == Door::Remoting && only.is_none_or(|id| id == client.id));
        wanted.map(|(id, client)| (id, client.clone())).collect()
    };
    if members.is_empty() {
        let remark = format!("No Any Consumer online in the consumer group: [{}]", header.group);
        return Err(Refusal::new(ResponseCode::CONSUMER_NOT_ONLINE, remark));
    }
    members.iter().try_for_each(|(_, client)| check_version(client))?;
    let gathering = Arc::new(Gathering { asker: call.later(), table: Mutex::default() });
    for (member, client) in members {
        let Some(connection) = call.broker.connections.get(member) else { continue };
        let question = ConsumerStatusOf { client_addr: None, ..header.clone() };
        let code = RequestCode::GET_CONSUMER_STATUS_FROM_CLIENT;
        let write = |out: &mut Vec<u8>, opaque: i32| {
            question.encode(FrameWriter::request(out, Codec::Json, code, opaque, Expect::Answer)).finish(b"");
        };
        let gathering = gathering.clone();
        call.broker.ask_connection(&connection, STATUS_TIME, write, move |answer| gathering.add(client.id, answer));
    }
    Ok(())
}

/// What several clients say; the answer is given when the last of them has answered or will not.
struct Gathering {
    asker: LateAnswer,
    table: Mutex<ConsumerStatusTable>,
}

impl Gathering {
    fn add(&self, client_id: String, answer: Result<ClientAnswer, NoAnswer>) {
        let Ok(answer) = answer else { return };
        if answer.code == ResponseCode::SUCCESS
            && let Ok(status) = lenient_json::from_slice::<ConsumerStatus>(&answer.body)
        {
            let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
            table.consumer_table.insert(client_id, status.message_queue_table);
        }
    }
}

impl Drop for Gathering {
    fn drop(&mut self) {
        let table = self.table.get_mut().unwrap_or_else(PoisonError::into_inner);
        let body = lenient_json::to_vec(table);
        self.asker.give(ResponseCode::SUCCESS, None, |frame| frame.finish(&body));
    }
}
