//! Topics of one broker.

use std::borrow::Cow;
use std::collections::BTreeMap;

use protocol::bodies::consumer_list::GroupList;
use protocol::bodies::route::TopicRouteData;
use protocol::bodies::stats::TopicStatsTable;
use protocol::bodies::topic_config::{TopicConfig, TopicConfigList, TopicConfigTable, TopicList};
use protocol::codes::RequestCode;
use protocol::lenient_json;
use protocol::requests::{CreateTopic, OneTopic};

use super::{Admin, AdminError};
use crate::nameservers::TEMPLATE_TOPIC;
use crate::request::{NoFields, RequestError};

/// `{"+a": "b", "-c": ""}` as request 17 wants it: `+a=b,-c`.
fn changes_text(attributes: &BTreeMap<String, String>) -> String {
    let changes = attributes.iter().map(|(name, value)| match name.starts_with('-') {
        true => name.clone(),
        false => format!("{name}={value}"),
    });
    changes.collect::<Vec<_>>().join(",")
}

impl Admin {
    /// Where a topic is (105).
    pub async fn route(&self, topic: &str) -> Result<TopicRouteData, AdminError> {
        let found = self.nameservers.route(topic).await?;
        found.ok_or_else(|| AdminError::NoSuchTopic(topic.to_owned()))
    }

    /// Creates or changes a topic on one broker (17). Names of attributes begin with `+` to set them and with `-` to
    /// remove them.
    pub async fn put_topic(&self, address: &str, topic: &TopicConfig) -> Result<(), RequestError> {
        let header = CreateTopic {
            topic: Cow::Borrowed(&topic.topic_name),
            default_topic: Some(Cow::Borrowed(TEMPLATE_TOPIC)),
            read_queue_nums: topic.read_queue_nums,
            write_queue_nums: topic.write_queue_nums,
            perm: topic.perm,
            topic_filter_type: Some(Cow::Borrowed(topic.topic_filter_type.name())),
            topic_sys_flag: Some(topic.topic_sys_flag),
            order: topic.order,
            attributes: Some(Cow::Owned(changes_text(&topic.attributes))),
        };
        self.ask(address, RequestCode::UPDATE_AND_CREATE_TOPIC, &header, b"").await.map(|_| ())
    }

    /// Creates or changes many topics on one broker (18).
    pub async fn put_topics(&self, address: &str, topics: Vec<TopicConfig>) -> Result<(), RequestError> {
        let body = lenient_json::to_vec(&TopicConfigList { topic_config_list: topics });
        self.ask(address, RequestCode::UPDATE_AND_CREATE_TOPIC_LIST, &NoFields, &body).await.map(|_| ())
    }

    /// Deletes a topic on one broker (215).
    pub async fn delete_topic_at(&self, address: &str, topic: &str) -> Result<(), RequestError> {
        let header = OneTopic { topic: Cow::Borrowed(topic) };
        self.ask(address, RequestCode::DELETE_TOPIC_IN_BROKER, &header, b"").await.map(|_| ())
    }

    /// Makes every nameserver forget a topic (216).
    pub async fn forget_topic(&self, topic: &str) -> Result<(), RequestError> {
        for address in self.nameservers.addresses() {
            self.nameservers.forget_topic(address, topic).await?;
        }
        Ok(())
    }

    /// All topics of a broker (21).
    pub async fn topic_table(&self, address: &str) -> Result<TopicConfigTable, RequestError> {
        self.read(address, RequestCode::GET_ALL_TOPIC_CONFIG, &NoFields).await
    }

    /// Names of a broker's own topics (305).
    pub async fn system_topics(&self, address: &str) -> Result<Vec<String>, RequestError> {
        let list: TopicList = self.read(address, RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_BROKER, &NoFields).await?;
        Ok(list.topic_list)
    }

    /// What the queues of a topic hold on one broker (202).
    pub async fn topic_stats_table(&self, address: &str, topic: &str) -> Result<TopicStatsTable, RequestError> {
        self.read(address, RequestCode::GET_TOPIC_STATS_INFO, &OneTopic { topic: Cow::Borrowed(topic) }).await
    }

    /// Groups that consume a topic on one broker (300), in its order.
    pub async fn groups_of_topic(&self, address: &str, topic: &str) -> Result<Vec<String>, RequestError> {
        let header = OneTopic { topic: Cow::Borrowed(topic) };
        let list: GroupList = self.read(address, RequestCode::QUERY_TOPIC_CONSUME_BY_WHO, &header).await?;
        Ok(list.group_list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_written_as_changes() {
        let attributes = [("+message.type", "FIFO"), ("-old", "")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(changes_text(&BTreeMap::from(attributes)), "+message.type=FIFO,-old");
        assert_eq!(changes_text(&BTreeMap::new()), "");
    }
}
