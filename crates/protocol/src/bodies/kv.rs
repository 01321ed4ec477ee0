//! Settings that a nameserver keeps for others: the body of GET_KVLIST_BY_NAMESPACE (219) and of the answer to
//! REGISTER_BROKER (103).
//!
//! Source: `remoting/.../protocol/body/KVTable.java`, `common/.../namesrv/NamesrvUtil.java`.

use std::collections::BTreeMap;

use super::declare::bodies;

/// Namespace of the order configuration of topics: topic to `broker-a:4;broker-b:4`.
pub const ORDER_TOPIC_CONFIG: &str = "ORDER_TOPIC_CONFIG";

bodies! {
    /// Keys and values of one namespace.
    KvTable {
        /// Values by key.
        table: BTreeMap<String, String> = "table",
    }
}

bodies! {
    /// All namespaces, as upstream's nameserver keeps them in `kvConfig.json`
    /// (`namesrv/.../kvconfig/KVConfigSerializeWrapper.java`).
    KvFile {
        /// Tables by namespace.
        config_table: BTreeMap<String, BTreeMap<String, String>> = "configTable",
        /// Version of the form; 1 when absent, as upstream's nameserver knows none.
        version: Option<i64> = "version",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lenient_json;

    #[test]
    fn an_empty_table_is_written_as_recorded() {
        assert_eq!(lenient_json::to_vec(&KvTable::default()), br#"{"table":{}}"#);
    }

    #[test]
    fn the_file_of_a_java_nameserver_is_read() {
        let text = "{\n\t\"configTable\":{\"ORDER_TOPIC_CONFIG\":{\n\t\t\"T\":\"broker-a:4\"\n\t}}\n}";
        let file: KvFile = lenient_json::from_slice(text.as_bytes()).unwrap();
        assert_eq!(file.config_table[ORDER_TOPIC_CONFIG]["T"], "broker-a:4");
        assert_eq!(
            String::from_utf8(lenient_json::to_vec(&file)).unwrap(),
            r#"{"configTable":{"ORDER_TOPIC_CONFIG":{"T":"broker-a:4"}}}"#
        );
    }
}
