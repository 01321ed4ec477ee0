//! A place in a queue, and several as one text: `broker-a.0.17~broker-a.1.4`.

use std::fmt;

/// Where a queue is, and a place in it. Its text is `broker.queue.offset`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Broker name.
    pub broker: String,
    /// Number of the queue.
    pub queue_id: i32,
    /// Offset in the queue.
    pub offset: i64,
}

impl Place {
    /// Reads what a place displays; names of brokers may have dots.
    pub fn parse(text: &str) -> Option<Place> {
        let (rest, offset) = text.rsplit_once('.')?;
        let (broker, queue_id) = rest.rsplit_once('.')?;
        let place = Place { broker: broker.to_owned(), queue_id: queue_id.parse().ok()?, offset: offset.parse().ok()? };
        (!place.broker.is_empty() && 0 <= place.queue_id && 0 <= place.offset).then_some(place)
    }

    /// Whether it is in that queue.
    pub fn is_in(&self, broker: &str, queue_id: i32) -> bool {
        (self.broker.as_str(), self.queue_id) == (broker, queue_id)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.broker, self.queue_id, self.offset)
    }
}

/// Places as one text.
pub fn joined(places: &[Place]) -> String {
    places.iter().map(Place::to_string).collect::<Vec<_>>().join("~")
}

/// The places of such a text; an error is the part that is none.
pub fn split(text: &str) -> Result<Vec<Place>, &str> {
    text.split('~').map(|part| Place::parse(part.trim()).ok_or(part)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        let place = |broker: &str, queue_id, offset| Place { broker: broker.into(), queue_id, offset };
        let places = [place("broker.a", 0, 12), place("b", 7, 0)];
        assert_eq!(joined(&places), "broker.a.0.12~b.7.0");
        assert_eq!(split(&joined(&places)), Ok(places.to_vec()));
    }

    #[test]
    fn what_is_no_place_is_named() {
        for text in ["", "b", "b.1", ".1.2", "b.1.-2", "b.-1.2", "b.x.2", "b.1.99999999999999999999"] {
            assert_eq!(split(text), Err(text));
        }
        assert_eq!(split("b.1.2~"), Err(""));
    }
}
