//! Message traces: what clients tell about sends and consumptions.
//!
//! Sources: `client/.../trace/{TraceDataEncoder,TraceConstants}.java`. Records end with 0x02, fields with 0x01.

use client::admin::StoredMessage;
use serde::Serialize;

use super::print::Out;
use super::times;

/// One send or one consumption of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trace {
    /// `Pub` or `Sub`, and what other records there are.
    pub kind: String,
    /// Group of the client.
    pub group: String,
    /// Address of the client.
    pub client_host: String,
    /// When it began, in milliseconds since 1970.
    pub time_ms: i64,
    /// How long it took, in milliseconds.
    pub cost_ms: i64,
    /// Whether it went well.
    pub success: bool,
}

/// Traces of the message `id` that a trace message tells.
pub fn read(trace: &StoredMessage, id: &str) -> Vec<Trace> {
    let text = String::from_utf8_lossy(&trace.received.body).into_owned();
    let records: Vec<Vec<&str>> = text.split('\x02').map(|record| record.split('\x01').collect()).collect();
    records.iter().filter_map(|record| one(record, &records, id, &trace.born_host.ip().to_string())).collect()
}

fn one(record: &[&str], all: &[Vec<&str>], id: &str, client_host: &str) -> Option<Trace> {
    let field = |at: usize| record.get(at).copied().unwrap_or_default();
    let number = |text: &str| text.parse().unwrap_or(0);
    let trace = |group: &str, time: &str, cost: &str, success: bool| Trace {
        kind: field(0).replace("Before", ""),
        group: group.to_owned(),
        client_host: client_host.to_owned(),
        time_ms: number(time),
        cost_ms: number(cost),
        success,
    };
    match field(0) {
        "Pub" if field(5) == id => Some(trace(field(3), field(1), field(10), field(13) == "true")),
        "EndTransaction" if field(5) == id => Some(trace(field(3), field(1), "0", field(11) == "COMMIT_MESSAGE")),
        "Recall" if field(5) == id => Some(trace(field(3), field(1), "0", field(6) == "true")),
        "SubBefore" if field(5) == id => {
            let after = all
                .iter()
                .find(|after| after[0] == "SubAfter" && after.get(1) == Some(&field(4)) && after.get(2) == Some(&id));
            let end = |at: usize| after.and_then(|after| after.get(at)).copied().unwrap_or_default();
            Some(trace(field(3), field(1), end(3), end(4) == "true"))
        }
        // The end of a consumption whose beginning stands in another trace message.
        "SubAfter" if field(2) == id => {
            let begun = all.iter().any(|before| {
                before[0] == "SubBefore" && before.get(4) == Some(&field(1)) && before.get(5) == Some(&id)
            });
            let after = trace(field(8), field(7), field(3), field(4) == "true");
            (!begun).then(|| Trace { kind: "Sub".to_owned(), ..after })
        }
        _ => None,
    }
}

/// Prints sends, then consumptions.
pub fn print(traces: &[Trace], out: &mut Out) {
    let row = |cells: [&str; 6]| {
        let [kind, group, host, time, cost, status] = cells;
        format!("{kind:<10} {group:<20} {host:<20} {time:<20} {cost:<10} {status:<10}")
    };
    for (headers, consumed) in [
        (["#Type", "#ProducerGroup", "#ClientHost", "#SendTime", "#CostTimes", "#Status"], false),
        (["#Type", "#ConsumerGroup", "#ClientHost", "#ConsumerTime", "#CostTimes", "#Status"], true),
    ] {
        let mut shown = traces.iter().filter(|trace| (trace.kind == "Sub") == consumed).peekable();
        if shown.peek().is_none() {
            continue;
        }
        out.line(row(headers));
        for trace in shown {
            let (time, cost) = (times::with_seconds(trace.time_ms), format!("{}ms", trace.cost_ms));
            let status = if trace.success { "success" } else { "failed" };
            out.row(trace, row([&trace.kind, &trace.group, &trace.client_host, &time, &cost, status]));
        }
        out.line("");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traces(records: &[&str]) -> Vec<Trace> {
        let records: Vec<Vec<&str>> = records.iter().map(|record| record.split('|').collect()).collect();
        records.iter().filter_map(|record| one(record, &records, "ID", "10.0.0.1")).collect()
    }

    #[test]
    fn a_send_is_read() {
        let read = traces(&["Pub|5|region|pg|topic|ID|tag|key|host:1|7|109|0|OFFSETID|true", "Pub|5|r|pg|t|OTHER|x"]);
        assert_eq!(read.len(), 1);
        assert_eq!((read[0].group.as_str(), read[0].time_ms, read[0].cost_ms, read[0].success), ("pg", 5, 109, true));
    }

    #[test]
    fn both_halves_of_a_consumption_are_one() {
        let before = "SubBefore|9|region|cg|REQ|ID|0|key";
        let after = "SubAfter|REQ|ID|12|false|key|4|10|cg";
        let read = traces(&[before, after]);
        assert_eq!(read.len(), 1);
        assert_eq!((read[0].kind.as_str(), read[0].cost_ms, read[0].success), ("Sub", 12, false));
        assert_eq!(traces(&[after])[0].group, "cg");
    }

    #[test]
    fn broken_records_are_no_traces() {
        assert!(traces(&["", "Pub", "SubAfter|x", "Nothing|at|all"]).is_empty());
    }
}
