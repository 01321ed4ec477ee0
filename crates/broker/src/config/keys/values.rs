//! Values of settings from the text that operators write.
use super::super::live::Hours;
use std::net::Ipv6Addr;
use std::time::Duration;

/// `1024`, `64K`, `64KiB`, `64 kb`: the letters count in powers of 1024.
pub(super) fn bytes(text: &str) -> Option<i64> {
    let (number, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len()));
    let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(1 << shift)
}

pub(super) fn nameservers(text: &str) -> Option<Vec<String>> {
    let between = |letter: char| matches!(letter, ';' | ',') || letter.is_whitespace();
    let addresses = text.split(between).filter(|address| !address.is_empty()).map(|address| {
        let (host, port) = address.rsplit_once(':')?;
        let port: u16 = port.parse().ok()?;
        // An IPv6 address stands in brackets; otherwise its last group would be taken for the port.
        let host_is_right = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(bare) => bare.parse::<Ipv6Addr>().is_ok(),
            None => !host.is_empty() && !host.contains([':', '/', '[', ']']),
        };
        (host_is_right && port != 0).then(|| address.to_owned())
    });
    addresses.collect()
}

/// What `metricsExporterType` says. Stock brokers can also push; here whoever wants that scrapes.
pub(super) fn exporter_is_open(text: &str) -> Option<bool> {
    match text.to_ascii_uppercase().as_str() {
        "PROM" | "OTLP_GRPC" | "LOG" => Some(true),
        "DISABLE" => Some(false),
        _ => None,
    }
}

/// A value, or none where nothing stands.
pub(super) fn optional<T: std::str::FromStr>(text: &str) -> Option<Option<T>> {
    if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
}

/// Names with `;` between them.
pub(super) fn list(text: &str) -> Vec<String> {
    text.split(';').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// What clients are told to dial; nothing is nothing.
pub(super) fn endpoint(text: &str) -> Option<Option<String>> {
    match nameservers(text)?.as_slice() {
        [] => Some(None),
        [one] => Some(Some(one.clone())),
        _ => None,
    }
}

pub(super) fn hours(text: &str) -> Option<Hours> {
    let hours = text.split(';').map(str::trim).filter(|hour| !hour.is_empty());
    let hours: Hours = hours.map(|hour| hour.parse().ok().filter(|hour| *hour < 24)).collect::<Option<_>>()?;
    Some(hours).filter(|hours| *hours != Hours::default())
}

const DELAY_UNITS: [(char, u64); 4] = [('d', 24 * 3600), ('h', 3600), ('m', 60), ('s', 1)];

pub(super) fn delays(text: &str) -> Option<Vec<Duration>> {
    let between = |letter: char| letter == ';' || letter.is_whitespace();
    let delays = text.split(between).filter(|delay| !delay.is_empty()).map(|delay| {
        let (_, seconds) = DELAY_UNITS.into_iter().find(|(unit, _)| delay.ends_with(*unit))?;
        let count: u32 = delay[..delay.len() - 1].parse().ok()?;
        (count != 0).then(|| Duration::from_secs(u64::from(count) * seconds))
    });
    delays.collect::<Option<Vec<_>>>().filter(|delays| !delays.is_empty())
}

pub(super) fn delay_name(delay: Duration) -> String {
    let all = delay.as_secs();
    let (unit, seconds) = DELAY_UNITS.into_iter().find(|(_, seconds)| all.is_multiple_of(*seconds)).unwrap_or(('s', 1));
    format!("{}{unit}", all / seconds)
}
