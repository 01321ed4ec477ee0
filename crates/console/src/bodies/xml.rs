//! XML with one element a line. Only blanks between tags change: text stays as it is, nothing is expanded or looked up.

use super::outline::{Flaw, Input, Outline, Outlined, Stop};
use super::readable;

/// A document, as text.
pub fn outlined(bytes: &[u8]) -> Result<Outlined, Flaw> {
    let text = readable(bytes).ok_or(Flaw::Unknown(0))?;
    Outline::of(bytes, |input, out| document(text, input, out))
}

/// Whether these bytes are a document from beginning to end.
pub fn is_likely(bytes: &[u8]) -> bool {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    first == Some(&b'<') && outlined(bytes).is_ok()
}

/// What a piece of a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'t> {
    Open(&'t str),
    Close(&'t str),
    /// An element without anything in it.
    Empty,
    /// A comment, an instruction, the type of the document.
    Aside,
    /// Text, also as CDATA.
    Text,
}

fn document<'t>(text: &'t str, input: &mut Input<'_>, out: &mut Outline) -> Result<(), Stop> {
    let mut open: Vec<&'t str> = Vec::new();
    let mut has_root = false;
    let mut before = None;
    loop {
        let blanks = text[input.at()..].len() - text[input.at()..].trim_start().len();
        let at = input.at() + blanks;
        let rest = &text[at..];
        if rest.is_empty() {
            input.take(blanks as u64)?;
            return if has_root && open.is_empty() { Ok(()) } else { Err(Flaw::Ends(at).into()) };
        }
        let (piece, length) = piece(rest, at)?;
        let is_text = piece == Piece::Text;
        // Blanks belong to text that they touch.
        let shown =
            if is_text || before == Some(Piece::Text) { &text[input.at()..at + length] } else { &rest[..length] };
        match piece {
            Piece::Close(name) if open.pop() != Some(name) => return Err(Flaw::Unknown(at).into()),
            Piece::Close(_) => out.back(),
            Piece::Open(_) | Piece::Empty if has_root && open.is_empty() => return Err(Flaw::Rest(at).into()),
            Piece::Text if open.is_empty() => {
                return Err(if has_root { Flaw::Rest(at) } else { Flaw::Unknown(at) }.into());
            }
            _ => {}
        }
        let is_closed_at_once = matches!((before, piece), (Some(Piece::Open(_)), Piece::Close(_)));
        if before.is_some_and(|before| before != Piece::Text) && !is_text && !is_closed_at_once {
            out.line()?;
        }
        out.push(shown)?;
        input.take((blanks + length) as u64)?;
        if let Piece::Open(name) = piece {
            out.deeper()?;
            open.push(name);
        }
        has_root |= matches!(piece, Piece::Open(_) | Piece::Empty);
        before = Some(piece);
    }
}

/// What a text that is not empty begins with, and how long that is.
fn piece(rest: &str, at: usize) -> Result<(Piece<'_>, usize), Flaw> {
    let until = |end: &str, from: usize| {
        let found = rest.get(from..).and_then(|rest| rest.find(end));
        found.map(|found| from + found + end.len()).ok_or(Flaw::Ends(at))
    };
    if !rest.starts_with('<') {
        let length = rest.find('<').unwrap_or(rest.len());
        // Blanks after it are taken with the next piece.
        return Ok((Piece::Text, rest[..length].trim_end().len()));
    }
    if rest.starts_with("<!--") {
        return Ok((Piece::Aside, until("-->", 4)?));
    }
    if rest.starts_with("<![CDATA[") {
        return Ok((Piece::Text, until("]]>", 9)?));
    }
    if rest.starts_with("<?") {
        return Ok((Piece::Aside, until("?>", 2)?));
    }
    if rest.starts_with("<!DOCTYPE") {
        let end = until(">", 9)?;
        let has_parts = rest[..end].contains('[');
        return Ok((Piece::Aside, if has_parts { until("]>", 9)? } else { end }));
    }
    let length = tag_length(rest).ok_or(Flaw::Ends(at))?;
    let inside = &rest[1..length - 1];
    let (is_close, inside) = inside.strip_prefix('/').map_or((false, inside), |inside| (true, inside));
    let is_end = |c: char| c.is_ascii_whitespace() || c == '/';
    let name = &inside[..inside.find(is_end).unwrap_or(inside.len())];
    if !name.starts_with(|c: char| c.is_alphabetic() || ['_', ':'].contains(&c)) || name.contains(['<', '"', '\'', '='])
    {
        return Err(Flaw::Unknown(at));
    }
    let piece = match (is_close, inside.ends_with('/')) {
        (true, false) if inside.trim_end() == name => Piece::Close(name),
        (true, _) => return Err(Flaw::Unknown(at)),
        (false, true) => Piece::Empty,
        (false, false) => Piece::Open(name),
    };
    Ok((piece, length))
}

/// Bytes up to the end of a tag; in quotes, `>` ends nothing.
fn tag_length(rest: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in rest.char_indices() {
        match (quote, c) {
            (None, '>') => return Some(at + 1),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_element_has_a_line_and_text_stays_where_it_is() {
        let check = |xml: &str, expected: &str| assert_eq!(outlined(xml.as_bytes()).unwrap().text, expected, "{xml}");
        check("<a/>", "<a/>");
        check(" <a></a> ", "<a></a>");
        check("<a> </a>", "<a></a>");
        check("<a><b>1</b><c x='>'/></a>", "<a>\n  <b>1</b>\n  <c x='>'/>\n</a>");
        check("<p>a <b>c</b> d\n</p>", "<p>a <b>c</b> d\n</p>");
        check("<p> a <b>c</b> <i/></p>", "<p> a <b>c</b>\n  <i/>\n</p>");
        check(
            "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY x \"y\">]><!-- > --><a>&x;<![CDATA[<b>]]></a>",
            "<?xml version=\"1.0\"?>\n<!DOCTYPE a [<!ENTITY x \"y\">]>\n<!-- > -->\n<a>&x;<![CDATA[<b>]]></a>",
        );
        check("<订单 号=\"1\"><n:项/></订单>", "<订单 号=\"1\">\n  <n:项/>\n</订单>");
    }

    #[test]
    fn what_is_no_document_says_where_and_why() {
        let check = |xml: &str, flaw: Flaw| assert_eq!(outlined(xml.as_bytes()), Err(flaw), "{xml}");
        check("", Flaw::Ends(0));
        check("text", Flaw::Unknown(0));
        check("<a>", Flaw::Ends(3));
        check("<a", Flaw::Ends(0));
        check("<a x='>", Flaw::Ends(0));
        check("<a></b>", Flaw::Unknown(3));
        check("</a>", Flaw::Unknown(0));
        check("<a></a x>", Flaw::Unknown(3));
        check("< a/>", Flaw::Unknown(0));
        check("<1/>", Flaw::Unknown(0));
        check("<>", Flaw::Unknown(0));
        check("</>", Flaw::Unknown(0));
        check("<a/><b/>", Flaw::Rest(4));
        check("<a/> b", Flaw::Rest(5));
        check("<!-- ", Flaw::Ends(0));
        check("<?x?>", Flaw::Ends(5));
        check(&"<a>".repeat(1000), Flaw::TooDeep);
    }

    proptest! {
        #[test]
        fn only_blanks_change(pieces in prop::collection::vec(prop::sample::select(
            &["<a>", "</a>", "<b x='1'>", "</b>", "<c/>", " ", "\n", "x", "é", "<!-- -->", "<![CDATA[ ]]>", "<", ">"][..],
        ), 0..12)) {
            let xml = format!("<a>{}</a>", pieces.concat());
            let without_blanks = |text: &str| text.replace(char::is_whitespace, "");
            if let Ok(seen) = outlined(xml.as_bytes()) {
                prop_assert_eq!(without_blanks(&seen.text), without_blanks(&xml));
                prop_assert_eq!(&outlined(seen.text.as_bytes()).unwrap().text, &seen.text);
            }
        }

        #[test]
        fn any_text_is_a_document_or_not(text in "[<>/a\"'!?\\[\\]= é-]{0,40}") {
            let _ = outlined(text.as_bytes());
        }
    }
}
