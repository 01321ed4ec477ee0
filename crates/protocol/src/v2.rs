//! Messages of the gRPC protocol, package `apache.rocketmq.v2`, generated from `proto/`.
//!
//! Enums travel as numbers and unknown ones are no error; fields that are not known are passed over.

#![allow(missing_docs, reason = "the names of the protocol are the documentation")]
#![allow(clippy::all, reason = "generated")]

include!(concat!(env!("OUT_DIR"), "/apache.rocketmq.v2.rs"));

/// The protocol as an encoded `google.protobuf.FileDescriptorSet`, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The service that messaging clients call.
pub const SERVICE: &str = "apache.rocketmq.v2.MessagingService";
