//! The door for gRPC clients, on the wire: what official clients rely on, and what they would never do.

mod bad_input;
pub mod client;
mod commands;
mod offsets;
mod receiving;
mod routes;
mod sending;
mod settling;
mod telemetry;
mod tls;
mod transactions;

use protocol::v2::{Code, Message, Resource, Status, SystemProperties};

/// A resource of that name.
pub fn resource(name: &str) -> Option<Resource> {
    Some(Resource { resource_namespace: String::new(), name: name.to_owned() })
}

/// A message as clients send it.
pub fn message(topic: &str, id: &str, body: &[u8]) -> Message {
    let system = SystemProperties { message_id: id.to_owned(), body_encoding: 1, ..SystemProperties::default() };
    Message {
        topic: resource(topic),
        system_properties: Some(system),
        body: body.to_vec().into(),
        ..Message::default()
    }
}

/// The code of a status that every answer carries, with a text.
#[track_caller]
pub fn code(status: &Option<Status>) -> Code {
    let status = status.as_ref().expect("an answer without status");
    assert!(!status.message.is_empty(), "{status:?}");
    Code::try_from(status.code).unwrap()
}
