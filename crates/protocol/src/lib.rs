//! Bytes of the RocketMQ remoting protocol and what they mean.
//!
//! This crate does no I/O and knows no runtime and no clock. It reads and writes frames, headers, bodies, stored
//! messages and ids; `docs/formats/` draws them.

pub mod batch;
pub mod bodies;
pub mod codes;
pub mod frame;
pub mod header;
pub mod json_text;
pub mod lenient_json;
pub mod message_id;
pub mod properties;
pub mod record;
pub mod requests;
pub mod sys_flag;
pub mod typed;
pub mod writer;
