//! Times that people type.

use client::calendar::{DAY_MS, Date};

/// Reads milliseconds since 1970, or a date and time in UTC: `2026-11-25`, `2026-11-25 04:48`, `2026-11-25T04:48:17`,
/// with or without a part of a second.
pub fn parse(text: &str) -> Option<i64> {
    let text = text.trim().trim_end_matches('Z').trim_end_matches(" UTC");
    if let Ok(ms) = text.parse::<i64>() {
        return Some(ms);
    }
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let mut date = date.splitn(3, '-');
    let (year, month, day) = (number(date.next()?)?, number(date.next()?)?, number(date.next()?)?);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.splitn(3, ':');
    let (hour, minute) = (number(time.next()?)?, number(time.next()?)?);
    let second = time.next().map_or(Some(0), number)?;
    let ms: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    if !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0..60).contains(&second) {
        return None;
    }
    let of_day = ((hour * 60 + minute) * 60 + second) * 1000 + ms;
    Some(day_of(year, month, day)? * DAY_MS + of_day)
}

fn number(text: &str) -> Option<i64> {
    let is_plain = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_plain { text.parse().ok() } else { None }
}

/// The day since 1970 of a date, if there is such a date: H. Hinnant's `days_from_civil`, where years begin in March.
fn day_of(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    let (year_from_march, month_from_march) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let (era, year_of_era) = (year_from_march / 400, year_from_march % 400);
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    // The 30th of February is some day in March.
    let date = Date::of_day(days);
    ((date.year, i64::from(date.month), i64::from(date.day)) == (year, month, day)).then_some(days)
}

#[cfg(test)]
mod tests {
    use client::calendar::text_of_ms;

    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for ms in [0, 951_782_400_000, 1_764_046_097_551, 4_102_444_799_999, 253_402_300_799_000] {
            assert_eq!(parse(&text_of_ms(ms)), Some(ms), "{}", text_of_ms(ms));
        }
        assert_eq!(parse("2026-11-25T04:48"), parse("2026-11-25 04:48:00 UTC"));
        assert_eq!(parse("1970-01-02"), Some(DAY_MS));
        assert_eq!(parse(" 1764046097551 "), Some(1_764_046_097_551));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "now",
            "2026-13-01",
            "2026-02-30",
            "2026-01-01 25:00",
            "2026-01-01 10:61",
            "2026-1",
            "1-1-1",
            "2026-01-01 1é:00",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
