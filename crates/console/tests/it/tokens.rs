//! Tokens by which programs log in.

use serde_json::Value;

use crate::browser::{Browser, Page};
use crate::cluster::Scene;

const TOPIC: &str = r#"{"name":"payments","readQueues":4}"#;

/// Makes a token on the page of settings and reads it there.
fn made(browser: &mut Browser, role: &str) -> String {
    let page = browser.submit("/settings", "/settings/tokens", &[("note", "ci"), ("role", role), ("days", "30")]);
    assert_eq!(page.status, 201, "{}", page.text);
    let values = page.values("data-copy");
    values.into_iter().find(|value| value.starts_with("apg_")).expect("no token is shown")
}

fn ask(scene: &Scene, token: &str, method: &str, path: &str, body: &str) -> Page {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    scene.browser().send(method, path, &headers, body)
}

#[test]
fn a_token_does_what_its_role_may_until_it_is_revoked() {
    let mut scene = Scene::new(|_| None);
    let mut admin = scene.admin();
    let token = made(&mut admin, "operator");
    let id = token.split('_').nth(1).unwrap().to_owned();
    let secret = token.rsplit('_').next().unwrap();
    admin.get("/settings").has("ci").has(&id).lacks(secret);
    assert_eq!(ask(&scene, &token, "POST", "/api/v1/topics", TOPIC).status, 200);
    assert_eq!(ask(&scene, &token, "DELETE", "/api/v1/topics/orders", "").status, 403);
    let noted = admin.get("/activity?action=topic.put");
    noted.has("/api/v1/topics").has(&id).lacks(secret);
    scene.restart();
    assert_eq!(ask(&scene, &token, "POST", "/api/v1/topics", TOPIC).status, 200);
    let mut admin = scene.admin();
    assert_eq!(admin.submit("/settings", &format!("/settings/tokens/{id}/revoke"), &[]).status, 303);
    let refused = ask(&scene, &token, "GET", "/api/v1/topics", "");
    assert_eq!((refused.status, refused.header("content-type")), (401, Some("application/problem+json")));
    refused.has("/api/errors/wrong-token");
    admin.get("/activity?action=token").has("token.make").has("token.revoke").lacks(secret);
}

#[test]
fn nobody_gets_more_by_a_token_than_they_have() {
    let scene = Scene::new(|_| None);
    let mut admin = scene.admin();
    let user = |role| [("name", "ops"), ("role", role), ("password", "another secret")];
    assert_eq!(admin.submit("/settings", "/settings/users", &user("operator")).status, 303);
    let mut ops = scene.browser();
    assert_eq!(ops.submit("/login", "/login", &[("name", "ops"), ("password", "another secret")]).status, 303);
    let fields = [("note", "x"), ("role", "admin"), ("days", "1")];
    assert_eq!(ops.submit("/settings", "/settings/tokens", &fields).status, 403);
    let token = made(&mut ops, "operator");
    let made_by_token =
        ask(&scene, &token, "POST", "/api/v1/console/tokens", r#"{"note":"x","role":"viewer","days":9}"#);
    assert_eq!(made_by_token.status, 400);
    assert_eq!(admin.submit("/settings", "/settings/users", &user("viewer")).status, 303);
    assert_eq!(ask(&scene, &token, "POST", "/api/v1/topics", TOPIC).status, 403, "the user was given less");
    assert_eq!(admin.submit("/settings", "/settings/users/ops/remove", &[]).status, 303);
    assert_eq!(ask(&scene, &token, "GET", "/api/v1/topics", "").status, 401, "the user is gone");
    let others = made(&mut admin, "viewer");
    assert_eq!(ask(&scene, &others, "GET", "/topics/orders/edit", "").status, 403, "pages take no tokens");
}

#[test]
fn the_api_makes_lists_and_revokes_tokens() {
    let scene = Scene::new(|_| None);
    let basic = ("authorization", "Basic YWRtaW46Y29ycmVjdCBob3JzZSBiYXR0ZXJ5");
    let headers = [basic, ("content-type", "application/json")];
    let mut program = scene.browser();
    let path = "/api/v1/console/tokens";
    let text = program.send("POST", path, &headers, r#"{"note":"ci","role":"viewer","days":30}"#).text;
    let made: Value = serde_json::from_str(&text).unwrap();
    let token = made["token"].as_str().unwrap();
    assert_eq!(made["expiresAt"].as_i64().unwrap() - made["madeAt"].as_i64().unwrap(), 30 * 24 * 3600 * 1000);
    let seen = ask(&scene, token, "GET", path, "");
    seen.has("\"note\":\"ci\"").lacks(token.rsplit('_').next().unwrap());
    assert_eq!(program.get(path).status, 403);
    for wrong in
        [r#"{"note":"ci","role":"viewer","days":0}"#, r#"{"note":"","role":"viewer","days":1}"#, r#"{"role":"king"}"#]
    {
        assert_eq!(program.send("POST", path, &headers, wrong).status, 400, "{wrong}");
    }
    let one = format!("{path}/{}", made["id"].as_str().unwrap());
    assert_eq!(program.send("DELETE", &one, &[basic], "").status, 204);
    assert_eq!(program.send("DELETE", &one, &[basic], "").status, 404);
    assert_eq!(ask(&scene, token, "GET", path, "").status, 401);
}
