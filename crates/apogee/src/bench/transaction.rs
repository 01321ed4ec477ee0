//! The second half of a transaction: what the answer to the half message leads to.

use std::borrow::Cow;

use protocol::codes::{Language, RequestCode};
use protocol::frame::{Codec, Frame};
use protocol::header::{FieldSpans, Header};
use protocol::message_id::OffsetMessageId;
use protocol::requests::{EndTransaction, SendMessageResult};
use protocol::typed::TypedHeader;
use protocol::writer::{FrameWriter, OWN_VERSION};

const COMMIT: i32 = 8;
const ROLLBACK: i32 = 12;

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the message is to be delivered.
    pub commit: bool,
    /// Number of the request.
    pub opaque: i32,
}

impl Decision {
    /// Appends END_TRANSACTION (37) for the half message that `answer` is about. Clients send it one-way; it is
    /// answered as well, and here it has to be, since a transaction that nobody decided is not done.
    pub fn push(self, out: &mut Vec<u8>, codec: Codec, group: &str, answer: &Frame<'_>) -> Result<(), String> {
        let mut spans = FieldSpans::default();
        let answered = Codec::from_number(answer.codec_number).ok_or("unknown header format")?;
        let header = Header::decode(answered, answer.header, &mut spans).map_err(|error| error.to_string())?;
        let place = SendMessageResult::decode(&header.fields).map_err(|error| error.to_string())?;
        let id = OffsetMessageId::parse(&place.msg_id).ok_or_else(|| format!("message id `{}`", place.msg_id))?;
        let end = EndTransaction {
            producer_group: Cow::Borrowed(group),
            tran_state_table_offset: place.queue_offset,
            commit_log_offset: id.position as i64,
            commit_or_rollback: if self.commit { COMMIT } else { ROLLBACK },
            from_transaction_check: false,
            msg_id: place.transaction_id.clone(),
            transaction_id: place.transaction_id,
        };
        let code = RequestCode::END_TRANSACTION.0;
        end.encode(FrameWriter::begin(out, codec, code, Language::JAVA, OWN_VERSION, self.opaque, 0, None)).finish(b"");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use protocol::codes::ResponseCode;
    use protocol::frame;

    use super::*;

    fn answer(message_id: &str) -> Vec<u8> {
        let mut out = Vec::new();
        FrameWriter::response(&mut out, Codec::Json, ResponseCode::SUCCESS, 9, None)
            .text("msgId", message_id)
            .integer("queueId", 0)
            .integer("queueOffset", 12)
            .text("transactionId", "U")
            .finish(b"");
        out
    }

    #[test]
    fn the_decision_names_the_place_of_the_half_message() {
        let answer = answer("0A00000100002A9F0000000000000064");
        for (codec, commit, expected) in [(Codec::Json, true, COMMIT), (Codec::Binary, false, ROLLBACK)] {
            let mut out = Vec::new();
            let decision = Decision { commit, opaque: 9 };
            decision.push(&mut out, codec, "g", &frame::split(&answer).unwrap().unwrap()).unwrap();
            let frame = frame::split(&out).unwrap().unwrap();
            let mut spans = FieldSpans::default();
            let header = Header::decode(codec, frame.header, &mut spans).unwrap();
            let end = EndTransaction::decode(&header.fields).unwrap();
            assert_eq!((header.code, header.opaque, header.is_oneway()), (37, 9, false));
            assert_eq!(
                (end.tran_state_table_offset, end.commit_log_offset, end.commit_or_rollback),
                (12, 100, expected)
            );
            assert_eq!((&*end.producer_group, end.msg_id.as_deref()), ("g", Some("U")));
        }
    }

    #[test]
    fn an_answer_without_a_place_is_told() {
        let answer = answer("nowhere");
        let decision = Decision { commit: true, opaque: 9 };
        let error = decision.push(&mut Vec::new(), Codec::Json, "g", &frame::split(&answer).unwrap().unwrap());
        assert_eq!(error.unwrap_err(), "message id `nowhere`");
    }
}
