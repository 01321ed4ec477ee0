//! A broker telling one nameserver what it has. When to tell, and whom, is the broker's business.

use std::borrow::Cow;
use std::time::Duration;

use net::{Answer, Channel};
use protocol::bodies::registration::body_crc32;
use protocol::codes::RequestCode;
use protocol::requests::{BrokerIdentity, RegisterBroker, RegisterBrokerResult};
use protocol::typed::TypedHeader;

use crate::request::{Request, RequestError};

/// What a broker registers: who it is and, as a body of [`protocol::bodies::registration`], which topics it has.
#[derive(Clone, Debug)]
pub struct BrokerRegistration {
    /// Cluster.
    pub cluster_name: String,
    /// Broker name.
    pub broker_name: String,
    /// Address that clients dial.
    pub broker_addr: String,
    /// Whether that is what the machine had, and nobody's choice.
    pub address_is_default: bool,
    /// 0 is the master.
    pub broker_id: i64,
    /// Address for replication.
    pub ha_server_addr: Option<String>,
    /// Silence after which the nameserver counts the broker as gone; `None` leaves it to the nameserver.
    pub heartbeat_timeout: Option<Duration>,
    /// Topics, in JSON form.
    pub body: Vec<u8>,
}

/// What the nameserver says about the master; both are absent unless the broker is a slave of a known master.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MasterOf {
    /// Address of the master.
    pub master_addr: Option<String>,
    /// Its address for replication.
    pub ha_server_addr: Option<String>,
}

impl BrokerRegistration {
    /// The fields of the request (103).
    pub fn header(&self) -> RegisterBroker<'_> {
        RegisterBroker {
            broker_name: Cow::Borrowed(&self.broker_name),
            broker_addr: Cow::Borrowed(&self.broker_addr),
            cluster_name: Cow::Borrowed(&self.cluster_name),
            ha_server_addr: self.ha_server_addr.as_deref().map(Cow::Borrowed),
            broker_id: self.broker_id,
            heartbeat_timeout_millis: self.heartbeat_timeout.map(|timeout| timeout.as_millis() as i64),
            enable_acting_master: None,
            compressed: false,
            body_crc32: body_crc32(&self.body),
            zone_name: None,
            address_is_default: self.address_is_default,
        }
    }

    /// Registers over `channel` (103). The nameserver forgets the broker when the channel ends.
    pub async fn send(&self, channel: &Channel, timeout: Duration) -> Result<MasterOf, RequestError> {
        let request = Request::new(channel, RequestCode::REGISTER_BROKER).body(&self.body).timeout(timeout);
        let answer = request.send(&self.header()).await?;
        request.fields(read_master(&answer))
    }

    /// Takes the registration back (104).
    pub async fn withdraw(&self, channel: &Channel, timeout: Duration) -> Result<(), RequestError> {
        let header = BrokerIdentity {
            broker_name: Cow::Borrowed(&self.broker_name),
            broker_addr: Cow::Borrowed(&self.broker_addr),
            cluster_name: Cow::Borrowed(&self.cluster_name),
            broker_id: self.broker_id,
        };
        Request::new(channel, RequestCode::UNREGISTER_BROKER).timeout(timeout).send(&header).await.map(|_| ())
    }
}

fn read_master(answer: &Answer) -> Result<MasterOf, protocol::typed::FieldError> {
    answer.read(|fields| {
        let result = RegisterBrokerResult::decode(fields)?;
        Ok(MasterOf {
            master_addr: result.master_addr.map(Cow::into_owned),
            ha_server_addr: result.ha_server_addr.map(Cow::into_owned),
        })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc;

    use super::*;
    use crate::stand_in::StandIn;

    const SOON: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_broker_says_who_it_is_and_what_it_has() {
        let (seen, asked) = mpsc::channel();
        let seen = Mutex::new(seen);
        let nameserver = StandIn::start(move |asked| {
            let fields = ["brokerName", "brokerAddr", "clusterName", "brokerId", "bodyCrc32", "compressed"];
            let line = fields.map(|name| asked.field(name)).join(" ");
            seen.lock().unwrap().send((asked.code.0, line, asked.content.clone())).unwrap();
            asked.with(&[("masterAddr", "m:1")])
        });
        let registration = BrokerRegistration {
            cluster_name: "c".into(),
            broker_name: "b".into(),
            broker_addr: "h:1".into(),
            address_is_default: false,
            broker_id: 0,
            ha_server_addr: None,
            heartbeat_timeout: None,
            body: b"123456789".to_vec(),
        };
        let channel = Channel::connect(nameserver.address(), SOON).await.unwrap();
        let master = registration.send(&channel, SOON).await.unwrap();
        assert_eq!(master, MasterOf { master_addr: Some("m:1".into()), ha_server_addr: None });
        registration.withdraw(&channel, SOON).await.unwrap();
        // 0xCBF43926, the check value of CRC-32, without its top bit.
        let line = format!("b h:1 c 0 {} false", 0x4BF4_3926);
        assert_eq!(asked.recv().unwrap(), (103, line, b"123456789".to_vec()));
        assert_eq!(asked.recv().unwrap(), (104, "b h:1 c 0  ".into(), Vec::new()));
    }
}
