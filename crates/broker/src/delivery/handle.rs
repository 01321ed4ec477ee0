//! Receipt handles of the gRPC door: opaque to clients, and all that is needed to settle a delivery after a restart.
//!
//! A handle names the delivery and not its end, so that every handle that a delivery got stays good for as long as it
//! is out. What is not ours, or of another group or topic, is told by checksum and names.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::queue::Delivery;

/// Version of the handle.
const VERSION: u8 = 1;
/// Bytes before the checksum: version, queue, number of the queue in the log, offset, time.
const BODY_BYTES: usize = 1 + 4 + 4 + 8 + 8;

/// What a handle says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle {
    /// Queue of the topic.
    pub queue_id: i32,
    /// The log's number for the queue: another one once the topic was deleted and created again.
    pub queue_number: u32,
    /// The delivery.
    pub delivery: Delivery,
}

impl Handle {
    /// The handle as text: 39 URL-safe characters.
    pub fn encode(&self, group: &str, topic: &str) -> String {
        let mut bytes = Vec::with_capacity(BODY_BYTES + 4);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.queue_id.to_be_bytes());
        bytes.extend_from_slice(&self.queue_number.to_be_bytes());
        bytes.extend_from_slice(&self.delivery.offset.to_be_bytes());
        bytes.extend_from_slice(&self.delivery.delivered_ms.to_be_bytes());
        let checksum = checksum(&bytes, group, topic);
        bytes.extend_from_slice(&checksum.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a handle that was made for this group and topic; `None` if it was not.
    pub fn decode(text: &str, group: &str, topic: &str) -> Option<Handle> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (body, sum) = bytes.split_last_chunk::<4>()?;
        if body.len() != BODY_BYTES || body[0] != VERSION || u32::from_be_bytes(*sum) != checksum(body, group, topic) {
            return None;
        }
        let (queue_id, rest) = body[1..].split_first_chunk::<4>()?;
        let (queue_number, rest) = rest.split_first_chunk::<4>()?;
        let (offset, delivered_ms) = rest.split_first_chunk::<8>()?;
        Some(Handle {
            queue_id: i32::from_be_bytes(*queue_id),
            queue_number: u32::from_be_bytes(*queue_number),
            delivery: Delivery {
                offset: u64::from_be_bytes(*offset),
                delivered_ms: i64::from_be_bytes(delivered_ms.try_into().ok()?),
            },
        })
    }
}

fn checksum(body: &[u8], group: &str, topic: &str) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(body);
    hasher.update(group.as_bytes());
    // No name contains it, so that what goes to which name cannot be moved.
    hasher.update(&[0]);
    hasher.update(topic.as_bytes());
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDLE: Handle =
        Handle { queue_id: 3, queue_number: 77, delivery: Delivery { offset: 12, delivered_ms: 1_700_000_000_000 } };

    #[test]
    fn a_handle_comes_back_for_its_group_and_topic_and_no_other() {
        let text = HANDLE.encode("g", "t");
        assert_eq!(text.len(), 39);
        assert_eq!(Handle::decode(&text, "g", "t"), Some(HANDLE));
        assert_eq!(Handle::decode(&text, "other", "t"), None);
        assert_eq!(Handle::decode(&text, "g", "other"), None);
    }

    #[test]
    fn what_is_no_handle_is_refused() {
        let text = HANDLE.encode("g", "t");
        let upstream = "0 1700000000000 60000 3 0 broker-a 1 17";
        for wrong in ["", "A", upstream, &text[1..], &format!("{text}A"), "überall", &"A".repeat(100_000)] {
            assert_eq!(Handle::decode(wrong, "g", "t"), None, "{wrong:.40}");
        }
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(Handle::decode(&String::from_utf8(changed).unwrap(), "g", "t"), None, "{at}");
        }
    }
}
