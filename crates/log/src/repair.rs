//! Parts of the indexes that were found damaged are made anew from the log while it goes on being used.
//!
//! Whoever meets damage gets an error and notes it; this is done by the thread that maintains the files, since it may have
//! to read much of the log.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::Range;

use protocol::record::Record;

use crate::batch::{NOT_DUE, push_key_hashes};
use crate::disk::read_exact_at;
use crate::due_index::hour_of;
use crate::key_index::{self, Collection};
use crate::log::{Log, deleted_queue, due_ms};
use crate::maintenance::Maintenance;
use crate::position::QueueNumber;
use crate::queue_index::files::Source;
use crate::queue_index::item::{self, BLOCK_ENTRIES, HEADER_BYTES, Header, IndexEntry};
use crate::recovery::{Trust, scan};

impl Log {
    /// Makes anew what was found damaged. What fails is tried again with the next call.
    pub(crate) fn repair(&self, maintenance: &mut Maintenance) -> io::Result<()> {
        if self.damaged().is_repaired() {
            return Ok(());
        }
        let (blocks, hours, runs) = {
            let damaged = self.damaged();
            (damaged.blocks.clone(), damaged.hours.clone(), damaged.runs.clone())
        };
        for (queue, base) in blocks {
            self.repair_block(QueueNumber(queue), base)?;
            self.damaged().blocks.remove(&(queue, base));
        }
        for hour in hours {
            self.repair_hour(hour)?;
            self.damaged().hours.remove(&hour);
        }
        for run in runs {
            self.repair_run(run, maintenance)?;
            self.damaged().runs.remove(&run);
        }
        Ok(())
    }

    /// Shows the whole records of a part of the log to `visit`.
    fn scan_part(&self, part: Range<u64>, visit: &mut dyn FnMut(&Record<'_>)) -> io::Result<()> {
        let part = part.start.max(self.log.start())..part.end.min(self.published().end);
        let segments: Vec<_> = self.log.segments().into_iter().filter(|segment| segment.base < part.end).collect();
        scan(&segments, part.start, Trust::written(part.end), &mut |record| {
            if part.contains(&record.position()) {
                visit(record);
            }
        })?;
        Ok(())
    }

    /// Writes a block of the queue index again where it lies. An entry whose record is damaged too becomes one that leads
    /// to no record.
    fn repair_block(&self, queue: QueueNumber, base: u64) -> io::Result<()> {
        let (name, block, source) = {
            let published = self.published();
            let (Some(name), Some(block)) = (published.queues.name(queue), published.queues.block(queue, base)) else {
                return Ok(());
            };
            let source = match published.queues.source(block.0) {
                Some(Source::File(file, at)) => (file, at),
                // What waits in memory is not damaged; and the file may have left with old messages.
                _ => return Ok(()),
            };
            (name, block, source)
        };
        let (_, before, next_base) = block;
        let (topic, queue_id) = name;
        // Unless its neighbours are damaged too, they say where in the log its messages lie.
        let mut chunk = Vec::new();
        let mut neighbour = |offset: u64| self.load_chunk(queue, offset, &mut chunk).ok()?.map(|_| chunk.clone());
        let before_position = match before {
            Some(before) => neighbour(before).and_then(|entries| Some(entries.last()?.position)),
            None => Some(0),
        };
        let to = neighbour(next_base).and_then(|entries| Some(entries.first()?.position)).unwrap_or(u64::MAX);
        let mut found: BTreeMap<u64, IndexEntry> = BTreeMap::new();
        self.scan_part(before_position.unwrap_or(0)..to, &mut |record| {
            if deleted_queue(record) == Some((topic.as_str(), queue_id)) {
                // What lies before was another queue of that name.
                found.clear();
            }
            let is_of_block = record.topic() == topic
                && record.queue_id() as u32 == queue_id
                && (base..next_base).contains(&record.queue_offset());
            if is_of_block {
                let entry = IndexEntry {
                    position: record.position(),
                    store_timestamp_ms: record.store_timestamp_ms(),
                    size: record.size(),
                    tag_hash: record.tag_hash(),
                };
                found.insert(record.queue_offset(), entry);
            }
        })?;
        let what = format!("the index of queue {queue_id} of topic `{topic}` from offset {base} on");
        let (file, at) = source;
        let mut header = [0; HEADER_BYTES];
        read_exact_at(&*file, &mut header, at)?;
        let stated = Header::parse(&header).filter(|header| header.offset == base).map_or(0, |header| header.count);
        match entries_of(&found, base, stated, before_position) {
            Some(entries) => {
                let mut bytes = Vec::new();
                item::push_block(queue.0, base, &entries, &mut bytes);
                file.write_at(&bytes, at)?;
                self.published_mut().queues.files().changed(file);
            }
            None => self.published_mut().queues.drop_block(queue, base),
        }
        self.damaged().made_anew(what);
        Ok(())
    }

    /// Reads from the log which messages of an hour wait, and lets the file of the hour be replaced.
    fn repair_hour(&self, hour: i64) -> io::Result<()> {
        let mut pending: HashMap<u64, (i64, u32)> = HashMap::new();
        // What is appended meanwhile waits in the index, which takes it in after this.
        self.scan_part(0..u64::MAX, &mut |record| {
            let due_ms = due_ms(record);
            if due_ms != NOT_DUE && hour_of(due_ms) == hour {
                pending.insert(record.position(), (due_ms, record.size()));
            }
            pending.remove(&(record.prepared_transaction_offset().max(0) as u64));
        })?;
        self.published_mut().due.made_anew(hour, pending);
        self.damaged().made_anew(format!("the index of messages due in hour {hour} since 1970"));
        Ok(())
    }

    /// Writes a run of the key index again, as another one.
    fn repair_run(&self, number: u64, maintenance: &mut Maintenance) -> io::Result<()> {
        let reach = self.published().keys.reach_of(number);
        let Some((first, last, next_number)) = reach else { return Ok(()) };
        let (mut records, mut scratch) = (Vec::new(), Vec::new());
        self.scan_part(first..last + 1, &mut |record| {
            let mut hashes = Vec::new();
            push_key_hashes(record.topic(), record.properties_bytes(), &mut scratch, &mut hashes);
            if !hashes.is_empty() {
                records.push((hashes, record.position(), record.store_timestamp_ms()));
            }
        })?;
        let anew = match Collection::of(&records) {
            Some(collection) => Some(key_index::write_run(&*self.disk, next_number, &collection)?),
            None => None,
        };
        maintenance.doomed.push(self.published_mut().keys.replace(number, anew));
        self.damaged().made_anew(format!("run {number} of the key index"));
        Ok(())
    }
}

/// The entries of a block that begins at `base` and had `stated` of them, or more where that is not known. Those that
/// were not found lead to no record; they stand where the entry before them does, the first ones at `before`. `None` if
/// not one record was found.
fn entries_of(
    found: &BTreeMap<u64, IndexEntry>,
    base: u64,
    stated: u16,
    before: Option<u64>,
) -> Option<Vec<IndexEntry>> {
    let ((_, first), (last, _)) = (found.first_key_value()?, found.last_key_value()?);
    let count = (last - base + 1).max(u64::from(stated)).min(BLOCK_ENTRIES as u64);
    let mut near = IndexEntry { position: before.unwrap_or(first.position), ..*first };
    let entry = |offset: u64| match found.get(&offset) {
        Some(entry) => {
            near = *entry;
            *entry
        }
        None => IndexEntry { size: 0, tag_hash: 0, ..near },
    };
    Some((base..base + count).map(entry).collect())
}
