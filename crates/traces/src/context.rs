//! Where a span belongs, as W3C Trace Context writes it: `00-<trace id>-<span id>-<flags>`.

/// Trace and span that another span belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Id of the trace; not all zero.
    pub trace_id: [u8; 16],
    /// Id of the span; not all zero.
    pub span_id: [u8; 8],
    /// Whether whoever began the trace records it.
    pub sampled: bool,
}

impl TraceContext {
    /// Reads a `traceparent`. `None` if it is not one, as W3C asks: then there is no trace.
    pub fn parse(text: &str) -> Option<TraceContext> {
        let mut parts = text.trim().splitn(5, '-');
        let version: [u8; 1] = hex(parts.next()?)?;
        let trace_id: [u8; 16] = hex(parts.next()?)?;
        let span_id: [u8; 8] = hex(parts.next()?)?;
        let flags: [u8; 1] = hex(parts.next()?)?;
        // Later versions may add parts; version 0 has none, and 255 is no version.
        let is_whole = match version[0] {
            0 => parts.next().is_none(),
            version => version != 0xFF,
        };
        let is_valid = is_whole && trace_id != [0; 16] && span_id != [0; 8];
        is_valid.then_some(TraceContext { trace_id, span_id, sampled: flags[0] & 1 == 1 })
    }
}

/// Reads lower-case hexadecimal digits, exactly as many as fit.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let mut bytes = [0; N];
    if pairs.len() != N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read() {
        let context = TraceContext::parse(EXAMPLE).unwrap();
        assert_eq!(context.trace_id[..3], [0x4b, 0xf9, 0x2f]);
        assert_eq!(context.span_id, [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
        assert!(context.sampled);
        let unsampled = EXAMPLE.replace("-01", "-00");
        assert!(!TraceContext::parse(&unsampled).unwrap().sampled);
        let later = format!("01{}-more", &EXAMPLE[2..]);
        assert_eq!(TraceContext::parse(&later), Some(context));
    }

    #[test]
    fn what_is_no_traceparent_is_none() {
        let wrong = [
            "",
            "trace",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47ü-00f067aa0ba902b7-01",
        ];
        for text in wrong {
            assert_eq!(TraceContext::parse(text), None, "{text}");
        }
    }
}
