//! What was changed is noted, with who did it and what came of it.

use console::AuthMode;
use protocol::codes::RequestCode;
use serde_json::Value;

use crate::cluster::{PASSWORD, Scene};

fn entries(scene: &Scene, query: &str) -> Vec<Value> {
    let text = scene.admin().get(&format!("/api/v1/audit{query}")).text;
    let told: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    told["items"].as_array().unwrap().clone()
}

#[test]
fn changes_by_page_and_api_are_noted_with_what_was_there_before() {
    let scene = Scene::new(|_| None);
    let mut admin = scene.admin();
    let fields = [("read", "4"), ("write", "4"), ("perm", "6"), ("type", "")];
    assert_eq!(admin.submit("/topics/orders/edit", "/topics/orders/edit", &fields).status, 303);
    let json = [("content-type", "application/json"), ("authorization", "Basic YWRtaW46Y29ycmVjdCBob3JzZSBiYXR0ZXJ5")];
    let mut program = scene.browser();
    let reset = r#"{"topic":"orders","to":"earliest"}"#;
    assert_eq!(program.send("PATCH", "/api/v1/groups/workers/offsets", &json, reset).status, 200);
    assert_eq!(program.send("PATCH", "/api/v1/groups/workers/offsets?dryRun=true", &json, reset).status, 200);
    let changed = &entries(&scene, "?action=topic")[0];
    assert_eq!((&changed["user"], &changed["result"]), (&"admin".into(), &"done".into()));
    assert_eq!((&changed["action"], &changed["path"]), (&"topic.change".into(), &"/topics/orders/edit".into()));
    assert_eq!(changed["before"]["brokers"]["broker-a"]["readQueues"], 1);
    assert_eq!(changed["after"]["read"], "4");
    assert_eq!(changed["address"], "127.0.0.1");
    assert_eq!(changed["nodes"][0]["node"], "broker-a");
    let resets = entries(&scene, "?action=group.reset");
    assert_eq!((resets.len(), &resets[0]["after"]["to"]), (1, &"earliest".into()), "a plan changes nothing");
    let page = admin.get("/activity?action=topic&user=admin&result=done");
    page.has("topic.change").has("/topics/orders/edit").lacks("group.reset").lacks(PASSWORD);
    admin.language = "zh";
    admin.get("/activity").has("操作记录").has("完成");
}

#[test]
fn what_nodes_refuse_is_noted_as_not_done_with_the_reason() {
    let scene = Scene::with(AuthMode::Viewer, "/mq", "broker-b=127.0.0.1:1", |_| None);
    let mut admin = scene.browser();
    let fields = [("name", "admin"), ("password", PASSWORD), ("next", "/mq/topics")];
    assert_eq!(admin.submit("/mq/login", "/mq/login", &fields).status, 303);
    assert_eq!(admin.submit("/mq/login", "/mq/login", &[("name", "admin"), ("password", "wrong one")]).status, 403);
    let page = admin.submit("/mq/topics/orders/delete", "/mq/topics/orders/delete", &[("typed", "orders")]);
    assert_eq!(page.status, 303);
    assert_eq!(scene.count(RequestCode::DELETE_TOPIC_IN_BROKER), 1);
    let text = admin.get("/mq/api/v1/audit").text;
    let told: Value = serde_json::from_str(&text).unwrap();
    let items = told["items"].as_array().unwrap();
    let shown: Vec<_> =
        items.iter().map(|entry| (entry["action"].as_str().unwrap(), entry["result"].as_str().unwrap())).collect();
    assert_eq!(shown, [("topic.delete", "partly"), ("session.login", "failed"), ("session.login", "done")]);
    assert_eq!(items[0]["path"], "/topics/orders/delete");
    let silent = items[0]["nodes"].as_array().unwrap().iter().find(|node| node["node"] == "broker-b").unwrap();
    assert!(!silent["error"].is_null());
}

#[test]
fn entries_outlive_a_restart_and_are_for_admins() {
    let mut scene = Scene::new(|_| None);
    let mut admin = scene.admin();
    let user = [("name", "ops"), ("role", "operator"), ("password", "another secret")];
    assert_eq!(admin.submit("/settings", "/settings/users", &user).status, 303);
    scene.restart();
    let kept = entries(&scene, "?action=user");
    assert_eq!((kept.len(), &kept[0]["after"]["name"]), (1, &"ops".into()));
    assert!(kept[0]["after"].get("password").is_none());
    let mut ops = scene.browser();
    assert_eq!(ops.submit("/login", "/login", &[("name", "ops"), ("password", "another secret")]).status, 303);
    assert_eq!((ops.get("/activity").status, ops.get("/api/v1/audit").status), (403, 403));
    ops.get("/").lacks("href=\"/activity\"");
    assert_eq!(scene.admin().get("/activity?result=maybe").status, 400);
    assert_eq!(scene.admin().get("/activity?from=yesterday").status, 400);
}

#[test]
fn strangers_who_are_refused_fill_no_file() {
    let scene = Scene::new(|_| None);
    let mut guest = scene.browser();
    for _ in 0..3 {
        assert_eq!(guest.submit("/login", "/topics/orders/delete", &[("typed", "orders")]).status, 403);
        assert_eq!(guest.post("/nowhere", &[], &[]).status, 404);
    }
    assert_eq!(entries(&scene, "").len(), 1, "only the login of whoever looks");
}
