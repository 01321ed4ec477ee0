//! What a broker is told: the settings once they are known to make sense.
//!
//! The rest of the crate sees only [`BrokerConfig`].
pub mod host;
pub mod keys;
pub mod load;
pub mod print;
pub mod properties;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Settings of a broker. Names in parentheses are the keys of `broker.conf`.
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
    /// Interface to listen on (`bindAddress`).
    pub bind_ip: IpAddr,
    /// Main port (`listenPort`).
    pub listen_port: u16,
    /// Port that clients with the VIP channel dial; upstream's is always the main port minus 2 (`fastListenPort`).
    pub fast_listen_port: u16,
    /// Nameservers, `host:port` each (`namesrvAddr`, separated by `;`).
    pub nameservers: Vec<String>,
    /// Time between two registrations (`registerNameServerPeriod`, 10 to 60 s).
    pub register_period: Duration,
    /// Folder of everything that is stored (`storePathRootDir`).
    pub data_dir: PathBuf,
    /// Threads that serve connections (`ioThreads`). 0: half of the cores.
    pub io_threads: usize,

    /// What clients may do: 2 write, 4 read (`brokerPermission`).
    pub permission: i32,
    /// Whether a send creates its topic (`autoCreateTopicEnable`).
    pub auto_create_topic: bool,
    /// Whether use creates a consumer group (`autoCreateSubscriptionGroup`).
    pub auto_create_group: bool,
    /// Queues of the template topic, and so at most of an auto-created one (`defaultTopicQueueNums`).
    pub default_topic_queue_nums: i32,
    /// Whether the trace topic exists from the start (`traceTopicEnable`).
    pub trace_topic: bool,
    /// Region that answers and messages carry (`regionId`).
    pub region_id: String,
    /// Whether clients are told to trace (`traceOn`).
    pub trace_on: bool,
    /// Largest body in bytes (`maxMessageSize`).
    pub max_message_bytes: usize,
    /// Whether pulls are held until a message arrives (`longPollingEnable`); otherwise for one second.
    pub long_polling: bool,
    /// Whether half messages are refused (`rejectTransactionMessage`).
    pub reject_transactions: bool,

    /// When an answer may say that a message is stored (`flushDiskType`).
    pub flush: Flush,
    /// Longest wait for the disk before a send is answered with FLUSH_DISK_TIMEOUT (`syncFlushTimeout`).
    pub sync_flush_timeout: Duration,
    /// Size of one commit-log file in bytes (`mappedFileSizeCommitLog`).
    pub segment_bytes: u64,
    /// Age after which messages may be deleted (`fileReservedTime`, in hours there).
    pub retention: Duration,
    /// Hours of the day at which expired files are deleted (`deleteWhen`, separated by `;`).
    pub delete_hours: Vec<u8>,
    /// Share of the disk, in percent, above which expired files are deleted at any hour (`diskMaxUsedSpaceRatio`).
    pub disk_max_used_percent: u8,

    /// Delay of each level, from level 1 (`messageDelayLevel`).
    pub delay_levels: Vec<Duration>,
    /// Age at which a half message is first asked about (`transactionTimeOut`).
    pub transaction_timeout: Duration,
    /// Time between two questions about a half message (`transactionCheckInterval`).
    pub transaction_check_interval: Duration,
    /// Questions after which a half message is dropped (`transactionCheckMax`).
    pub transaction_check_max: u32,
    /// Time between two writes of consumer offsets (`flushConsumerOffsetInterval`, at most this).
    pub offset_flush_period: Duration,
    /// Silence after which a client is no longer a member (`channelExpiredTimeout`).
    pub client_expiry: Duration,
}

/// When an answer may say that a message is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// When the page cache has it: it survives a killed process.
    Async,
    /// When the disk has it: it survives a power cut.
    Sync,
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
            bind_ip: IpAddr::from([0, 0, 0, 0]),
            listen_port: 10911,
            fast_listen_port: 10909,
            nameservers: Vec::new(),
            register_period: Duration::from_secs(30),
            data_dir: "data".into(),
            io_threads: 0,
            permission: 6,
            auto_create_topic: true,
            auto_create_group: true,
            default_topic_queue_nums: 8,
            trace_topic: false,
            region_id: "DefaultRegion".into(),
            trace_on: true,
            max_message_bytes: 4 * 1024 * 1024,
            long_polling: true,
            reject_transactions: false,
            flush: Flush::Async,
            sync_flush_timeout: Duration::from_secs(5),
            segment_bytes: 1 << 30,
            retention: Duration::from_secs(72 * 3600),
            delete_hours: vec![4],
            disk_max_used_percent: 75,
            delay_levels: DEFAULT_LEVELS_S.into_iter().map(Duration::from_secs).collect(),
            transaction_timeout: Duration::from_secs(6),
            transaction_check_interval: Duration::from_secs(30),
            transaction_check_max: 15,
            offset_flush_period: Duration::from_millis(500),
            client_expiry: Duration::from_secs(120),
        }
    }
}
