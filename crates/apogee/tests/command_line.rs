//! What the command line answers when nothing runs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::{Command, Output};

fn apogee(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apogee"));
    command.args(arguments).env_remove("NAMESRV_ADDR").env_remove("APOGEE_LOG");
    command.output().unwrap()
}

#[track_caller]
fn check(arguments: &[&str], status: i32, stdout: &[&str], stderr: &[&str]) {
    let output = apogee(arguments);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{arguments:?}\n{out}\n{err}");
    for text in stdout {
        assert!(out.contains(text), "`{text}` is not in the output of {arguments:?}:\n{out}");
    }
    for text in stderr {
        assert!(err.contains(text), "`{text}` is not in the errors of {arguments:?}:\n{err}");
    }
}

/// A port on which nobody listens.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn every_command_explains_itself() {
    check(&["--help"], 0, &["Examples:", "apogee up", "Exit status", "NAMESRV_ADDR"], &[]);
    check(&["--version"], 0, &["apogee 0."], &[]);
    check(&["up", "--help"], 0, &["--data-dir", "--advertise", "--nameserver-port", "--json"], &[]);
    check(&["up", "--help"], 0, &["-n adds nameservers"], &[]);
    check(&["nameserver", "--help"], 0, &["--config", "--print-config"], &[]);
    check(&["broker", "--help"], 0, &["--config", "--set", "--namesrv"], &[]);
    check(&["broker", "--explain-config"], 0, &["flushDiskType", "listenPort"], &[]);
    check(&["topic", "create", "--help"], 0, &["--queues", "[default: 8]", "Example"], &[]);
    check(&["group", "create", "--help"], 0, &["--retries", "--retry-waits", "Examples"], &[]);
    check(&["group", "progress", "--help"], 0, &["<GROUP>"], &[]);
    check(&["send", "--help"], 0, &["--delay", "one message a line"], &[]);
    check(&["consume", "--help"], 0, &["--follow", "--from"], &[]);
    check(&["bench", "produce", "--help"], 0, &["--window", "--rate", "--batch", "coordinated omission"], &[]);
    check(&["bench", "consume", "--help"], 0, &["--follow", "checksum"], &[]);
    let measurements = ["end-to-end", "transaction", "delay", "connections", "many-queues", "batch", "catch-up"];
    check(&["bench", "--help"], 0, &measurements, &[]);
    for name in measurements {
        check(&["bench", name, "--help"], 0, &["Example", "--pid", "--header <HEADER>"], &[]);
    }
}

#[test]
fn a_wrong_command_line_has_status_2() {
    check(&[], 2, &[], &["Usage: apogee"]);
    check(&["topic"], 2, &[], &["Usage: apogee topic"]);
    check(&["topics", "list"], 2, &[], &["topic"]);
    check(&["topic", "create"], 2, &[], &["<TOPIC>"]);
    check(&["group", "create", "g", "--retry-growth", "1,2"], 2, &[], &["FIRST,MAX,FACTOR"]);
    check(&["topic", "create", "t", "--queues", "0"], 2, &[], &["1..=65535"]);
    check(&["send", "t", "body", "--property", "novalue"], 2, &[], &["NAME=VALUE"]);
    check(&["up", "--broker-port", "0"], 2, &[], &["--broker-port"]);
    check(&["bench", "produce", "--rate", "none"], 2, &[], &["`none` is no number"]);
    check(&["bench", "end-to-end", "--header", "xml"], 2, &[], &["json", "binary"]);
    check(&["bench", "delay", "--count", "0"], 2, &[], &["1..="]);
}

#[test]
fn a_cluster_that_is_not_there_is_named() {
    let address = format!("127.0.0.1:{}", free_port());
    let named = format!("cannot connect to `{address}`");
    check(&["topic", "list", "-n", &address], 6, &[], &["error: cannot list the topics", "caused by", &named]);
    check(&["send", "t", "x", "-n", &address], 6, &[], &[&named]);
    check(&["consume", "t", "-n", &address, "--json"], 6, &[], &[&named]);
    check(&["bench", "produce", "-n", &address], 6, &[], &[&named]);
    check(&["topic", "list", "-n", " ; "], 1, &[], &["names no nameserver"]);
    check(&["topic", "list", "-n", "no-such-host.invalid:1"], 6, &[], &["no-such-host.invalid:1"]);
}

#[test]
fn a_broken_configuration_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    std::fs::write(path("broker.conf"), "brokerName=b\n\nlistenPort=many\n").unwrap();
    check(&["broker", "-c", &path("broker.conf")], 78, &[], &["broker.conf:3", "listenPort", "many"]);
    check(&["up", "-c", &path("broker.conf"), "-d", &path("d")], 78, &[], &["broker.conf:3"]);
    check(&["broker", "-c", &path("none.conf")], 78, &[], &["none.conf", "No such file"]);
    check(&["broker", "-c", &path("")], 78, &[], &["is a directory"]);
    std::fs::write(path("namesrv.conf"), "# ours\nlistenPort=many\n").unwrap();
    check(&["nameserver", "-c", &path("namesrv.conf")], 78, &[], &["namesrv.conf:2", "many"]);
    check(&["nameserver", "-c", &path("none.conf")], 78, &[], &["none.conf"]);
}

#[test]
fn settings_are_printed_with_their_origin() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broker.conf");
    std::fs::write(&path, "brokerName=from-file\n").unwrap();
    let path = path.to_string_lossy().into_owned();
    let arguments = ["broker", "-c", &path, "-n", "a:1", "--set", "listenPort=20911", "--print-config"];
    check(&arguments, 0, &["brokerName=from-file", "broker.conf:1", "namesrvAddr=a:1", "listenPort=20911"], &[]);
}

#[test]
fn settings_are_json_where_json_is_wanted() {
    let json = |arguments: &[&str]| -> serde_json::Value {
        let output = apogee(arguments);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    };
    let printed = json(&["broker", "--set", "listenPort=20911", "--print-config", "--json"]);
    assert_eq!(printed["listenPort"], serde_json::json!({ "value": "20911", "origin": "command line" }));
    assert_eq!(printed["fastListenPort"]["value"], "20909");
    let printed = json(&["nameserver", "--port", "20876", "--print-config", "--json"]);
    assert_eq!(printed["listenPort"], serde_json::json!({ "value": "20876", "origin": "command line" }));
    let explained = json(&["broker", "--explain-config", "--json"]);
    let segment = &explained["mappedFileSizeCommitLog"];
    assert_eq!((&segment["default"], &segment["old_name"]), (&"1073741824".into(), &"mapedFileSizeCommitLog".into()));
    assert!(segment["help"].as_str().unwrap().contains("bytes") && segment["possible"].is_string(), "{segment}");
    assert_eq!(explained["fastListenPort"]["default"], "listenPort - 2");
    assert_eq!(explained["fileReservedTime"]["counts"], "at any time");
    assert_eq!(explained["brokerName"]["default"], "name of this machine");
}

#[test]
fn what_cannot_be_used_is_named_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").to_string_lossy().into_owned();
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let named = format!("port {port} on 0.0.0.0 is taken by another process");
    check(&["nameserver", "--port", &port, "--data-dir", &data], 78, &[], &["--port", &named]);
    check(&["up", "--nameserver-port", &port, "-d", &data], 78, &[], &["--nameserver-port", &named]);
    let free = free_port().to_string();
    let arguments = ["up", "--nameserver-port", &free, "--broker-port", &port, "-d", &data];
    check(&arguments, 78, &[], &["--broker-port", "listenPort", &named]);
    let setting = format!("listenPort={port}");
    check(&["broker", "--set", &setting, "--data-dir", &data], 78, &[], &["--set listenPort", &named]);
    // A file where the folder should be, for even root cannot make one there.
    let file = folder.path().join("file").to_string_lossy().into_owned();
    std::fs::write(&file, "").unwrap();
    let setting = format!("listenPort={free}");
    // Otherwise the second port is the one two below, which may be taken.
    let fast = format!("fastListenPort={}", free_port());
    let arguments = ["broker", "--set", &setting, "--set", &fast, "--set", "grpcServerPort=0", "--data-dir", &file];
    check(&arguments, 78, &[], &["data folder", "file"]);
    check(&["nameserver", "--port", &free, "--data-dir", &file], 78, &[], &["file"]);
    let output = apogee(&["up", "--nameserver-port", &free, "-d", &file]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78));
    assert!(said.contains("--data-dir") && said.contains(&file) && !said.contains("port"), "{said}");
}
