//! Changes that hold only if nobody was faster, that are only planned, and that are done once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use protocol::codes::RequestCode;
use serde_json::Value;

use crate::browser::Page;
use crate::cluster::Scene;

const BASIC: (&str, &str) = ("authorization", "Basic YWRtaW46Y29ycmVjdCBob3JzZSBiYXR0ZXJ5");
const JSON: (&str, &str) = ("content-type", "application/json");

fn ask(scene: &Scene, method: &str, path: &str, header: (&str, &str), body: &str) -> Page {
    scene.browser().send(method, path, &[BASIC, JSON, header], body)
}

#[test]
fn a_change_is_refused_if_somebody_else_was_faster() {
    let queues = Arc::new(AtomicU32::new(1));
    let told = queues.clone();
    let scene = Scene::new(move |code| {
        let queues = told.load(Ordering::Relaxed);
        (code == RequestCode::GET_ALL_TOPIC_CONFIG).then(|| {
            format!(
                r#"{{"topicConfigTable":{{"orders":{{"topicName":"orders","readQueueNums":{queues},"writeQueueNums":1,"perm":6}}}}}}"#
            )
        })
    });
    let read = scene.browser().get("/api/v1/topics/orders");
    let etag = read.header("etag").expect("no etag").to_owned();
    let unchanged = scene.browser().send("GET", "/api/v1/topics/orders", &[("if-none-match", &etag)], "");
    assert_eq!((unchanged.status, unchanged.text.as_str()), (304, ""));
    queues.store(2, Ordering::Relaxed);
    let body = r#"{"name":"orders","readQueues":4}"#;
    let refused = ask(&scene, "POST", "/api/v1/topics", ("if-match", &etag), body);
    assert_eq!((refused.status, refused.header("content-type")), (412, Some("application/problem+json")));
    assert_eq!(ask(&scene, "DELETE", "/api/v1/topics/orders", ("if-match", &etag), "").status, 412);
    assert_eq!(ask(&scene, "POST", "/api/v1/topics", ("if-none-match", "*"), body).status, 412);
    assert_eq!(scene.count(RequestCode::UPDATE_AND_CREATE_TOPIC), 0);
    assert_eq!(scene.count(RequestCode::DELETE_TOPIC_IN_BROKER), 0);
    let now = scene.browser().get("/api/v1/topics/orders").header("etag").unwrap().to_owned();
    assert_ne!(now, etag);
    assert_eq!(ask(&scene, "POST", "/api/v1/topics", ("if-match", &now), body).status, 200);
    assert_eq!(scene.count(RequestCode::UPDATE_AND_CREATE_TOPIC), 1);
}

#[test]
fn plans_change_nothing_and_hold_when_they_are_done() {
    let scene = Scene::new(|_| None);
    let none = ("accept", "*/*");
    for (method, path, body, code) in [
        ("POST", "/api/v1/topics", r#"{"name":"orders","readQueues":4}"#, RequestCode::UPDATE_AND_CREATE_TOPIC),
        (
            "POST",
            "/api/v1/groups",
            r#"{"name":"workers","retryMaxTimes":3}"#,
            RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST,
        ),
        (
            "PATCH",
            "/api/v1/brokers/broker-a/0/config",
            r#"{"fileReservedTime":"48"}"#,
            RequestCode::UPDATE_BROKER_CONFIG,
        ),
        (
            "PATCH",
            "/api/v1/groups/workers/offsets",
            r#"{"topic":"orders","to":"earliest"}"#,
            RequestCode::INVOKE_BROKER_TO_RESET_OFFSET,
        ),
        ("DELETE", "/api/v1/groups/workers", "", RequestCode::DELETE_SUBSCRIPTIONGROUP),
        ("DELETE", "/api/v1/topics/orders", "", RequestCode::DELETE_TOPIC_IN_BROKER),
    ] {
        let planned = ask(&scene, method, &format!("{path}?dryRun=true"), none, body);
        let etag = planned.header("etag").unwrap_or_else(|| panic!("{method} {path}: {}", planned.text)).to_owned();
        let plan: Value = serde_json::from_str(&planned.text).unwrap();
        assert_eq!(
            (planned.status, &plan["dryRun"], &plan["etag"]),
            (200, &true.into(), &etag.as_str().into()),
            "{path}"
        );
        assert_eq!(scene.count(code), 0, "{method} {path}");
        assert_eq!(ask(&scene, method, path, ("if-match", "\"other\""), body).status, 412, "{method} {path}");
        assert_eq!(scene.count(code), 0, "{method} {path}");
        assert_eq!(ask(&scene, method, path, ("if-match", &etag), body).status, 200, "{method} {path}");
        assert_eq!(scene.count(code), 1, "{method} {path}");
    }
    assert_eq!(ask(&scene, "DELETE", "/api/v1/topics/orders?dryRun=yes", none, "").status, 400);
    scene.admin().get("/activity?action=broker").has("72").has("48");
}

#[test]
fn groups_keep_what_a_program_does_not_name() {
    let scene = Scene::new(|_| None);
    let none = ("accept", "*/*");
    let planned = ask(&scene, "POST", "/api/v1/groups?dryRun=true", none, r#"{"name":"workers","retryMaxTimes":3}"#);
    let plan: Value = serde_json::from_str(&planned.text).unwrap();
    assert_eq!((&plan["after"]["retryMaxTimes"], &plan["after"]["consumeEnable"]), (&3.into(), &true.into()));
    for wrong in [r#"{"name":"workers","retryMaxTimes":-2}"#, r#"{"name":""}"#, r#"{"name":"workers","x":1}"#] {
        assert_eq!(ask(&scene, "POST", "/api/v1/groups", none, wrong).status, 400, "{wrong}");
    }
    let odd = ask(&scene, "PATCH", "/api/v1/brokers/broker-a/0/config", none, r#"{"a b":"1"}"#);
    assert_eq!(odd.status, 400);
    assert_eq!(scene.browser().send("PATCH", "/api/v1/brokers/broker-a/0/config", &[JSON], "{}").status, 403);
}

#[test]
fn a_change_that_is_sent_again_under_its_key_is_done_once() {
    let scene = Scene::new(|_| None);
    let path = "/api/v1/topics/orders/messages";
    let sends = || scene.count(RequestCode::SEND_MESSAGE) + scene.count(RequestCode::SEND_MESSAGE_V2);
    let first = ask(&scene, "POST", path, ("idempotency-key", "one"), r#"{"body":"hello"}"#);
    let again = ask(&scene, "POST", path, ("idempotency-key", "one"), r#"{"body":"hello"}"#);
    assert_eq!((first.status, again.status, &first.text), (201, 201, &again.text));
    assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), (None, Some("true")));
    assert_eq!(sends(), 1);
    assert_eq!(ask(&scene, "POST", path, ("idempotency-key", "one"), r#"{"body":"other"}"#).status, 422);
    assert_eq!(ask(&scene, "POST", path, ("idempotency-key", ""), r#"{"body":"hello"}"#).status, 400);
    assert_eq!(ask(&scene, "POST", path, ("idempotency-key", "two"), "{").status, 400);
    assert_eq!(ask(&scene, "POST", path, ("idempotency-key", "two"), r#"{"body":"hello"}"#).status, 201);
    assert_eq!(sends(), 2);
}
