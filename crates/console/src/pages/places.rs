//! Places in queues as one text, `broker.queue.offset` joined by `~`: what a plan is confirmed by, and the way back from
//! a reset.

use crate::cluster::changes::Place;
use crate::links::push_query;

/// Longest text of places, in bytes; the address of a page has room for it.
pub const BYTES_MAX: usize = 16 * 1024;

/// The text of places: broker name, queue and offset of each.
pub fn text<'p>(places: impl Iterator<Item = (&'p str, i32, i64)>) -> String {
    let places: Vec<String> =
        places.map(|(broker, queue_id, offset)| format!("{broker}.{queue_id}.{offset}")).collect();
    places.join("~")
}

/// The places of a text, or what is wrong with it.
pub fn parse(text: &str) -> Result<Vec<Place>, String> {
    if BYTES_MAX < text.len() {
        return Err(format!("`places` is {} bytes long; the limit is {BYTES_MAX}", text.len()));
    }
    text.trim().split('~').map(|place| parse_one(place.trim())).collect()
}

fn parse_one(text: &str) -> Result<Place, String> {
    // Names of brokers may have dots.
    let mut parts = text.rsplitn(3, '.');
    let offset = parts.next().and_then(|offset| offset.parse().ok()).filter(|offset: &i64| 0 <= *offset);
    let queue_id = parts.next().and_then(|queue_id| queue_id.parse().ok()).filter(|queue_id: &i32| 0 <= *queue_id);
    match (parts.next(), queue_id, offset) {
        (Some(broker), Some(queue_id), Some(offset)) if !broker.is_empty() => {
            Ok(Place { broker: broker.to_owned(), queue_id, offset })
        }
        _ => Err(format!("`{text}` in `places` is not broker.queue.offset, such as broker-a.0.1200")),
    }
}

/// Where a group can be moved back in a topic, on the page of its reset; `None` if it stood nowhere, or in more queues
/// than an address can name.
pub fn way_back<'p>(page: String, topic: &str, before: impl Iterator<Item = (&'p str, i32, i64)>) -> Option<String> {
    let places = text(before);
    let mut way = page;
    push_query(&mut way, &[("topic", topic), ("to", "places"), ("places", &places)]);
    (!places.is_empty() && places.len() <= BYTES_MAX).then_some(way)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        let written = text([("broker.a", 0, 12), ("b", 7, 0)].into_iter());
        assert_eq!(written, "broker.a.0.12~b.7.0");
        let read = parse(&written).unwrap();
        assert_eq!(
            read.iter().map(|place| (place.broker.as_str(), place.queue_id, place.offset)).collect::<Vec<_>>(),
            [("broker.a", 0, 12), ("b", 7, 0)]
        );
    }

    #[test]
    fn what_is_no_place_is_named() {
        for text in ["", "b", "b.1", ".1.2", "b.1.-2", "b.-1.2", "b.1.2~", "b.x.2", "b.1.99999999999999999999"] {
            assert!(parse(text).unwrap_err().contains("broker.queue.offset"), "{text}");
        }
        assert!(parse(&"b.1.2~".repeat(4_000)).unwrap_err().contains("the limit is 16384"));
    }
}
