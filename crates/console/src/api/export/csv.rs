//! Messages as comma-separated values (RFC 4180), for spreadsheets: what senders wrote stays text there.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::admin::StoredMessage;
use client::calendar::text_of_ms;

/// Without it, spreadsheets take UTF-8 for the system's own encoding.
const BYTE_ORDER_MARK: char = '\u{feff}';

const COLUMNS: [&str; 15] = [
    "storedAt",
    "bornAt",
    "topic",
    "broker",
    "queue",
    "offset",
    "id",
    "offsetId",
    "tag",
    "keys",
    "reconsumeTimes",
    "size",
    "properties",
    "body",
    "bodyEncoding",
];

/// What a table begins with.
pub fn head(table: &mut String) {
    table.push(BYTE_ORDER_MARK);
    cells(table, COLUMNS.into_iter());
}

/// One message.
pub fn row(table: &mut String, message: &StoredMessage) {
    let received = &message.received;
    let (body, encoding) = match std::str::from_utf8(&received.body) {
        Ok(text) => (text.to_owned(), "utf-8"),
        Err(_) => (STANDARD.encode(&received.body), "base64"),
    };
    let properties: BTreeMap<&String, &String> =
        received.properties.iter().map(|(name, value)| (name, value)).collect();
    let row: [&str; COLUMNS.len()] = [
        &text_of_ms(received.store_timestamp_ms),
        &text_of_ms(received.born_timestamp_ms),
        &received.topic,
        &received.broker,
        &received.queue_id.to_string(),
        &received.offset.to_string(),
        &received.message_id,
        &received.offset_message_id,
        received.tag.as_deref().unwrap_or_default(),
        received.keys.as_deref().unwrap_or_default(),
        &received.reconsume_times.to_string(),
        &received.body.len().to_string(),
        &serde_json::json!(properties).to_string(),
        &body,
        encoding,
    ];
    cells(table, row.into_iter());
}

/// A row with nothing but a remark.
pub fn note(table: &mut String, text: &str) {
    cells(table, [text].into_iter().chain(std::iter::repeat_n("", COLUMNS.len() - 1)));
}

fn cells<'c>(table: &mut String, cells: impl Iterator<Item = &'c str>) {
    for (at, cell) in cells.enumerate() {
        table.push_str(if at == 0 { "\"" } else { ",\"" });
        if is_formula(cell) {
            table.push('\'');
        }
        table.push_str(&cell.replace('"', "\"\""));
        table.push('"');
    }
    table.push_str("\r\n");
}

/// Whether a spreadsheet may take a text for something to compute; an apostrophe before it makes it text. Signs of full
/// width count as their narrow ones in East Asian settings.
fn is_formula(cell: &str) -> bool {
    let begins = |c: char| ['=', '+', '-', '@', '＝', '＋', '－', '＠'].contains(&c);
    cell.starts_with(['\t', '\r', '\n']) || cell.trim_start().starts_with(begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(row: &[&str]) -> String {
        let mut table = String::new();
        cells(&mut table, row.iter().copied());
        table
    }

    #[test]
    fn cells_are_in_quotes_whatever_they_hold() {
        assert_eq!(written(&["a", "", "b,c;d", "e\"f\r\ng"]), "\"a\",\"\",\"b,c;d\",\"e\"\"f\r\ng\"\r\n");
    }

    #[test]
    fn what_would_be_computed_stays_text() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\u{a0}=1", "＝1", "\n1"] {
            assert_eq!(written(&[text]), format!("\"'{text}\"\r\n"), "{text:?}");
        }
        for text in ["1=1", "a-b", "", "{\"a\":1}", "'=1", "\"=1\""] {
            assert!(!written(&[text]).starts_with("\"'") || text.starts_with('\''), "{text:?}");
        }
    }

    #[test]
    fn every_row_has_all_columns() {
        let mut table = String::new();
        head(&mut table);
        note(&mut table, "incomplete");
        let (head, note) = table.trim_end().split_once("\r\n").unwrap();
        assert!(head.starts_with("\u{feff}\"storedAt\","));
        assert_eq!((head.matches("\",\"").count(), note.matches(',').count()), (14, 14));
    }
}
