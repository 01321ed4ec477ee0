//! Messages that say what they are, so that whoever finds one can tell whether it is right.
//!
//! The body follows from the id alone: its head spells the id out, the rest is a pattern that depends on it.

use crate::chance::mix;

/// What a message goes through. Each kind has a topic of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Stored at once.
    Plain,
    /// Delivered after a delay.
    Late,
    /// Delivered when its transaction is committed.
    Paid,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 3] = [Kind::Plain, Kind::Late, Kind::Paid];

    /// Topic of the kind.
    pub fn topic(self) -> &'static str {
        match self {
            Kind::Plain => "plain",
            Kind::Late => "late",
            Kind::Paid => "paid",
        }
    }

    /// Queues of the topic.
    pub fn queues(self) -> i32 {
        match self {
            Kind::Plain => 4,
            Kind::Late | Kind::Paid => 2,
        }
    }

    /// Every queue of every kind.
    pub fn all_queues() -> impl Iterator<Item = (Kind, i32)> {
        Kind::ALL.into_iter().flat_map(|kind| (0..kind.queues()).map(move |queue| (kind, queue)))
    }
}

/// Identity of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// What it goes through.
    pub kind: Kind,
    /// Life of the broker in which it was sent.
    pub life: u32,
    /// Connection that sent it.
    pub lane: u32,
    /// Its number among those of the connection.
    pub number: u32,
    /// Queue that it was sent to.
    pub queue: i32,
    /// When it may be delivered, in milliseconds since 1970; 0 without a delay.
    pub not_before_ms: i64,
}

impl Id {
    fn head(&self) -> String {
        let Id { kind, life, lane, number, queue, not_before_ms } = self;
        format!("{}.{life}.{lane}.{number}.{queue}.{not_before_ms};", kind.topic())
    }

    /// The body of the message.
    pub fn body(&self) -> Vec<u8> {
        let head = self.head();
        let mut bits = mix(u64::from(self.life) << 48 ^ u64::from(self.lane) << 40 ^ u64::from(self.number));
        // Mostly short; now and then one that fills pages.
        let filler = if bits.is_multiple_of(97) { bits >> 8 & 0x3FFF } else { bits >> 8 & 0xFF };
        let mut body = head.into_bytes();
        let end = body.len() + filler as usize;
        while body.len() < end {
            bits = mix(bits.wrapping_add(1));
            body.extend(bits.to_be_bytes().map(|byte| b'a' + byte % 26));
        }
        body.truncate(end);
        body
    }

    /// The id of the message that has this body; `None` when none has.
    pub fn of_body(body: &[u8]) -> Option<Id> {
        let head = std::str::from_utf8(body.split(|byte| *byte == b';').next()?).ok()?;
        let mut parts = head.split('.');
        let topic = parts.next()?;
        let id = Id {
            kind: Kind::ALL.into_iter().find(|kind| kind.topic() == topic)?,
            life: parts.next()?.parse().ok()?,
            lane: parts.next()?.parse().ok()?,
            number: parts.next()?.parse().ok()?,
            queue: parts.next()?.parse().ok()?,
            not_before_ms: parts.next()?.parse().ok()?,
        };
        (id.body() == body).then_some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_tells_its_id_and_shows_any_change() {
        let id = Id { kind: Kind::Late, life: 3, lane: 4, number: 5, queue: 1, not_before_ms: 1_700_000_000_000 };
        let body = id.body();
        assert_eq!(Id::of_body(&body), Some(id));
        for at in 0..body.len() {
            let mut changed = body.clone();
            changed[at] ^= 1;
            assert_ne!(Id::of_body(&changed), Some(id), "{at}");
        }
        assert_eq!(Id::of_body(&body[..body.len() - 1]), None);
        assert_eq!(Id::of_body(b""), None);
    }
}
