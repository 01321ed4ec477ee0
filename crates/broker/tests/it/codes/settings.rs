//! Settings that are read and changed while the broker runs.

use broker::config::host::Host;
use broker::config::load::{Sources, load};
use protocol::codes::{RequestCode, ResponseCode};

use crate::calls::send;
use crate::server::Server;
use crate::wire::{Message, Wire};

fn change(wire: &mut Wire, text: &str) -> Message {
    wire.call(RequestCode::UPDATE_BROKER_CONFIG, &[], text.as_bytes())
}

#[track_caller]
fn changed(wire: &mut Wire, text: &str) {
    let answer = change(wire, text);
    assert_eq!((answer.response_code(), answer.body.is_empty()), (ResponseCode::SUCCESS, true), "{answer:?}");
}

/// Whether the broker shows this line among its settings.
fn shows(wire: &mut Wire, line: &str) -> bool {
    let answer = wire.call(RequestCode::GET_BROKER_CONFIG, &[], b"");
    String::from_utf8_lossy(&answer.body).lines().any(|shown| shown == line)
}

#[test]
fn a_changed_setting_is_in_force_when_the_answer_comes() {
    let server = Server::start();
    let mut wire = server.connect();
    let large = vec![b'x'; 2000];
    assert_eq!(send(&mut wire, "t", &[], &large).response_code(), ResponseCode::SUCCESS);
    changed(&mut wire, "maxMessageSize=1K\n");
    assert!(shows(&mut wire, "maxMessageSize=1024"));
    assert_eq!(send(&mut wire, "t", &[], &large).response_code(), ResponseCode::MESSAGE_ILLEGAL);
    changed(&mut wire, "maxMessageSize=2000\nautoCreateTopicEnable=false\n");
    assert_eq!(send(&mut wire, "t", &[], &large).response_code(), ResponseCode::SUCCESS);
    assert_eq!(send(&mut wire, "new", &[], b"x").response_code(), ResponseCode::TOPIC_NOT_EXIST);
    changed(&mut wire, "autoCreateTopicEnable=true\ndefaultTopicQueueNums=2\n");
    assert_eq!(send(&mut wire, "new", &[], b"x").response_code(), ResponseCode::SUCCESS);
    assert_eq!(server.broker().topics.get("new").unwrap().queue_count(), 2);
}

#[test]
fn a_changed_setting_outlives_the_broker_and_touches_no_file_of_the_operator() {
    let mut server = Server::start();
    let mut wire = server.connect();
    changed(&mut wire, "fileReservedTime=48\ndeleteWhen=03;15\nflushDelayOffsetInterval=11000\n");
    assert!(shows(&mut wire, "flushDelayOffsetInterval=11000"));
    let folder = server.data_dir().to_path_buf();
    let file = folder.join("broker.conf");
    let written = format!("storePathRootDir={}\nfileReservedTime=24\n", folder.display());
    std::fs::write(&file, &written).unwrap();
    let host = Host::of_this_machine("elsewhere".into());
    let loaded = |flags: &[(String, String)]| {
        load(&Sources { file: Some(&file), command_line: flags, ..Sources::default() }, &host).unwrap()
    };
    let now = loaded(&[]);
    assert_eq!((now.config.retention.get().as_secs() / 3600, now.config.delete_hours.get().contains(15)), (48, true));
    let origin = &now.report.origins["fileReservedTime"];
    assert!(origin.starts_with("changed at run time, ") && origin.contains("/changed.properties:"), "{origin}");
    assert_eq!(now.report.ignored, ["flushDelayOffsetInterval"]);
    let flagged = loaded(&[("fileReservedTime".into(), "12".into())]);
    assert_eq!(flagged.config.retention.get().as_secs() / 3600, 12);
    assert!(flagged.report.warnings.iter().any(|told| told.contains("but the command line goes before that")));
    server.restart_with(|config| config.retention = now.config.retention.clone());
    let mut wire = server.connect();
    assert!(shows(&mut wire, "fileReservedTime=48") && shows(&mut wire, "flushDelayOffsetInterval=11000"));
    // What was changed before is kept when something else is changed.
    changed(&mut wire, "traceTopicEnable=false\nrecallMessageEnable=false\n");
    assert_eq!(loaded(&[]).config.retention.get().as_secs() / 3600, 48);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), written);
}

#[test]
fn what_cannot_be_changed_is_refused_and_nothing_else_of_the_request_is_done() {
    let server = Server::start();
    let mut wire = server.connect();
    for (text, code, told) in [
        ("brokerConfigPath=/x\n", ResponseCode::NO_PERMISSION, "Can not update config in black list."),
        ("fileReservedTime=1\nstorePathRootDir=/\n", ResponseCode::NO_PERMISSION, "`storePathRootDir`"),
        ("fileReservedTime=1\nlistenPort=1\n", ResponseCode::SYSTEM_ERROR, "`listenPort` counts only at start"),
        ("fileReservedTime=1\ntraceOm=true", ResponseCode::SYSTEM_ERROR, "did you mean `traceOn`?"),
        ("fileReservedTime=never", ResponseCode::SYSTEM_ERROR, "a whole number from 1 to 1000000"),
        ("", ResponseCode::SYSTEM_ERROR, "no setting is named"),
    ] {
        let answer = change(&mut wire, text);
        assert_eq!(answer.response_code(), code, "{answer:?}");
        assert!(answer.remark.as_ref().unwrap().contains(told), "{answer:?}");
    }
    let answer = wire.call(RequestCode::UPDATE_BROKER_CONFIG, &[], b"fileReservedTime=\xff");
    assert_eq!(answer.response_code(), ResponseCode::SYSTEM_ERROR);
    assert!(shows(&mut wire, "fileReservedTime=72"));
    assert!(!server.data_dir().join("changed.properties").exists());
}

#[test]
fn the_version_of_the_settings_counts_changes() {
    let server = Server::start();
    let mut wire = server.connect();
    let counter = |wire: &mut Wire| {
        let version = wire.call(RequestCode::GET_BROKER_CONFIG, &[], b"").fields["version"].clone();
        serde_json::from_str::<serde_json::Value>(&version).unwrap()["counter"].clone()
    };
    assert_eq!(counter(&mut wire), 0);
    changed(&mut wire, "fileReservedTime=48");
    assert_eq!(counter(&mut wire), 1);
}
