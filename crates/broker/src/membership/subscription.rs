//! What a group wants of a topic.
//!
//! Source: `remoting/.../protocol/filter/FilterAPI.java`.

use protocol::record::java_string_hash;

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
    /// What the broker filters by.
    pub filter: Filter,
}

/// What the broker filters by: hashes of tags. Clients compare the tags themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Everything passes.
    All,
    /// Messages whose tag has one of these hashes pass.
    TagHashes(Vec<i32>),
}

impl Filter {
    /// Whether a message with a tag of that hash passes.
    pub fn accepts(&self, tag_hash: i32) -> bool {
        match self {
            Filter::All => true,
            Filter::TagHashes(hashes) => hashes.contains(&tag_hash),
        }
    }
}

/// Reads a tag expression: `*` or tags separated by `||`; nothing means everything.
pub fn subscribe_tags(topic: &str, expression: &str, version: i64) -> Subscription {
    let tags: Vec<String> =
        expression.split("||").map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
    let everything = tags.is_empty() || tags == ["*"];
    let filter = if everything {
        Filter::All
    } else {
        Filter::TagHashes(tags.iter().map(|tag| java_string_hash(tag)).collect())
    };
    Subscription {
        topic: topic.to_owned(),
        expression: if everything { "*".to_owned() } else { expression.to_owned() },
        expression_type: "TAG".to_owned(),
        version,
        tags: if everything { Vec::new() } else { tags },
        filter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_split_and_trimmed() {
        let hash = java_string_hash;
        assert_eq!(subscribe_tags("t", " a ||b|| ", 1).filter, Filter::TagHashes(vec![hash("a"), hash("b")]));
        for everything in ["*", "", " ", "||"] {
            assert_eq!(subscribe_tags("t", everything, 1).filter, Filter::All, "{everything:?}");
        }
        let filter = subscribe_tags("t", "a", 1).filter;
        assert!(filter.accepts(97) && !filter.accepts(0));
    }
}
