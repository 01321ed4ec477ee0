//! The page that looks for what usually goes wrong.

use console::AuthMode;
use protocol::codes::RequestCode;

use crate::cluster::Scene;

#[test]
fn the_doctor_names_what_it_found_and_what_to_run() {
    let scene = Scene::new(|_| None);
    let page = scene.browser().get("/doctor");
    page.has("%DLQ%workers: 2.50/s, 1 kept").has("apogee consume %DLQ%workers");
    page.has("Every node answers").has("<b>Disks have room</b>");
    // The stand-in does not tell its age.
    page.has("Not told by: broker-a");
}

#[test]
fn a_silent_broker_is_broken_and_comes_first() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let scene = Scene::with(AuthMode::Off, "", &format!("broker-b={gone}"), |_| None);
    let page = scene.browser().get("/doctor");
    page.has("<li>broker-b: ").has("apogee cluster list --watch");
    assert!(page.text.find("Every node answers") < page.text.find("Disks have room"));
}

#[test]
fn a_topic_that_nobody_consumes_is_found() {
    let scene =
        Scene::new(|code| (code == RequestCode::QUERY_TOPIC_CONSUME_BY_WHO).then(|| r#"{"groupList":[]}"#.to_owned()));
    scene.browser().get("/doctor").has("orders: 1 messages, no group").has("apogee consume");
}

#[test]
fn a_full_disk_is_broken() {
    let scene = Scene::new(|code| {
        let told = r#"{"table":{"commitLogDiskRatio":"0.93"}}"#;
        (code == RequestCode::GET_BROKER_RUNTIME_INFO).then(|| told.to_owned())
    });
    scene.browser().get("/doctor").has("broker-a: 93 % used").has("deleteExpiredCommitLog");
}
