//! EndTransaction, and the question about a transaction that nobody ended.

use bytes::Bytes;
use protocol::record::Record;
use protocol::v2::telemetry_command::Command;
use protocol::v2::{
    self, Code, RecoverOrphanedTransactionCommand, TelemetryCommand, TransactionResolution, TransactionSource,
};

use super::answer::Answer;
use super::call::Call;
use super::code::Refused;
use super::message::message_of;
use super::{turn, validate};
use crate::decide::{DecisionById, decide_by_id};
use crate::sessions::Session;

/// A producer says what becomes of a transaction. Its producer group is that of the topic.
pub async fn end_transaction(
    call: Call,
    request: v2::EndTransactionRequest,
) -> Result<v2::EndTransactionResponse, Refused> {
    let topic = validate::topic(&request.topic)?;
    if request.transaction_id.trim().is_empty() {
        return Err(Refused::new(Code::InvalidTransactionId, "transaction id cannot be blank"));
    }
    let commit = match request.resolution() {
        TransactionResolution::Commit => true,
        TransactionResolution::Rollback => false,
        // It does not know yet, and will be asked.
        TransactionResolution::Unspecified => return Ok(v2::EndTransactionResponse::done()),
    };
    let decision = DecisionById {
        group: topic,
        id: &request.transaction_id,
        commit,
        from_check: request.source() == TransactionSource::SourceServerCheck,
    };
    let broker = call.broker();
    let (decided, waiting) = turn::gather(broker, |appends| decide_by_id(broker, &decision, appends));
    decided?;
    if let Some(waiting) = waiting {
        turn::stored(waiting).await?;
    }
    Ok(v2::EndTransactionResponse::done())
}

/// Asks a producer what becomes of a transaction; `record` is the half message as producers are shown it. `false` if
/// it cannot be asked.
pub fn recover_transaction(session: &Session, record: &[u8], transaction_id: &str) -> bool {
    let Ok(record) = Record::parse(record) else { return false };
    let message = message_of(&record, Bytes::copy_from_slice(record.body()));
    let transaction_id = transaction_id.to_owned();
    let command = RecoverOrphanedTransactionCommand { message: Some(message), transaction_id };
    session
        .command(TelemetryCommand { status: None, command: Some(Command::RecoverOrphanedTransactionCommand(command)) })
}
