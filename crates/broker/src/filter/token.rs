//! Cuts an expression into tokens.
//!
//! Source: the token part of `filter/.../parser/SelectorParser.jj`. Names in back-quotes are ours: upstream can name no
//! property with a dot or a dash.

use super::error::{FilterError, Span};

/// A piece of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// A word that is part of the language.
    Keyword(Keyword),
    /// Name of a property.
    Name(&'a str),
    /// Text in quotes.
    Text(String),
    /// A whole number as written, without `L`.
    Integer(&'a str),
    /// A number with a point or an exponent.
    Decimal(&'a str),
    /// An operator or a bracket.
    Sign(&'static str),
    /// Nothing follows.
    End,
}

/// Words of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    Not,
    And,
    Or,
    Between,
    In,
    True,
    False,
    Null,
    Is,
    Contains,
    StartsWith,
    EndsWith,
}

const KEYWORDS: [(&str, Keyword); 12] = [
    ("NOT", Keyword::Not),
    ("AND", Keyword::And),
    ("OR", Keyword::Or),
    ("BETWEEN", Keyword::Between),
    ("IN", Keyword::In),
    ("TRUE", Keyword::True),
    ("FALSE", Keyword::False),
    ("NULL", Keyword::Null),
    ("IS", Keyword::Is),
    ("CONTAINS", Keyword::Contains),
    ("STARTSWITH", Keyword::StartsWith),
    ("ENDSWITH", Keyword::EndsWith),
];

/// Longer ones first: the first that fits is taken.
const SIGNS: [&str; 11] = ["<>", "<=", ">=", "=", "<", ">", "(", ")", ",", "+", "-"];

/// Reads tokens one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    pub fn new(text: &'a str) -> Tokens<'a> {
        Tokens { text, at: 0 }
    }

    /// The next token and where it is.
    pub fn next(&mut self) -> Result<(Token<'a>, Span), FilterError> {
        self.skip_blanks()?;
        let start = self.at;
        let rest = &self.text[start..];
        let token = match rest.bytes().next() {
            None => Token::End,
            Some(b'\'') => Token::Text(self.quoted(b'\'', "text")?.replace("''", "'")),
            Some(b'`') => Token::Name(self.quoted(b'`', "name")?),
            Some(b'0'..=b'9') => self.number(rest),
            Some(b'.') if rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit) => self.number(rest),
            Some(byte) if is_name_start(byte) => self.word(rest),
            Some(_) => self.sign(rest)?,
        };
        Ok((token, Span { start, end: self.at }))
    }

    /// A token as it was written; a long one without its end.
    pub fn written(&self, at: Span) -> &'a str {
        let token = self.text.get(at.start..at.end).unwrap_or_default();
        token.char_indices().nth(40).map_or(token, |(end, _)| &token[..end])
    }

    fn skip_blanks(&mut self) -> Result<(), FilterError> {
        loop {
            let rest = &self.text[self.at..];
            let blanks = rest.bytes().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0C)).count();
            self.at += blanks;
            let rest = &rest[blanks..];
            if rest.starts_with("--") {
                // Upstream needs the end of the line; at the end of the text nothing else makes sense either.
                self.at += rest.find(['\n', '\r']).unwrap_or(rest.len());
            } else if let Some(comment) = rest.strip_prefix("/*") {
                let Some(end) = comment.find("*/") else {
                    let at = Span { start: self.at, end: self.text.len() };
                    return Err(FilterError::Unfinished { what: "comment", at });
                };
                self.at += end + 4;
            } else {
                return Ok(());
            }
        }
    }

    /// What lies between quotes; two of them inside stand for one.
    fn quoted(&mut self, quote: u8, what: &'static str) -> Result<&'a str, FilterError> {
        let start = self.at + 1;
        let bytes = self.text.as_bytes();
        let mut at = start;
        loop {
            match bytes.get(at) {
                None => {
                    let at = Span { start: self.at, end: self.text.len() };
                    return Err(FilterError::Unfinished { what, at });
                }
                Some(byte) if *byte == quote && bytes.get(at + 1) == Some(&quote) && quote == b'\'' => at += 2,
                Some(byte) if *byte == quote => break,
                Some(_) => at += 1,
            }
        }
        self.at = at + 1;
        Ok(&self.text[start..at])
    }

    /// `0`, a number without leading zero, or one with a point or an exponent; whichever reads further.
    fn number(&mut self, rest: &'a str) -> Token<'a> {
        let bytes = rest.as_bytes();
        let digits_from = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let whole = digits_from(0);
        let mut end = whole;
        let mut is_decimal = false;
        if bytes.get(end) == Some(&b'.') {
            is_decimal = true;
            end += 1 + digits_from(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = digits_from((end + 1 + sign).min(bytes.len()));
            if exponent != 0 {
                is_decimal = true;
                end += 1 + sign + exponent;
            }
        }
        if is_decimal {
            self.at += end;
            return Token::Decimal(&rest[..end]);
        }
        if bytes[0] == b'0' {
            self.at += 1;
            return Token::Integer("0");
        }
        self.at += whole + usize::from(matches!(bytes.get(whole), Some(b'l' | b'L')));
        Token::Integer(&rest[..whole])
    }

    fn word(&mut self, rest: &'a str) -> Token<'a> {
        let end = rest.bytes().take_while(|byte| is_name_start(*byte) || byte.is_ascii_digit()).count();
        self.at += end;
        let word = &rest[..end];
        let keyword = KEYWORDS.iter().find(|(text, _)| text.eq_ignore_ascii_case(word));
        keyword.map_or(Token::Name(word), |(_, keyword)| Token::Keyword(*keyword))
    }

    fn sign(&mut self, rest: &str) -> Result<Token<'a>, FilterError> {
        let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) else {
            let found = rest.chars().next().unwrap_or_default();
            let at = Span { start: self.at, end: self.at + found.len_utf8() };
            return Err(FilterError::Character { found, at });
        };
        self.at += sign.len();
        Ok(Token::Sign(sign))
    }
}

fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte == b'$'
}
