#![allow(missing_docs, reason = "shim")]
use log::*;
pub trait LogShim {
    fn queues(&self) -> Vec<(String, u32)> {
        vec![]
    }
    fn earliest_store_time(&self) -> Option<i64> {
        None
    }
}
impl LogShim for Log {}
