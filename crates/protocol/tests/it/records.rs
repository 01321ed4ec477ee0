//! Stored messages in the bodies of recorded frames.

use protocol::record::{self, NewRecord, Record};

use crate::recording::{Recorded, Way, frames_of};

/// Every body that consists of stored messages: pulls, queries, views, pops, checks of half messages, direct
/// consumption.
fn bodies() -> impl Iterator<Item = &'static Recorded> {
    let answers = frames_of(Way::Answer, &[11, 361, 12, 33, 200_050]).filter(|answer| answer.code() == 0);
    answers.chain(frames_of(Way::Request, &[39, 309])).filter(|frame| !frame.body().is_empty())
}

fn records_of(frame: &Recorded) -> Vec<Record<'_>> {
    let mut records = Vec::new();
    let mut rest = frame.body();
    while !rest.is_empty() {
        let record = Record::parse(rest).unwrap_or_else(|error| panic!("{}: {error}", frame.place));
        rest = &rest[record.bytes().len()..];
        records.push(record);
    }
    records
}

#[test]
fn every_body_is_read_to_its_end() {
    let mut seen = 0;
    for frame in bodies() {
        let records = records_of(frame);
        assert_eq!(record::records(frame.body()).count(), records.len(), "{}", frame.place);
        for record in &records {
            record.verify_body().unwrap_or_else(|error| panic!("{}: {error}", frame.place));
            assert!(!record.topic().is_empty() && record.properties().iter().count() > 0, "{}", frame.place);
        }
        seen += records.len();
    }
    assert_eq!(seen, 275);
}

#[test]
fn every_record_is_written_again_byte_for_byte() {
    for frame in bodies() {
        for record in records_of(frame) {
            let mut again = Vec::new();
            let new = NewRecord {
                topic: record.topic(),
                queue_id: record.queue_id(),
                flag: record.flag(),
                sys_flag: record.sys_flag(),
                born_timestamp_ms: record.born_timestamp_ms(),
                born_host: record.born_host(),
                store_host: record.store_host(),
                reconsume_times: record.reconsume_times(),
                prepared_transaction_offset: record.prepared_transaction_offset(),
                body: record.body(),
                properties: record.properties_bytes(),
            };
            new.encode(&mut again).unwrap();
            record::stamp(&mut again, record.queue_offset(), record.position(), record.store_timestamp_ms());
            assert_eq!(again, record.bytes(), "{}", frame.place);
        }
    }
}
