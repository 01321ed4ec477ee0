//! Differences from the Java broker that are meant, each with its reason. Anything else fails the replay.

use super::player::Difference;

/// A difference that is meant.
pub struct Known {
    /// Recording; empty for all of them.
    pub recording: &'static str,
    /// Lines of the recording; empty for all of them.
    pub lines: &'static [u64],
    /// Request code; 0 for any.
    pub request: i32,
    /// What differs; a final `*` stands for anything.
    pub what: &'static str,
    /// Why that is right.
    pub reason: &'static str,
}

/// Everywhere.
const fn anywhere(request: i32, what: &'static str, reason: &'static str) -> Known {
    Known { recording: "", lines: &[], request, what, reason }
}

/// In one recording.
const fn within(recording: &'static str, request: i32, what: &'static str, reason: &'static str) -> Known {
    Known { recording, lines: &[], request, what, reason }
}

/// On some lines of one recording.
const fn on(
    recording: &'static str,
    lines: &'static [u64],
    request: i32,
    what: &'static str,
    reason: &'static str,
) -> Known {
    Known { recording, lines, request, what, reason }
}

const HEARTBEAT: &str = "light heartbeats leave subscriptions out; clients that are told no go on sending full ones";
const SETTLES: &str = "a delivery names the waiting record that it settles; no client reads the field of a message \
                       that is no commit";
const FILTER: &str = "a filter that cannot be understood is refused; upstream lets everything through";
const HELD_ON: &str = "a held pull whose queue gets only messages that it filters out is held on to its end; upstream's \
                       scan every 5 s answers it";
const POP_RETRY: &str = "the acknowledgement names upstream's retry topic for pops; here messages come again from where \
                         they lie";
const TIMER: &str = "properties of upstream's timing wheel, which no client reads; here is no wheel";
const ONE_ANSWER: &str = "without a total, tools of every version take this one answer for all there is";
const BATCH: &str = "messages of a batch carry what all messages carry";
const CODEC: &str = "whoever asks with a binary header reads one; upstream answers with JSON";
const REGION: &str =
    "every answer to a send carries the region; upstream leaves it out where it failed to expect the error";
const CREATION: &str =
    "creation of topics that was switched off can be switched on again; upstream has to be restarted";
const STATIC_TOPICS: &str = "there are no static topics; tools read absent as none";
const PROXY_SETTINGS: &str = "upstream serves gRPC from a proxy, which has this setting";
const OWN_SETTINGS: &str = "a setting of ours, or one that upstream knows by another name";

/// The table.
pub const KNOWN: &[Known] = &[
    anywhere(34, "field IS_SUPPORT_HEART_BEAT_V2 is `true`, ours `false`", HEARTBEAT),
    anywhere(11, "message is a commit is `false`, ours `true`", SETTLES),
    anywhere(28, "body $.table.apogee.*", OWN_SETTINGS),
    anywhere(201, "field totalGroupNum is missing", ONE_ANSWER),
    anywhere(21, "field totalTopicNum is missing", ONE_ANSWER),
    anywhere(21, "body $.topicQueueMappingDetailMap is missing", STATIC_TOPICS),
    anywhere(21, "body $.topicQueueMappingInfoMap is missing", STATIC_TOPICS),
    within("java-binary-header", 0, "codec Json, ours Binary", CODEC),
    on("java-binary-header", &[104, 130], 11, "code 20, ours 19", HELD_ON),
    on("java-binary-header", &[104, 130], 11, "remark *", HELD_ON),
    on(
        "java-binary-header",
        &[29],
        29,
        "field offset is `2`, ours `0`",
        "the messages that were there before the recording are as young as the others here",
    ),
    within("java498-simple-and-push", 11, "message property CLUSTER is extra", BATCH),
    within("java498-simple-and-push", 11, "message property MSG_REGION is extra", BATCH),
    within("java498-simple-and-push", 11, "message property TRACE_ON is extra", BATCH),
    on("java-push-concurrent", &[131, 132, 133, 134], 11, "code 20, ours 19", HELD_ON),
    on("java-push-concurrent", &[131, 132, 133, 134], 11, "remark *", HELD_ON),
    within("java-delay", 11, "message property TIMER_DEQUEUE_MS is missing", TIMER),
    within("java-delay", 11, "message property TIMER_ENQUEUE_MS is missing", TIMER),
    within("java-delay", 11, "message property TIMER_OUT_MS is missing", TIMER),
    within("errors", 10, "field MSG_REGION is extra", REGION),
    within("errors", 10, "field TRACE_ON is extra", REGION),
    within("errors", 320, "field MSG_REGION is extra", REGION),
    within("errors", 320, "field TRACE_ON is extra", REGION),
    on(
        "errors",
        &[157],
        10,
        "code 1, ours 13",
        "a delay that is no number is no number on the next broker either; 1 makes clients try there",
    ),
    on(
        "errors",
        &[180],
        320,
        "code 1, ours 13",
        "a broken batch is broken on the next broker too; 1 makes clients try there",
    ),
    on("errors", &[243], 11, "*", FILTER),
    on(
        "errors",
        &[247],
        11,
        "field nextBeginOffset is `9`, ours `4`",
        "a pull that reads messages to filter them ends after 4 MiB; one of these is as large",
    ),
    on("errors", &[251], 11, "*", FILTER),
    on(
        "errors",
        &[374],
        36,
        "code 0, ours 1",
        "there was a message at position 0; here every file begins with a header",
    ),
    on("errors", &[476], 11, "*", "both ports serve everything"),
    on("errors", &[553], 10, "*", CREATION),
    on("errors", &[484], 9999, "codec Json, ours Binary", CODEC),
    on(
        "mqadmin",
        &[23],
        38,
        "*",
        "the heartbeat before it on the same connection counts; upstream handled them side by side",
    ),
    on("mqadmin", &[1225, 1777], 351, "*", "a topic of upstream's pop"),
    on("mqadmin", &[1217, 1769], 315, "*", "a topic of upstream's pop"),
    on("mqadmin", &[1699, 2251, 2279], 315, "*", "pulls of this group were not recorded"),
    within("mqadmin", 28, "body $.table.getTransferedTps is extra", "older tools read it"),
    on("java-pop-push", &[35, 104], 200_051, "code 0, ours 17", POP_RETRY),
    on("errors", &[480], 200_050, "*", "both ports serve everything; upstream's fast port serves no pops"),
    within(
        "mqadmin",
        28,
        "body $.table.scheduleMessageOffset_*",
        "delayed messages are kept by due time, not by level",
    ),
    within("mqadmin", 28, "body $.table.commitLogDiskRatio_*", "the path is that of another machine"),
    within("mqadmin", 28, "body $.table.remainHowManyDataToCommit is extra", "upstream tells it with other settings"),
    within("mqadmin", 28, "body $.table.brokerVersion is extra", "older tools read it"),
    within("mqadmin", 26, "body has the key tracesGrpcExporterTarget, which is extra", OWN_SETTINGS),
    within("mqadmin", 26, "body has the key ioThreads, which is extra", OWN_SETTINGS),
    within("mqadmin", 26, "body has the key metricsNames, which is extra", OWN_SETTINGS),
    within("mqadmin", 26, "body has the key fastListenPort, which is extra", OWN_SETTINGS),
    within("mqadmin", 26, "body has the key filterServerNums, which is extra", OWN_SETTINGS),
    within("mqadmin", 26, "body has the key authenticationEnabled, which is extra", OWN_SETTINGS),
    within("mqadmin", 26, "body has the key authorizationEnabled, which is extra", OWN_SETTINGS),
    within("mqadmin", 26, "body has the key grpcServerPort, which is extra", PROXY_SETTINGS),
    within("mqadmin", 26, "body has the key grpcEndpoint, which is extra", PROXY_SETTINGS),
    within("mqadmin", 26, "body has the key grpcClientIdleTimeMills, which is extra", PROXY_SETTINGS),
    within("mqadmin", 26, "body has the key tlsCertPath, which is extra", PROXY_SETTINGS),
    within("mqadmin", 26, "body has the key tlsKeyPath, which is extra", PROXY_SETTINGS),
    within("mqadmin", 26, "body has the key tlsCertWatchIntervalMs, which is extra", PROXY_SETTINGS),
    within("mqadmin", 26, "body has the key userPropertyMaxNum, which is extra", PROXY_SETTINGS),
    within("mqadmin", 26, "body has the key maxUserPropertySize, which is extra", PROXY_SETTINGS),
    within("mqadmin", 26, "body has the key enableTopicMessageTypeCheck, which is extra", PROXY_SETTINGS),
    within("mqadmin", 26, "body has the key maxTransactionRecoverySecond, which is extra", PROXY_SETTINGS),
];

/// Requests that are answered with 3 so far, whatever was recorded.
const LATER: &[(i32, &str)] = &[
    (2001, "cold data"),
    (2002, "cold data"),
    (3001, "users"),
    (3003, "users"),
    (3004, "users"),
    (3005, "users"),
    (3006, "access lists"),
    (3008, "access lists"),
    (3009, "access lists"),
    (3010, "access lists"),
];

impl Known {
    fn covers(&self, recording: &str, difference: &Difference) -> bool {
        let text = match self.what.strip_suffix('*') {
            Some(start) => difference.what.starts_with(start),
            None => difference.what == self.what,
        };
        text && (self.request == 0 || self.request == difference.request)
            && (self.recording.is_empty() || self.recording == recording)
            && (self.lines.is_empty() || self.lines.contains(&difference.line))
    }
}

/// Splits off what is not known. Fails for what is known of this recording and was not found in it.
#[track_caller]
pub fn unknown<'d>(recording: &str, found: &'d [Difference]) -> Vec<&'d Difference> {
    for entry in KNOWN.iter().filter(|entry| entry.recording == recording) {
        let used = found.iter().any(|difference| entry.covers(recording, difference));
        assert!(used, "{recording} differs no longer in `{}` of {} ({})", entry.what, entry.request, entry.reason);
    }
    let later = |difference: &Difference| {
        difference.what.ends_with(", ours 3") && LATER.iter().any(|(code, _)| *code == difference.request)
    };
    let known =
        |difference: &&Difference| later(difference) || KNOWN.iter().any(|entry| entry.covers(recording, difference));
    found.iter().filter(|difference| !known(difference)).collect()
}
