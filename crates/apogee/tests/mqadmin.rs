//! `apogee mqadmin` prints what the official tool printed when it got the same answers.
//!
//! Servers answer from recorded frames, so that no Java is needed. Every recorded run is compared, byte for byte
//! unless it is listed below with the reason.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "mqadmin/recorded.rs"]
mod recorded;
#[path = "mqadmin/transcripts.rs"]
mod transcripts;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use recorded::{Recording, Servers};
use transcripts::Run;

use Difference::*;

/// How a run differs from the recorded one on purpose.
#[derive(Clone, Copy, PartialEq)]
enum Difference {
    /// None, where a later entry would say otherwise.
    Same,
    /// Upstream prints in the order of a Java hash table, we in the order of names: same lines, sorted.
    Order,
    /// As [`Difference::Order`], and maps inside of lines are written in the order in which they are stored.
    Maps,
    /// Times that pass or ids that are made while the command runs: digits and hex are not compared.
    Now,
    /// Ends with this status and says why in one line; upstream prints a stack trace and ends with 0.
    Fails(i32),
    /// Ends with this status without asking anybody.
    Usage,
    /// As [`Difference::Maps`], and every track has a line of its own, which upstream forgets.
    Tracks,
    /// The rate is that of the brokers; upstream prints 0.0 always.
    PutTps,
    /// The answer was not recorded as a whole.
    NotRecorded,
    /// The route is JSON, with quotes around the broker id, which upstream leaves out.
    QuotedIds,
}

/// Runs that differ, by the beginning of the command line after `mqadmin `. The first match counts.
const DIFFERENCES: &[(&str, Difference)] = &[
    ("topicList", Order),
    ("statsAll", Order),
    ("topicRoute -t NoSuchTopic", Fails(3)),
    ("topicRoute -t AdminTopic -l", Same),
    ("topicRoute -t", QuotedIds),
    ("topicRoute -n", Usage),
    ("topicStatus -t NoSuchTopic", Fails(3)),
    ("topicStatus", PutTps),
    ("updateTopic -c DefaultCluster -t 'bad topic'", Fails(4)),
    ("allocateMQ", Now),
    ("getBrokerConfig", Order),
    ("getNamesrvConfig", Order),
    ("consumerProgress -g NoSuchGroup", Fails(3)),
    ("consumerProgress -g MqGroupB", Fails(3)),
    ("consumerProgress -g", Same),
    ("consumerProgress", Order),
    ("consumerConnection -g NoSuchGroup", Fails(3)),
    ("consumerStatus -g CG_admin -i", NotRecorded),
    ("consumerStatus", Now),
    ("producerConnection -g NoSuchGroup", Fails(1)),
    ("producer ", Order),
    ("queryMsgById", Maps),
    ("queryMsgByOffset", Maps),
    ("queryMsgByUniqueKey", Tracks),
    ("queryMsgByKey -t AdminTopic -k nokey", Fails(3)),
    ("printMsg", Maps),
    ("consumeMessage", Maps),
    ("resetOffsetByTime -g NoSuchGroup", Fails(3)),
    ("resetOffsetByTime -g CG_admin -t AdminTopic -s now", Now),
    ("resetOffsetByTime -g MqGroupB", Now),
    ("resetOffsetByTime", Order),
    ("skipAccumulatedMessage", Order),
    ("sendMessage", Now),
    ("sendMsgStatus", Now),
    ("checkMsgSendRT", Now),
    ("clusterList -m", Same),
    ("clusterList", Now),
    ("updateBrokerConfig -b 127.0.0.1:20911 -k brokerConfigPath", Fails(5)),
    ("createUser", Fails(1)),
    ("deleteUser", Fails(1)),
    ("getUser", Fails(1)),
    ("listUser", Fails(1)),
    ("createAcl", Fails(1)),
    ("deleteAcl", Fails(1)),
    ("getAcl", Fails(1)),
    ("listAcl", Fails(1)),
    ("noSuchCommand", Usage),
];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/golden")
}

fn difference(run: &Run) -> Option<Difference> {
    let line = run.line.strip_prefix("mqadmin ").unwrap_or_default().replace("-n 127.0.0.1:19876 ", "");
    DIFFERENCES.iter().find(|(start, _)| line.starts_with(start)).map(|(_, difference)| *difference)
}

/// Runs a command line against servers that answer as recorded.
fn replay(run: &Run, servers: &Servers, folder: &Path) -> Output {
    let words = run.words().into_iter().map(|word| servers.of_recorded(&word));
    let mut command = Command::new(env!("CARGO_BIN_EXE_apogee"));
    command.arg("mqadmin").args(words).current_dir(folder).env("TMPDIR", folder);
    command.env_remove("NAMESRV_ADDR").env_remove("JAVA_OPT").env_remove("APOGEE_MQADMIN_EXIT0");
    command.output().unwrap()
}

/// The lines without blanks at their ends, and without blank lines at the end of all.
fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(|line| line.trim_end().to_owned()).collect();
    while lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    lines
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

/// Sorts the entries of every map `{a=1, b=2}` in a line.
fn with_sorted_maps(line: &str) -> String {
    let Some(start) = line.find("roperties={").or_else(|| line.find("roperties:          {")) else {
        return line.to_owned();
    };
    let from = start + line[start..].find('{').unwrap() + 1;
    let to = from + line[from..].find('}').unwrap();
    let mut entries: Vec<&str> = line[from..to].split(", ").collect();
    entries.sort_unstable();
    format!("{}{}{}", &line[..from], entries.join(", "), &line[to..])
}

/// Runs of digits and hex digits become one `#`; so do runs of blanks, which depend on them.
fn without_numbers(line: &str) -> String {
    let mut text = String::new();
    for word in line.split_whitespace() {
        let mut last = ' ';
        for letter in word.chars() {
            let shown = if letter.is_ascii_digit() || ('A'..='F').contains(&letter) { '#' } else { letter };
            if shown != '#' || last != '#' {
                text.push(shown);
            }
            last = shown;
        }
        text.push(' ');
    }
    text
}

/// What is compared of a text.
fn compared(difference: Option<Difference>, text: &str) -> Vec<String> {
    let lines = lines(text);
    match difference {
        Some(Difference::Order) => sorted(lines),
        Some(Difference::Maps) => sorted(lines.iter().map(|line| with_sorted_maps(line)).collect()),
        Some(Difference::Tracks) => {
            let broken = text.replace("]MessageTrack", "]\nMessageTrack").replace("]Topic:", "]\nTopic:");
            compared(Some(Difference::Maps), &broken)
        }
        Some(Difference::PutTps) => lines.into_iter().filter(|line| !line.starts_with("Topic Put TPS:")).collect(),
        Some(Difference::Now) => lines.iter().map(|line| without_numbers(line)).collect(),
        Some(Difference::QuotedIds) => lines.iter().map(|line| line.replace("\"0\":", "0:")).collect(),
        _ => lines,
    }
}

/// What is wrong with a run; `None` when it is as recorded, or as listed.
fn wrong(run: &Run, recording: &Arc<Recording>) -> Option<String> {
    if difference(run) == Some(NotRecorded) {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("topics.json"), TOPICS).unwrap();
    std::fs::write(folder.path().join("groups.json"), GROUPS).unwrap();
    let servers = Servers::start(recording, &run.line);
    let output = replay(run, &servers, folder.path());
    let mapped = |bytes: &[u8]| {
        let text = servers.to_recorded(&String::from_utf8_lossy(bytes));
        text.replace(&*folder.path().to_string_lossy(), "/tmp")
    };
    let (stdout, stderr) = (mapped(&output.stdout), mapped(&output.stderr));
    let difference = difference(run);
    let status = output.status.code().unwrap();
    let expected_status = match difference {
        Some(Difference::Fails(status)) => status,
        Some(Difference::Usage) => 2,
        _ => 0,
    };
    let said = format!("status {status}\n----- stdout\n{stdout}----- stderr\n{stderr}");
    let unknown = servers.unknown();
    if status != expected_status || !unknown.is_empty() {
        return Some(format!("{said}----- never recorded\n{}", unknown.join("\n")));
    }
    match difference {
        Some(Difference::Fails(_)) => {
            let plain = stdout.is_empty() && stderr.starts_with("mqadmin: ") && stderr.lines().count() == 1;
            return (!plain).then_some(said);
        }
        Some(Difference::Usage) => return (!stdout.is_empty()).then_some(said),
        _ => {}
    }
    if let Some(theirs) = &run.file {
        let ours = mapped(&std::fs::read(written(folder.path())).unwrap());
        if compared_file(&ours) != compared_file(theirs) {
            return Some(format!("file\n{ours}"));
        }
    }
    let (ours, theirs) = (compared(difference, &stdout), compared(difference, &run.stdout));
    if ours == theirs {
        return None;
    }
    let differing: Vec<String> = (0..ours.len().max(theirs.len()))
        .filter(|at| ours.get(*at) != theirs.get(*at))
        .take(6)
        .map(|at| format!("theirs |{:?}\nours   |{:?}", theirs.get(at), ours.get(at)))
        .collect();
    Some(format!("status {status}\n{}\n{stderr}", differing.join("\n")))
}

/// The file that a command wrote below a folder.
fn written(folder: &Path) -> PathBuf {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.file_name().unwrap().to_str().unwrap() {
                "topics.json" | "groups.json" => {}
                _ if path.is_dir() => folders.push(path),
                _ => return path,
            }
        }
    }
    panic!("no file was written");
}

/// What is compared of a file: JSON without the time of the export, or lines in any order, for maps are sorted here.
fn compared_file(text: &str) -> Vec<String> {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(mut value) => {
            value.as_object_mut().unwrap().remove("exportTime");
            vec![value.to_string()]
        }
        Err(_) => sorted(lines(text)),
    }
}

const TOPICS: &str = r#"[{"topicName":"MqTopicL1","readQueueNums":2,"writeQueueNums":2,"perm":6},
    {"topicName":"MqTopicL2","readQueueNums":1,"writeQueueNums":1,"perm":6}]"#;
const GROUPS: &str = r#"[{"groupName":"MqGroupL1"},{"groupName":"MqGroupL2","retryMaxTimes":3}]"#;

#[test]
fn every_recorded_run_prints_what_the_official_tool_printed() {
    let recording = Arc::new(Recording::read(&golden().join("remoting/mqadmin.jsonl")));
    let runs = transcripts::read(&golden().join("mqadmin"));
    assert!(runs.len() > 100, "{}", runs.len());
    let mut failures = Vec::new();
    for run in &runs {
        if let Some(text) = wrong(run, &recording) {
            failures.push(format!("$ {}\n{text}\n", run.line));
        }
    }
    assert!(failures.is_empty(), "{} of {}\n\n{}", failures.len(), runs.len(), failures.join("\n"));
}
