//! The body of a batch send: several messages for one topic and one queue.
//!
//! Drawn in `docs/formats/frame.md`. Magic number and checksum of an item are zero in what clients send and are not
//! looked at. Topic, queue, system flag and born time stand in the request header and apply to all.
//!
//! Source: `MessageDecoder.encodeMessages` and `decodeMessages` in `common/.../message/MessageDecoder.java`.

use crate::properties::Properties;
use crate::record::PROPERTIES_BYTES_MAX;

/// Bytes of an item without body and properties.
const ITEM_BYTES_MIN: usize = 22;

/// One message of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchItem<'a> {
    /// The user's own flag.
    pub flag: i32,
    /// Body, possibly compressed.
    pub body: &'a [u8],
    /// Properties in stored form.
    pub properties: &'a [u8],
}

impl<'a> BatchItem<'a> {
    /// Properties, one by one.
    pub fn properties(&self) -> Properties<'a> {
        Properties::new(self.properties)
    }
}

/// Why bytes are no batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The batch has no item.
    #[error("batch is empty")]
    Empty,
    /// The item would end after the batch.
    #[error("item {item} needs {needed} bytes; {found} are there")]
    Short {
        /// Number of the item, from 0.
        item: usize,
        /// Bytes that the item needs.
        needed: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// A length inside an item is negative or does not fit the item's size.
    #[error("length {value} of the {field} does not fit item {item}")]
    BadLength {
        /// Number of the item, from 0.
        item: usize,
        /// Which length.
        field: &'static str,
        /// What it says.
        value: i64,
    },
}

/// The items of a batch, read where they lie. After an error nothing more comes.
#[derive(Clone, Debug)]
pub struct BatchItems<'a> {
    rest: &'a [u8],
    item: usize,
}

/// Reads a batch item by item.
pub fn items(bytes: &[u8]) -> BatchItems<'_> {
    BatchItems { rest: bytes, item: 0 }
}

/// Counts the items of a batch, reading every one: a batch is stored as a whole or not at all.
pub fn check(bytes: &[u8]) -> Result<usize, BatchError> {
    let mut count = 0;
    for item in items(bytes) {
        item?;
        count += 1;
    }
    if count == 0 { Err(BatchError::Empty) } else { Ok(count) }
}

impl<'a> Iterator for BatchItems<'a> {
    type Item = Result<BatchItem<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = self.take();
        if read.is_err() {
            self.rest = &[];
        }
        self.item += 1;
        Some(read)
    }
}

impl<'a> BatchItems<'a> {
    fn take(&mut self) -> Result<BatchItem<'a>, BatchError> {
        let item = self.item;
        if self.rest.len() < ITEM_BYTES_MIN {
            return Err(BatchError::Short { item, needed: ITEM_BYTES_MIN, found: self.rest.len() });
        }
        let total = i32_at(self.rest, 0);
        let size = usize::try_from(total).ok().filter(|size| *size >= ITEM_BYTES_MIN).ok_or(BatchError::BadLength {
            item,
            field: "item",
            value: total.into(),
        })?;
        let Some((bytes, rest)) = self.rest.split_at_checked(size) else {
            return Err(BatchError::Short { item, needed: size, found: self.rest.len() });
        };
        let body_length = i32_at(bytes, 16);
        let properties_at = usize::try_from(body_length)
            .ok()
            .filter(|length| *length <= size - ITEM_BYTES_MIN)
            .map(|length| 20 + length)
            .ok_or(BatchError::BadLength { item, field: "body", value: body_length.into() })?;
        let (body, after) = bytes[20..].split_at(properties_at - 20);
        let properties_length = i16::from_be_bytes([after[0], after[1]]);
        let properties = &after[2..];
        if usize::try_from(properties_length) != Ok(properties.len()) {
            return Err(BatchError::BadLength { item, field: "properties", value: properties_length.into() });
        }
        self.rest = rest;
        Ok(BatchItem { flag: i32_at(bytes, 12), body, properties })
    }
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    let mut raw = [0; 4];
    raw.copy_from_slice(&bytes[at..at + 4]);
    i32::from_be_bytes(raw)
}

/// Why a message cannot be an item of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ItemTooLong {
    /// The properties are longer than a signed 16-bit number can say.
    #[error("properties are {size} bytes; the limit is {limit}")]
    Properties {
        /// Bytes of the properties.
        size: usize,
        /// The limit that was passed.
        limit: usize,
    },
    /// The item is longer than a signed 32-bit number can say.
    #[error("item is {size} bytes; the limit is {limit}")]
    Item {
        /// Bytes of the item.
        size: usize,
        /// The limit that was passed.
        limit: usize,
    },
}

/// Appends one item to a batch.
pub fn push(out: &mut Vec<u8>, item: BatchItem<'_>) -> Result<(), ItemTooLong> {
    let BatchItem { flag, body, properties } = item;
    if properties.len() > PROPERTIES_BYTES_MAX {
        return Err(ItemTooLong::Properties { size: properties.len(), limit: PROPERTIES_BYTES_MAX });
    }
    let size = ITEM_BYTES_MIN + body.len() + properties.len();
    let total = i32::try_from(size).map_err(|_| ItemTooLong::Item { size, limit: i32::MAX as usize })?;
    out.reserve(size);
    out.extend_from_slice(&total.to_be_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&flag.to_be_bytes());
    out.extend_from_slice(&(body.len() as i32).to_be_bytes());
    out.extend_from_slice(body);
    out.extend_from_slice(&(properties.len() as i16).to_be_bytes());
    out.extend_from_slice(properties);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn batch(items: &[(i32, &[u8], &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (flag, body, properties) in items {
            push(&mut out, BatchItem { flag: *flag, body, properties }).unwrap();
        }
        out
    }

    proptest! {
        #[test]
        fn what_was_pushed_is_read_back(
            list in proptest::collection::vec(
                (any::<i32>(), proptest::collection::vec(any::<u8>(), 0..40), "[a-z\u{1}\u{2}]{0,20}"), 1..6),
        ) {
            let list: Vec<_> = list.iter().map(|(flag, body, text)| (*flag, body.as_slice(), text.as_bytes())).collect();
            let bytes = batch(&list);
            prop_assert_eq!(check(&bytes), Ok(list.len()));
            let read: Vec<_> = items(&bytes).map(|item| item.map(|item| (item.flag, item.body, item.properties)).unwrap()).collect();
            prop_assert_eq!(read, list);
        }

        #[test]
        fn no_bytes_make_the_reader_panic_or_run_on(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(items(&bytes).count() <= bytes.len() / ITEM_BYTES_MIN + 1);
        }

        #[test]
        fn no_flipped_byte_makes_the_reader_panic(at in any::<prop::sample::Index>(), value in any::<u8>()) {
            let mut bytes = batch(&[(1, b"one", b"a\x01b\x02"), (2, b"two", b"")]);
            let at = at.index(bytes.len());
            bytes[at] = value;
            let _ = check(&bytes);
        }
    }

    #[test]
    fn a_batch_cut_anywhere_but_between_items_is_refused() {
        let bytes = batch(&[(1, b"one", b"a\x01b\x02"), (2, b"two", b"")]);
        let between = batch(&[(1, b"one", b"a\x01b\x02")]).len();
        assert_eq!(check(b""), Err(BatchError::Empty));
        for cut in 1..bytes.len() {
            let read = check(&bytes[..cut]);
            assert_eq!(read.is_ok(), cut == between, "cut after byte {cut}: {read:?}");
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_named() {
        let whole = batch(&[(0, b"body", b"p")]);
        let with = |at: usize, bytes: &[u8]| {
            let mut changed = whole.clone();
            changed[at..at + bytes.len()].copy_from_slice(bytes);
            check(&changed).unwrap_err()
        };
        assert_eq!(with(0, &[0, 0, 0, 21]), BatchError::BadLength { item: 0, field: "item", value: 21 });
        assert_eq!(with(0, &[0xFF; 4]), BatchError::BadLength { item: 0, field: "item", value: -1 });
        assert_eq!(with(0, &[0, 0, 0, 99]), BatchError::Short { item: 0, needed: 99, found: 27 });
        assert_eq!(with(16, &[0, 0, 0, 6]), BatchError::BadLength { item: 0, field: "body", value: 6 });
        assert_eq!(with(24, &[0, 2]), BatchError::BadLength { item: 0, field: "properties", value: 2 });
        assert_eq!(with(24, &[0xFF, 0xFF]), BatchError::BadLength { item: 0, field: "properties", value: -1 });
    }

    #[test]
    fn properties_beyond_their_length_field_are_refused() {
        let properties = vec![b'x'; PROPERTIES_BYTES_MAX + 1];
        let result = push(&mut Vec::new(), BatchItem { flag: 0, body: b"", properties: &properties });
        assert_eq!(result, Err(ItemTooLong::Properties { size: 32_768, limit: 32_767 }));
    }
}
