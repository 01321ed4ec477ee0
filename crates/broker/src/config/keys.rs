//! The keys of `broker.conf`: one table, one declaration per setting.
//!
//! A key that is not in [`SETTINGS`] is either one that a stock broker knows and that has no meaning here
//! ([`Known::WithoutEffect`]), or unknown; then [`nearest`] says what may have been meant.
mod names;
#[cfg(test)]
mod tests;
mod values;

use super::{BrokerConfig, Flush, exporting};
use metrics::Naming;
pub use names::{Known, Spelling, find, folded, nearest, nearest_of, without_effect};
use std::ops::RangeInclusive;
use std::time::Duration;
use values::{bytes, delay_name, delays, endpoint, exporter_is_open, hours, list, nameservers, optional};

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

/// Sets a value. Which of both says whether the setting may change while the broker runs.
#[derive(Debug)]
enum Set<T, R = ()> {
    AtStart(fn(&mut BrokerConfig, T) -> R),
    AtAnyTime(fn(&BrokerConfig, T) -> R),
}

/// Settings to set a value in.
enum Target<'c> {
    /// Of a broker that does not run yet.
    New(&'c mut BrokerConfig),
    /// Of one that runs.
    Running(&'c BrokerConfig),
}

impl<T, R> Set<T, R> {
    fn set(&self, target: Target<'_>, value: T) -> Result<R, Refused> {
        match (self, target) {
            (Set::AtStart(set), Target::New(config)) => Ok(set(config, value)),
            (Set::AtStart(_), Target::Running(_)) => Err(Refused::OnlyAtStart),
            (Set::AtAnyTime(set), Target::New(config)) => Ok(set(config, value)),
            (Set::AtAnyTime(set), Target::Running(config)) => Ok(set(config, value)),
        }
    }

    fn is_at_any_time(&self) -> bool {
        matches!(self, Set::AtAnyTime(_))
    }
}

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
        set: Set<String, Option<()>>,
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
    /// The broker runs, and the setting counts only at its start.
    OnlyAtStart,
}

macro_rules! whole {
    (live $field:ident, $range:expr) => {
        Kind::Whole {
            range: $range,
            clamped: false,
            get: |c| c.$field.get() as i64,
            set: Set::AtAnyTime(|c, value| c.$field.set(value as _)),
        }
    };
    ($field:ident, $range:expr) => {
        Kind::Whole {
            range: $range,
            clamped: false,
            get: |c| c.$field as i64,
            set: Set::AtStart(|c, value| c.$field = value as _),
        }
    };
}
macro_rules! bytes {
    (live $field:ident, $range:expr) => {
        Kind::Bytes {
            range: $range,
            get: |c| c.$field.get() as i64,
            set: Set::AtAnyTime(|c, value| c.$field.set(value as _)),
        }
    };
    ($field:ident, $range:expr) => {
        Kind::Bytes { range: $range, get: |c| c.$field as i64, set: Set::AtStart(|c, value| c.$field = value as _) }
    };
}
macro_rules! milliseconds {
    (live $field:ident, clamped to $range:expr) => {
        milliseconds!(@live $field, $range, true)
    };
    (live $field:ident, $range:expr) => {
        milliseconds!(@live $field, $range, false)
    };
    (@live $field:ident, $range:expr, $clamped:expr) => {
        Kind::Whole {
            range: $range,
            clamped: $clamped,
            get: |c| c.$field.get().as_millis() as i64,
            set: Set::AtAnyTime(|c, value| c.$field.set(Duration::from_millis(value as u64))),
        }
    };
    ($field:ident, $range:expr) => {
        Kind::Whole {
            range: $range,
            clamped: false,
            get: |c| c.$field.as_millis() as i64,
            set: Set::AtStart(|c, value| c.$field = Duration::from_millis(value as u64)),
        }
    };
}
/// A length of time of which operators write the number of seconds, or of `$unit` seconds.
macro_rules! seconds {
    (live $field:ident, $range:expr, of $unit:expr) => {
        Kind::Whole {
            range: $range,
            clamped: false,
            get: |c| (c.$field.get().as_secs() / $unit) as i64,
            set: Set::AtAnyTime(|c, value| c.$field.set(Duration::from_secs(value as u64 * $unit))),
        }
    };
}
macro_rules! truth {
    (live $field:ident) => {
        Kind::Truth { get: |c| c.$field.get(), set: Set::AtAnyTime(|c, value| c.$field.set(value)) }
    };
    ($field:ident) => {
        Kind::Truth { get: |c| c.$field, set: Set::AtStart(|c, value| c.$field = value) }
    };
}
macro_rules! name {
    ($field:ident) => {
        Kind::Name { get: |c| c.$field.clone(), set: Set::AtStart(|c, value| c.$field = value) }
    };
}
macro_rules! ip {
    ($field:ident, $allowed:expr) => {
        Kind::Other {
            allowed: $allowed,
            get: |c| c.$field.to_string(),
            set: Set::AtStart(|c, text| {
                c.$field = text.parse().ok()?;
                Some(())
            }),
        }
    };
}
macro_rules! path {
    ($field:ident) => {
        Kind::Other {
            allowed: PATH,
            get: |c| c.$field.as_ref().map_or_else(String::new, |path| path.display().to_string()),
            set: Set::AtStart(|c, text| {
                c.$field = (!text.is_empty()).then(|| text.into());
                Some(())
            }),
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
/// A stock broker keeps this in 32 bits with a sign: 68 years.
const TIMER_DELAY_SECONDS_MAX: i64 = i32::MAX as i64;
/// What settings that name a path are written as.
const PATH: &str = "a path";
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
        get: |c| c.nameservers.join(";"), set: Set::AtStart(|c, text| { c.nameservers = nameservers(&text)?; Some(()) }) },
        "nameservers to register with, separated by ;";
    "registerNameServerPeriod": milliseconds!(live register_period, clamped to 10 * SECOND_MS..=60 * SECOND_MS),
        "time between two registrations, ms";
    "storePathRootDir": Kind::Other { allowed: PATH, get: |c| c.data_dir.display().to_string(),
        set: Set::AtStart(|c, text| { c.data_dir = text.into(); Some(()) }) }, "folder of everything that is stored";
    "ioThreads": whole!(io_threads, 0..=1024), "threads that serve connections; 0 is up to four cores, half of them from eight on";

    "brokerPermission": whole!(live permission, 0..=7), "what clients may do, a sum: 2 write, 4 read";
    "autoCreateTopicEnable": truth!(live auto_create_topic), "whether a send creates its topic";
    "autoCreateSubscriptionGroup": truth!(live auto_create_group), "whether use creates a consumer group";
    "defaultTopicQueueNums": whole!(live default_topic_queue_nums, 1..=65535), "most queues of a topic that a send creates";
    "enableMixedMessageType": truth!(live mixed_topics), "whether topics may take messages of every type";
    "traceTopicEnable": truth!(trace_topic), "whether the trace topic exists from the start";
    "regionId": name!(region_id), "region that messages carry";
    "traceOn": truth!(trace_on), "whether clients are told to trace";
    "maxMessageSize": bytes!(live max_message_bytes, 1..=BYTES_MAX), "largest body, bytes";
    "longPollingEnable": truth!(live long_polling), "whether pulls wait until a message arrives; otherwise one second";
    "rejectTransactionMessage": truth!(live reject_transactions), "whether half messages are refused";
    "useServerSideResetOffset": truth!(live server_side_reset),
        "whether offsets are reset here; otherwise connected consumers are told to do it";
    "storeReplyMessageEnable": truth!(live store_replies), "whether replies to requesters are stored as well";
    "enablePropertyFilter": truth!(live property_filter), "whether consumers may filter by properties, with SQL92";

    "flushDiskType": Kind::Other { allowed: "`ASYNC_FLUSH` or `SYNC_FLUSH`", get: |c| c.flush.name().to_owned(),
        set: Set::AtStart(|c, text| { c.flush = Flush::named(&text)?; Some(()) }) },
        "whether a send is answered when the page cache has it, or the disk";
    "syncFlushTimeout": milliseconds!(live sync_flush_timeout, 1..=HOUR_MS), "longest wait of a send for the disk, ms";
    "mappedFileSizeCommitLog" was "mapedFileSizeCommitLog": bytes!(segment_bytes, 4096..=BYTES_MAX),
        "size of one commit-log file, bytes";
    "fileReservedTime": seconds!(live retention, 1..=1_000_000, of SECONDS_PER_HOUR),
        "age after which messages may be deleted, hours";
    "deleteWhen": Kind::Other { allowed: "hours from 0 to 23, several of them separated by `;`",
        get: |c| c.delete_hours.get().iter().map(|hour| format!("{hour:02}")).collect::<Vec<_>>().join(";"),
        set: Set::AtAnyTime(|c, text| { c.delete_hours.set(hours(&text)?); Some(()) }) },
        "hours at which expired files are deleted, separated by ;";
    "diskMaxUsedSpaceRatio": Kind::Whole { range: 10..=95, clamped: true, get: |c| c.disk_max_used_percent.get().into(),
        set: Set::AtAnyTime(|c, percent| c.disk_max_used_percent.set(percent as u8)) },
        "share of the disk in use above which expired files are deleted at any hour, percent";

    "messageDelayLevel": Kind::Other { allowed: "delays such as `1s 10m 2h 1d`, separated by blanks",
        get: |c| c.delay_levels.iter().map(|level| delay_name(*level)).collect::<Vec<_>>().join(" "),
        set: Set::AtStart(|c, text| { c.delay_levels = delays(&text)?; Some(()) }) },
        "delay of each level, from level 1";
    "timerMaxDelaySec": seconds!(live timer_max_delay, 0..=TIMER_DELAY_SECONDS_MAX, of 1),
        "longest delay to a time of the client's choice, seconds";
    "recallMessageEnable": truth!(live recall), "whether producers may take delayed messages back";
    "transactionTimeOut": milliseconds!(live transaction_timeout, 0..=24 * HOUR_MS),
        "age at which a half message is first asked about, ms";
    "transactionCheckInterval": milliseconds!(live transaction_check_interval, 1..=24 * HOUR_MS),
        "time between two questions about a half message, ms";
    "transactionCheckMax": whole!(live transaction_check_max, 0..=1_000_000),
        "questions after which a half message is dropped";
    "flushConsumerOffsetInterval": milliseconds!(offset_flush_period, 1..=HOUR_MS),
        "longest time between two writes of consumer offsets, ms";
    "channelExpiredTimeout": milliseconds!(live client_expiry, SECOND_MS..=24 * HOUR_MS),
        "silence after which a client is no longer a member, ms";

    "grpcServerPort": Kind::Whole { range: 0..=65535, clamped: false,
        get: |c| c.grpc_port.unwrap_or(0).into(),
        set: Set::AtStart(|c, port| c.grpc_port = (port != 0).then_some(port as u16)) }, "port for gRPC clients; 0 closes it";
    "grpcEndpoint": Kind::Other { allowed: "`host:port`", get: |c| c.grpc_endpoint.clone().unwrap_or_default(),
        set: Set::AtStart(|c, text| { c.grpc_endpoint = endpoint(&text)?; Some(()) }) },
        "what gRPC clients are told to dial, instead of what they dialled first";
    "grpcClientIdleTimeMills": milliseconds!(live grpc_idle, SECOND_MS..=24 * HOUR_MS),
        "time without a call after which a gRPC connection is closed, ms";
    "tlsCertPath": path!(tls_certificate), "file of the certificate, PEM; without one, one is made";
    "tlsKeyPath": path!(tls_key), "file of its private key, PEM, not encrypted";
    "tlsCertWatchIntervalMs": milliseconds!(live tls_watch_period, SECOND_MS..=24 * HOUR_MS),
        "time between two looks whether certificate and key have changed, ms";
    "userPropertyMaxNum": whole!(live user_properties_max, 0..=10_000), "most properties of a message sent by gRPC";
    "maxUserPropertySize": bytes!(live user_properties_bytes_max, 0..=32_000),
        "most bytes of them, with tag and keys";
    "enableTopicMessageTypeCheck": truth!(live topic_type_check),
        "whether messages sent by gRPC have to be of the type that their topic takes";
    "maxTransactionRecoverySecond": seconds!(live max_transaction_recovery, 0..=1_000_000, of 1),
        "longest time that a half message may ask for before its producer is asked, seconds";

    "metricsExporterType": Kind::Other { allowed: "`PROM` or `DISABLE`", get: |c| c.exporting.kind().to_owned(),
        set: Set::AtStart(|c, text| { c.exporting.is_open = exporter_is_open(&text)?; Some(()) }) },
        "whether Prometheus is served; `OTLP_GRPC` and `LOG` are taken for `PROM`, since nothing is pushed";
    "metricsPromExporterPort": Kind::Whole { range: 1..=65535, clamped: false,
        get: |c| c.exporting.port.unwrap_or(exporting::DEFAULT_PORT).into(),
        set: Set::AtStart(|c, port| c.exporting.port = Some(port as u16).filter(|port| *port != exporting::DEFAULT_PORT)) },
        "port for Prometheus and probes; the usual one may be taken by another process";
    "metricsPromExporterHost": Kind::Other { allowed: "an IP address of this machine",
        get: |c| c.exporting.host.map_or_else(String::new, |host| host.to_string()),
        set: Set::AtStart(|c, text| { c.exporting.host = optional(&text)?; Some(()) }) },
        "interface of that port, instead of bindAddress";
    "metricsLabel": Kind::Other { allowed: "`name:value`, several of them separated by `,`",
        get: |c| c.exporting.labels_text(),
        set: Set::AtStart(|c, text| { c.exporting.labels = exporting::labels(&text)?; Some(()) }) },
        "labels that every series carries";
    "metricsOtelCardinalityLimit": Kind::Whole { range: 100..=10_000_000, clamped: false,
        get: |c| c.exporting.options.series_max as i64,
        set: Set::AtStart(|c, limit| c.exporting.options.series_max = limit as usize) },
        "most series of one name; what is left out is counted";
    "metricsNames": Kind::Other { allowed: "`suffixed`, `plain` or `both`",
        get: |c| c.exporting.options.naming.name().to_owned(),
        set: Set::AtStart(|c, text| { c.exporting.options.naming = Naming::named(&text)?; Some(()) }) },
        "whether names carry units, as stock brokers show them, or not, as they are documented";
    "tracesGrpcExporterTarget": Kind::Other { allowed: "`host:port`",
        get: |c| c.traces_target.clone().unwrap_or_default(),
        set: Set::AtStart(|c, text| { c.traces_target = endpoint(text.trim_start_matches("http://"))?; Some(()) }) },
        "OpenTelemetry collector that traces go to, by OTLP over gRPC; only in a binary built with the feature `otel`";

    "configBlackList": Kind::Other { allowed: "keys, separated by `;`", get: |c| c.locked_keys.join(";"),
        set: Set::AtStart(|c, text| { c.locked_keys = list(&text); Some(()) }) },
        "keys that cannot be changed while the broker runs, beside those that name a path, separated by ;";

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
        self.set(Target::New(config), value)
    }

    /// Changes the value in the settings of a broker that runs. Everything that depends on it sees it at once.
    pub fn change(&self, config: &BrokerConfig, value: &str) -> Result<Taken, Refused> {
        self.set(Target::Running(config), value)
    }

    /// Whether the value is a path. What lies there is the machine's, so nobody sets it from afar.
    pub fn names_path(&self) -> bool {
        matches!(self.kind, Kind::Other { allowed: PATH, .. })
    }

    /// Whether the value may change while the broker runs.
    pub fn may_change(&self) -> bool {
        match &self.kind {
            Kind::Whole { set, .. } | Kind::Bytes { set, .. } => set.is_at_any_time(),
            Kind::Truth { set, .. } => set.is_at_any_time(),
            Kind::Name { set, .. } => set.is_at_any_time(),
            Kind::Other { set, .. } => set.is_at_any_time(),
            Kind::Fixed { .. } => false,
        }
    }

    fn set(&self, target: Target<'_>, value: &str) -> Result<Taken, Refused> {
        let outside = || Refused::Outside { allowed: self.allowed() };
        match &self.kind {
            Kind::Whole { range, clamped, set, .. } => {
                let number = value.parse::<i64>().map_err(|_| outside())?;
                let used = number.clamp(*range.start(), *range.end());
                if used != number && !clamped {
                    return Err(outside());
                }
                set.set(target, used)?;
                if used != number {
                    let reason = format!("{} to {} are possible", range.start(), range.end());
                    return Ok(Taken::Instead { used: used.to_string(), reason });
                }
            }
            Kind::Bytes { range, set, .. } => {
                set.set(target, bytes(value).filter(|bytes| range.contains(bytes)).ok_or_else(outside)?)?;
            }
            Kind::Truth { set, .. } => {
                set.set(target, value.to_ascii_lowercase().parse().map_err(|_| outside())?)?;
            }
            Kind::Name { set, .. } => {
                if NAME_BYTES_MAX < value.len() || value.contains(|letter: char| letter <= ' ' || letter == '\x7f') {
                    return Err(outside());
                }
                set.set(target, value.to_owned())?;
            }
            Kind::Other { set, .. } => set.set(target, value.to_owned())?.ok_or_else(outside)?,
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
