//! Times as the official tool reads and prints them, in the zone of this process as it does.

use client::calendar::{self, DAY_MS, Date};
use client::zone::Zone;

use crate::zone;

/// `2026-11-25 04:48:17.551`.
pub fn text(time_ms: i64) -> String {
    text_in(zone::of_tools(), time_ms)
}

fn text_in(zone: &Zone, time_ms: i64) -> String {
    calendar::text_of_ms(zone.local_ms(time_ms))
}

/// `2026-11-25 04:48:17,551`.
pub fn with_ms(time_ms: i64) -> String {
    text(time_ms).replace('.', ",")
}

/// `2026-11-25 04:48:17`.
pub fn with_seconds(time_ms: i64) -> String {
    let mut text = text(time_ms);
    text.truncate(text.len() - 4);
    text
}

/// `20261125044817551`.
pub fn digits(time_ms: i64) -> String {
    text(time_ms).chars().filter(char::is_ascii_digit).collect()
}

/// Reads `now`, milliseconds since 1970, `yyyy-MM-dd#HH:mm:ss:SSS`, or a time back from now such as `-15m`.
pub fn parse(text: &str, now_ms: i64) -> Result<i64, String> {
    parse_in(zone::of_tools(), text, now_ms)
}

fn parse_in(zone: &Zone, text: &str, now_ms: i64) -> Result<i64, String> {
    if text == "now" {
        return Ok(now_ms);
    }
    if let Ok(time_ms) = text.parse::<i64>() {
        return Ok(time_ms);
    }
    if let Some(back) = text.strip_prefix('-').and_then(duration_ms) {
        return Ok(now_ms - back);
    }
    calendar_time(text).map(|local_ms| zone.time_ms(local_ms)).ok_or_else(|| {
        format!("`{text}` is no time: expected `now`, milliseconds since 1970, yyyy-MM-dd#HH:mm:ss:SSS, or -15m")
    })
}

/// Reads `500ms`, `2s`, `15m`, `3h` or `1d`; a bare number is seconds.
pub fn duration_ms(text: &str) -> Option<i64> {
    let (number, unit_ms) = match text {
        _ if text.ends_with("ms") => (text.strip_suffix("ms")?, 1),
        _ if text.ends_with('s') => (text.strip_suffix('s')?, 1_000),
        _ if text.ends_with('m') => (text.strip_suffix('m')?, 60_000),
        _ if text.ends_with('h') => (text.strip_suffix('h')?, 3_600_000),
        _ if text.ends_with('d') => (text.strip_suffix('d')?, DAY_MS),
        _ => (text, 1_000),
    };
    number.parse::<i64>().ok().filter(|number| *number >= 0)?.checked_mul(unit_ms)
}

/// What a clock shows at that time, in milliseconds since it showed the beginning of 1970.
fn calendar_time(text: &str) -> Option<i64> {
    let (date, time) = text.split_once('#')?;
    let date: Vec<u32> = date.split('-').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let time: Vec<i64> = time.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let (&[year, month, day], &[hour, minute, second, ms]) = (date.as_slice(), time.as_slice()) else { return None };
    let date = Date { year: i64::from(year), month, day };
    let in_range = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..60).contains(&second);
    if !in_range || !(0..1_000).contains(&ms) || !(1970..10_000).contains(&year) {
        return None;
    }
    Some(day_of(date)? * DAY_MS + hour * 3_600_000 + minute * 60_000 + second * 1_000 + ms)
}

/// The day of a date; `None` when the calendar has no such date. The estimate is at most two days off.
fn day_of(date: Date) -> Option<i64> {
    let estimate = (date.year - 1970) * 1461 / 4 + (i64::from(date.month) - 1) * 153 / 5 + i64::from(date.day);
    (estimate - 6..=estimate + 6).find(|day| Date::of_day(*day) == date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_printed_in_the_official_forms() {
        let text = text(1_795_582_097_551);
        assert_eq!(with_ms(1_795_582_097_551), text.replace('.', ","));
        assert_eq!(with_seconds(1_795_582_097_551), text[..19]);
        assert_eq!(digits(1_795_582_097_551), text.replace(['-', ' ', ':', '.'], ""));
    }

    #[test]
    fn times_are_read_in_every_form() {
        for (text, expected) in [
            ("now", 1_000_000),
            ("1795582097551", 1_795_582_097_551),
            ("2026-11-25#04:48:17:551", 1_795_582_097_551),
            ("1970-01-01#00:00:00:000", 0),
            ("2000-02-29#00:00:00:000", 951_782_400_000),
            ("2100-03-01#00:00:00:000", 4_107_542_400_000),
            ("-15m", 100_000),
            ("-1", -1),
        ] {
            assert_eq!(parse_in(&Zone::utc(), text, 1_000_000), Ok(expected), "{text}");
        }
        for text in ["", "yesterday", "2026-02-30#00:00:00:000", "2026-11-25#24:00:00:000", "2026-11-25", "-x"] {
            assert!(parse(text, 0).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_those_of_the_zone() {
        let zone = Zone::named("Asia/Shanghai", "TZ").unwrap();
        assert_eq!(text_in(&zone, 1_795_582_097_551), "2026-11-25 12:48:17.551");
        assert_eq!(parse_in(&zone, "2026-11-25#12:48:17:551", 0), Ok(1_795_582_097_551));
    }

    #[test]
    fn every_day_of_a_century_is_found() {
        for day in 0..36_600 {
            assert_eq!(day_of(Date::of_day(day)), Some(day));
        }
    }

    #[test]
    fn durations_have_units() {
        let read = ["500ms", "2s", "15m", "3h", "1d", "7", "-1s", "x"].map(duration_ms);
        let expected = [Some(500), Some(2_000), Some(900_000), Some(10_800_000), Some(86_400_000), Some(7_000)];
        assert_eq!(read, [&expected[..], &[None, None]].concat()[..]);
    }
}
