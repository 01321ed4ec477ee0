//! Places in addresses and forms: what a plan is confirmed by, and the way back from a reset.

use crate::cluster::place::{Place, joined, split};
use crate::links::push_query;

/// Longest text of places, in bytes; the address of a page has room for it.
pub const BYTES_MAX: usize = 16 * 1024;

/// The places of a text, or what is wrong with it.
pub fn parse(text: &str) -> Result<Vec<Place>, String> {
    if BYTES_MAX < text.len() {
        return Err(format!("`places` is {} bytes long; the limit is {BYTES_MAX}", text.len()));
    }
    split(text).map_err(|part| format!("`{part}` in `places` is not broker.queue.offset, such as broker-a.0.1200"))
}

/// Where a group can be moved back in a topic, on the page of its reset; `None` if it stood nowhere, or in more queues
/// than an address can name.
pub fn way_back(page: String, topic: &str, before: &[Place]) -> Option<String> {
    let places = joined(before);
    let mut way = page;
    push_query(&mut way, &[("topic", topic), ("to", "places"), ("places", &places)]);
    (!places.is_empty() && places.len() <= BYTES_MAX).then_some(way)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_too_long_or_no_places_are_refused_with_the_reason() {
        assert!(parse("b.1.2~x").unwrap_err().contains("`x` in `places` is not broker.queue.offset"));
        assert!(parse(&"b.1.2~".repeat(4_000)).unwrap_err().contains("the limit is 16384"));
    }
}
