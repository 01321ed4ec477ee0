//! The KV table is read and changed.

use protocol::requests::{KvKey, KvNamespace, PutKvConfig};
use protocol::typed::TypedHeader;

use super::answer::{Answer, AnswerFields};
use super::{Call, Nameserver, Outcome, Refusal};
use crate::kv::KvChange;

pub(super) fn put(call: Call<'_>) -> Result<Outcome, Refusal> {
    let PutKvConfig { namespace, key, value } = PutKvConfig::decode(&call.header.fields)?;
    let (namespace, key, value) = (namespace.into_owned(), key.into_owned(), value.into_owned());
    Ok(Outcome::Store(KvChange::Put { namespace, key, value }))
}

pub(super) fn delete(call: Call<'_>) -> Result<Outcome, Refusal> {
    let KvKey { namespace, key } = KvKey::decode(&call.header.fields)?;
    Ok(Outcome::Store(KvChange::Delete { namespace: namespace.into_owned(), key: key.into_owned() }))
}

impl Nameserver {
    pub(super) fn kv_value(&self, call: Call<'_>) -> Result<Answer, Refusal> {
        let KvKey { namespace, key } = KvKey::decode(&call.header.fields)?;
        match self.state().kv.get(&namespace, &key) {
            Some(value) => Ok(Answer::fields(AnswerFields::Value(value.to_owned()))),
            None => Err(Refusal::NoKey { namespace: namespace.into_owned(), key: key.into_owned() }),
        }
    }

    pub(super) fn kv_namespace(&self, call: Call<'_>) -> Result<Answer, Refusal> {
        let KvNamespace { namespace } = KvNamespace::decode(&call.header.fields)?;
        let table = self.state().kv.namespace(&namespace);
        table.map(Answer::body).ok_or_else(|| Refusal::NoNamespace(namespace.into_owned()))
    }
}
