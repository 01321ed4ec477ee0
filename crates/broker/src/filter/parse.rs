//! Reads an expression into a [`Program`], by recursive descent with a limit.
//!
//! From loosest to tightest: OR; AND; `=`, `<>`, IS; `<` and its like, BETWEEN, IN, CONTAINS, STARTSWITH, ENDSWITH; signs
//! and NOT. So `NOT a = 5` is `(NOT a) = 5`, as upstream reads it. Unlike upstream, nothing may follow the expression.
//!
//! Source: the grammar part of `filter/.../parser/SelectorParser.jj`, and the checks of
//! `filter/.../expression/ComparisonExpression.java`.

use super::error::{FilterError, Span};
use super::program::{Node, NodeId, Order, Place, Program, Slot};
use super::token::{Keyword, Token, Tokens};
use super::{DEPTH_MAX, PARTS_MAX, PROPERTIES_MAX, SEARCHES_MAX};

/// What a part can be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Number,
    Text,
    /// `TRUE` and `FALSE`: literals and conditions.
    Boolean,
    /// A literal and a condition.
    Null,
    Property,
    /// What a sign makes of a part.
    Negated,
    Condition,
}

impl Class {
    fn is_literal(self) -> bool {
        matches!(self, Class::Number | Class::Text | Class::Boolean | Class::Null)
    }
}

/// A part that was read.
#[derive(Clone, Copy, Debug)]
struct Part {
    node: NodeId,
    class: Class,
    depth: usize,
    at: Span,
}

pub(super) struct Parser<'a> {
    tokens: Tokens<'a>,
    token: Token<'a>,
    at: Span,
    program: Program,
    /// How deep the descent is.
    depth: usize,
    /// Entries of lists, which are no nodes but count as parts.
    listed: usize,
    searches: usize,
}

type Read = Result<Part, FilterError>;

impl<'a> Parser<'a> {
    /// Reads a whole expression.
    pub fn parse(text: &'a str) -> Result<Program, FilterError> {
        let mut tokens = Tokens::new(text);
        let (token, at) = tokens.next()?;
        if token == Token::End {
            return Err(FilterError::Empty);
        }
        let program = Program::default();
        let mut parser = Parser { tokens, token, at, program, depth: 0, listed: 0, searches: 0 };
        let whole = parser.or()?;
        if parser.token != Token::End {
            return Err(parser.expected("AND, OR or the end"));
        }
        let whole = condition(whole)?;
        let Parser { mut program, .. } = parser;
        program.root = whole.node;
        program.by_name = (0..program.names.len()).map(|slot| slot as Slot).collect();
        let names = &program.names;
        program.by_name.sort_by(|left, right| names[usize::from(*left)].cmp(&names[usize::from(*right)]));
        Ok(program)
    }

    fn or(&mut self) -> Read {
        self.chain(Keyword::Or, Self::and, Node::Any)
    }

    fn and(&mut self) -> Read {
        self.chain(Keyword::And, Self::equality, Node::All)
    }

    /// Conditions with the same word between them become one node, so that a long chain is not deep.
    fn chain(&mut self, word: Keyword, part: fn(&mut Self) -> Read, node: fn(Box<[NodeId]>) -> Node) -> Read {
        let first = part(self)?;
        if self.token != Token::Keyword(word) {
            return Ok(first);
        }
        let mut parts = vec![condition(first)?];
        while self.take(&Token::Keyword(word))? {
            let next = part(self)?;
            parts.push(condition(next)?);
        }
        let ids = parts.iter().map(|part| part.node).collect();
        self.join(node(ids), Class::Condition, &parts)
    }

    fn equality(&mut self) -> Read {
        let mut left = self.comparison()?;
        loop {
            left = if self.take(&Token::Sign("="))? {
                self.equal(left)?
            } else if self.take(&Token::Sign("<>"))? {
                let equal = self.equal(left)?;
                self.join(Node::Not(equal.node), Class::Condition, &[equal])?
            } else if self.take(&Token::Keyword(Keyword::Is))? {
                let negated = self.take(&Token::Keyword(Keyword::Not))?;
                let null = self.need(&Token::Keyword(Keyword::Null), "NULL")?;
                let is_null = self.join(Node::IsNull(left.node), Class::Condition, &[left])?;
                let is_null = Part { at: left.at.to(null), ..is_null };
                if negated { self.join(Node::Not(is_null.node), Class::Condition, &[is_null])? } else { is_null }
            } else {
                return Ok(left);
            };
        }
    }

    fn equal(&mut self, left: Part) -> Read {
        let right = self.comparison()?;
        if let Some(null) = [left, right].iter().find(|part| part.class == Class::Null) {
            return Err(FilterError::EqualToNull { at: null.at });
        }
        if left.class == Class::Boolean && matches!(right.class, Class::Number | Class::Text) {
            return Err(FilterError::Incomparable { at: right.at });
        }
        self.join(Node::Equal(left.node, right.node), Class::Condition, &[left, right])
    }

    fn comparison(&mut self) -> Read {
        let mut left = self.unary()?;
        loop {
            left = match self.token {
                Token::Sign(sign) => match order_of(sign) {
                    Some(order) => {
                        self.advance()?;
                        self.ordered(left, sign, order)?
                    }
                    None => return Ok(left),
                },
                Token::Keyword(Keyword::Not) => {
                    self.advance()?;
                    match self.token {
                        Token::Keyword(word) => match self.property_test(left, word, true)? {
                            Some(part) => part,
                            None => return Err(self.expected(TESTS)),
                        },
                        _ => return Err(self.expected(TESTS)),
                    }
                }
                Token::Keyword(word) => match self.property_test(left, word, false)? {
                    Some(part) => part,
                    None => return Ok(left),
                },
                _ => return Ok(left),
            };
        }
    }

    fn ordered(&mut self, left: Part, sign: &'static str, order: Order) -> Read {
        let right = self.unary()?;
        check_ordered(sign, &[left, right])?;
        self.join(Node::Ordered(left.node, order, right.node), Class::Condition, &[left, right])
    }

    /// BETWEEN, IN, CONTAINS and their like; `None` for any other word, which is left.
    fn property_test(&mut self, value: Part, word: Keyword, negated: bool) -> Result<Option<Part>, FilterError> {
        let place = match word {
            Keyword::Between => return self.between(value, negated).map(Some),
            Keyword::In => return self.in_list(value, negated).map(Some),
            Keyword::Contains => Place::Anywhere,
            Keyword::StartsWith => Place::Start,
            Keyword::EndsWith => Place::End,
            _ => return Ok(None),
        };
        self.advance()?;
        let (text, at) = self.text()?;
        self.searches += 1;
        if self.searches > SEARCHES_MAX {
            return Err(FilterError::TooManySearches { at });
        }
        let node = Node::Search { value: value.node, place, text, negated };
        let part = self.join(node, Class::Condition, &[value])?;
        Ok(Some(Part { at: value.at.to(at), ..part }))
    }

    fn between(&mut self, value: Part, negated: bool) -> Read {
        self.advance()?;
        let low = self.unary()?;
        self.need(&Token::Keyword(Keyword::And), "AND")?;
        let high = self.unary()?;
        check_ordered("BETWEEN", &[value, low, high])?;
        // Upstream looks at the bounds only here, not for NOT BETWEEN, and only at literals.
        if !negated && low.class.is_literal() && high.class.is_literal() && self.number(high) < self.number(low) {
            return Err(FilterError::Bounds { at: low.at.to(high.at) });
        }
        let node = Node::Between { value: value.node, low: low.node, high: high.node, negated };
        self.join(node, Class::Condition, &[value, low, high])
    }

    /// A literal number, for comparing two of them: whole numbers that differ by one may look equal.
    fn number(&self, part: Part) -> f64 {
        match self.program.nodes[usize::from(part.node)] {
            Node::Int(value) => f64::from(value),
            Node::Long(value) => value as f64,
            Node::Double(value) => value,
            _ => 0.0,
        }
    }

    fn in_list(&mut self, property: Part, negated: bool) -> Read {
        if property.class != Class::Property {
            return Err(FilterError::NotAProperty { at: property.at });
        }
        self.advance()?;
        self.need(&Token::Sign("("), "`(`")?;
        let mut list = Vec::new();
        loop {
            let (text, at) = self.text()?;
            list.push(text);
            self.listed += 1;
            self.check_parts(at)?;
            if !self.take(&Token::Sign(","))? {
                break;
            }
        }
        let end = self.need(&Token::Sign(")"), "`,` or `)`")?;
        list.sort_unstable();
        let node = Node::In { property: property.node, list: list.into(), negated };
        let part = self.join(node, Class::Condition, &[property])?;
        Ok(Part { at: property.at.to(end), ..part })
    }

    fn unary(&mut self) -> Read {
        let start = self.at;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(FilterError::TooDeep { at: start });
        }
        let part = if self.take(&Token::Sign("+"))? {
            let inner = self.unary()?;
            Part { at: start.to(inner.at), ..inner }
        } else if self.take(&Token::Sign("-"))? {
            let inner = self.unary()?;
            let part = self.join(Node::Negate(inner.node), Class::Negated, &[inner])?;
            Part { at: start.to(inner.at), ..part }
        } else if self.take(&Token::Keyword(Keyword::Not))? {
            let inner = self.unary()?;
            let inner = condition(inner)?;
            let part = self.join(Node::Not(inner.node), Class::Condition, &[inner])?;
            Part { at: start.to(inner.at), ..part }
        } else {
            self.primary()?
        };
        self.depth -= 1;
        Ok(part)
    }

    fn primary(&mut self) -> Read {
        let at = self.at;
        let (node, class) = match &self.token {
            Token::Sign("(") => {
                self.advance()?;
                let inner = self.or()?;
                let end = self.need(&Token::Sign(")"), "an operator or `)`")?;
                return Ok(Part { at: at.to(end), ..inner });
            }
            Token::Name(name) => {
                let slot = self.slot(name, at)?;
                (Node::Property(slot), Class::Property)
            }
            Token::Text(text) => (Node::Text(text.as_str().into()), Class::Text),
            Token::Integer(digits) => (integer(digits, at)?, Class::Number),
            Token::Decimal(digits) => (decimal(digits, at)?, Class::Number),
            Token::Keyword(Keyword::True) => (Node::Boolean(true), Class::Boolean),
            Token::Keyword(Keyword::False) => (Node::Boolean(false), Class::Boolean),
            Token::Keyword(Keyword::Null) => (Node::Null, Class::Null),
            _ => return Err(self.expected("a property, a literal, NOT or `(`")),
        };
        self.advance()?;
        let node = self.add(node, at)?;
        Ok(Part { node, class, depth: 1, at })
    }

    fn slot(&mut self, name: &str, at: Span) -> Result<Slot, FilterError> {
        let names = &mut self.program.names;
        if let Some(slot) = names.iter().position(|known| **known == *name) {
            return Ok(slot as Slot);
        }
        if names.len() == PROPERTIES_MAX {
            return Err(FilterError::TooManyProperties { name: name.to_owned(), at });
        }
        names.push(name.into());
        Ok((names.len() - 1) as Slot)
    }

    /// Text in quotes.
    fn text(&mut self) -> Result<(Box<str>, Span), FilterError> {
        let at = self.at;
        let Token::Text(text) = &mut self.token else { return Err(self.expected("text in quotes")) };
        let text = std::mem::take(text).into_boxed_str();
        self.advance()?;
        Ok((text, at))
    }

    /// A node above others.
    fn join(&mut self, node: Node, class: Class, parts: &[Part]) -> Read {
        let (first, last) = (parts[0], parts[parts.len() - 1]);
        let at = first.at.to(last.at);
        let depth = 1 + parts.iter().map(|part| part.depth).max().unwrap_or(0);
        if depth > DEPTH_MAX {
            return Err(FilterError::TooDeep { at });
        }
        Ok(Part { node: self.add(node, at)?, class, depth, at })
    }

    fn add(&mut self, node: Node, at: Span) -> Result<NodeId, FilterError> {
        self.program.nodes.push(node);
        self.check_parts(at)?;
        Ok((self.program.nodes.len() - 1) as NodeId)
    }

    fn check_parts(&self, at: Span) -> Result<(), FilterError> {
        if self.program.nodes.len() + self.listed > PARTS_MAX {
            return Err(FilterError::TooManyParts { at });
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<(), FilterError> {
        (self.token, self.at) = self.tokens.next()?;
        Ok(())
    }

    /// Takes the token if it is this one.
    fn take(&mut self, wanted: &Token<'_>) -> Result<bool, FilterError> {
        let is_there = self.token == *wanted;
        if is_there {
            self.advance()?;
        }
        Ok(is_there)
    }

    /// Takes the token, which must be this one, and says where it was.
    fn need(&mut self, wanted: &Token<'_>, name: &'static str) -> Result<Span, FilterError> {
        let at = self.at;
        if self.take(wanted)? { Ok(at) } else { Err(self.expected(name)) }
    }

    fn expected(&self, expected: &'static str) -> FilterError {
        let found = match &self.token {
            Token::End => "the end".to_owned(),
            _ => format!("`{}`", self.tokens.written(self.at)),
        };
        FilterError::Expected { expected, found, at: self.at }
    }
}

const TESTS: &str = "BETWEEN, IN, CONTAINS, STARTSWITH or ENDSWITH";

fn order_of(sign: &str) -> Option<Order> {
    match sign {
        ">" => Some(Order::Greater),
        ">=" => Some(Order::GreaterOrEqual),
        "<" => Some(Order::Less),
        "<=" => Some(Order::LessOrEqual),
        _ => None,
    }
}

/// A part that is used as a condition.
fn condition(part: Part) -> Read {
    match part.class {
        Class::Condition | Class::Boolean | Class::Null | Class::Property => Ok(part),
        Class::Number | Class::Text | Class::Negated => Err(FilterError::NotACondition { at: part.at }),
    }
}

fn check_ordered(operator: &'static str, parts: &[Part]) -> Result<(), FilterError> {
    let has_order = |part: &&Part| matches!(part.class, Class::Number | Class::Property | Class::Negated);
    match parts.iter().find(|part| !has_order(part)) {
        Some(part) => Err(FilterError::NotOrdered { operator, at: part.at }),
        None => Ok(()),
    }
}

fn integer(digits: &str, at: Span) -> Result<Node, FilterError> {
    let number = || FilterError::Number { text: digits.to_owned(), kind: "whole number of 64 bits", at };
    let value: i64 = digits.parse().map_err(|_| number())?;
    Ok(i32::try_from(value).map_or(Node::Long(value), Node::Int))
}

/// Upstream refuses what is not above zero: a literal has no sign, and zero is below its smallest double.
fn decimal(digits: &str, at: Span) -> Result<Node, FilterError> {
    match digits.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(Node::Double(value)),
        _ => {
            Err(FilterError::Number { text: digits.to_owned(), kind: "number with a point, which is above zero,", at })
        }
    }
}
