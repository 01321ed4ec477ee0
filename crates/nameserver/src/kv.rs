//! Settings that the nameserver keeps for others: namespace, key, value.
//!
//! The table is small and changes only by an operator's hand, so each change writes the whole of it to disk before it
//! is answered and before anybody reads it ([`writer`]).

pub mod file;
pub mod writer;

use std::collections::BTreeMap;

use protocol::bodies::kv::{KvFile, KvTable as KvBody, ORDER_TOPIC_CONFIG};
use protocol::lenient_json::{self, BodyError};

/// Longest namespace and key, in bytes. A key may be the name of a retry topic.
pub const NAME_BYTES_MAX: usize = 255;
/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// Most bytes that all namespaces, keys and values may have together.
pub const TABLE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// All namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KvTable {
    /// A namespace stays when its last key goes: brokers then learn that no topic is ordered any more.
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
}

/// One change of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvChange {
    /// Sets a value.
    Put {
        /// Namespace.
        namespace: String,
        /// Key.
        key: String,
        /// Value.
        value: String,
    },
    /// Removes a value; fine when there is none.
    Delete {
        /// Namespace.
        namespace: String,
        /// Key.
        key: String,
    },
}

/// Why the table is not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    /// A part is empty, too long, or has control characters.
    #[error("{part} must have 1 to {limit} bytes and no control characters")]
    Part {
        /// Namespace, key or value.
        part: &'static str,
        /// Most bytes it may have.
        limit: usize,
    },
    /// Go clients come to grief over anything else.
    #[error("order configuration `{0}` is not `broker:queues` joined by `;`")]
    Order(String),
    /// The table is full.
    #[error("all keys and values together would have {bytes} bytes; the limit is {limit}")]
    Full {
        /// What it would come to.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The disk refused; nothing is changed.
    #[error("change could not be stored")]
    NotStored,
}

/// Newest version of the file's form that can be read. The first one is not written into the file, which therefore
/// looks as that of a stock nameserver.
const VERSION: i64 = 1;

/// Why a text is no table.
#[derive(Debug, thiserror::Error)]
pub enum KvFileError {
    /// It cannot be read.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// A later version of this program wrote it.
    #[error("it has format version {found}; this program reads versions up to {supported}")]
    Newer {
        /// Its version.
        found: i64,
        /// The newest version that can be read.
        supported: i64,
    },
}

impl KvTable {
    /// Reads the table as its file has it. Upstream's `kvConfig.json` has the same form.
    pub fn decode(text: &[u8]) -> Result<KvTable, KvFileError> {
        let file: KvFile = lenient_json::from_slice(text)?;
        if let Some(found) = file.version.filter(|found| VERSION < *found) {
            return Err(KvFileError::Newer { found, supported: VERSION });
        }
        Ok(KvTable { namespaces: file.config_table })
    }

    /// The text of the file.
    pub fn encode(&self) -> Vec<u8> {
        lenient_json::to_vec(&KvFile { config_table: self.namespaces.clone(), version: None })
    }

    /// The value of a key.
    pub fn get(&self, namespace: &str, key: &str) -> Option<&str> {
        self.namespaces.get(namespace)?.get(key).map(String::as_str)
    }

    /// The text of a whole namespace, as answers carry it.
    pub fn namespace(&self, namespace: &str) -> Option<Vec<u8>> {
        let table = self.namespaces.get(namespace)?.clone();
        Some(lenient_json::to_vec(&KvBody { table }))
    }

    /// Order configuration of a topic, as routes carry it. A `;` at the end, which Java forgives, is cut off.
    pub fn order_of(&self, topic: &str) -> Option<&str> {
        self.get(ORDER_TOPIC_CONFIG, topic).map(|order| order.trim_end_matches(';')).filter(|order| !order.is_empty())
    }

    /// Changes the table. Says whether it is another now.
    pub fn apply(&mut self, change: &KvChange) -> Result<bool, KvError> {
        match change {
            KvChange::Put { namespace, key, value } => {
                check_part("namespace", namespace, NAME_BYTES_MAX)?;
                check_part("key", key, NAME_BYTES_MAX)?;
                check_part("value", value, VALUE_BYTES_MAX)?;
                if namespace == ORDER_TOPIC_CONFIG && !is_order(value) {
                    return Err(KvError::Order(value.chars().take(80).collect()));
                }
                let bytes = self.bytes() + namespace.len() + key.len() + value.len();
                if bytes > TABLE_BYTES_MAX {
                    return Err(KvError::Full { bytes, limit: TABLE_BYTES_MAX });
                }
                let table = self.namespaces.entry(namespace.clone()).or_default();
                Ok(table.insert(key.clone(), value.clone()).as_ref() != Some(value))
            }
            KvChange::Delete { namespace, key } => {
                Ok(self.namespaces.get_mut(namespace).is_some_and(|table| table.remove(key).is_some()))
            }
        }
    }

    fn bytes(&self) -> usize {
        let pairs =
            |table: &BTreeMap<String, String>| table.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        self.namespaces.iter().map(|(namespace, table)| namespace.len() + pairs(table)).sum()
    }
}

impl KvChange {
    /// The topic whose order configuration this changes.
    pub fn ordered_topic(&self) -> Option<&str> {
        let (KvChange::Put { namespace, key, .. } | KvChange::Delete { namespace, key }) = self;
        (namespace == ORDER_TOPIC_CONFIG).then_some(key)
    }
}

fn check_part(part: &'static str, text: &str, limit: usize) -> Result<(), KvError> {
    if text.is_empty() || text.len() > limit || text.chars().any(char::is_control) {
        return Err(KvError::Part { part, limit });
    }
    Ok(())
}

fn is_order(value: &str) -> bool {
    let is_entry = |entry: &str| {
        entry.split_once(':').is_some_and(|(broker, queues)| !broker.is_empty() && queues.parse::<u16>().is_ok())
    };
    value.trim_end_matches(';').split(';').all(is_entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(namespace: &str, key: &str, value: &str) -> KvChange {
        KvChange::Put { namespace: namespace.into(), key: key.into(), value: value.into() }
    }

    fn delete(namespace: &str, key: &str) -> KvChange {
        KvChange::Delete { namespace: namespace.into(), key: key.into() }
    }

    #[test]
    fn a_namespace_stays_when_its_last_key_goes() {
        let mut table = KvTable::default();
        assert_eq!(table.namespace("n"), None);
        assert_eq!(table.apply(&delete("n", "k")), Ok(false));
        assert_eq!(table.namespace("n"), None);
        assert_eq!(table.apply(&put("n", "k", "v")), Ok(true));
        assert_eq!(table.apply(&put("n", "k", "v")), Ok(false));
        assert_eq!(table.get("n", "k"), Some("v"));
        assert_eq!(table.namespace("n").unwrap(), br#"{"table":{"k":"v"}}"#);
        assert_eq!(table.apply(&delete("n", "k")), Ok(true));
        assert_eq!(table.namespace("n").unwrap(), br#"{"table":{}}"#);
    }

    #[test]
    fn what_would_harm_readers_is_not_stored() {
        let mut table = KvTable::default();
        for (namespace, key, value) in
            [("", "k", "v"), ("n", "", "v"), ("n", "k", ""), ("n", "k\n", "v"), ("n", "k", &"v".repeat(70_000))]
        {
            assert!(matches!(table.apply(&put(namespace, key, value)), Err(KvError::Part { .. })));
        }
        for order in ["broker-a", "broker-a:x", ":4", "a:1;;b:2", ";"] {
            assert_eq!(table.apply(&put(ORDER_TOPIC_CONFIG, "T", order)), Err(KvError::Order(order.into())));
        }
        assert_eq!(table, KvTable::default());
        assert_eq!(table.apply(&put(ORDER_TOPIC_CONFIG, "T", "broker-a:4;broker-b:8;")), Ok(true));
        assert_eq!(table.order_of("T"), Some("broker-a:4;broker-b:8"));
    }

    #[test]
    fn a_full_table_takes_no_more() {
        let mut table = KvTable::default();
        let value = "v".repeat(VALUE_BYTES_MAX);
        let full = (0..1000).find_map(|number| table.apply(&put("n", &number.to_string(), &value)).err());
        assert!(matches!(full, Some(KvError::Full { .. })));
    }

    #[test]
    fn the_file_reads_back() {
        let mut table = KvTable::default();
        for change in [put("n", "k", "v \"quoted\""), put(ORDER_TOPIC_CONFIG, "T", "b:1"), delete("n", "k")] {
            table.apply(&change).unwrap();
            assert_eq!(KvTable::decode(&table.encode()).unwrap(), table);
        }
    }
}
