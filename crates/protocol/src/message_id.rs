//! The two message ids: the offset id (where a message lies) and the unique id (who made it).
//!
//! Sources: `common/.../message/MessageDecoder.java` (offset id), `MessageClientIDSetter.java` (unique id).
//! Both have 32 hex characters with an IPv4 address and 56 with IPv6, so they cannot be told apart by length.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where a message lies: broker address and byte position in its commit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetMessageId {
    /// Advertised address of the broker.
    pub host: SocketAddr,
    /// Byte position in the commit log.
    pub position: u64,
}

impl OffsetMessageId {
    /// Appends the id as upper-case hex.
    pub fn push(&self, out: &mut Vec<u8>) {
        match self.host.ip() {
            IpAddr::V4(ip) => push_hex(out, &ip.octets()),
            IpAddr::V6(ip) => push_hex(out, &ip.octets()),
        }
        push_hex(out, &u32::from(self.host.port()).to_be_bytes());
        push_hex(out, &self.position.to_be_bytes());
    }

    /// Reads an id of 32 or 56 hex characters; `None` for anything else.
    pub fn parse(text: &str) -> Option<OffsetMessageId> {
        let bytes = from_hex(text)?;
        let (ip, rest): (IpAddr, &[u8]) = match bytes.len() {
            16 => (Ipv4Addr::from(<[u8; 4]>::try_from(&bytes[..4]).ok()?).into(), &bytes[4..]),
            28 => (Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[..16]).ok()?).into(), &bytes[16..]),
            _ => return None,
        };
        let port = u16::try_from(u32::from_be_bytes(rest[..4].try_into().ok()?)).ok()?;
        Some(OffsetMessageId {
            host: SocketAddr::new(ip, port),
            position: u64::from_be_bytes(rest[4..].try_into().ok()?),
        })
    }
}

impl std::fmt::Display for OffsetMessageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = Vec::with_capacity(56);
        self.push(&mut out);
        f.write_str(std::str::from_utf8(&out).unwrap_or_default())
    }
}

/// Makes a unique id in the layout of Java clients: address, process id, four bytes of the maker, milliseconds
/// since the start of the month, counter. Tools read the milliseconds to guess when a message was made.
pub fn unique_id(host: IpAddr, process_id: u32, maker: u32, ms_of_month: u32, counter: u16) -> String {
    let mut out = Vec::with_capacity(56);
    match host {
        IpAddr::V4(ip) => push_hex(&mut out, &ip.octets()),
        IpAddr::V6(ip) => push_hex(&mut out, &ip.octets()),
    }
    push_hex(&mut out, &(process_id as u16).to_be_bytes());
    push_hex(&mut out, &maker.to_be_bytes());
    push_hex(&mut out, &ms_of_month.to_be_bytes());
    push_hex(&mut out, &counter.to_be_bytes());
    String::from_utf8(out).unwrap_or_default()
}

fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || digits.len() > 56 {
        return None;
    }
    let digit = |byte: u8| (byte as char).to_digit(16).map(|value| value as u8);
    digits.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_the_documentation_is_read_and_written() {
        let id = OffsetMessageId { host: "10.0.0.1:10911".parse().unwrap(), position: 100 };
        assert_eq!(id.to_string(), "0A00000100002A9F0000000000000064");
        assert_eq!(OffsetMessageId::parse("0A00000100002A9F0000000000000064"), Some(id));
        let six = OffsetMessageId { host: "[2001:db8::1]:10911".parse().unwrap(), position: u64::MAX };
        assert_eq!(six.to_string().len(), 56);
        assert_eq!(OffsetMessageId::parse(&six.to_string()), Some(six));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in [
            "",
            "0A",
            "0A00000100002A9F000000000000006",
            "xA00000100002A9F0000000000000064",
            "é0000000000000000000000000000000",
        ] {
            assert_eq!(OffsetMessageId::parse(text), None, "{text}");
        }
        let big_port = "0A0000010001FFFF0000000000000064";
        assert_eq!(OffsetMessageId::parse(big_port), None);
    }
}
