//! Settings of brokers and nameservers, and the KV table.

use std::borrow::Cow;
use std::collections::BTreeMap;

use protocol::codes::RequestCode;
use protocol::requests::{AddWritePermResult, KvKey, KvValue, OneBroker, PutKvConfig, WipeWritePermResult};

use super::Admin;
use crate::request::{NoFields, Request, RequestError};

/// `key=value` lines; what has no `=` is passed over.
fn properties(text: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(text);
    let pairs = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect()
}

/// One line of properties; what would end the line or the value early is escaped as Java reads it.
fn property(key: &str, value: &str) -> String {
    format!("{key}={}\n", value.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r"))
}

impl Admin {
    /// Settings of a broker (26).
    pub async fn broker_settings(&self, address: &str) -> Result<BTreeMap<String, String>, RequestError> {
        Ok(properties(&self.ask(address, RequestCode::GET_BROKER_CONFIG, &NoFields, b"").await?.body))
    }

    /// Changes a setting of a broker (25).
    pub async fn set_broker_setting(&self, address: &str, key: &str, value: &str) -> Result<(), RequestError> {
        let body = property(key, value);
        self.ask(address, RequestCode::UPDATE_BROKER_CONFIG, &NoFields, body.as_bytes()).await.map(|_| ())
    }

    /// Settings of a nameserver (319).
    pub async fn nameserver_settings(&self, address: &str) -> Result<BTreeMap<String, String>, RequestError> {
        Ok(properties(&self.ask(address, RequestCode::GET_NAMESRV_CONFIG, &NoFields, b"").await?.body))
    }

    /// Changes a setting of a nameserver (318).
    pub async fn set_nameserver_setting(&self, address: &str, key: &str, value: &str) -> Result<(), RequestError> {
        let body = property(key, value);
        self.ask(address, RequestCode::UPDATE_NAMESRV_CONFIG, &NoFields, body.as_bytes()).await.map(|_| ())
    }

    /// Sets a value in the KV table of every nameserver (100).
    pub async fn put_kv(&self, namespace: &str, key: &str, value: &str) -> Result<(), RequestError> {
        let (namespace, key, value) = (Cow::Borrowed(namespace), Cow::Borrowed(key), Cow::Borrowed(value));
        let header = PutKvConfig { namespace, key, value };
        for address in self.nameservers.addresses() {
            self.ask(address, RequestCode::PUT_KV_CONFIG, &header, b"").await?;
        }
        Ok(())
    }

    /// A value of the KV table (101) of the first nameserver.
    pub async fn kv(&self, namespace: &str, key: &str) -> Result<Option<String>, RequestError> {
        let header = KvKey { namespace: Cow::Borrowed(namespace), key: Cow::Borrowed(key) };
        let address = self.nameservers.addresses().first().map(String::as_str).unwrap_or_default();
        let channel = self.channel(address).await?;
        let request = Request::new(&channel, RequestCode::GET_KV_CONFIG);
        let answer = request.send(&header).await?;
        let read = answer.read(|fields| {
            let found: KvValue<'_> = protocol::typed::TypedHeader::decode(fields)?;
            Ok(found.value.map(Cow::into_owned))
        });
        request.fields(read)
    }

    /// Deletes a value in the KV table of every nameserver (102).
    pub async fn delete_kv(&self, namespace: &str, key: &str) -> Result<(), RequestError> {
        let header = KvKey { namespace: Cow::Borrowed(namespace), key: Cow::Borrowed(key) };
        for address in self.nameservers.addresses() {
            self.ask(address, RequestCode::DELETE_KV_CONFIG, &header, b"").await?;
        }
        Ok(())
    }

    /// Takes the permission to write from all topics of a broker in one nameserver (205); returns their number.
    pub async fn wipe_write_perm(&self, nameserver: &str, broker: &str) -> Result<i32, RequestError> {
        let channel = self.channel(nameserver).await?;
        let request = Request::new(&channel, RequestCode::WIPE_WRITE_PERM_OF_BROKER);
        let answer = request.send(&OneBroker { broker_name: Cow::Borrowed(broker) }).await?;
        let result: WipeWritePermResult = request.fields(answer.header())?;
        Ok(result.wipe_topic_count)
    }

    /// Gives the permission to write back (327); returns the number of topics.
    pub async fn add_write_perm(&self, nameserver: &str, broker: &str) -> Result<i32, RequestError> {
        let channel = self.channel(nameserver).await?;
        let request = Request::new(&channel, RequestCode::ADD_WRITE_PERM_OF_BROKER);
        let answer = request.send(&OneBroker { broker_name: Cow::Borrowed(broker) }).await?;
        let result: AddWritePermResult = request.fields(answer.header())?;
        Ok(result.add_topic_count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_line_by_line() {
        let read = properties(b"#comment\na=1\n b = x=y \nnothing\n");
        assert_eq!(read.into_iter().collect::<Vec<_>>(), [("a".into(), "1".into()), ("b".into(), "x=y".into())]);
    }

    #[test]
    fn a_value_stays_on_its_line() {
        assert_eq!(property("k", "a\nb\\c"), "k=a\\nb\\\\c\n");
    }
}
