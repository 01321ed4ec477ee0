//! What a group wants of a topic.
//!
//! Source: `remoting/.../protocol/filter/FilterAPI.java`.

use protocol::bodies::heartbeat::SubscriptionData;
use protocol::record::java_string_hash;

use crate::filter::{CompiledFilters, Filter, FilterError, FilterKind};

/// What a group wants of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Topic.
    pub topic: String,
    /// The expression as written.
    pub expression: String,
    /// `TAG` or `SQL92`.
    pub expression_type: String,
    /// Grows with each change; clients count it in different units.
    pub version: i64,
    /// Tags of the expression, without their hashes.
    pub tags: Vec<String>,
    /// What the broker filters by, or why the expression says nothing.
    pub filter: Result<Filter, FilterError>,
}

impl Subscription {
    /// What a client says it wants of a topic. An expression that cannot be read is kept with its error: pulls tell it.
    pub fn new(
        filters: &CompiledFilters,
        topic: &str,
        expression_type: &str,
        expression: &str,
        version: i64,
    ) -> Subscription {
        let filter = FilterKind::parse(expression_type).and_then(|kind| filters.get(kind, expression));
        let (expression, expression_type, tags) = match &filter {
            Ok(Filter::Tags(tags)) => (expression, FilterKind::Tag.name(), tags.names().to_vec()),
            Ok(Filter::All) => ("*", FilterKind::Tag.name(), Vec::new()),
            Ok(Filter::Sql(_)) | Err(_) => (expression, expression_type, Vec::new()),
        };
        Subscription {
            topic: topic.to_owned(),
            expression: expression.to_owned(),
            expression_type: expression_type.to_owned(),
            version,
            tags,
            filter,
        }
    }

    /// As tools are shown it.
    pub fn to_wire(&self) -> SubscriptionData {
        SubscriptionData {
            class_filter_mode: false,
            code_set: self.tags.iter().map(|tag| java_string_hash(tag)).collect(),
            expression_type: self.expression_type.clone(),
            sub_string: self.expression.clone(),
            sub_version: self.version,
            tags_set: self.tags.clone(),
            topic: self.topic.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_shows_what_it_was_made_of() {
        let shown = |kind: &str, expression: &str| {
            let read = Subscription::new(&CompiledFilters::default(), "t", kind, expression, 1);
            (read.expression_type, read.expression, read.tags, read.filter.is_ok())
        };
        let strings = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
        assert_eq!(shown("", " a ||b|| "), ("TAG".into(), " a ||b|| ".into(), strings(&["a", "b"]), true));
        assert_eq!(shown("TAG", ""), ("TAG".into(), "*".into(), strings(&[]), true));
        assert_eq!(shown("SQL92", "a > 5"), ("SQL92".into(), "a > 5".into(), strings(&[]), true));
        assert_eq!(shown("SQL92", "a >"), ("SQL92".into(), "a >".into(), strings(&[]), false));
        assert_eq!(shown("FOO", "x"), ("FOO".into(), "x".into(), strings(&[]), false));
    }
}
