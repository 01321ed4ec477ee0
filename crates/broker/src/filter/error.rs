use std::fmt;

use super::{DEPTH_MAX, EXPRESSION_BYTES_MAX, PARTS_MAX, PROPERTIES_MAX, SEARCHES_MAX};

/// Bytes of an expression: from the first to before the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The first byte, counted from 0.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

impl Span {
    /// From the start of one to the end of another.
    pub(super) fn to(self, other: Span) -> Span {
        Span { start: self.start, end: other.end }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.end - self.start {
            0 | 1 => write!(out, "byte {}", self.start),
            _ => write!(out, "bytes {} to {}", self.start, self.end - 1),
        }
    }
}

/// Why an expression is refused. The text goes to the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Not a kind of filter that is known.
    #[error("filters of type `{0}` are not known; TAG and SQL92 are")]
    Kind(String),
    /// There is nothing in it.
    #[error("the SQL92 expression is empty")]
    Empty,
    /// It is too long.
    #[error("the filter expression is {bytes} bytes long; the limit is {EXPRESSION_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It lies too deep inside itself.
    #[error("at {at}: parts lie more than {DEPTH_MAX} deep inside each other")]
    TooDeep {
        /// The part that is one too deep.
        at: Span,
    },
    /// It has too many parts.
    #[error("at {at}: more than {PARTS_MAX} names, literals and operators")]
    TooManyParts {
        /// The part that is one too many.
        at: Span,
    },
    /// It names too many properties.
    #[error("at {at}: `{name}` is one property more than the limit of {PROPERTIES_MAX}")]
    TooManyProperties {
        /// The property that is one too many.
        name: String,
        /// Where it is named.
        at: Span,
    },
    /// It searches too much.
    #[error("at {at}: more than {SEARCHES_MAX} of CONTAINS, STARTSWITH and ENDSWITH")]
    TooManySearches {
        /// What is searched for the one time too many.
        at: Span,
    },
    /// A character that begins nothing.
    #[error("at {at}: `{found}` means nothing here")]
    Character {
        /// The character.
        found: char,
        /// Where it is.
        at: Span,
    },
    /// Text, a quoted name or a comment that does not end.
    #[error("at {at}: this {what} does not end")]
    Unfinished {
        /// What does not end.
        what: &'static str,
        /// From its beginning to the end of the expression.
        at: Span,
    },
    /// A number that is too large or too small.
    #[error("at {at}: `{text}` is outside what a {kind} can be")]
    Number {
        /// The number.
        text: String,
        /// What it would be.
        kind: &'static str,
        /// Where it is.
        at: Span,
    },
    /// Something else had to be there.
    #[error("at {at}: expected {expected}, found {found}")]
    Expected {
        /// What had to be there.
        expected: &'static str,
        /// What is there.
        found: String,
        /// Where it is.
        at: Span,
    },
    /// A value where a condition had to be.
    #[error("at {at}: this is a value; a condition is needed")]
    NotACondition {
        /// The value.
        at: Span,
    },
    /// Only numbers and properties have an order.
    #[error("at {at}: only numbers and properties can be compared with {operator}")]
    NotOrdered {
        /// The comparison.
        operator: &'static str,
        /// The operand that is neither.
        at: Span,
    },
    /// Nothing is equal to NULL.
    #[error("at {at}: NULL cannot be compared; use IS NULL")]
    EqualToNull {
        /// The operand that is NULL.
        at: Span,
    },
    /// A truth value is compared with a literal of another kind.
    #[error("at {at}: TRUE and FALSE cannot be compared with this literal")]
    Incomparable {
        /// The literal.
        at: Span,
    },
    /// The bounds of BETWEEN are the wrong way round.
    #[error("at {at}: the lower bound of BETWEEN is above the upper one")]
    Bounds {
        /// Both bounds.
        at: Span,
    },
    /// The left side of IN is no property.
    #[error("at {at}: only a property can be IN a list")]
    NotAProperty {
        /// The left side.
        at: Span,
    },
}
