//! Bytes of the RocketMQ remoting protocol and what they mean.
//!
//! This crate does no I/O and knows no runtime and no clock. It reads and writes frames, headers, bodies, stored
//! messages and ids; `docs/formats/` draws them. The messages of the gRPC protocol are generated from `proto/`.

pub mod batch;
pub mod bodies;
pub mod codes;
pub mod frame;
pub mod header;
pub mod java_properties;
pub mod json_text;
pub mod lenient_json;
pub mod message_id;
pub mod pop;
pub mod properties;
pub mod recall_handle;
pub mod record;
pub mod requests;
mod scan;
pub mod sys_flag;
pub mod typed;
pub mod v2;
pub mod versions;
pub mod writer;
