//! How figures are written.

use client::calendar;

/// What stands where nothing is known.
pub const UNKNOWN: &str = "—";

/// `1234567` as `1,234,567`.
pub fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if number < 0 {
        text.push('−');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate per second, with as many digits as mean something.
pub fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate < 0.005 => "0".to_owned(),
        rate if rate < 10.0 => format!("{rate:.2}"),
        rate if rate < 100.0 => format!("{rate:.1}"),
        rate => count(rate.round() as i64),
    }
}

/// Bytes in the largest unit that leaves a whole part.
pub fn bytes(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes.max(0) as f64;
    let mut unit = 0;
    while 1024.0 <= value && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ if value < 10.0 => format!("{value:.2} {}", UNITS[unit]),
        _ => format!("{value:.1} {}", UNITS[unit]),
    }
}

/// A duration in at most two units.
pub fn duration(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match () {
        () if ms < 1000 => format!("{} ms", ms.max(0)),
        () if 0 < days => two((days, "d"), (hours, "h")),
        () if 0 < hours => two((hours, "h"), (minutes, "min")),
        () if 0 < minutes => two((minutes, "min"), (seconds % 60, "s")),
        () => format!("{seconds} s"),
    }
}

fn two((large, unit): (i64, &str), (small, small_unit): (i64, &str)) -> String {
    if small == 0 { format!("{large} {unit}") } else { format!("{large} {unit} {small} {small_unit}") }
}

/// A share from 0 to 1 in percent.
pub fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// A time in milliseconds since 1970 as `2026-11-25 04:48:17 UTC`.
pub fn utc(time_ms: i64) -> String {
    let text = calendar::text_of_ms(time_ms);
    format!("{} UTC", text.split('.').next().unwrap_or(&text))
}

/// The same with milliseconds, as machines read it: `2026-11-25T04:48:17.551Z`.
pub fn iso(time_ms: i64) -> String {
    format!("{}Z", calendar::text_of_ms(time_ms).replace(' ', "T"))
}

/// A word of a command line that people copy into their shell: what a name has in it must not run there.
pub fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=+@%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_exact_enough() {
        assert_eq!([count(0), count(-1234), count(1_234_567)], ["0", "−1,234", "1,234,567"]);
        assert_eq!([rate(0.0), rate(0.5), rate(12.34), rate(1932.4)], ["0", "0.50", "12.3", "1,932"]);
        assert_eq!([bytes(512), bytes(2048), bytes(50 << 20)], ["512 B", "2.00 KiB", "50.0 MiB"]);
        assert_eq!(
            [duration(12), duration(41_000), duration(90_000), duration(3_600_000), duration(93_600_000)],
            ["12 ms", "41 s", "1 min 30 s", "1 h", "1 d 2 h"]
        );
        assert_eq!(
            (percent(0.424), utc(0), iso(1)),
            ("42 %".into(), "1970-01-01 00:00:00 UTC".into(), "1970-01-01T00:00:00.001Z".into())
        );
    }

    #[test]
    fn what_a_name_has_in_it_does_not_run_in_a_shell() {
        assert_eq!(shell_word("%RETRY%a-b"), "%RETRY%a-b");
        assert_eq!(shell_word("$(reboot)"), "'$(reboot)'");
        assert_eq!(shell_word("a'; reboot #"), r"'a'\''; reboot #'");
        assert_eq!(shell_word(""), "''");
    }
}
