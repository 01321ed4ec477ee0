//! What is believed of proxies, and of nobody else.

use console::{AuthMode, ConsoleSettings, ProxySettings, RunningConsole};
use protocol::codes::RequestCode;
use serde_json::Value;

use crate::browser::{Browser, Page};
use crate::cluster::{MESSAGE_ID, PASSWORD, Scene, usual};

const LI: (&str, &str) = ("x-forwarded-user", "li@example.com");
const OPERATORS: (&str, &str) = ("x-forwarded-groups", "all,mq-ops");
const ADMINS: (&str, &str) = ("x-forwarded-groups", "sre");
const FROM: (&str, &str) = ("x-forwarded-for", "203.0.113.9, 192.0.2.7");
const JSON: (&str, &str) = ("content-type", "application/json");
// admin:correct horse battery
const BASIC: (&str, &str) = ("authorization", "Basic YWRtaW46Y29ycmVjdCBob3JzZSBiYXR0ZXJ5");

fn proxies(trusted: &str) -> ProxySettings {
    ProxySettings {
        trusted: vec![trusted.to_owned()],
        user_header: Some("X-Forwarded-User".to_owned()),
        role_header: Some("X-Forwarded-Groups".to_owned()),
        roles: vec!["mq-ops=operator".to_owned(), "sre=admin".to_owned()],
        default_role: None,
    }
}

/// A console that believes whoever is at `trusted`.
fn scene(trusted: &str) -> Scene {
    Scene::answering("", |settings| settings.proxies = proxies(trusted), usual)
}

fn get(browser: &mut Browser, path: &str, headers: &[(&str, &str)]) -> Page {
    browser.send("GET", path, headers, "")
}

fn token_of(page: &Page) -> String {
    let (_, rest) = page.text.split_once("name=\"form_token\" value=\"").expect("no form");
    rest.split('"').next().unwrap_or_default().to_owned()
}

fn newest_entry(scene: &Scene) -> Value {
    let told: Value = serde_json::from_str(&scene.admin().get("/api/v1/audit?action=topic").text).unwrap();
    told["items"][0].clone()
}

#[test]
fn whom_a_trusted_proxy_names_is_logged_in_with_the_role_of_their_groups() {
    let scene = scene("127.0.0.0/8");
    let mut browser = scene.browser();
    let body = format!("/messages/orders/{MESSAGE_ID}");
    get(&mut browser, &body, &[LI, OPERATORS]).has("<pre").has("li@example.com").has("operator").lacks("/logout");
    get(&mut browser, &body, &[LI]).has("li@example.com").has("guest").lacks("<pre");
    get(&mut browser, &body, &[]).lacks("<pre").has("Log in");
    assert_eq!(get(&mut browser, "/topics/orders/edit", &[LI, OPERATORS]).status, 200);
    assert_eq!(get(&mut browser, "/topics/orders/delete", &[LI, OPERATORS]).status, 403);
    assert_eq!(get(&mut browser, "/topics/orders/delete", &[LI, ADMINS]).status, 200);
    assert_eq!(get(&mut browser, "/api/v1/audit", &[LI, ADMINS]).status, 200);
    // Twice: one of them may have come from outside.
    assert_eq!(get(&mut browser, "/api/v1/audit", &[LI, ("x-forwarded-user", "admin"), ADMINS]).status, 403);
    browser.language = "zh";
    get(&mut browser, "/settings", &[LI, ADMINS]).has("控制台前的代理确认您是 li@example.com");
}

#[test]
fn nobody_else_is_believed() {
    for scene in [scene("10.0.0.0/8"), Scene::new(|_| None)] {
        let mut browser = scene.browser();
        get(&mut browser, "/", &[LI, ADMINS]).lacks("li@example.com").has("Log in");
        assert_eq!(get(&mut browser, "/api/v1/audit", &[LI, ADMINS]).status, 403);
        let mut admin = scene.admin();
        let token = admin.token("/topics/orders/delete");
        let fields = [("form_token", token.as_str()), ("typed", "orders")];
        assert_eq!(admin.post("/topics/orders/delete", &fields, &[FROM, LI]).status, 303);
        let entry = newest_entry(&scene);
        assert_eq!((&entry["user"], &entry["address"]), (&"admin".into(), &"127.0.0.1".into()));
    }
}

#[test]
fn forms_of_signed_on_users_carry_a_token_of_their_own_and_are_noted_with_the_real_address() {
    let scene = scene("127.0.0.1");
    let mut browser = scene.browser();
    let own = token_of(&get(&mut browser, "/topics/orders/delete", &[LI, ADMINS]));
    let of_guests = token_of(&get(&mut browser, "/login", &[]));
    let of_another = token_of(&get(&mut browser, "/topics/orders/delete", &[("x-forwarded-user", "wu"), ADMINS]));
    for token in [&of_guests, &of_another] {
        assert_ne!(*token, own);
        let fields = [("form_token", token.as_str()), ("typed", "orders")];
        assert_eq!(browser.post("/topics/orders/delete", &fields, &[LI, ADMINS]).status, 403);
    }
    assert_eq!(scene.count(RequestCode::DELETE_TOPIC_IN_BROKER), 0);
    let fields = [("form_token", own.as_str()), ("typed", "orders")];
    let foreign = ("sec-fetch-site", "cross-site");
    assert_eq!(browser.post("/topics/orders/delete", &fields, &[LI, ADMINS, foreign]).status, 403);
    assert_eq!(browser.post("/topics/orders/delete", &fields, &[LI, ADMINS, FROM]).status, 303);
    let entry = newest_entry(&scene);
    assert_eq!((&entry["user"], &entry["address"]), (&"li@example.com".into(), &"192.0.2.7".into()));
}

#[test]
fn wrong_passwords_count_for_the_address_before_the_proxy() {
    let scene = scene("127.0.0.1");
    let mut browser = scene.browser();
    let mut log_in = |from: &str, password: &str| {
        let token = token_of(&get(&mut browser, "/login", &[]));
        let fields = [("form_token", token.as_str()), ("name", "admin"), ("password", password)];
        browser.post("/login", &fields, &[("x-forwarded-for", from)]).status
    };
    for number in 0..5 {
        // What a client itself sends comes first, and changes nothing.
        assert_eq!(log_in(&format!("198.51.100.{number}, 192.0.2.1"), "wrong password"), 403);
    }
    assert_eq!(log_in("192.0.2.1", PASSWORD), 429);
    assert_eq!(log_in("192.0.2.2", PASSWORD), 303);
}

#[test]
fn signed_on_users_are_no_users_of_the_console() {
    let scene = scene("127.0.0.1");
    let mut browser = scene.browser();
    // Somebody whom the proxy calls as a user of the console is called.
    let named = [("x-forwarded-user", "admin"), ADMINS];
    let mut admin = scene.admin();
    let token = serde_json::json!({ "note": "x", "role": "viewer", "days": 1 }).to_string();
    let made = browser.send("POST", "/api/v1/console/tokens", &[named[0], named[1], JSON], &token);
    assert_eq!(made.status, 400);
    made.has("a proxy named you");
    let settings = get(&mut browser, "/settings", &named);
    settings.has("Passwords and tokens are of users of the console.").lacks("Own password");
    let form_token = token_of(&settings);
    let end = browser.post("/settings/sessions/end", &[("form_token", &form_token)], &named);
    assert_eq!(end.status, 403);
    assert_eq!(admin.get("/activity").status, 200, "the session goes on");
}

#[test]
fn a_program_that_logs_in_is_whom_it_says_and_not_whom_the_proxy_says() {
    let scene = scene("127.0.0.1");
    let mut program = scene.browser();
    let headers = [LI, ADMINS, BASIC, JSON];
    assert_eq!(program.send("DELETE", "/api/v1/topics/orders", &headers, "").status, 200);
    assert_eq!(newest_entry(&scene)["user"], "admin");
    let made = program.send("POST", "/api/v1/console/tokens", &headers, r#"{"note":"x","role":"viewer","days":1}"#);
    let made: Value = serde_json::from_str(&made.text).unwrap();
    let bearer = format!("Bearer {}", made["token"].as_str().unwrap());
    let by_token = [LI, ADMINS, ("authorization", bearer.as_str())];
    assert_eq!(program.send("DELETE", "/api/v1/topics/orders", &by_token, "").status, 403);
}

#[test]
fn who_is_named_without_a_role_is_told_so_where_a_login_is_required() {
    let set = |settings: &mut ConsoleSettings| {
        settings.auth = AuthMode::Required;
        settings.proxies = proxies("127.0.0.1");
    };
    let scene = Scene::answering("", set, usual);
    let mut browser = scene.browser();
    assert_eq!(get(&mut browser, "/topics", &[]).status, 303);
    assert_eq!(get(&mut browser, "/topics", &[LI]).status, 403);
    assert_eq!(get(&mut browser, "/topics", &[LI, OPERATORS]).status, 200);
}

#[test]
fn a_console_that_would_believe_everybody_does_not_start() {
    let scene = Scene::new(|_| None);
    let settings = ConsoleSettings { proxies: proxies("0.0.0.0/0"), ..scene.settings.clone() };
    let error = RunningConsole::start(settings).unwrap_err();
    assert_eq!(error.to_string(), "`0.0.0.0/0` is everybody, who could send any name; name the networks of proxies");
}
