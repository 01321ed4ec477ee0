//! Looking messages up: VIEW_MESSAGE_BY_ID (33) and QUERY_MESSAGE (12).

use log::LogPosition;
use protocol::codes::ResponseCode;
use protocol::record;
use protocol::requests::{QueryMessage, QueryMessageResult, ViewMessage};
use protocol::typed::TypedHeader;
use protocol::writer::FrameWriter;

use super::call::{Call, Refusal};

/// Most messages in one answer, and how many a query by unique id looks for.
const MESSAGES_MAX: i32 = 64;
const UNIQUE_MESSAGES: i32 = 32;

pub fn view_message(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: ViewMessage = call.read()?;
    let mut bytes = Vec::new();
    let read =
        u64::try_from(header.offset).ok().map(|position| call.broker.log.read(LogPosition(position), &mut bytes));
    match read {
        Some(Ok(())) => {
            call.answer_body(&bytes);
            Ok(())
        }
        _ => {
            let remark = format!("can not find message by the offset, {}", header.offset);
            Err(Refusal::new(ResponseCode::SYSTEM_ERROR, remark))
        }
    }
}

pub fn query_message(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: QueryMessage<'_> = call.read()?;
    let max = if header.unique_key_query { UNIQUE_MESSAGES } else { header.max_num.clamp(0, MESSAGES_MAX) };
    let mut bytes = Vec::new();
    let count = call
        .broker
        .log
        .query_key(&header.topic, &header.key, header.begin_timestamp, header.end_timestamp, max as usize, &mut bytes)
        .map_err(|error| Refusal::new(ResponseCode::SYSTEM_ERROR, error))?;
    let newest = record::records(&bytes).last();
    let result = QueryMessageResult {
        index_last_update_timestamp: newest.map_or(0, |record| record.store_timestamp_ms()),
        index_last_update_phyoffset: newest.map_or(0, |record| record.position() as i64),
    };
    if count == 0 {
        let remark = Some("can not find message, maybe time range not correct");
        let frame =
            FrameWriter::response(call.out, call.codec, ResponseCode::QUERY_NOT_FOUND, call.header.opaque, remark);
        result.encode(frame).finish(b"");
        return Ok(());
    }
    result.encode(call.answer(ResponseCode::SUCCESS)).finish(&bytes);
    Ok(())
}
