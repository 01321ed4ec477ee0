//! The same measurements over gRPC: connections of HTTP/2 with calls on them.

pub mod calls;
pub mod idling;
pub mod receiving;
pub mod sending;

use protocol::v2;

/// A resource of that name.
fn resource(name: &str) -> v2::Resource {
    v2::Resource { resource_namespace: String::new(), name: name.to_owned() }
}

/// The code of a status, and its text if it is no good one.
fn refused(status: Option<&v2::Status>) -> Option<(String, String)> {
    let Some(status) = status else { return Some(("answer without status".to_owned(), String::new())) };
    match status.code() {
        v2::Code::Ok => None,
        code => Some((format!("{} ({})", code.as_str_name(), status.code), status.message.clone())),
    }
}
