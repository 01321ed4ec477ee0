//! Messages by where they lie, asked of a broker that the caller knows: the address inside an offset id may mean
//! another machine to us.

use protocol::codes::RequestCode;
use protocol::record::records;
use protocol::requests::ViewMessage;

use super::{Admin, StoredMessage};
use crate::request::RequestError;

impl Admin {
    /// The message at a position of a broker's commit log (33); a position without a message is refused.
    pub async fn message_at_position(
        &self,
        broker: &str,
        address: &str,
        position: u64,
    ) -> Result<Option<StoredMessage>, RequestError> {
        let header = ViewMessage { offset: i64::try_from(position).unwrap_or(i64::MAX) };
        let answer = self.ask(address, RequestCode::VIEW_MESSAGE_BY_ID, &header, b"").await?;
        Ok(records(&answer.body).next().map(|record| StoredMessage::new(broker, &record)))
    }
}
