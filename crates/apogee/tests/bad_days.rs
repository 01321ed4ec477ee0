//! Whatever goes wrong around a server ends in one that works, or in one clear line and exit status 78.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// Longest time that anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn apogee(arguments: &[&str]) -> Command {
    program(Path::new(env!("CARGO_BIN_EXE_apogee")), arguments)
}

fn program(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    for variable in ["NAMESRV_ADDR", "APOGEE_LOG", "JAVA_OPT", "JAVA_OPT_EXT", "JAVA_OPTS"] {
        command.env_remove(variable);
    }
    command
}

/// Ports on which nobody listens: main, fast.
fn free_ports() -> [u16; 2] {
    let sockets = [0, 0].map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
    sockets.map(|socket| socket.local_addr().unwrap().port())
}

/// A broker's flags for a folder, on ports of its own.
fn broker_flags(folder: &Path, [main, fast]: [u16; 2]) -> Vec<String> {
    let settings = [
        format!("listenPort={main}"),
        format!("fastListenPort={fast}"),
        "grpcServerPort=0".to_owned(),
        "bindAddress=127.0.0.1".to_owned(),
        "brokerIP1=127.0.0.1".to_owned(),
        "mappedFileSizeCommitLog=16M".to_owned(),
    ];
    let mut flags = vec!["broker".to_owned(), "--data-dir".to_owned(), folder.display().to_string()];
    flags.extend(settings.into_iter().flat_map(|setting| ["--set".to_owned(), setting]));
    flags
}

fn strs(flags: &[String]) -> Vec<&str> {
    flags.iter().map(String::as_str).collect()
}

/// Ends with status 78, and with one line on the standard error that has all of `texts`. Other lines are the log's.
#[track_caller]
fn check_refused(command: &mut Command, texts: &[&str]) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert_eq!(status.code(), Some(78), "{out}\n{err}");
    let lines: Vec<&str> = err.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!((lines.len(), err.lines().last()), (1, lines.first().copied()), "{err}");
    for text in texts {
        assert!(lines[0].contains(text), "`{text}` is not in {}", lines[0]);
    }
}

/// A server; killed when dropped.
struct Server {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Server {
    /// Starts it and waits until it says that it is up.
    #[track_caller]
    fn start(command: &mut Command) -> Server {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut server = Server { child, lines };
        let mut line = String::new();
        server.lines.read_line(&mut line).unwrap();
        assert!(line.contains("boot success"), "{line}");
        server
    }

    /// Waits until it has ended; gives its exit status.
    fn ended(mut self) -> Option<i32> {
        let (tell, told) = mpsc::channel();
        let id = self.child.id();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let status = self.child.wait().unwrap();
                tell.send(status.code()).unwrap();
            });
            told.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("process {id} has not ended"))
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has mostly ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until the server is ready.
fn wait_until_ready(role: &str, port: u16) {
    let output = apogee(&["healthcheck", role, "--port", &port.to_string()]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_directory_where_the_file_should_be_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broker.conf");
    std::fs::create_dir(&path).unwrap();
    let path = path.display().to_string();
    let texts = ["broker.conf` is a directory", "container engines create one"];
    check_refused(&mut apogee(&["broker", "-c", &path]), &texts);
    check_refused(&mut apogee(&["nameserver", "-c", &path]), &texts);
    check_refused(&mut apogee(&["up", "-c", &path]), &texts);
    check_refused(&mut apogee(&["broker", "-c", "/no/such/broker.conf"]), &["/no/such/broker.conf", "No such file"]);
}

#[test]
fn a_wrong_value_names_file_line_key_and_range() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.conf");
    std::fs::write(&path, "# 端口\nlistenPort=99999\n").unwrap();
    let path = path.display().to_string();
    let texts = ["server.conf:2", "`listenPort` is `99999`", "from 1 to 65535"];
    check_refused(&mut apogee(&["broker", "-c", &path]), &texts);
    check_refused(&mut apogee(&["nameserver", "-c", &path]), &texts);
}

#[test]
fn a_second_server_in_a_folder_names_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let first = Server::start(&mut apogee(&strs(&broker_flags(folder.path(), free_ports()))));
    let named = format!("another broker, process {}", first.child.id());
    check_refused(&mut apogee(&strs(&broker_flags(folder.path(), free_ports()))), &["the broker cannot start", &named]);

    let data_dir = folder.path().display().to_string();
    let ports = free_ports().map(|port| port.to_string());
    let names = Server::start(&mut apogee(&["nameserver", "--port", &ports[0], "--data-dir", &data_dir]));
    let named = format!("another nameserver, process {}", names.child.id());
    check_refused(&mut apogee(&["nameserver", "--port", &ports[1], "--data-dir", &data_dir]), &[&named]);
}

#[test]
fn a_port_that_is_taken_is_named_with_the_setting_that_moves_it() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let texts = [&format!("port {port} on 127.0.0.1 is taken"), "--set listenPort"];
    let flags = broker_flags(folder.path(), [port, free_ports()[0]]);
    check_refused(&mut apogee(&strs(&flags)), &texts.map(|text| text as &str));
    for setting in ["fastListenPort", "grpcServerPort", "metricsPromExporterPort"] {
        let mut flags = broker_flags(folder.path(), free_ports());
        flags.extend(["--set".to_owned(), format!("{setting}={port}")]);
        check_refused(&mut apogee(&strs(&flags)), &[texts[0], &format!("--set {setting}")]);
    }
}

/// A client that asks and asks and takes no answer, until nothing goes on: a server that stops gives it three seconds.
fn stalled_client(port: u16) -> TcpStream {
    let header = br#"{"code":26,"language":"JAVA","version":401,"opaque":1,"flag":0}"#;
    let length = |bytes: usize| u32::try_from(bytes).unwrap().to_be_bytes();
    let frame = [&length(4 + header.len())[..], &length(header.len()), header].concat();
    let many = frame.repeat(1_000);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    while stream.write_all(&many).is_ok() {}
    stream
}

#[test]
fn a_second_signal_ends_a_server_at_once_and_so_does_the_end_of_its_time() {
    for (variable, again, last_words) in
        [("60", true, "stopped by force on SIGTERM"), ("1", false, "not stopped within 1 s")]
    {
        let folder = tempfile::tempdir().unwrap();
        let ports = free_ports();
        let mut command = apogee(&strs(&broker_flags(folder.path(), ports)));
        command.env("APOGEE_STOP_TIMEOUT", variable).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        lines.read_line(&mut String::new()).unwrap();
        let _client = stalled_client(ports[0]);
        let id = child.id().to_string();
        let terminate = || Command::new("kill").args(["-TERM", &id]).stderr(Stdio::null()).status().unwrap();
        terminate();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || log.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let mut rest = Vec::new();
        loop {
            match told.recv_timeout(Duration::from_millis(100)) {
                Ok(line) => rest.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                // Signals within a second of the first are the same wish.
                Err(RecvTimeoutError::Timeout) if again => _ = terminate(),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        assert!(rest.iter().any(|line| line.contains(last_words)), "{rest:?}");
        assert_eq!(Server { child, lines }.ended(), Some(130), "{rest:?}");
    }
}

#[test]
fn a_killed_server_leaves_a_folder_in_which_the_next_one_starts() {
    let folder = tempfile::tempdir().unwrap();
    let ports = free_ports();
    drop(Server::start(&mut apogee(&strs(&broker_flags(folder.path(), ports)))));
    assert!(folder.path().join("broker.pid").exists());
    let data_dir = folder.path().display().to_string();
    let output = apogee(&["shutdown", "broker", "--data-dir", &data_dir]).output().unwrap();
    assert_eq!((output.status.code(), &*output.stdout), (Some(1), &b"No mqbroker running.\n"[..]));
    let _next = Server::start(&mut apogee(&strs(&broker_flags(folder.path(), ports))));
    wait_until_ready("broker", ports[0]);
}

#[test]
fn nameservers_that_are_not_there_or_have_no_address_yet_stop_no_start() {
    let folder = tempfile::tempdir().unwrap();
    let [main, names] = free_ports();
    let mut flags = broker_flags(folder.path(), [main, free_ports()[0]]);
    flags.extend(["-n".to_owned(), format!("not-there-yet.invalid:9876;127.0.0.1:{names}")]);
    let _broker = Server::start(&mut apogee(&strs(&flags)));
    wait_until_ready("broker", main);
    // However late it comes, the broker registers.
    let elsewhere = tempfile::tempdir().unwrap();
    let folder = elsewhere.path().display().to_string();
    let _names = Server::start(&mut apogee(&["nameserver", "--port", &names.to_string(), "--data-dir", &folder]));
    let address = format!("127.0.0.1:{names}");
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        while !apogee(&["send", "late", "hello", "-n", &address]).output().unwrap().status.success() {}
        tell.send(()).unwrap();
    });
    told.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn the_stock_names_of_the_binary_start_and_stop_servers() {
    let folder = tempfile::tempdir().unwrap();
    let link = |name: &str| -> PathBuf {
        let path = folder.path().join(name);
        symlink(env!("CARGO_BIN_EXE_apogee"), &path).unwrap();
        path
    };
    let (names, broker, stop) = (link("mqnamesrv"), link("mqbroker"), link("mqshutdown"));
    let home = format!(" -Duser.home={}", folder.path().display());
    let [port, main] = free_ports();
    let conf = folder.path().join("namesrv.conf");
    std::fs::write(&conf, format!("listenPort={port}\nbindAddress=127.0.0.1\nserverWorkerThreads=8\n")).unwrap();
    let conf = conf.display().to_string();
    let names = Server::start(program(&names, &["-c", &conf]).env("JAVA_OPTS", &home));
    let settings = format!(
        "\u{feff}# 所属集群名字\nbrokerClusterName=DefaultCluster\nlistenPort={main}\nfastListenPort={}\ngrpcServerPort=0\n\
         brokerIP1=127.0.0.1\nmapedFileSizeCommitLog=16777216\nmapedFileSizeConsumeQueue=300000\n",
        free_ports()[0]
    );
    let conf = folder.path().join("broker.conf");
    std::fs::write(&conf, settings).unwrap();
    let conf = conf.display().to_string();
    let address = format!("127.0.0.1:{port}");
    let arguments = ["-c", &conf, "-n", &address, "autoCreateTopicEnable=false"];
    let shown = program(&broker, &[&arguments[..], &["-m"]].concat()).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("autoCreateTopicEnable=false ") && !shown.contains("traceOn"), "{shown}");
    let broker = Server::start(program(&broker, &arguments).env("JAVA_OPTS", &home));
    assert!(folder.path().join("store/commitlog").is_dir());
    assert!(folder.path().join("logs/rocketmqlogs/broker.log").is_file());
    assert!(folder.path().join("logs/rocketmqlogs/namesrv.log").is_file());
    for (server, word, name) in [(broker, "broker", "mqbroker"), (names, "namesrv", "mqnamesrv")] {
        let id = server.child.id();
        let output = program(&stop, &[word]).env("JAVA_OPTS", &home).output().unwrap();
        let expected = format!("The {name}({id}) is running...\nSend shutdown request to {name}({id}) OK\n");
        assert_eq!((output.status.code(), String::from_utf8(output.stdout).unwrap()), (Some(0), expected));
        assert_eq!(server.ended(), Some(0));
    }
    wait_until_unready(main);
}

#[test]
fn a_broker_looks_at_its_file_again_on_a_signal_and_says_what_it_cannot_change() {
    let folder = tempfile::tempdir().unwrap();
    let [main, fast] = free_ports();
    let conf = folder.path().join("broker.conf");
    let settings = |more: &str| {
        let text = format!("autoCreateTopicEnable=true\nmappedFileSizeCommitLog=16777216\n{more}");
        std::fs::write(&conf, text).unwrap();
    };
    settings("");
    let file = conf.display().to_string();
    let mut flags = broker_flags(&folder.path().join("data"), [main, fast]);
    flags.extend(["-c".to_owned(), file]);
    // Under `nohup` the broker would leave the signal alone, as it should.
    let mut command = vec!["--default-signal=HUP", env!("CARGO_BIN_EXE_apogee")];
    command.extend(strs(&flags));
    let command = program(Path::new("env"), &command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = command.unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let lines = BufReader::new(child.stdout.take().unwrap());
    let mut server = Server { child, lines };
    server.lines.read_line(&mut String::new()).unwrap();
    let mut log = log.lines().map(Result::unwrap);
    let mut said = |text: &str| log.find(|line| line.contains(text)).unwrap();
    let hang_up = || {
        let status = Command::new("kill").args(["-HUP", &server.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    };
    settings("fileReservedTime=24\nregionId=elsewhere\n");
    hang_up();
    said("`fileReservedTime` is `24` from now on; it was `72`");
    said("count only after a start: regionId");
    settings("fileReservedTime=never\n");
    hang_up();
    said("nothing is changed on SIGHUP");
    hang_up();
    said("nothing is changed on SIGHUP");
    settings("fileReservedTime=24\n");
    hang_up();
    said("settings are as they were");
}

fn wait_until_unready(port: u16) {
    let output = apogee(&["healthcheck", "broker", "--port", &port.to_string()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains(&format!("the broker at 127.0.0.1:{port} is not ready")), "{told}");
}

#[test]
fn a_log_can_be_json_a_line() {
    let output = apogee(&["broker", "--set", "pineapple=1", "--data-dir", "/proc/no"])
        .env("APOGEE_LOG_FORMAT", "json")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(first["level"], "WARN");
    assert!(first["message"].as_str().unwrap().contains("`pineapple`"), "{first}");
}
