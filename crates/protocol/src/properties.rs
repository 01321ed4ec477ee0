//! Message properties: `name 0x01 value 0x02` repeated, UTF-8.
//!
//! Source: `common/.../message/MessageDecoder.java` and `MessageConst.java`. The last separator may be missing
//! (Java 4.9 leaves it out); an item without 0x01 is ignored, as Java does.

use crate::scan;

/// Index keys, separated by blanks.
pub const KEYS: &str = "KEYS";
/// The one tag of the message.
pub const TAGS: &str = "TAGS";
/// Whether the reply waits for disk and replicas (`true` or `false`).
pub const WAIT: &str = "WAIT";
/// Delay level, from 1.
pub const DELAY: &str = "DELAY";
/// Topic of the first delivery of a retried message.
pub const RETRY_TOPIC: &str = "RETRY_TOPIC";
/// Topic to which a delayed or half message belongs.
pub const REAL_TOPIC: &str = "REAL_TOPIC";
/// Queue to which a delayed or half message belongs.
pub const REAL_QID: &str = "REAL_QID";
/// `true` marks a half message.
pub const TRAN_MSG: &str = "TRAN_MSG";
/// Producer group that is asked about a half message.
pub const PGROUP: &str = "PGROUP";
/// Id that the client gave; what users call message id.
pub const UNIQ_KEY: &str = "UNIQ_KEY";
/// Offset message id of the first delivery of a retried message.
pub const ORIGIN_MESSAGE_ID: &str = "ORIGIN_MESSAGE_ID";
/// Name of the cluster that stored the message.
pub const CLUSTER: &str = "CLUSTER";
/// Region of the broker.
pub const MSG_REGION: &str = "MSG_REGION";
/// Whether consumers send traces for the message.
pub const TRACE_ON: &str = "TRACE_ON";
/// Handle of a popped message; never stored when a producer sends it.
pub const POP_CK: &str = "POP_CK";
/// Id of the transaction: the unique key.
pub const TRANSACTION_ID: &str = "__transactionId__";
/// How often the producer was asked about a half message.
pub const TRANSACTION_CHECK_TIMES: &str = "TRANSACTION_CHECK_TIMES";
/// Seconds for which a half message is not asked about.
pub const CHECK_IMMUNITY_TIME_IN_SECONDS: &str = "CHECK_IMMUNITY_TIME_IN_SECONDS";
/// Times a consumer handed the message back, when the client itself sends the retry.
pub const RECONSUME_TIME: &str = "RECONSUME_TIME";
/// Times a consumer may hand the message back, when the client itself sends the retry.
pub const MAX_RECONSUME_TIMES: &str = "MAX_RECONSUME_TIMES";
/// Delay in seconds.
pub const TIMER_DELAY_SEC: &str = "TIMER_DELAY_SEC";
/// Delay in milliseconds.
pub const TIMER_DELAY_MS: &str = "TIMER_DELAY_MS";
/// Group of messages whose order is kept.
pub const SHARDING_KEY: &str = "__SHARDINGKEY";
/// Priority of the message, from 0.
pub const PRIORITY: &str = "_SYS_MSG_PRIORITY_";
/// Lite topic of the message.
pub const LITE_TOPIC: &str = "__LITE_TOPIC";
/// Due time in milliseconds since 1970, as the client asked.
pub const TIMER_DELIVER_MS: &str = "TIMER_DELIVER_MS";
/// Due time in milliseconds since 1970 of a waiting record, set by the broker.
pub const TIMER_OUT_MS: &str = "TIMER_OUT_MS";
/// Client id of whoever waits for a reply.
pub const REPLY_TO_CLIENT: &str = "REPLY_TO_CLIENT";
/// When a reply was pushed to whoever waits for it, in milliseconds since 1970, set by the broker.
pub const PUSH_REPLY_TIME: &str = "PUSH_REPLY_TIME";

const NAME_END: u8 = 1;
const ITEM_END: u8 = 2;

/// Properties in stored form, read item by item. Items that are not UTF-8 are passed over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Properties<'a> {
    bytes: &'a [u8],
}

impl<'a> Properties<'a> {
    /// Wraps a property block; any bytes are fine.
    pub fn new(bytes: &'a [u8]) -> Properties<'a> {
        Properties { bytes }
    }

    /// Name and value of each item, in stored order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        items(self.bytes).filter_map(|item| {
            let end = scan::position(item, 0, NAME_END)?;
            Some((std::str::from_utf8(&item[..end]).ok()?, std::str::from_utf8(&item[end + 1..]).ok()?))
        })
    }

    /// Value of the last item of that name, which is the one Java keeps.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        let [found] = self.get_many([name]);
        found
    }

    /// Values of the last items of several names, found in one pass.
    pub fn get_many<const N: usize>(&self, names: [&str; N]) -> [Option<&'a str>; N] {
        let mut found: [Option<&[u8]>; N] = [None; N];
        for item in items(self.bytes) {
            for (name, found) in names.iter().zip(&mut found) {
                if item.get(name.len()) == Some(&NAME_END) && item.starts_with(name.as_bytes()) {
                    *found = Some(&item[name.len() + 1..]);
                }
            }
        }
        found.map(|value| value.and_then(|value| std::str::from_utf8(value).ok()))
    }
}

/// The items between separators; the last may be empty.
fn items(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let bytes = rest?;
        let end = scan::position(bytes, 0, ITEM_END);
        rest = end.map(|end| &bytes[end + 1..]);
        Some(&bytes[..end.unwrap_or(bytes.len())])
    })
}

/// Appends one item. Separators inside name or value would change the meaning of what follows, so they are
/// replaced by a blank.
pub fn push(out: &mut Vec<u8>, name: &str, value: &str) {
    if out.last().is_some_and(|last| *last != ITEM_END) {
        out.push(ITEM_END);
    }
    let clean = |byte: u8| if byte == NAME_END || byte == ITEM_END { b' ' } else { byte };
    out.extend(name.bytes().map(clean));
    out.push(NAME_END);
    out.extend(value.bytes().map(clean));
    out.push(ITEM_END);
}

/// Appends every item of `bytes` whose name `keep` accepts. Returns through `out` in stored form with a closing
/// separator.
pub fn push_kept(out: &mut Vec<u8>, bytes: &[u8], keep: impl Fn(&[u8]) -> bool) {
    if out.last().is_some_and(|last| *last != ITEM_END) {
        out.push(ITEM_END);
    }
    for item in items(bytes) {
        let Some(end) = scan::position(item, 0, NAME_END) else { continue };
        if keep(&item[..end]) {
            out.extend_from_slice(item);
            out.push(ITEM_END);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_separator_may_be_missing() {
        for text in ["TAGS\x01a\x02KEYS\x01k1 k2", "TAGS\x01a\x02KEYS\x01k1 k2\x02"] {
            let read = Properties::new(text.as_bytes());
            assert_eq!((read.get(TAGS), read.get(KEYS), read.get("KEY")), (Some("a"), Some("k1 k2"), None));
            assert_eq!(read.iter().count(), 2);
        }
    }

    #[test]
    fn items_without_a_name_end_are_passed_over() {
        let read = Properties::new(b"junk\x02k\x01\x02\x02a\x01b");
        assert_eq!(read.iter().collect::<Vec<_>>(), [("k", ""), ("a", "b")]);
    }

    #[test]
    fn kept_items_get_their_separator() {
        let mut out = b"x\x01y".to_vec();
        push_kept(&mut out, b"WAIT\x01true\x02TAGS\x01a", |name| name != WAIT.as_bytes());
        assert_eq!(out, b"x\x01y\x02TAGS\x01a\x02");
    }

    proptest! {
        #[test]
        fn what_was_pushed_is_read_back(items in proptest::collection::btree_map("[a-z]{1,8}", "[^\u{1}\u{2}]{0,12}", 0..8)) {
            let mut out = Vec::new();
            for (name, value) in &items {
                push(&mut out, name, value);
            }
            let read = Properties::new(&out);
            for (name, value) in &items {
                prop_assert_eq!(read.get(name), Some(value.as_str()));
            }
            prop_assert_eq!(read.iter().count(), items.len());
        }
    }
}
