//! A compiled expression and its evaluation, which allocates nothing and looks at each part at most once.
//!
//! Sources: `filter/.../expression/{ComparisonExpression,LogicExpression,UnaryExpression}.java`.

use std::cmp::Ordering;

use protocol::properties::Properties;

use super::error::FilterError;
use super::parse::Parser;
use super::value::{self, EvaluationError, Value};
use super::{EXPRESSION_BYTES_MAX, PROPERTIES_MAX};

/// A compiled SQL92 expression. Two are equal that were written alike.
#[derive(Debug)]
pub struct Compiled {
    text: Box<str>,
    program: Program,
}

impl PartialEq for Compiled {
    fn eq(&self, other: &Compiled) -> bool {
        self.text == other.text
    }
}

impl Eq for Compiled {}

impl Compiled {
    /// Compiles an expression; the work is bounded by its length, which is limited.
    pub fn new(expression: &str) -> Result<Compiled, FilterError> {
        let bytes = expression.len();
        if bytes > EXPRESSION_BYTES_MAX {
            return Err(FilterError::TooLong { bytes });
        }
        Ok(Compiled { text: expression.into(), program: Parser::parse(expression)? })
    }

    /// The expression as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the condition is true for these properties; neither false, nor NULL, nor without an answer.
    pub fn matches(&self, properties: &Properties<'_>) -> bool {
        self.evaluate(properties) == Ok(Some(true))
    }

    /// What the condition is for these properties; `None` is NULL.
    pub fn evaluate(&self, properties: &Properties<'_>) -> Result<Option<bool>, EvaluationError> {
        let mut slots = [None; PROPERTIES_MAX];
        self.program.fill(properties, &mut slots);
        let evaluation = Evaluation { nodes: &self.program.nodes, slots: &slots };
        evaluation.truth(self.program.root)
    }
}

/// Index of a node.
pub(super) type NodeId = u16;
/// Index of a property.
pub(super) type Slot = u8;

/// The parts of an expression; each names others by their index.
#[derive(Debug, Default)]
pub(super) struct Program {
    /// Names of properties, by slot.
    pub names: Vec<Box<str>>,
    /// Slots, sorted by name.
    pub by_name: Vec<Slot>,
    pub nodes: Vec<Node>,
    pub root: NodeId,
}

/// One part.
#[derive(Debug)]
pub(super) enum Node {
    Property(Slot),
    Text(Box<str>),
    Int(i32),
    Long(i64),
    Double(f64),
    Boolean(bool),
    Null,
    /// `- x`
    Negate(NodeId),
    Not(NodeId),
    IsNull(NodeId),
    Equal(NodeId, NodeId),
    Ordered(NodeId, Order, NodeId),
    Between {
        value: NodeId,
        low: NodeId,
        high: NodeId,
        negated: bool,
    },
    /// The list is sorted.
    In {
        property: NodeId,
        list: Box<[Box<str>]>,
        negated: bool,
    },
    Search {
        value: NodeId,
        place: Place,
        text: Box<str>,
        negated: bool,
    },
    /// AND of all.
    All(Box<[NodeId]>),
    /// OR of all.
    Any(Box<[NodeId]>),
}

/// A comparison of what has an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Order {
    /// `None`: the sides are of different kinds, which upstream takes for less.
    fn holds(self, found: Option<Ordering>) -> bool {
        let found = found.unwrap_or(Ordering::Less);
        match self {
            Order::Greater => found.is_gt(),
            Order::GreaterOrEqual => found.is_ge(),
            Order::Less => found.is_lt(),
            Order::LessOrEqual => found.is_le(),
        }
    }
}

/// Where text is searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Anywhere,
    Start,
    End,
}

impl Program {
    /// Puts the value of each named property into its slot; the last one of a name counts.
    fn fill<'p>(&self, properties: &Properties<'p>, slots: &mut [Option<&'p str>; PROPERTIES_MAX]) {
        for (name, value) in properties.iter() {
            let found = self.by_name.binary_search_by(|slot| (*self.names[usize::from(*slot)]).cmp(name));
            if let Ok(index) = found {
                slots[usize::from(self.by_name[index])] = Some(value);
            }
        }
    }
}

/// One run over the parts.
struct Evaluation<'a> {
    nodes: &'a [Node],
    slots: &'a [Option<&'a str>; PROPERTIES_MAX],
}

impl<'a> Evaluation<'a> {
    /// A part as a condition: a property that is there counts as false.
    fn truth(&self, id: NodeId) -> Result<Option<bool>, EvaluationError> {
        Ok(match self.value(id)? {
            Value::Boolean(value) => Some(value),
            Value::Null => None,
            Value::Int(_) | Value::Long(_) | Value::Double(_) | Value::Text(_) => Some(false),
        })
    }

    fn value(&self, id: NodeId) -> Result<Value<'a>, EvaluationError> {
        let condition = match &self.nodes[usize::from(id)] {
            Node::Property(slot) => return Ok(self.slots[usize::from(*slot)].map_or(Value::Null, Value::Text)),
            Node::Text(text) => return Ok(Value::Text(text)),
            Node::Int(value) => return Ok(Value::Int(*value)),
            Node::Long(value) => return Ok(Value::Long(*value)),
            Node::Double(value) => return Ok(Value::Double(*value)),
            Node::Negate(inner) => return Ok(negate(self.value(*inner)?)),
            Node::Null => None,
            Node::Boolean(value) => Some(*value),
            Node::Not(inner) => self.truth(*inner)?.map(|value| !value),
            Node::IsNull(inner) => Some(self.value(*inner)? == Value::Null),
            Node::Equal(left, right) => self.equal(*left, *right)?,
            Node::Ordered(left, order, right) => {
                let left = self.value(*left)?;
                self.ordered(left, *order, *right)?
            }
            Node::Between { value, low, high, negated } => self.between(*value, *low, *high, *negated)?,
            Node::In { property, list, negated } => match self.value(*property)? {
                Value::Text(found) => Some(list.binary_search_by(|text| (**text).cmp(found)).is_ok() != *negated),
                _ => None,
            },
            Node::Search { value, place, text, negated } => {
                let found = self.value(*value)?;
                Some(search(found, *place, text).is_some_and(|found| found != *negated))
            }
            Node::All(parts) => self.first_or_null(parts, false)?,
            Node::Any(parts) => self.first_or_null(parts, true)?,
        };
        Ok(condition.map_or(Value::Null, Value::Boolean))
    }

    /// One missing side is not treated as the other: on the left it makes NULL, on the right FALSE, both are equal.
    fn equal(&self, left: NodeId, right: NodeId) -> Result<Option<bool>, EvaluationError> {
        Ok(match (self.value(left)?, self.value(right)?) {
            (Value::Null, Value::Null) => Some(true),
            (Value::Null, _) => None,
            (_, Value::Null) => Some(false),
            (left, right) => Some(value::are_equal(left, right)?),
        })
    }

    fn ordered(&self, left: Value<'a>, order: Order, right: NodeId) -> Result<Option<bool>, EvaluationError> {
        if left == Value::Null {
            return Ok(None);
        }
        let right = self.value(right)?;
        if right == Value::Null {
            return Ok(None);
        }
        Ok(Some(order.holds(value::order(left, right)?)))
    }

    /// As two comparisons with AND, or with OR where negated; the second one is made only where it can matter.
    fn between(
        &self,
        value: NodeId,
        low: NodeId,
        high: NodeId,
        negated: bool,
    ) -> Result<Option<bool>, EvaluationError> {
        let (from, to) =
            if negated { (Order::Less, Order::Greater) } else { (Order::GreaterOrEqual, Order::LessOrEqual) };
        let value = self.value(value)?;
        let first = self.ordered(value, from, low)?;
        if first == Some(negated) {
            return Ok(first);
        }
        let second = self.ordered(value, to, high)?;
        Ok(if second == Some(negated) { second } else { first.and(second) })
    }

    /// The answer of AND (`decides` is false) and OR (`decides` is true): that value if any part has it, else NULL if
    /// any part is, else the other value.
    fn first_or_null(&self, parts: &[NodeId], decides: bool) -> Result<Option<bool>, EvaluationError> {
        let mut answer = Some(!decides);
        for part in parts {
            match self.truth(*part)? {
                Some(value) if value == decides => return Ok(Some(decides)),
                Some(_) => {}
                None => answer = None,
            }
        }
        Ok(answer)
    }
}

fn negate(value: Value<'_>) -> Value<'_> {
    match value {
        Value::Int(value) => Value::Int(value.wrapping_neg()),
        Value::Long(value) => Value::Long(value.wrapping_neg()),
        Value::Double(value) => Value::Double(-value),
        // Upstream negates no text, not even that of a number.
        Value::Null | Value::Boolean(_) | Value::Text(_) => Value::Null,
    }
}

/// `None`: there is no text to search, or nothing to search for.
fn search(value: Value<'_>, place: Place, text: &str) -> Option<bool> {
    let Value::Text(value) = value else { return None };
    if text.is_empty() {
        return None;
    }
    Some(match place {
        Place::Anywhere => value.contains(text),
        Place::Start => value.starts_with(text),
        Place::End => value.ends_with(text),
    })
}
