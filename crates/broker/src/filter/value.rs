//! Values and how they compare: as Java objects of upstream's evaluator do, which is where the odd rules come from.
//!
//! Source: `filter/.../expression/ComparisonExpression.java`.

use std::cmp::Ordering;

/// What part of an expression is worth for one message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// Nothing: a property that is missing.
    Null,
    Boolean(bool),
    /// Literals that fit.
    Int(i32),
    /// Larger literals.
    Long(i64),
    Double(f64),
    /// A property, or text of the expression.
    Text(&'a str),
}

/// Why a condition has no answer for a message; the message does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// A whole number is compared with text that is none of 32 bits.
    #[error("the property is no whole number of 32 bits")]
    NotAnInt,
    /// A whole number is compared with text that is none of 64 bits.
    #[error("the property is no whole number of 64 bits")]
    NotALong,
    /// A number is compared with text that is none.
    #[error("the property is no number")]
    NotADouble,
    /// A truth value on the left is compared with text.
    #[error("a condition cannot be compared with text")]
    ConditionWithText,
}

/// Whether two values that are there are equal.
pub(super) fn are_equal(left: Value<'_>, right: Value<'_>) -> Result<bool, EvaluationError> {
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => Ok(left == right),
        _ => Ok(compare(left, right)? == Some(Ordering::Equal)),
    }
}

/// The order of two values that are there, for `<` and its like: two texts are compared as numbers.
pub(super) fn order(left: Value<'_>, right: Value<'_>) -> Result<Option<Ordering>, EvaluationError> {
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => Ok(Some(double(left)?.java_cmp(double(right)?))),
        _ => compare(left, right),
    }
}

/// The order of two values of which at most one is text, which becomes what the other is. `None`: of different kinds.
fn compare(left: Value<'_>, right: Value<'_>) -> Result<Option<Ordering>, EvaluationError> {
    use Value::{Boolean, Double, Int, Long, Null, Text};
    let found = match (left, right) {
        (Text(left), Text(right)) => left.cmp(right),
        (Boolean(left), Boolean(right)) => left.cmp(&right),
        (Text(left), Boolean(right)) => left.eq_ignore_ascii_case("true").cmp(&right),
        (Boolean(_), Text(_)) => return Err(EvaluationError::ConditionWithText),
        (Boolean(_) | Null, _) | (_, Boolean(_) | Null) => return Ok(None),
        (Int(left), Int(right)) => left.cmp(&right),
        (Int(left), Text(right)) => left.cmp(&int(right)?),
        (Text(left), Int(right)) => int(left)?.cmp(&right),
        (Long(left), Long(right)) => left.cmp(&right),
        (Int(left), Long(right)) => i64::from(left).cmp(&right),
        (Long(left), Int(right)) => left.cmp(&i64::from(right)),
        (Long(left), Text(right)) => left.cmp(&long(right)?),
        (Text(left), Long(right)) => long(left)?.cmp(&right),
        (Double(left), Double(right)) => left.java_cmp(right),
        (Double(left), Int(right)) => left.java_cmp(f64::from(right)),
        (Int(left), Double(right)) => f64::from(left).java_cmp(right),
        (Double(left), Long(right)) => left.java_cmp(right as f64),
        (Long(left), Double(right)) => (left as f64).java_cmp(right),
        (Double(left), Text(right)) => left.java_cmp(double(right)?),
        (Text(left), Double(right)) => double(left)?.java_cmp(right),
    };
    Ok(Some(found))
}

/// Longest text that is read as a number, in bytes: properties hold 32 KiB, and reading takes time.
const NUMBER_BYTES_MAX: usize = 1024;

fn int(text: &str) -> Result<i32, EvaluationError> {
    number(text).parse().map_err(|_| EvaluationError::NotAnInt)
}

fn long(text: &str) -> Result<i64, EvaluationError> {
    number(text).parse().map_err(|_| EvaluationError::NotALong)
}

/// Text that may be a number; nothing, which is none, for what is too long.
fn number(text: &str) -> &str {
    if text.len() <= NUMBER_BYTES_MAX { text } else { "" }
}

/// Reads what Java's `Double.valueOf` reads, without hexadecimal numbers.
fn double(text: &str) -> Result<f64, EvaluationError> {
    let trimmed = number(text).trim_matches(|letter| letter <= ' ');
    let unsigned = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    let sign = if trimmed.starts_with('-') { -1.0 } else { 1.0 };
    match unsigned {
        "NaN" => return Ok(f64::NAN),
        "Infinity" => return Ok(sign * f64::INFINITY),
        _ => {}
    }
    // Rust also reads `inf`, `nan` and a second sign, which Java does not.
    if !unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return Err(EvaluationError::NotADouble);
    }
    let digits = unsigned.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(unsigned);
    digits.parse::<f64>().map(|value| sign * value).map_err(|_| EvaluationError::NotADouble)
}

trait JavaOrder {
    fn java_cmp(self, other: Self) -> Ordering;
}

impl JavaOrder for f64 {
    /// All NaN are one and above everything; -0.0 is below 0.0.
    fn java_cmp(self, other: f64) -> Ordering {
        match (self.is_nan(), other.is_nan()) {
            (false, false) => self.total_cmp(&other),
            (left, right) => left.cmp(&right),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_java_reads_them() {
        for (text, expected) in
            [("5", 5.0), (" 5.5 ", 5.5), ("-.5", -0.5), ("5.", 5.0), ("1e3", 1000.0), ("+2f", 2.0), ("-3D", -3.0)]
        {
            assert_eq!(double(text), Ok(expected), "{text:?}");
        }
        assert_eq!(double("-Infinity"), Ok(f64::NEG_INFINITY));
        assert!(double("NaN").unwrap().is_nan());
        for text in ["", " ", ".", "inf", "nan", "--5", "5 5", "0x10", "e5", "f", "5ff"] {
            assert_eq!(double(text), Err(EvaluationError::NotADouble), "{text:?}");
        }
        for text in ["5.0", " 5", "2147483648", ""] {
            assert_eq!(int(text), Err(EvaluationError::NotAnInt), "{text:?}");
        }
        assert_eq!((int("+5"), int("-0"), long("9223372036854775807")), (Ok(5), Ok(0), Ok(i64::MAX)));
    }

    #[test]
    fn java_orders_all_doubles() {
        assert_eq!((-0.0).java_cmp(0.0), Ordering::Less);
        assert_eq!(f64::NAN.java_cmp(-f64::NAN), Ordering::Equal);
        assert_eq!(f64::NAN.java_cmp(f64::INFINITY), Ordering::Greater);
    }
}
