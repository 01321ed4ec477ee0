//! The API for programs.

use protocol::codes::RequestCode;

use crate::cluster::{ESCAPED, MESSAGE_ID, SCRIPT, Scene, usual};

#[track_caller]
fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn lists_tell_what_pages_show() {
    let scene = Scene::new(|_| None);
    let mut browser = scene.browser();
    let topics = json(&browser.get("/api/v1/topics").text);
    assert_eq!((topics["total"].as_u64(), topics["partial"].as_bool()), (Some(2), Some(false)));
    assert_eq!(topics["items"][1]["name"], "orders");
    assert_eq!(topics["items"][1]["brokers"]["broker-a"]["readQueues"], 1);
    let first = json(&browser.get("/api/v1/topics?limit=1").text);
    assert_eq!(first["items"][0]["name"], SCRIPT);
    let cursor = first["next"].as_str().unwrap().replace('<', "%3C").replace('>', "%3E").replace('/', "%2F");
    let second = json(&browser.get(&format!("/api/v1/topics?limit=1&cursor={cursor}")).text);
    assert_eq!((second["items"][0]["name"].as_str(), second["next"].as_str()), (Some("orders"), None));
    let progress = json(&browser.get("/api/v1/groups/workers/progress").text);
    assert_eq!(progress["items"][0]["lag"], "5");
    let overview = json(&browser.get("/api/v1/overview").text);
    assert_eq!((overview["brokersAnswering"].as_u64(), overview["inPerSecond"].as_f64()), (Some(1), Some(2.5)));
    assert_eq!(json(&browser.get("/api/v1/topics/orders/queues").text)["items"][0]["maxOffset"], "1");
    assert_eq!(json(&browser.get("/api/v1/groups/workers/clients").text)["items"][0]["language"], "GO");
}

#[test]
fn bodies_take_a_login() {
    let scene = Scene::new(|_| None);
    let path = format!("/api/v1/messages/orders/{MESSAGE_ID}");
    assert!(json(&scene.browser().get(&path).text)["items"][0]["body"].is_null());
    assert_eq!(json(&scene.admin().get(&path).text)["items"][0]["body"], SCRIPT);
    let scanned = json(&scene.admin().get("/api/v1/topics/orders/messages?text=alert").text);
    assert_eq!((scanned["matched"].as_u64(), scanned["truncated"].as_bool()), (Some(1), Some(false)));
    assert_eq!(scene.browser().get("/api/v1/topics/orders/messages?text=alert").status, 403);
}

#[test]
fn errors_are_problem_documents() {
    let scene = Scene::new(|_| None);
    let mut browser = scene.browser();
    for (path, status, kind) in [
        ("/api/v1/topics/none", 404, "/api/errors/not-found"),
        ("/api/v1/topics?x=1", 400, "/api/errors/bad-request"),
        ("/api/v1/topics?limit=0", 400, "/api/errors/bad-request"),
        ("/api/v1/none", 404, "/api/errors/http"),
    ] {
        let page = browser.get(path);
        assert_eq!((page.status, page.header("content-type")), (status, Some("application/problem+json")), "{path}");
        assert_eq!(json(&page.text)["type"], kind, "{path}");
        page.lacks(ESCAPED);
    }
}

#[test]
fn what_no_broker_did_is_a_problem_that_names_each() {
    let scene = Scene::answering(
        "",
        |_| (),
        |asked| match asked.code {
            RequestCode::UPDATE_AND_CREATE_TOPIC => asked.code(1).remark("too many topics"),
            _ => usual(asked),
        },
    );
    let refused =
        scene.admin().send("POST", "/api/v1/topics", &[("content-type", "application/json")], r#"{"name":"payments"}"#);
    assert_eq!((refused.status, refused.header("content-type")), (502, Some("application/problem+json")));
    let told = json(&refused.text);
    assert_eq!(
        (told["type"].as_str(), told["nodes"][0]["done"].as_bool()),
        (Some("/api/errors/upstream"), Some(false))
    );
    assert!(told["detail"].as_str().unwrap().contains("too many topics"), "{told}");
}

#[test]
fn what_brokers_cannot_take_is_refused_before_they_are_asked() {
    let scene = Scene::new(|_| None);
    let mut admin = scene.admin();
    let long = format!(r#"{{"name":"{}"}}"#, "t".repeat(128));
    for (path, body, named) in [
        ("/api/v1/topics", r#"{"name":""}"#, "`name`"),
        ("/api/v1/topics", r#"{"name":"a b"}"#, "`name`"),
        ("/api/v1/topics", &long, "1 to 127"),
        ("/api/v1/topics", r#"{"name":"a","messageType":"ODD"}"#, "`messageType`"),
        ("/api/v1/groups", r#"{"name":"ü"}"#, "`name`"),
        ("/api/v1/topics/orders/messages", r#"{"body":""}"#, "`body`"),
    ] {
        let refused = admin.send("POST", path, &[("content-type", "application/json")], body);
        assert_eq!(refused.status, 400, "{path} {body}");
        refused.has(named);
    }
    assert_eq!(scene.count(RequestCode::UPDATE_AND_CREATE_TOPIC), 0);
}

#[test]
fn programs_change_what_their_role_allows_and_see_what_came_of_it() {
    let scene = Scene::new(|_| None);
    let mut program = scene.browser();
    let json_type = ("content-type", "application/json");
    // admin:correct horse battery
    let basic = ("authorization", "Basic YWRtaW46Y29ycmVjdCBob3JzZSBiYXR0ZXJ5");
    let topic = r#"{"name":"payments","readQueues":4,"messageType":"FIFO"}"#;
    assert_eq!(program.send("POST", "/api/v1/topics", &[json_type], topic).status, 403);
    assert_eq!(program.send("POST", "/api/v1/topics", &[basic], topic).status, 400);
    let made = program.send("POST", "/api/v1/topics", &[json_type, basic], topic);
    assert_eq!((made.status, json(&made.text)["nodes"][0]["done"].as_bool()), (200, Some(true)));
    let (asked, _) = scene.last(RequestCode::UPDATE_AND_CREATE_TOPIC).unwrap();
    assert_eq!((asked["topic"].as_str(), asked["readQueueNums"].as_str()), ("payments", "4"));
    let sent =
        program.send("POST", "/api/v1/topics/orders/messages", &[json_type, basic], r#"{"body":"hello","keys":["k"]}"#);
    assert_eq!((sent.status, json(&sent.text)["offset"].as_str()), (201, Some("1")));
    let plan = program.send(
        "PATCH",
        "/api/v1/groups/workers/offsets?dryRun=true",
        &[json_type, basic],
        r#"{"topic":"orders","to":"latest"}"#,
    );
    assert_eq!(json(&plan.text)["moves"][0]["to"], "1");
    assert_eq!(scene.count(RequestCode::INVOKE_BROKER_TO_RESET_OFFSET), 0);
    assert_eq!(program.send("DELETE", "/api/v1/topics/orders", &[basic], "").status, 200);
    let mistyped = program.send("POST", "/api/v1/topics", &[json_type, basic], r#"{"name":"x","queues":4}"#);
    assert_eq!(mistyped.status, 400);
    mistyped.has("unknown field `queues`");
    let wrong = program.send("GET", "/api/v1/topics", &[("authorization", "Basic YWRtaW46d3Jvbmc=")], "");
    assert_eq!((wrong.status, wrong.header("www-authenticate")), (401, None));
}
