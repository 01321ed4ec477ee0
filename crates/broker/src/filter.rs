//! What a group wants of a topic: everything, some tags, or what an SQL92 expression says. Pure: text in, decisions
//! about properties out.
//!
//! Tags are decided twice: by their hash, which the log's index has, and by their text, which only the record has.
//! Sources: `remoting/.../protocol/filter/FilterAPI.java`, `common/.../filter/ExpressionType.java`. What the
//! expressions mean is in [`docs/filters.md`](../../../docs/filters.md).

mod cache;
mod error;
mod parse;
mod program;
#[cfg(test)]
mod tests;
mod token;
mod value;

use std::sync::Arc;

use protocol::properties::{Properties, TAGS};
use protocol::record::java_string_hash;

pub use cache::CompiledFilters;
pub use error::{FilterError, Span};
pub use program::Compiled;
pub use value::EvaluationError;

/// Longest expression, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 16 * 1024;
/// How deep parts of an SQL92 expression may lie inside each other.
pub const DEPTH_MAX: usize = 64;
/// Most parts of an SQL92 expression: names, literals and operators.
pub const PARTS_MAX: usize = 1024;
/// Most different properties that an SQL92 expression names.
pub const PROPERTIES_MAX: usize = 64;
/// Most searches for text in an SQL92 expression: each may read 32 KiB of properties, for each message.
pub const SEARCHES_MAX: usize = 64;

/// How an expression is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterKind {
    /// Tags, separated by `||`.
    Tag,
    /// A condition on properties.
    Sql92,
}

impl FilterKind {
    /// Reads what clients write; nothing means tags.
    pub fn parse(text: &str) -> Result<FilterKind, FilterError> {
        match text {
            "" | "TAG" => Ok(FilterKind::Tag),
            "SQL92" => Ok(FilterKind::Sql92),
            _ => Err(FilterError::Kind(text.chars().take(40).collect())),
        }
    }

    /// What clients write.
    pub fn name(self) -> &'static str {
        match self {
            FilterKind::Tag => "TAG",
            FilterKind::Sql92 => "SQL92",
        }
    }
}

/// Which messages pass. Cloning is cheap: clones share what was read and compiled once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Everything passes.
    All,
    /// Messages with one of these tags pass.
    Tags(Arc<Tags>),
    /// Messages for whose properties the condition is true pass.
    Sql(Arc<Compiled>),
}

/// Tags and their hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags {
    names: Vec<String>,
    hashes: Vec<i32>,
}

impl Tags {
    /// The tags, in the order in which they were written.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

impl Filter {
    /// Reads an expression. Empty text is an error for SQL92 and means everything for tags.
    pub fn new(kind: FilterKind, expression: &str) -> Result<Filter, FilterError> {
        match kind {
            FilterKind::Tag if EXPRESSION_BYTES_MAX < expression.len() => {
                Err(FilterError::TooLong { bytes: expression.len() })
            }
            FilterKind::Tag => Ok(Filter::tags(expression)),
            FilterKind::Sql92 => Ok(Filter::Sql(Arc::new(Compiled::new(expression)?))),
        }
    }

    /// Reads tags separated by `||`; `*` or nothing means everything.
    pub fn tags(expression: &str) -> Filter {
        let names: Vec<String> =
            expression.split("||").map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
        if names.is_empty() || names == ["*"] {
            return Filter::All;
        }
        let hashes = names.iter().map(|tag| java_string_hash(tag)).collect();
        Filter::Tags(Arc::new(Tags { names, hashes }))
    }

    /// Hashes of the tags that may pass; `None` when every hash may.
    pub fn tag_hashes(&self) -> Option<&[i32]> {
        match self {
            Filter::Tags(tags) => Some(&tags.hashes),
            Filter::All | Filter::Sql(_) => None,
        }
    }

    /// Whether a message with a tag of that hash may pass: never `false` for one that [`matches`](Self::matches).
    pub fn may_match(&self, tag_hash: i32) -> bool {
        self.tag_hashes().is_none_or(|hashes| hashes.contains(&tag_hash))
    }

    /// Whether only the stored properties tell what passes. Clients compare tags themselves, but not properties.
    pub fn needs_properties(&self) -> bool {
        matches!(self, Filter::Sql(_))
    }

    /// Whether a message with these properties passes. A condition that cannot be evaluated for a message, such as a
    /// number compared with text that is none, does not pass it.
    pub fn matches(&self, properties: &Properties<'_>) -> bool {
        match self {
            Filter::All => true,
            Filter::Tags(tags) => {
                properties.get(TAGS).is_some_and(|found| tags.names.iter().any(|wanted| wanted == found))
            }
            Filter::Sql(condition) => condition.matches(properties),
        }
    }
}
