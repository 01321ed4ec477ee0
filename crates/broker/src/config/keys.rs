//! The keys of `broker.conf`: one table, one declaration per setting.
//!
//! A key that is not in [`SETTINGS`] is either one that a stock broker knows and that has no meaning here
//! ([`Known::WithoutEffect`]), or unknown; then [`nearest`] says what may have been meant.
use super::{BrokerConfig, Flush};
use std::net::Ipv6Addr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A key that the broker obeys: how it is spelled and written, and what it sets.
#[derive(Debug)]
pub struct Setting {
    /// The key as stock brokers spell it today.
    pub key: &'static str,
    /// Its spelling in old files, which counts as well.
    pub old: Option<&'static str>,
    /// What it means, in one line.
    pub help: &'static str,
    kind: Kind,
}

type Get<T> = fn(&BrokerConfig) -> T;
type Set<T> = fn(&mut BrokerConfig, T);

/// How the value of a setting is written.
#[derive(Debug)]
enum Kind {
    /// A whole number. `clamped`: one outside the range is moved to its end instead of refused.
    Whole {
        range: RangeInclusive<i64>,
        clamped: bool,
        get: Get<i64>,
        set: Set<i64>,
    },
    /// A number of bytes.
    Bytes {
        range: RangeInclusive<i64>,
        get: Get<i64>,
        set: Set<i64>,
    },
    Truth {
        get: Get<bool>,
        set: Set<bool>,
    },
    Name {
        get: Get<String>,
        set: Set<String>,
    },
    /// Anything else. `set` returns `None` if the text is not what `allowed` says.
    Other {
        allowed: &'static str,
        get: Get<String>,
        set: fn(&mut BrokerConfig, &str) -> Option<()>,
    },
    /// Only one value is possible so far. The key is here because to start in spite of another value would give less
    /// safety than was asked for; `instead` lists values for which that is not so, with the reason.
    Fixed {
        only: &'static str,
        instead: &'static [(&'static str, &'static str)],
    },
}

/// A value was understood.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is in force.
    AsWritten,
    /// Another one is in force.
    Instead {
        /// The value in force.
        used: String,
        /// Why.
        reason: String,
    },
}

/// A value was not taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is not one of the possible values.
    Outside {
        /// What is possible, such as "a whole number from 1 to 65535".
        allowed: String,
    },
    /// It asks for what the broker cannot do yet.
    NotYet {
        /// The one value that is possible.
        only: &'static str,
    },
}

macro_rules! whole {
    ($field:ident, $range:expr) => {
        Kind::Whole { range: $range, clamped: false, get: |c| c.$field as i64, set: |c, value| c.$field = value as _ }
    };
}
macro_rules! bytes {
    ($field:ident, $range:expr) => {
        Kind::Bytes { range: $range, get: |c| c.$field as i64, set: |c, value| c.$field = value as _ }
    };
}
macro_rules! milliseconds {
    ($field:ident, $range:expr) => {
        Kind::Whole {
            range: $range,
            clamped: false,
            get: |c| c.$field.as_millis() as i64,
            set: |c, value| c.$field = Duration::from_millis(value as u64),
        }
    };
    ($field:ident, clamped to $range:expr) => {
        Kind::Whole {
            range: $range,
            clamped: true,
            get: |c| c.$field.as_millis() as i64,
            set: |c, value| c.$field = Duration::from_millis(value as u64),
        }
    };
}
macro_rules! truth {
    ($field:ident) => {
        Kind::Truth { get: |c| c.$field, set: |c, value| c.$field = value }
    };
}
macro_rules! name {
    ($field:ident) => {
        Kind::Name { get: |c| c.$field.clone(), set: |c, value| c.$field = value }
    };
}
macro_rules! ip {
    ($field:ident, $allowed:expr) => {
        Kind::Other {
            allowed: $allowed,
            get: |c| c.$field.to_string(),
            set: |c, text| {
                c.$field = text.parse().ok()?;
                Some(())
            },
        }
    };
}
const ONLY_FALSE: Kind = Kind::Fixed { only: "false", instead: &[] };
const ONLY_ONE: Kind = Kind::Fixed { only: "1", instead: &[] };

const SECOND_MS: i64 = 1000;
const HOUR_MS: i64 = 3600 * SECOND_MS;
const SECONDS_PER_HOUR: u64 = 3600;
/// A stock broker keeps sizes in 32 bits with a sign. One byte more is allowed, so that 2 GiB can be written.
const BYTES_MAX: i64 = 1 << 31;
/// Names become topic names too, which have this limit in a stock broker.
const NAME_BYTES_MAX: usize = 127;

macro_rules! settings {
    ($($key:literal $(was $old:literal)?: $kind:expr, $help:literal;)*) => {
        &[$(Setting { key: $key, old: settings!(@old $($old)?), help: $help, kind: $kind }),*]
    };
    (@old) => { None };
    (@old $old:literal) => { Some($old) };
}

/// Every key that the broker obeys.
#[rustfmt::skip]
pub static SETTINGS: &[Setting] = settings![
    "brokerClusterName": name!(cluster_name), "cluster the broker belongs to";
    "brokerName": name!(broker_name), "name of the broker in routes";
    "brokerId": whole!(broker_id, -1..=i64::MAX), "0 for a master, the only role so far";
    "brokerRole": Kind::Fixed { only: "ASYNC_MASTER",
        instead: &[("SYNC_MASTER", "there are no replicas to wait for")] },
        "role among the brokers of one name";
    "brokerIP1": ip!(advertised_ip, "an IP address, or a host name that can be resolved"),
        "address that clients are told";
    "bindAddress": ip!(bind_ip, "an IP address of this machine, or 0.0.0.0"), "interface to listen on";
    "listenPort": whole!(listen_port, 1..=65535), "port for clients";
    "fastListenPort": whole!(fast_listen_port, 1..=65535), "second port for clients; listenPort - 2 if not set";
    "namesrvAddr": Kind::Other { allowed: "`host:port`, several of them separated by `;`",
        get: |c| c.nameservers.join(";"), set: |c, text| { c.nameservers = nameservers(text)?; Some(()) } },
        "nameservers to register with, separated by ;";
    "registerNameServerPeriod": milliseconds!(register_period, clamped to 10 * SECOND_MS..=60 * SECOND_MS),
        "time between two registrations, ms";
    "storePathRootDir": Kind::Other { allowed: "a path", get: |c| c.data_dir.display().to_string(),
        set: |c, text| { c.data_dir = text.into(); Some(()) } }, "folder of everything that is stored";
    "ioThreads": whole!(io_threads, 0..=1024), "threads that serve connections; 0 is half of the cores";

    "brokerPermission": whole!(permission, 0..=7), "what clients may do, a sum: 2 write, 4 read";
    "autoCreateTopicEnable": truth!(auto_create_topic), "whether a send creates its topic";
    "autoCreateSubscriptionGroup": truth!(auto_create_group), "whether use creates a consumer group";
    "defaultTopicQueueNums": whole!(default_topic_queue_nums, 1..=65535), "most queues of a topic that a send creates";
    "traceTopicEnable": truth!(trace_topic), "whether the trace topic exists from the start";
    "regionId": name!(region_id), "region that messages carry";
    "traceOn": truth!(trace_on), "whether clients are told to trace";
    "maxMessageSize": bytes!(max_message_bytes, 1..=BYTES_MAX), "largest body, bytes";
    "longPollingEnable": truth!(long_polling), "whether pulls wait until a message arrives; otherwise one second";
    "rejectTransactionMessage": truth!(reject_transactions), "whether half messages are refused";

    "flushDiskType": Kind::Other { allowed: "`ASYNC_FLUSH` or `SYNC_FLUSH`", get: |c| flush_name(c.flush).to_owned(),
        set: |c, text| { c.flush = flush(text)?; Some(()) } },
        "whether a send is answered when the page cache has it, or the disk";
    "syncFlushTimeout": milliseconds!(sync_flush_timeout, 1..=HOUR_MS), "longest wait of a send for the disk, ms";
    "mappedFileSizeCommitLog" was "mapedFileSizeCommitLog": bytes!(segment_bytes, 4096..=BYTES_MAX),
        "size of one commit-log file, bytes";
    "fileReservedTime": Kind::Whole { range: 1..=1_000_000, clamped: false,
        get: |c| (c.retention.as_secs() / SECONDS_PER_HOUR) as i64,
        set: |c, hours| c.retention = Duration::from_secs(hours as u64 * SECONDS_PER_HOUR) },
        "age after which messages may be deleted, hours";
    "deleteWhen": Kind::Other { allowed: "hours from 0 to 23, several of them separated by `;`",
        get: |c| c.delete_hours.iter().map(|hour| format!("{hour:02}")).collect::<Vec<_>>().join(";"),
        set: |c, text| { c.delete_hours = hours(text)?; Some(()) } },
        "hours at which expired files are deleted, separated by ;";
    "diskMaxUsedSpaceRatio": Kind::Whole { range: 10..=95, clamped: true, get: |c| c.disk_max_used_percent.into(),
        set: |c, percent| c.disk_max_used_percent = percent as u8 },
        "share of the disk in use above which expired files are deleted at any hour, percent";

    "messageDelayLevel": Kind::Other { allowed: "delays such as `1s 10m 2h 1d`, separated by blanks",
        get: |c| c.delay_levels.iter().map(|level| delay_name(*level)).collect::<Vec<_>>().join(" "),
        set: |c, text| { c.delay_levels = delays(text)?; Some(()) } },
        "delay of each level, from level 1";
    "transactionTimeOut": milliseconds!(transaction_timeout, 0..=24 * HOUR_MS),
        "age at which a half message is first asked about, ms";
    "transactionCheckInterval": milliseconds!(transaction_check_interval, 1..=24 * HOUR_MS),
        "time between two questions about a half message, ms";
    "transactionCheckMax": whole!(transaction_check_max, 0..=1_000_000),
        "questions after which a half message is dropped";
    "flushConsumerOffsetInterval": milliseconds!(offset_flush_period, 1..=HOUR_MS),
        "longest time between two writes of consumer offsets, ms";
    "channelExpiredTimeout": milliseconds!(client_expiry, SECOND_MS..=24 * HOUR_MS),
        "silence after which a client is no longer a member, ms";

    "enableControllerMode": ONLY_FALSE, "whether controllers choose the master";
    "enableDLegerCommitLog": ONLY_FALSE, "whether the commit log is a Raft log";
    "inSyncReplicas": ONLY_ONE, "copies that a send waits for";
    "minInSyncReplicas": ONLY_ONE, "fewest copies that a send waits for";
    "allAckInSyncStateSet": ONLY_FALSE, "whether a send waits for all replicas in sync";
    "aclEnable": ONLY_FALSE, "whether clients need an access key (ACL 1.0)";
    "authenticationEnabled": ONLY_FALSE, "whether clients must say who they are (ACL 2.0)";
    "authorizationEnabled": ONLY_FALSE, "whether clients need rights (ACL 2.0)";
];

impl Setting {
    /// Sets the value in `config`.
    pub fn apply(&self, config: &mut BrokerConfig, value: &str) -> Result<Taken, Refused> {
        let outside = || Refused::Outside { allowed: self.allowed() };
        match &self.kind {
            Kind::Whole { range, clamped, set, .. } => {
                let number = value.parse::<i64>().map_err(|_| outside())?;
                let used = number.clamp(*range.start(), *range.end());
                if used != number && !clamped {
                    return Err(outside());
                }
                set(config, used);
                if used != number {
                    let reason = format!("{} to {} are possible", range.start(), range.end());
                    return Ok(Taken::Instead { used: used.to_string(), reason });
                }
            }
            Kind::Bytes { range, set, .. } => {
                set(config, bytes(value).filter(|bytes| range.contains(bytes)).ok_or_else(outside)?);
            }
            Kind::Truth { set, .. } => {
                set(config, value.to_ascii_lowercase().parse().map_err(|_| outside())?);
            }
            Kind::Name { set, .. } => {
                if NAME_BYTES_MAX < value.len() || value.contains(|letter: char| letter <= ' ' || letter == '\x7f') {
                    return Err(outside());
                }
                set(config, value.to_owned());
            }
            Kind::Other { set, .. } => set(config, value).ok_or_else(outside)?,
            Kind::Fixed { only, instead } => {
                if value.eq_ignore_ascii_case(only) {
                    return Ok(Taken::AsWritten);
                }
                let (_, reason) = instead.iter().find(|(name, _)| *name == value).ok_or(Refused::NotYet { only })?;
                return Ok(Taken::Instead { used: (*only).to_owned(), reason: (*reason).to_owned() });
            }
        }
        Ok(Taken::AsWritten)
    }

    /// The value in force, as it would be written in a file.
    pub fn show(&self, config: &BrokerConfig) -> String {
        match &self.kind {
            Kind::Whole { get, .. } | Kind::Bytes { get, .. } => get(config).to_string(),
            Kind::Truth { get, .. } => get(config).to_string(),
            Kind::Name { get, .. } | Kind::Other { get, .. } => get(config),
            Kind::Fixed { only, .. } => (*only).to_owned(),
        }
    }

    /// The possible values, in words.
    pub fn allowed(&self) -> String {
        match &self.kind {
            Kind::Whole { range, .. } => format!("a whole number from {} to {}", range.start(), range.end()),
            Kind::Bytes { range, .. } => {
                format!("a number of bytes from {} to {}, in which K, M or G may follow", range.start(), range.end())
            }
            Kind::Truth { .. } => "`true` or `false`".to_owned(),
            Kind::Name { .. } => format!("a name without blanks of at most {NAME_BYTES_MAX} bytes"),
            Kind::Other { allowed, .. } => (*allowed).to_owned(),
            Kind::Fixed { only, .. } => format!("`{only}`"),
        }
    }
}

/// `1024`, `64K`, `64KiB`, `64 kb`: the letters count in powers of 1024.
fn bytes(text: &str) -> Option<i64> {
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

fn flush(name: &str) -> Option<Flush> {
    [Flush::Async, Flush::Sync].into_iter().find(|flush| flush_name(*flush) == name)
}

fn flush_name(flush: Flush) -> &'static str {
    match flush {
        Flush::Async => "ASYNC_FLUSH",
        Flush::Sync => "SYNC_FLUSH",
    }
}

fn nameservers(text: &str) -> Option<Vec<String>> {
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

fn hours(text: &str) -> Option<Vec<u8>> {
    let mut hours = Vec::new();
    for hour in text.split(';').map(str::trim).filter(|hour| !hour.is_empty()) {
        let hour = hour.parse().ok().filter(|hour| *hour < 24)?;
        if !hours.contains(&hour) {
            hours.push(hour);
        }
    }
    Some(hours).filter(|hours| !hours.is_empty())
}

const DELAY_UNITS: [(char, u64); 4] = [('d', 24 * 3600), ('h', 3600), ('m', 60), ('s', 1)];

fn delays(text: &str) -> Option<Vec<Duration>> {
    let between = |letter: char| letter == ';' || letter.is_whitespace();
    let delays = text.split(between).filter(|delay| !delay.is_empty()).map(|delay| {
        let (_, seconds) = DELAY_UNITS.into_iter().find(|(unit, _)| delay.ends_with(*unit))?;
        let count: u32 = delay[..delay.len() - 1].parse().ok()?;
        (count != 0).then(|| Duration::from_secs(u64::from(count) * seconds))
    });
    delays.collect::<Option<Vec<_>>>().filter(|delays| !delays.is_empty())
}

fn delay_name(delay: Duration) -> String {
    let all = delay.as_secs();
    let (unit, seconds) = DELAY_UNITS.into_iter().find(|(_, seconds)| all.is_multiple_of(*seconds)).unwrap_or(('s', 1));
    format!("{}{unit}", all / seconds)
}

/// How exactly the name of a key must be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// Letter by letter, as in a stock broker's file.
    Exact,
    /// Without regard to case, dots, underscores and hyphens, as in the environment.
    Folded,
}

/// A key that is not unknown.
#[derive(Clone, Copy, Debug)]
pub enum Known {
    /// The broker obeys it.
    Setting(&'static Setting),
    /// The broker obeys it; the name is the one of old files.
    OldName(&'static Setting),
    /// A stock broker knows it; here it means nothing.
    WithoutEffect(&'static str),
}

/// Looks for a key.
pub fn find(name: &str, spelling: Spelling) -> Option<Known> {
    let matches = |key: &str| match spelling {
        Spelling::Exact => key == name,
        Spelling::Folded => folded(key) == folded(name),
    };
    let setting = SETTINGS.iter().find_map(|setting| match setting.old {
        _ if matches(setting.key) => Some(Known::Setting(setting)),
        Some(old) if matches(old) => Some(Known::OldName(setting)),
        _ => None,
    });
    setting.or_else(|| without_effect().find(|key| matches(key)).map(Known::WithoutEffect))
}

/// The known key that is most like `name`, unless none is much like it.
pub fn nearest(name: &str) -> Option<&'static str> {
    let name = folded(name);
    let keys = SETTINGS.iter().map(|setting| setting.key).chain(without_effect());
    let (distance, key) = keys.map(|key| (distance(&name, &folded(key)), key)).min_by_key(|(distance, _)| *distance)?;
    (distance <= name.len().max(key.len()) / 3).then_some(key)
}

fn without_effect() -> impl Iterator<Item = &'static str> {
    include_str!("upstream-keys.txt").lines().filter(|line| !line.starts_with('#'))
}

fn folded(name: &str) -> String {
    name.chars().filter(|letter| !matches!(letter, '.' | '_' | '-')).map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Letters to insert, delete, replace or swap to make one of the other. A name of which only the start or the end is
/// missing counts as near, whatever the length of the rest.
fn distance(a: &str, b: &str) -> usize {
    const PART_DISTANCE: usize = 2;
    const PART_LENGTH_MIN: usize = 6;
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let mut least = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + usize::from(a[i - 1] != b[j - 1]));
            if 1 < i && 1 < j && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before_last[j - 2] + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    let (short, long) = if a.len() < b.len() { (&a, &b) } else { (&b, &a) };
    let part = PART_LENGTH_MIN <= short.len() && (long.starts_with(short) || long.ends_with(short));
    if part { last[b.len()].min(PART_DISTANCE) } else { last[b.len()] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn setting(key: &str) -> &'static Setting {
        match find(key, Spelling::Exact) {
            Some(Known::Setting(setting)) => setting,
            other => panic!("{key} is {other:?}"),
        }
    }

    /// What is in force after `value`, or why it was refused.
    #[track_caller]
    fn check(key: &str, value: &str, expected: &str) {
        let mut config = BrokerConfig::default();
        let told = match setting(key).apply(&mut config, value) {
            Ok(Taken::AsWritten) => setting(key).show(&config),
            Ok(Taken::Instead { used, reason }) => {
                assert_eq!(used, setting(key).show(&config));
                format!("{used}, as {reason}")
            }
            Err(Refused::Outside { allowed }) => format!("not {allowed}"),
            Err(Refused::NotYet { only }) => format!("only {only}"),
        };
        assert_eq!(told, expected, "{key}={value}");
    }

    #[test]
    fn whole_numbers_have_a_range() {
        check("listenPort", "10911", "10911");
        check("listenPort", "0", "not a whole number from 1 to 65535");
        check("listenPort", "65536", "not a whole number from 1 to 65535");
        check("listenPort", "10.5", "not a whole number from 1 to 65535");
        check("brokerId", "99999999999999999999", "not a whole number from -1 to 9223372036854775807");
        check("fileReservedTime", "120", "120");
    }

    #[test]
    fn some_numbers_are_moved_into_their_range() {
        check("diskMaxUsedSpaceRatio", "88", "88");
        check("diskMaxUsedSpaceRatio", "99", "95, as 10 to 95 are possible");
        check("diskMaxUsedSpaceRatio", "-1", "10, as 10 to 95 are possible");
        check("registerNameServerPeriod", "1000", "10000, as 10000 to 60000 are possible");
        check("registerNameServerPeriod", "often", "not a whole number from 10000 to 60000");
    }

    #[test]
    fn sizes_may_have_a_unit() {
        check("maxMessageSize", "65536", "65536");
        check("maxMessageSize", "64K", "65536");
        check("maxMessageSize", "4 MiB", "4194304");
        check("mappedFileSizeCommitLog", "2g", "2147483648");
        let refused = "not a number of bytes from 4096 to 2147483648, in which K, M or G may follow";
        check("mappedFileSizeCommitLog", "3g", refused);
        check("mappedFileSizeCommitLog", "4095", refused);
        check("mappedFileSizeCommitLog", "99999999999g", refused);
        check("mappedFileSizeCommitLog", "-1", refused);
        check("mappedFileSizeCommitLog", "1 parsec", refused);
    }

    #[test]
    fn truth_is_one_of_two_words() {
        check("traceOn", "FALSE", "false");
        check("traceOn", "True", "true");
        check("traceOn", "yes", "not `true` or `false`");
    }

    #[test]
    fn names_have_no_blanks() {
        check("brokerName", "broker-a", "broker-a");
        check("brokerName", "节点", "节点");
        check("brokerName", "broker a", "not a name without blanks of at most 127 bytes");
        check("brokerName", &"a".repeat(128), "not a name without blanks of at most 127 bytes");
    }

    #[test]
    fn nameservers_are_hosts_with_ports() {
        check("namesrvAddr", "a:9876;10.0.0.1:9877;", "a:9876;10.0.0.1:9877");
        check("namesrvAddr", "a:9876, [::1]:9876", "a:9876;[::1]:9876");
        for wrong in ["a", "a:", ":9876", "a:0", "a:x", "::1:9876", "[]:9876", "http://a:9876", "a:9876;b"] {
            check("namesrvAddr", wrong, "not `host:port`, several of them separated by `;`");
        }
    }

    #[test]
    fn hours_of_deletion_are_a_list() {
        check("deleteWhen", "04", "04");
        check("deleteWhen", "4;16;04;", "04;16");
        for wrong in ["24", "4;x", ";"] {
            check("deleteWhen", wrong, "not hours from 0 to 23, several of them separated by `;`");
        }
    }

    #[test]
    fn delay_levels_have_units() {
        let defaults = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h";
        assert_eq!(setting("messageDelayLevel").show(&BrokerConfig::default()), defaults);
        check("messageDelayLevel", defaults, defaults);
        check("messageDelayLevel", "1s  90s 60m 24h 2d", "1s 90s 1h 1d 2d");
        for wrong in ["1", "s", "1s 5", "1w", "0s", "-1s", "1.5s", "1S", "中"] {
            check("messageDelayLevel", wrong, "not delays such as `1s 10m 2h 1d`, separated by blanks");
        }
    }

    #[test]
    fn flush_addresses_and_paths() {
        check("flushDiskType", "SYNC_FLUSH", "SYNC_FLUSH");
        check("flushDiskType", "sync", "not `ASYNC_FLUSH` or `SYNC_FLUSH`");
        check("bindAddress", "::", "::");
        check("bindAddress", "eth0", "not an IP address of this machine, or 0.0.0.0");
        check("storePathRootDir", "/opt/store", "/opt/store");
    }

    #[test]
    fn what_the_broker_cannot_do_is_not_passed_over() {
        check("brokerRole", "ASYNC_MASTER", "ASYNC_MASTER");
        check("brokerRole", "SYNC_MASTER", "ASYNC_MASTER, as there are no replicas to wait for");
        check("brokerRole", "SLAVE", "only ASYNC_MASTER");
        check("aclEnable", "False", "false");
        check("aclEnable", "true", "only false");
        check("inSyncReplicas", "2", "only 1");
    }

    #[test]
    fn every_default_can_be_written_and_read() {
        let defaults = BrokerConfig::default();
        let mut config = BrokerConfig { trace_on: false, nameservers: vec!["a:1".into()], ..BrokerConfig::default() };
        for setting in SETTINGS {
            assert_eq!(setting.apply(&mut config, &setting.show(&defaults)), Ok(Taken::AsWritten), "{}", setting.key);
        }
        assert_eq!(config, defaults);
    }

    #[test]
    fn no_two_keys_differ_only_in_case_and_separators() {
        let mut keys: Vec<String> =
            SETTINGS.iter().flat_map(|s| s.old.into_iter().chain([s.key])).map(folded).collect();
        keys.extend(without_effect().map(folded));
        assert!(keys.iter().all(|key| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric())));
        let all = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), all);
    }

    #[test]
    fn the_environment_need_not_spell_exactly() {
        assert!(matches!(find("LISTEN_PORT", Spelling::Folded), Some(Known::Setting(s)) if s.key == "listenPort"));
        assert!(find("LISTEN_PORT", Spelling::Exact).is_none());
        assert!(matches!(find("maped-file.size_commitLog", Spelling::Folded), Some(Known::OldName(_))));
        assert!(matches!(find("HA_LISTEN_PORT", Spelling::Folded), Some(Known::WithoutEffect("haListenPort"))));
    }

    #[test]
    fn an_unknown_key_has_a_nearest_one() {
        assert_eq!(nearest("brokerNmae"), Some("brokerName"));
        assert_eq!(nearest("listenport"), Some("listenPort"));
        assert_eq!(nearest("autoCreateSubscriptionGroupEnable"), Some("autoCreateSubscriptionGroup"));
        assert_eq!(nearest("clusterName"), Some("brokerClusterName"));
        assert_eq!(nearest("autoCreateTopic"), Some("autoCreateTopicEnable"));
        assert_eq!(nearest("flushDiskTyp"), Some("flushDiskType"));
        assert_eq!(nearest("sendMessageThreadPoolNum"), Some("sendMessageThreadPoolNums"));
        assert_eq!(nearest("pineapple"), None);
        assert_eq!(nearest(""), None);
    }

    proptest! {
        #[test]
        fn no_value_makes_a_setting_panic(value in any::<String>(), short in "[0-9smhdgkb;: -]{0,12}") {
            for setting in SETTINGS {
                for value in [&value, &short] {
                    let mut config = BrokerConfig::default();
                    if setting.apply(&mut config, value).is_ok() && !value.is_empty() {
                        let shown = setting.show(&config);
                        let mut again = BrokerConfig::default();
                        prop_assert_eq!(setting.apply(&mut again, &shown), Ok(Taken::AsWritten));
                        prop_assert_eq!(&again, &config, "{}={}", setting.key, value);
                    }
                }
            }
        }
    }
}
