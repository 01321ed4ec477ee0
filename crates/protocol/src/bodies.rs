//! JSON bodies of requests and answers, one file per subject.
//!
//! A type is declared once by `bodies!` with the wire name of each field. Fields are declared, and so written, in
//! the order of their names, as fastjson does; absent ones are left out. Reading is as loose as fastjson's: see
//! [`loose`]. Use [`crate::lenient_json::from_slice`] and [`crate::lenient_json::to_vec`].
//!
//! Sources: `remoting/.../protocol/{body,heartbeat,subscription,route,admin}/**`, `common/.../TopicConfig.java`.

pub mod assignment;
pub mod auth;
pub mod check_client;
pub mod cluster;
pub mod cold_data;
pub mod consume_queue;
pub mod consumer_connection;
pub mod consumer_list;
pub mod data_version;
mod declare;
pub mod heartbeat;
pub mod kv;
pub mod lite;
pub mod loose;
pub mod message_queue;
pub mod queue_lock;
pub mod queue_map;
pub mod registration;
pub mod relayed;
pub mod replication;
pub mod route;
pub mod running_info;
pub mod stats;
pub mod subscription_group;
pub mod topic_config;
