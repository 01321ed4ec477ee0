//! What a broker is told: the settings once they are known to make sense.
//!
//! The rest of the crate sees only [`BrokerConfig`].
pub mod change;
pub mod exporting;
pub mod host;
pub mod keys;
pub mod live;
pub mod load;
pub mod print;

use client::zone::Zone;
use exporting::Exporting;
use live::{Hours, Live};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Settings of a broker. Names in parentheses are the keys of `broker.conf`. Those that are [`Live`] may change at any time,
/// all others count until the broker stops.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerConfig {
    /// Cluster (`brokerClusterName`).
    pub cluster_name: String,
    /// Name of the broker (`brokerName`).
    pub broker_name: String,
    /// 0 is the master (`brokerId`).
    pub broker_id: i64,
    /// Address that routes and message ids carry; clients must reach it (`brokerIP1`).
    pub advertised_ip: IpAddr,
    /// Whether that is what this machine has, because `brokerIP1` is not set anywhere.
    pub advertised_by_default: bool,
    /// Interface to listen on (`bindAddress`).
    pub bind_ip: IpAddr,
    /// Main port (`listenPort`).
    pub listen_port: u16,
    /// Port that clients with the VIP channel dial; upstream's is always the main port minus 2 (`fastListenPort`).
    pub fast_listen_port: u16,
    /// Nameservers, `host:port` each (`namesrvAddr`, separated by `;`).
    pub nameservers: Vec<String>,
    /// Time between two registrations (`registerNameServerPeriod`, 10 to 60 s).
    pub register_period: Live<Duration>,
    /// Folder of everything that is stored (`storePathRootDir`).
    pub data_dir: PathBuf,
    /// Threads that serve connections (`ioThreads`). 0: all of up to four cores, half of them from eight on.
    pub io_threads: usize,

    /// What clients may do: 2 write, 4 read (`brokerPermission`).
    pub permission: Live<i32>,
    /// Whether a send creates its topic (`autoCreateTopicEnable`).
    pub auto_create_topic: Live<bool>,
    /// Whether use creates a consumer group (`autoCreateSubscriptionGroup`).
    pub auto_create_group: Live<bool>,
    /// Whether topics may take messages of every type (`enableMixedMessageType`).
    pub mixed_topics: Live<bool>,
    /// Queues of the template topic, and so at most of an auto-created one (`defaultTopicQueueNums`).
    pub default_topic_queue_nums: Live<i32>,
    /// Whether the trace topic exists from the start (`traceTopicEnable`).
    pub trace_topic: bool,
    /// Region that answers and messages carry (`regionId`).
    pub region_id: String,
    /// Whether clients are told to trace (`traceOn`).
    pub trace_on: bool,
    /// Largest body in bytes (`maxMessageSize`).
    pub max_message_bytes: Live<usize>,
    /// Whether pulls are held until a message arrives (`longPollingEnable`); otherwise for one second.
    pub long_polling: Live<bool>,
    /// Whether half messages are refused (`rejectTransactionMessage`).
    pub reject_transactions: Live<bool>,
    /// Whether a reset of offsets is done here, so that it reaches every consumer with its next pull
    /// (`useServerSideResetOffset`); otherwise consumers that are connected are told to do it.
    pub server_side_reset: Live<bool>,
    /// Whether replies to requesters are stored as well (`storeReplyMessageEnable`).
    pub store_replies: Live<bool>,
    /// Whether consumers may filter by properties, with SQL92 (`enablePropertyFilter`).
    pub property_filter: Live<bool>,

    /// When an answer may say that a message is stored (`flushDiskType`).
    pub flush: Flush,
    /// Longest wait for the disk before a send is answered with FLUSH_DISK_TIMEOUT (`syncFlushTimeout`).
    pub sync_flush_timeout: Live<Duration>,
    /// Size of one commit-log file in bytes (`mappedFileSizeCommitLog`).
    pub segment_bytes: u64,
    /// Age after which messages may be deleted (`fileReservedTime`, in hours there).
    pub retention: Live<Duration>,
    /// Time zone of the hours of [`Self::delete_hours`], and of midnight in statistics. Not in the file: as for a stock
    /// broker it is that of the machine (TZ).
    pub zone: Zone,
    /// Most bytes of the newest messages that are kept in the page cache, where that is less than the share of the
    /// machine's memory. Not in the file: a stock broker is told what it may take by a flag of the JVM.
    pub cached_bytes_max: Option<u64>,
    /// Hours of the day at which expired files are deleted (`deleteWhen`, separated by `;`).
    pub delete_hours: Live<Hours>,
    /// Share of the disk, in percent, above which expired files are deleted at any hour (`diskMaxUsedSpaceRatio`).
    pub disk_max_used_percent: Live<u8>,

    /// Delay of each level, from level 1 (`messageDelayLevel`).
    pub delay_levels: Vec<Duration>,
    /// Longest delay to a time of the client's choice (`timerMaxDelaySec`).
    pub timer_max_delay: Live<Duration>,
    /// Whether producers may take delayed messages back (`recallMessageEnable`).
    pub recall: Live<bool>,
    /// Age at which a half message is first asked about (`transactionTimeOut`).
    pub transaction_timeout: Live<Duration>,
    /// Time between two questions about a half message (`transactionCheckInterval`).
    pub transaction_check_interval: Live<Duration>,
    /// Questions after which a half message is dropped (`transactionCheckMax`).
    pub transaction_check_max: Live<u32>,
    /// Time between two writes of consumer offsets (`flushConsumerOffsetInterval`, at most this).
    pub offset_flush_period: Duration,
    /// Silence after which a client is no longer a member (`channelExpiredTimeout`).
    pub client_expiry: Live<Duration>,

    /// Port for gRPC clients, unless that door stays closed (`grpcServerPort`, 0 there).
    pub grpc_port: Option<u16>,
    /// `host:port` that gRPC clients are told instead of what they dialled (`grpcEndpoint`); Apogee's own.
    pub grpc_endpoint: Option<String>,
    /// Time without a call after which a gRPC connection is closed (`grpcClientIdleTimeMills`).
    pub grpc_idle: Live<Duration>,
    /// File of the certificate, PEM (`tlsCertPath`). Without one, one is made.
    pub tls_certificate: Option<PathBuf>,
    /// File of its private key, PEM (`tlsKeyPath`).
    pub tls_key: Option<PathBuf>,
    /// Time between two looks whether both files have changed (`tlsCertWatchIntervalMs`).
    pub tls_watch_period: Live<Duration>,
    /// Most properties that a user gives a message sent by gRPC (`userPropertyMaxNum`).
    pub user_properties_max: Live<usize>,
    /// Most bytes of them, with tag and keys (`maxUserPropertySize`).
    pub user_properties_bytes_max: Live<usize>,
    /// Whether messages sent by gRPC have to be of the type that their topic takes (`enableTopicMessageTypeCheck`).
    pub topic_type_check: Live<bool>,
    /// How it shows itself to Prometheus.
    pub exporting: Exporting,
    /// OpenTelemetry collector that spans of messages go to, `host:port` (`tracesGrpcExporterTarget`). Without the
    /// feature `otel` it has no effect, and a warning says so.
    pub traces_target: Option<String>,
    /// Keys that nobody may change while the broker runs (`configBlackList`), beside those that name a path.
    pub locked_keys: Vec<String>,
    /// Longest time that a half message may ask for before its producer is asked (`maxTransactionRecoverySecond`).
    pub max_transaction_recovery: Live<Duration>,
}

/// When an answer may say that a message is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// When the page cache has it: it survives a killed process.
    Async,
    /// When the disk has it: it survives a power cut.
    Sync,
}

impl Flush {
    /// The name of it in settings.
    pub fn name(self) -> &'static str {
        match self {
            Flush::Async => "ASYNC_FLUSH",
            Flush::Sync => "SYNC_FLUSH",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Flush> {
        [Flush::Async, Flush::Sync].into_iter().find(|flush| flush.name() == name)
    }
}

impl Default for BrokerConfig {
    fn default() -> Self {
        const DEFAULT_LEVELS_S: [u64; 18] =
            [1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200];
        BrokerConfig {
            cluster_name: "DefaultCluster".into(),
            broker_name: "broker-a".into(),
            broker_id: 0,
            advertised_ip: IpAddr::from([127, 0, 0, 1]),
            advertised_by_default: false,
            bind_ip: IpAddr::from([0, 0, 0, 0]),
            listen_port: 10911,
            fast_listen_port: 10909,
            nameservers: Vec::new(),
            register_period: Duration::from_secs(30).into(),
            data_dir: "data".into(),
            io_threads: 0,
            permission: 6.into(),
            auto_create_topic: true.into(),
            auto_create_group: true.into(),
            mixed_topics: false.into(),
            default_topic_queue_nums: 8.into(),
            trace_topic: false,
            region_id: "DefaultRegion".into(),
            trace_on: true,
            max_message_bytes: (4 * 1024 * 1024).into(),
            long_polling: true.into(),
            reject_transactions: false.into(),
            server_side_reset: true.into(),
            store_replies: true.into(),
            property_filter: false.into(),
            flush: Flush::Async,
            sync_flush_timeout: Duration::from_secs(5).into(),
            segment_bytes: 1 << 30,
            retention: Duration::from_secs(72 * 3600).into(),
            zone: Zone::utc(),
            cached_bytes_max: None,
            delete_hours: Hours::from_iter([4]).into(),
            disk_max_used_percent: 75.into(),
            delay_levels: DEFAULT_LEVELS_S.into_iter().map(Duration::from_secs).collect(),
            timer_max_delay: Duration::from_secs(40 * 24 * 3600).into(),
            recall: true.into(),
            transaction_timeout: Duration::from_secs(6).into(),
            transaction_check_interval: Duration::from_secs(30).into(),
            transaction_check_max: 15.into(),
            offset_flush_period: Duration::from_millis(500),
            client_expiry: Duration::from_secs(120).into(),
            grpc_port: Some(8081),
            grpc_endpoint: None,
            grpc_idle: Duration::from_secs(120).into(),
            tls_certificate: None,
            tls_key: None,
            tls_watch_period: Duration::from_secs(3600).into(),
            user_properties_max: 128.into(),
            user_properties_bytes_max: 16_384.into(),
            topic_type_check: true.into(),
            exporting: Exporting::default(),
            traces_target: None,
            locked_keys: Vec::new(),
            max_transaction_recovery: Duration::from_secs(3600).into(),
        }
    }
}
