//! Whole clusters, in one process or in two, worked with through the command line as a user would.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "clusters/administration.rs"]
mod administration;
#[path = "clusters/measurements.rs"]
mod measurements;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A server that runs.
struct Server {
    process: Child,
    stdout: BufReader<ChildStdout>,
    /// What it said when it was up.
    said: String,
}

/// A cluster in one process.
struct Cluster {
    server: Server,
    /// What it said when it was up.
    said: Value,
    nameserver: String,
    /// Where gRPC is spoken.
    grpc: String,
}

/// Ports that were free a moment ago.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| std::net::TcpListener::bind("0.0.0.0:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apogee"));
    command.args(arguments).env_remove("NAMESRV_ADDR").env("APOGEE_LOG", "warn");
    command
}

impl Server {
    fn start(arguments: &[&str]) -> Server {
        let mut process = command(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut said = String::new();
        stdout.read_line(&mut said).unwrap();
        Server { process, stdout, said: said.trim_end().to_owned() }
    }

    /// Asks it to stop; it must end well, and have said no more.
    fn stop(mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
        let status = self.process.wait().unwrap();
        assert_eq!(status.code(), Some(0));
        let mut rest = String::new();
        self.stdout.read_line(&mut rest).unwrap();
        assert_eq!(rest, "");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone unless a test has failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Cluster {
    /// Starts one. A port that was free may have gone to a connection in the meantime: then with others.
    fn start(data: &Path) -> Cluster {
        Cluster::start_with(data, &["--console-port", "0"])
    }

    fn start_with(data: &Path, flags: &[&str]) -> Cluster {
        let attempts = std::iter::repeat_with(|| Cluster::try_start(data, flags)).take(3);
        attempts.flatten().next().expect("not up")
    }

    fn try_start(data: &Path, flags: &[&str]) -> Option<Cluster> {
        let [nameserver, broker, fast, grpc] = free_ports().map(|port| port.to_string());
        let data = data.to_string_lossy();
        let ports =
            ["--nameserver-port", &nameserver, "--broker-port", &broker, "--fast-port", &fast, "--grpc-port", &grpc];
        let arguments = [&["up", "--json", "--data-dir", &data][..], &ports, flags].concat();
        let server = Server::start(&arguments);
        let said = serde_json::from_str(&server.said).ok()?;
        Some(Cluster { server, said, nameserver: format!("127.0.0.1:{nameserver}"), grpc: format!("127.0.0.1:{grpc}") })
    }

    /// Runs a command and returns what it prints.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        let output = command(arguments).args(["-n", &self.nameserver]).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}\n{out}\n{err}");
        out.into_owned()
    }

    /// Runs a command with `--json` and returns the lines that it prints.
    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.run(&[arguments, &["--json"]].concat());
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"))).collect()
    }

    fn stop(self, signal: Signal) {
        self.server.stop(signal);
    }
}

/// What a web server answers to a GET.
fn http_get(address: &str, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn up_serves_a_console_that_knows_the_cluster() {
    let data = tempfile::tempdir().unwrap();
    let [console] = free_ports();
    let cluster =
        Cluster::start_with(data.path(), &["--console-port", &console.to_string(), "--console-listen", "127.0.0.1"]);
    let address = format!("127.0.0.1:{console}");
    assert_eq!(cluster.said["console"], address);
    assert_eq!(cluster.said["console_password"].as_str().unwrap().len(), 20);
    cluster.run(&["topic", "create", "orders"]);
    cluster.run(&["send", "orders", "secret content", "--key", "k1"]);
    assert!(http_get(&address, "/readyz").contains("\"ready\":true"));
    assert!(http_get(&address, "/topics").contains("href=\"/topics/orders\""));
    let messages = http_get(&address, "/messages?topic=orders&by=key&key=k1");
    assert!(messages.contains(">k1<") && !messages.contains("secret content"), "{messages}");
    let series = http_get(&address, "/metrics");
    for name in ["rocketmq_messages_in_total{", "apogee_namesrv_", "process_resident_memory_bytes "] {
        assert!(series.contains(&format!("\n{name}")), "{name} is missing in {series}");
    }
    cluster.stop(Signal::TERM);
    let cluster = Cluster::start_with(data.path(), &["--console-port", "0"]);
    assert_eq!(cluster.said["console"], serde_json::Value::Null);
    cluster.stop(Signal::TERM);
}

#[test]
fn a_group_keeps_what_it_was_created_with() {
    let data = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(data.path());
    cluster.run(&["group", "create", "waits", "--retries", "3", "--retry-waits", "100,200,300"]);
    cluster.run(&["group", "create", "grows", "--ordered", "--retry-growth", "1000,60000,2"]);
    cluster.stop(Signal::TERM);
    let cluster = Cluster::start(data.path());
    let groups = &cluster.json(&["group", "list"])[0];
    let group = |name: &str| groups.as_array().unwrap().iter().find(|group| group["group"] == name).unwrap();
    let waits = serde_json::json!({ "customizedRetryPolicy": { "next": [100, 200, 300] }, "type": "CUSTOMIZED" });
    assert_eq!((&group("waits")["retries_max"], &group("waits")["retry_policy"]), (&3.into(), &waits));
    let grows = serde_json::json!({
        "exponentialRetryPolicy": { "initial": 1000, "max": 60000, "multiplier": 2 }, "type": "EXPONENTIAL"
    });
    assert_eq!((&group("grows")["ordered"], &group("grows")["retry_policy"]), (&true.into(), &grows));
    cluster.stop(Signal::INT);
}

#[test]
fn messages_survive_a_restart_and_groups_go_on_where_they_stopped() {
    let data = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(data.path());
    assert!(cluster.said["broker"]["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{}", cluster.said);
    cluster.run(&["topic", "create", "orders", "--queues", "2"]);
    assert_eq!(cluster.json(&["topic", "list"])[0], serde_json::json!(["orders"]));
    let sent = cluster.json(&["send", "orders", "first", "--tag", "a", "--key", "k1", "--property", "x=y"]);
    assert_eq!((sent[0]["status"].as_str(), sent[0]["offset"].as_i64()), (Some("SUCCESS"), Some(0)));
    cluster.run(&["send", "orders", "second", "--tag", "b"]);
    let read = cluster.json(&["consume", "orders", "--group", "g", "--tag", "a"]);
    assert_eq!(read.len(), 1);
    assert_eq!((read[0]["body"].as_str(), read[0]["keys"].as_str()), (Some("first"), Some("k1")));
    assert_eq!((&read[0]["message_id"], &read[0]["properties"]["x"]), (&sent[0]["message_id"], &"y".into()));
    cluster.stop(Signal::TERM);

    let cluster = Cluster::start(data.path());
    let progress = &cluster.json(&["group", "progress", "g"])[0];
    assert_eq!((progress["group"].as_str(), progress["lag"].as_i64()), (Some("g"), Some(0)));
    assert_eq!(cluster.json(&["consume", "orders"]).len(), 2);
    cluster.run(&["send", "orders", "third"]);
    let read = cluster.json(&["consume", "orders", "--group", "g"]);
    assert_eq!(read.iter().map(|message| message["body"].as_str().unwrap()).collect::<Vec<_>>(), ["third"]);
    cluster.stop(Signal::INT);
}

#[test]
fn topics_are_created_by_sending_and_deleted_when_confirmed() {
    let data = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(data.path());
    cluster.run(&["send", "fresh", "hello"]);
    let messages = |stats: &[Value]| -> i64 {
        stats[0].as_array().unwrap().iter().map(|queue| queue["messages"].as_i64().unwrap()).sum()
    };
    assert_eq!(messages(&cluster.json(&["topic", "stats", "fresh"])), 1);
    let unconfirmed = command(&["topic", "delete", "fresh", "-n", &cluster.nameserver]).stdin(Stdio::null()).output();
    assert_eq!(unconfirmed.unwrap().status.code(), Some(1));
    let unknown = command(&["topic", "delete", "nosuch", "--yes", "-n", &cluster.nameserver]).output().unwrap();
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert_eq!((unknown.status.code(), said.contains("topic `nosuch` does not exist")), (Some(1), true), "{said}");
    cluster.run(&["topic", "delete", "fresh", "--yes"]);
    assert_eq!(cluster.json(&["topic", "list"])[0], serde_json::json!([]));
    cluster.stop(Signal::TERM);
}

#[test]
fn following_prints_what_comes_and_ends_when_interrupted() {
    let data = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(data.path());
    let mut follower = command(&["consume", "later", "--follow", "--body", "-n", &cluster.nameserver])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    cluster.run(&["send", "later", "one"]);
    cluster.run(&["send", "later", "two"]);
    let mut printed = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut bodies = [printed.next().unwrap().unwrap(), printed.next().unwrap().unwrap()];
    bodies.sort();
    assert_eq!(bodies, ["one", "two"]);
    kill_process(Pid::from_child(&follower), Signal::INT).unwrap();
    assert_eq!(follower.wait().unwrap().code(), Some(0));
    cluster.stop(Signal::TERM);
}

/// `timeout` signals the process and then its whole group, which it is in as well.
#[test]
fn two_signals_at_once_are_one() {
    let data = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(data.path());
    kill_process(Pid::from_child(&cluster.server.process), Signal::TERM).unwrap();
    cluster.stop(Signal::INT);
}

#[test]
fn a_server_whose_output_nobody_reads_stops_cleanly() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().to_string_lossy();
    let ports = free_ports::<3>().map(|port| port.to_string());
    let arguments = [
        "up",
        "-d",
        &folder,
        "--nameserver-port",
        &ports[0],
        "--broker-port",
        &ports[1],
        "--fast-port",
        &ports[2],
        "--grpc-port",
        "0",
    ];
    let mut deaf = command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    drop(deaf.stdout.take());
    assert_eq!(deaf.wait().unwrap().code(), Some(0));

    let mut again = command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(again.stdout.take().unwrap()).lines().map(Result::unwrap);
    let found = lines.into_iter().find(|line| line.contains("log opened")).unwrap();
    kill_process(Pid::from_child(&again), Signal::TERM).unwrap();
    again.wait().unwrap();
    assert!(found.contains("after a clean stop"), "{found}");
}

#[test]
fn the_data_folder_is_the_flags_or_else_the_files() {
    let data = tempfile::tempdir().unwrap();
    let path = |name: &str| data.path().join(name).to_string_lossy().into_owned();
    std::fs::write(path("broker.conf"), format!("storePathRootDir={}\n", path("of-file"))).unwrap();
    for (flags, expected) in [(vec![], "of-file"), (vec!["-d".to_owned(), path("of-flag")], "of-flag")] {
        let [nameserver, broker, fast] = free_ports().map(|port| port.to_string());
        let ports =
            ["--nameserver-port", &nameserver, "--broker-port", &broker, "--fast-port", &fast, "--grpc-port", "0"];
        let config = path("broker.conf");
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let server = Server::start(&[&["up", "--json", "-c", &config][..], &ports, &flags].concat());
        let said: Value = serde_json::from_str(&server.said).unwrap();
        assert_eq!(said["data_dir"], path(expected));
        assert!(data.path().join(expected).join("namesrv").is_dir(), "the nameserver's table lies elsewhere");
        server.stop(Signal::TERM);
    }
}

#[test]
fn a_data_folder_has_one_owner() {
    let data = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(data.path());
    let [port, other] = free_ports();
    let folder = data.path().to_string_lossy();
    let settings = [format!("listenPort={port}"), format!("fastListenPort={other}")];
    let arguments =
        ["broker", "--data-dir", &folder, "--set", &settings[0], "--set", &settings[1], "--set", "grpcServerPort=0"];
    let second = command(&arguments).output().unwrap();
    assert_eq!(second.status.code(), Some(78));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("belongs to another broker, process "), "{said}");
    cluster.stop(Signal::TERM);
}

/// Scripts wait for the lines that stock servers print.
#[test]
fn the_roles_run_apart_and_say_what_stock_servers_say() {
    let data = tempfile::tempdir().unwrap();
    let [port, broker_port] = free_ports();
    let folder = data.path().to_string_lossy();
    let nameserver = Server::start(&["nameserver", "--port", &port.to_string(), "--data-dir", &folder]);
    let expected = format!("The Name Server boot success. serializeType=JSON, address 0.0.0.0:{port}");
    assert_eq!(nameserver.said, expected);

    let address = format!("127.0.0.1:{port}");
    let config = data.path().join("broker.conf");
    let text = format!(
        "brokerName=b-1\nbrokerIP1=127.0.0.1\nlistenPort={broker_port}\ngrpcServerPort=0\nstorePathRootDir={folder}/store\n"
    );
    std::fs::write(&config, text).unwrap();
    let broker = Server::start(&["broker", "-c", &config.to_string_lossy(), "-n", &address]);
    let expected = format!(
        "The broker[b-1, 127.0.0.1:{broker_port}] boot success. serializeType=JSON and name server is {address}"
    );
    assert_eq!(broker.said, expected);

    // A broker registers in its own time.
    let create = || command(&["topic", "create", "t", "-n", &address]).output().unwrap();
    let created = std::iter::repeat_with(create).take(200).find(|output| output.status.success());
    assert!(created.is_some());
    let sent = command(&["send", "t", "hello", "-n", &address]).output().unwrap();
    assert!(sent.status.success(), "{sent:?}");
    broker.stop(Signal::TERM);
    nameserver.stop(Signal::TERM);
}
