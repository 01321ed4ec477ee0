//! Finding messages by key.

use protocol::properties;
use protocol::record::Record;

use crate::commit_log::ReadError;
use crate::key_index::key_hash;
use crate::log::Log;

impl Log {
    /// Appends to `out` the records of `topic` that carry `key` as unique key or among their keys, and were stored from
    /// `begin_ms` to `end_ms`: the newest `max` of them, oldest first. Returns how many they are.
    pub fn query_key(
        &self,
        topic: &str,
        key: &str,
        begin_ms: i64,
        end_ms: i64,
        max: usize,
        out: &mut Vec<u8>,
    ) -> Result<usize, ReadError> {
        let hash = key_hash(topic, key, &mut Vec::new());
        let (in_memory, runs) = {
            let published = self.published();
            (published.keys.find_in_memory(hash, begin_ms, end_ms), published.keys.runs_in(begin_ms, end_ms))
        };
        let mut record = Vec::new();
        // Sizes of the records found, newest first; they are appended in the other order at the end.
        let mut found: Vec<Vec<u8>> = Vec::new();
        let mut look = |positions: Vec<u64>, found: &mut Vec<Vec<u8>>| -> Result<(), ReadError> {
            for position in positions {
                if max <= found.len() {
                    break;
                }
                record.clear();
                // A hash may be that of another key, and the record may have left the log.
                let is_there = self.log.read_record(position, &mut record)?;
                if is_there && Record::parse(&record).is_ok_and(|read| matches(&read, topic, key, begin_ms, end_ms)) {
                    found.push(record.clone());
                }
            }
            Ok(())
        };
        look(in_memory, &mut found)?;
        for run in runs {
            if max <= found.len() {
                break;
            }
            match run.find(&*self.disk, hash) {
                Ok(Some(positions)) => look(positions, &mut found)?,
                Ok(None) => {
                    self.damaged().runs.insert(run.number());
                    return Err(ReadError::DamagedKeys { run: run.number() });
                }
                // Retention removed the run in the meantime.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        for record in found.iter().rev() {
            out.extend_from_slice(record);
        }
        Ok(found.len())
    }
}

fn matches(record: &Record<'_>, topic: &str, key: &str, begin_ms: i64, end_ms: i64) -> bool {
    let properties = record.properties();
    let has_key = || {
        properties.get(properties::UNIQ_KEY) == Some(key)
            || properties.get(properties::KEYS).is_some_and(|keys| keys.split(' ').any(|word| word == key))
    };
    record.topic() == topic && (begin_ms..=end_ms).contains(&record.store_timestamp_ms()) && has_key()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use protocol::record::NewRecord;
    use protocol::sys_flag::SysFlag;

    use super::*;
    use crate::{Batch, LogConfig, MemoryDisk};

    #[test]
    fn a_hash_that_two_keys_share_brings_up_only_the_right_one() {
        let config = LogConfig { segment_bytes: 4096, ..LogConfig::default() };
        let (log, _) = Log::open(Arc::new(MemoryDisk::new()), config, &mut |_| {}).unwrap();
        let mut batch = Batch::new();
        for (topic, properties) in
            [("a", "KEYS\u{1}one\u{2}"), ("a", "KEYS\u{1}two\u{2}"), ("b", "UNIQ_KEY\u{1}one\u{2}")]
        {
            let host = SocketAddr::from(([127, 0, 0, 1], 1));
            let record = NewRecord {
                topic,
                queue_id: 0,
                flag: 0,
                sys_flag: SysFlag(0),
                born_timestamp_ms: 0,
                born_host: host,
                store_host: host,
                reconsume_times: 0,
                prepared_transaction_offset: 0,
                body: b"x",
                properties: properties.as_bytes(),
            };
            batch.push(record, log.queue(topic, 0).unwrap(), 0, None).unwrap();
        }
        log.append(&mut batch, 5).unwrap();
        let hash = key_hash("a", "one", &mut Vec::new());
        for placed in batch.placed() {
            log.published_mut().keys.push(&[hash], placed.position.0, 5);
        }
        log.published_mut().keys.push(&[hash], 77, 5);
        let mut out = Vec::new();
        assert_eq!(log.query_key("a", "one", 0, 10, 10, &mut out).unwrap(), 1);
        let record = Record::parse(&out).unwrap();
        assert_eq!((record.topic(), record.position()), ("a", batch.placed()[0].position.0));
    }
}
