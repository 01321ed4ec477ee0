//! The time zone that people mean when they write and read times.
//!
//! The rules of all zones are built in: an empty container image has none, and `TZ=Asia/Shanghai` is to work there.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// A time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

/// The machine says no zone that is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZoneError {
    /// Neither the variable nor the system names one.
    #[error("neither TZ nor /etc/localtime names a time zone: hours and printed times are UTC")]
    Unnamed,
    /// Nobody knows the zone that is named.
    #[error("time zone `{name}` ({place}) is not known: hours and printed times are UTC")]
    Unknown {
        /// What is named.
        name: String,
        /// Where.
        place: String,
    },
}

impl Default for Zone {
    /// UTC.
    fn default() -> Zone {
        Zone::utc()
    }
}

impl Zone {
    /// UTC.
    pub fn utc() -> Zone {
        Zone(TimeZone::UTC)
    }

    /// The zone of that name, such as `Asia/Shanghai`, or of a rule as POSIX writes it, such as `CST-8`. `place` is where
    /// it was found, for the error.
    pub fn named(name: &str, place: &str) -> Result<Zone, ZoneError> {
        let unknown = || ZoneError::Unknown { name: name.chars().take(60).collect(), place: place.to_owned() };
        let plain = name.strip_prefix(':').unwrap_or(name);
        let found = TimeZone::get(plain).or_else(|_| TimeZone::posix(plain)).map_err(|_| unknown())?;
        Ok(Zone(found))
    }

    /// The zone of this process: the variable TZ, or what the system says.
    pub fn of_machine() -> Result<Zone, ZoneError> {
        match std::env::var("TZ") {
            // As POSIX has it.
            Ok(name) if name.is_empty() => Ok(Zone::utc()),
            // A path of a file with the rules.
            Ok(name) if name.trim_start_matches(':').starts_with('/') => TimeZone::try_system()
                .map(Zone)
                .map_err(|_| ZoneError::Unknown { name: name.chars().take(60).collect(), place: "TZ".to_owned() }),
            Ok(name) => Zone::named(&name, "TZ"),
            Err(_) => TimeZone::try_system().map(Zone).map_err(|_| ZoneError::Unnamed),
        }
    }

    /// What the clocks of the zone show, in milliseconds since they showed the beginning of 1970.
    pub fn local_ms(&self, time_ms: i64) -> i64 {
        // Times that no calendar has are told without a zone.
        let Ok(time) = Timestamp::from_millisecond(time_ms) else { return time_ms };
        time_ms + i64::from(self.0.to_offset(time).seconds()) * 1000
    }

    /// When the clocks of the zone show that, in milliseconds since 1970: the earlier time if they show it twice, the time
    /// as far after the jump if they never do.
    pub fn time_ms(&self, local_ms: i64) -> i64 {
        let Ok(shown) = Timestamp::from_millisecond(local_ms) else { return local_ms };
        let shown: DateTime = TimeZone::UTC.to_datetime(shown);
        self.0.to_timestamp(shown).map_or(local_ms, |time| time.as_millisecond())
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.iana_name() {
            Some(name) => f.write_str(name),
            None => write!(f, "UTC{}", self.0.to_offset(Timestamp::now())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::text_of_ms;

    /// 2026-11-25 04:48:17.551 UTC.
    const TIME_MS: i64 = 1_795_582_097_551;

    #[test]
    fn clocks_show_the_time_of_their_zone() {
        for (name, shown) in [
            ("UTC", "2026-11-25 04:48:17.551"),
            ("Asia/Shanghai", "2026-11-25 12:48:17.551"),
            (":Europe/Berlin", "2026-11-25 05:48:17.551"),
            ("CST-8", "2026-11-25 12:48:17.551"),
            ("Asia/Kathmandu", "2026-11-25 10:33:17.551"),
            ("America/New_York", "2026-11-24 23:48:17.551"),
        ] {
            let zone = Zone::named(name, "TZ").unwrap();
            assert_eq!(text_of_ms(zone.local_ms(TIME_MS)), shown, "{name}");
            assert_eq!(zone.time_ms(zone.local_ms(TIME_MS)), TIME_MS, "{name}");
        }
    }

    #[test]
    fn hours_that_come_twice_or_never_have_a_time() {
        let zone = Zone::named("Europe/Berlin", "TZ").unwrap();
        // 2026-10-25 02:30 and 2026-03-29 02:30.
        let (twice, never) = (1_792_895_400_000, 1_774_751_400_000);
        assert_eq!(text_of_ms(zone.time_ms(twice)), "2026-10-25 00:30:00.000");
        assert_eq!(text_of_ms(zone.local_ms(zone.time_ms(never))), "2026-03-29 03:30:00.000");
        assert_eq!((zone.local_ms(i64::MAX), zone.time_ms(i64::MIN)), (i64::MAX, i64::MIN));
    }

    #[test]
    fn a_zone_that_nobody_knows_is_named() {
        let error = Zone::named("Mars/Olympus", "TZ").unwrap_err();
        let text = "time zone `Mars/Olympus` (TZ) is not known: hours and printed times are UTC";
        assert_eq!(error.to_string(), text);
    }
}
