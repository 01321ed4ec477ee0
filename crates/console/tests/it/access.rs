//! Who may do what, and what forms have to prove.

use console::AuthMode;
use protocol::codes::RequestCode;
use protocol::recall_handle::RecallHandle;

use crate::cluster::{ESCAPED, MESSAGE_ID, PASSWORD, Scene};

/// Every form that changes something.
const FORMS: [&str; 15] = [
    "/topics/new",
    "/topics/orders/edit",
    "/topics/orders/delete",
    "/topics/orders/publish",
    "/groups/new",
    "/groups/workers/edit",
    "/groups/workers/delete",
    "/groups/workers/reset",
    "/dead-letters/workers",
    "/scheduled/recall",
    "/brokers/broker-a/0/settings/fileReservedTime",
    "/settings/users",
    "/settings/users/admin/remove",
    "/settings/tokens",
    "/settings/tokens/x/revoke",
];

/// Requests that change something.
const CHANGES: [RequestCode; 8] = [
    RequestCode::UPDATE_AND_CREATE_TOPIC,
    RequestCode::DELETE_TOPIC_IN_BROKER,
    RequestCode::SEND_MESSAGE,
    RequestCode::SEND_MESSAGE_V2,
    RequestCode::RECALL_MESSAGE,
    RequestCode::UPDATE_BROKER_CONFIG,
    RequestCode::UPDATE_CONSUMER_OFFSET,
    RequestCode::INVOKE_BROKER_TO_RESET_OFFSET,
];

fn usual() -> Scene {
    Scene::new(|_| None)
}

#[track_caller]
fn nothing_changed(scene: &Scene) {
    for code in CHANGES {
        assert_eq!(scene.count(code), 0, "{code} was sent");
    }
}

#[test]
fn guests_see_no_body_and_change_nothing() {
    let scene = usual();
    let mut guest = scene.browser();
    let page = guest.get(&format!("/messages/orders/{MESSAGE_ID}"));
    page.has("Bodies are shown after a login.").lacks("<pre");
    assert_eq!(guest.get(&format!("/messages/orders/{MESSAGE_ID}/body")).status, 403);
    assert_eq!(guest.get("/messages?topic=orders&by=time&text=x").status, 403);
    guest.get("/messages?topic=orders").has("Bodies are shown after a login.").lacks("class=\"preview\"");
    for form in FORMS {
        let page = guest.submit("/login", form, &[("typed", "orders"), ("name", "x"), ("again", "group")]);
        assert!([400, 403].contains(&page.status), "{form}: {}", page.status);
    }
    nothing_changed(&scene);
    guest.get("/topics").has("disabled").has("This takes the role operator.");
}

#[test]
fn forms_of_other_sites_and_forms_without_a_token_change_nothing() {
    let scene = usual();
    let mut admin = scene.admin();
    let token = admin.token("/topics/orders/delete");
    let own = format!("http://{}", scene.console.address);
    for form in FORMS {
        let fields = [("form_token", token.as_str()), ("typed", "orders")];
        for foreign in [[("origin", "http://evil.example")], [("sec-fetch-site", "cross-site")], [("origin", "null")]] {
            assert_eq!(admin.post(form, &fields, &foreign).status, 403, "{form} {foreign:?}");
        }
        assert_eq!(admin.post(form, &[("typed", "orders")], &[("origin", &own)]).status, 403, "{form}");
        assert_eq!(admin.post(form, &[("form_token", "0"), ("typed", "orders")], &[]).status, 403, "{form}");
    }
    nothing_changed(&scene);
    let fields = [("form_token", token.as_str()), ("typed", "orders")];
    assert_eq!(admin.post("/topics/orders/delete", &fields, &[("origin", &own)]).status, 303);
    assert_eq!(scene.count(RequestCode::DELETE_TOPIC_IN_BROKER), 1);
}

#[test]
fn wrong_passwords_are_refused_and_after_five_one_waits() {
    let scene = usual();
    let mut browser = scene.browser();
    for _ in 0..5 {
        let page = browser.submit("/login", "/login", &[("name", "admin"), ("password", "wrong password")]);
        assert_eq!(page.status, 403);
        page.has("Name or password is wrong.");
    }
    let page = browser.submit("/login", "/login", &[("name", "admin"), ("password", PASSWORD)]);
    assert_eq!(page.status, 429);
    assert!(page.header("retry-after").is_some_and(|seconds| seconds.parse::<u64>().unwrap() <= 61));
    assert_eq!(browser.get("/").status, 200);
}

#[test]
fn a_session_ends_with_logging_out() {
    let scene = usual();
    let mut admin = scene.admin();
    admin.get(&format!("/messages/orders/{MESSAGE_ID}")).has("<pre").has(ESCAPED);
    let page = admin.submit("/", "/logout", &[]);
    assert_eq!(page.status, 303);
    admin.get(&format!("/messages/orders/{MESSAGE_ID}")).lacks("<pre");
}

#[test]
fn the_session_cookie_is_out_of_reach_for_script_and_other_sites() {
    let scene = usual();
    let mut browser = scene.browser();
    let token = browser.token("/login");
    let fields = [("form_token", token.as_str()), ("name", "admin"), ("password", PASSWORD)];
    let page = browser.post("/login", &fields, &[("x-forwarded-proto", "https")]);
    let cookie = page.header("set-cookie").unwrap();
    for attribute in ["HttpOnly", "SameSite=Lax", "Secure", "Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
}

#[test]
fn where_a_login_is_required_nothing_is_shown_before() {
    let scene = Scene::with(AuthMode::Required, "", "", |_| None);
    let mut browser = scene.browser();
    for path in ["/", "/topics", "/topics/orders", "/live?path=%2F", "/search?q=orders"] {
        let page = browser.get(path);
        assert_eq!(page.status, 303, "{path}");
        assert!(page.header("location").unwrap().starts_with("/login?next="), "{path}");
        page.lacks("orders");
    }
    assert_eq!(browser.get("/api/v1/topics").status, 403);
    for path in ["/login", "/livez", "/readyz"] {
        assert_eq!(browser.get(path).status, 200, "{path}");
    }
    browser.log_in(PASSWORD);
    browser.get("/topics").has("orders");
}

#[test]
fn users_have_roles_and_passwords_of_their_own() {
    let scene = usual();
    let mut admin = scene.admin();
    let saved = admin.submit(
        "/settings",
        "/settings/users",
        &[("name", "ops"), ("role", "operator"), ("password", "another secret")],
    );
    assert_eq!(saved.status, 303);
    let mut ops = scene.browser();
    let page = ops.submit("/login", "/login", &[("name", "ops"), ("password", "another secret")]);
    assert_eq!(page.status, 303);
    assert_eq!(ops.get("/topics/orders/edit").status, 200);
    assert_eq!(ops.get("/topics/orders/delete").status, 403);
    ops.get("/settings").lacks("Add or change a user");
    let page =
        ops.submit("/settings", "/settings/password", &[("current", "another secret"), ("new", "a newer secret")]);
    assert_eq!(page.status, 303);
    let page = admin.submit("/settings", "/settings/users/ops/remove", &[]);
    assert_eq!(page.status, 303);
    assert_eq!(ops.get("/topics/orders/edit").status, 403);
    assert_eq!(admin.submit("/settings", "/settings/users/admin/remove", &[]).status, 400);
}

#[test]
fn every_answer_has_the_headers_that_keep_others_out() {
    let scene = usual();
    let mut browser = scene.browser();
    for path in [
        "/",
        "/nowhere",
        "/topics/none",
        "/assets/x/console.css",
        "/assets/x/none",
        "/api/v1/topics",
        "/livez",
        "/topics?x=1",
    ] {
        let page = browser.get(path);
        let policy = page.header("content-security-policy").unwrap_or_default();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{path}");
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(page.header("x-frame-options"), Some("DENY"), "{path}");
        let is_kept = path.ends_with(".css");
        assert_eq!(page.header("cache-control") == Some("no-store"), !is_kept, "{path}");
        page.lacks(" style=\"").lacks(" onclick=");
    }
}

#[test]
fn operators_change_what_they_ask_for_and_see_what_came_of_it() {
    let scene = usual();
    let mut admin = scene.admin();
    let fields = [("name", "payments"), ("read", "4"), ("write", "4"), ("perm", "6"), ("type", "FIFO")];
    let page = admin.submit("/topics/new", "/topics/new", &fields);
    let (asked, _) = scene.last(RequestCode::UPDATE_AND_CREATE_TOPIC).unwrap();
    assert_eq!((asked["topic"].as_str(), asked["attributes"].as_str()), ("payments", "+message.type=FIFO"));
    assert_eq!((asked["readQueueNums"].as_str(), asked["perm"].as_str()), ("4", "6"));
    assert!(page.header("location").unwrap().starts_with("/topics/payments?done="));
    let refused =
        admin.submit("/topics/new", "/topics/new", &[("name", "x"), ("read", "0"), ("write", "4"), ("perm", "6")]);
    assert_eq!(refused.status, 400);
    refused.has("`read` is `0`; expected 1 to 1024");
    let mistyped = admin.submit("/topics/orders/delete", "/topics/orders/delete", &[("typed", "order")]);
    mistyped.has("The typed name is not orders.");
    assert_eq!(scene.count(RequestCode::DELETE_TOPIC_IN_BROKER), 0);
    let sent = admin.submit(
        "/topics/orders/publish",
        "/topics/orders/publish",
        &[
            ("body", "a\r\nb"),
            ("tag", "t"),
            ("keys", "k1 k2"),
            ("properties", "own=x=y\n"),
            ("delay", ""),
            ("sharding", ""),
        ],
    );
    assert_eq!(sent.status, 303);
    let to = sent.header("location").unwrap().to_owned();
    admin.get(&to).has("Sent as");
    let sends = scene.last(RequestCode::SEND_MESSAGE_V2).or_else(|| scene.last(RequestCode::SEND_MESSAGE));
    assert_eq!(sends.unwrap().1, b"a\nb");
}

#[test]
fn a_group_is_moved_only_as_the_preview_said() {
    let scene = usual();
    let mut admin = scene.admin();
    let preview = "/groups/workers/reset?topic=orders&to=earliest";
    admin.get(preview).has("Reset offsets").has("Clients are connected");
    let other = admin.submit(
        preview,
        "/groups/workers/reset",
        &[("topic", "orders"), ("to", "earliest"), ("time", ""), ("plan", "broker-a.0.7")],
    );
    other.has("Offsets moved since the preview.");
    nothing_changed(&scene);
    let page = admin.submit(
        preview,
        "/groups/workers/reset",
        &[("topic", "orders"), ("to", "earliest"), ("time", ""), ("plan", "broker-a.0.0")],
    );
    assert_eq!(page.status, 303);
    let (asked, _) = scene.last(RequestCode::INVOKE_BROKER_TO_RESET_OFFSET).unwrap();
    assert_eq!(
        (asked["group"].as_str(), asked["topic"].as_str(), asked["timestamp"].as_str()),
        ("workers", "orders", "0")
    );
}

#[test]
fn a_reset_is_taken_back_queue_by_queue() {
    let scene = Scene::new(|code| match code {
        RequestCode::GET_CONSUME_STATS => Some(
            r#"{"offsetTable":{{"brokerName":"broker-a","queueId":0,"topic":"orders"}:{"consumerOffset":1}}}"#
                .to_owned(),
        ),
        _ => None,
    });
    let mut admin = scene.admin();
    let preview = "/groups/workers/reset?topic=orders&to=earliest";
    let fields = [("topic", "orders"), ("to", "earliest"), ("time", ""), ("plan", "broker-a.0.0")];
    let page = admin.submit(preview, "/groups/workers/reset", &fields);
    let back = "/groups/workers/reset?topic=orders&to=places&places=broker-a.0.";
    let shown = admin.get(page.header("location").unwrap());
    shown.has("Undo: back to where it was").has(&back.replace('&', "&amp;"));
    admin.get("/activity").has("Undo: back to where it was").has(&back.replace('&', "&amp;"));
    let before = shown.text.split(&back.replace('&', "&amp;")).nth(1).unwrap().split('"').next().unwrap().to_owned();
    let places = format!("broker-a.0.{before}");
    let undo = format!("{back}{before}");
    admin.get(&undo).has("Preview").has("Clients are connected");
    let fields = [("topic", "orders"), ("to", "places"), ("time", ""), ("places", &*places), ("plan", &*places)];
    assert_eq!(admin.submit(&undo, "/groups/workers/reset", &fields).status, 303);
    let (asked, _) = scene.last(RequestCode::INVOKE_BROKER_TO_RESET_OFFSET).unwrap();
    assert_eq!((asked["queueId"].as_str(), asked["offset"].as_str()), ("0", &*before));
    assert_eq!(admin.get("/groups/workers/reset?topic=orders&to=places&places=broker-a.0").status, 400);
    // Programs send back what the entry of the reset says.
    let json = [("content-type", "application/json"), ("authorization", "Basic YWRtaW46Y29ycmVjdCBob3JzZSBiYXR0ZXJ5")];
    let mut program = scene.browser();
    let body = format!(r#"{{"topic":"orders","to":[{{"broker":"broker-a","queue":0,"offset":{before}}}]}}"#);
    assert_eq!(program.send("PATCH", "/api/v1/groups/workers/offsets", &json, &body).status, 200);
    // Queues where it stood nowhere stay; what is gone is named, and the rest is moved.
    let body = format!(
        r#"{{"topic":"orders","to":[{{"broker":"broker-a","queue":0,"offset":{before}}},{{"broker":"broker-a","queue":1,"offset":null}},{{"broker":"broker-z","queue":5,"offset":3}}]}}"#
    );
    let partly = program.send("PATCH", "/api/v1/groups/workers/offsets", &json, &body);
    assert_eq!(partly.status, 207);
    partly.has("there is no queue 5 of `orders` now");
    let (asked, _) = scene.last(RequestCode::INVOKE_BROKER_TO_RESET_OFFSET).unwrap();
    // A broker that knows neither queue nor offset must pass nothing over.
    assert_eq!((asked["timestamp"].as_str(), asked["isForce"].as_str()), ("0", "false"));
    let bad = r#"{"topic":"orders","to":[{"broker":"broker-a","queue":0,"offset":-1}]}"#;
    assert_eq!(program.send("PATCH", "/api/v1/groups/workers/offsets", &json, bad).status, 400);
}

#[test]
fn a_scheduled_message_is_taken_back_where_its_handle_says() {
    let scene = usual();
    let mut admin = scene.admin();
    admin.get("/scheduled").has("4,321").has("broker-a").has(ESCAPED).lacks(">orders<");
    let handle = |broker: &str, due_ms: i64| {
        let handle = RecallHandle { topic: "orders".into(), broker: broker.into(), due_ms, unique_id: "7F01".into() };
        handle.to_string()
    };
    let known = handle("broker-a", 1_796_000_000_000);
    admin.get(&format!("/scheduled?handle={known}")).has("7F01").has("2026-11-30");
    let page = admin.submit("/scheduled", "/scheduled/recall", &[("handle", &known)]);
    admin.get(page.header("location").unwrap()).has("Message 7F01 of topic orders was taken back.");
    let (asked, _) = scene.last(RequestCode::RECALL_MESSAGE).unwrap();
    assert_eq!((asked["topic"].as_str(), asked["recallHandle"].as_str()), ("orders", &*known));
    admin.get("/activity").has("message.recall");
    let page = admin.submit("/scheduled", "/scheduled/recall", &[("handle", &handle("broker-z", 0))]);
    admin.get(page.header("location").unwrap()).has("no master of `broker-z` is registered");
    assert_eq!(admin.submit("/scheduled", "/scheduled/recall", &[("handle", "djE=")]).status, 400);
    assert_eq!(admin.get(&format!("/scheduled?handle={}", handle("broker-a", i64::MAX))).status, 200);
    assert_eq!(scene.browser().submit("/scheduled", "/scheduled/recall", &[("handle", &known)]).status, 403);
    assert_eq!(scene.count(RequestCode::RECALL_MESSAGE), 1);
}

#[test]
fn dead_letters_are_sent_again_with_their_own_properties() {
    let scene = usual();
    let mut admin = scene.admin();
    let page = admin.submit(
        "/dead-letters/workers",
        "/dead-letters/workers",
        &[("place", "broker-a.0.0"), ("again", "group")],
    );
    assert_eq!(page.status, 303);
    let to = page.header("location").unwrap().to_owned();
    admin.get(&to).has("1 of 1 messages were sent again.");
    let sent = scene.last(RequestCode::SEND_MESSAGE_V2).or_else(|| scene.last(RequestCode::SEND_MESSAGE)).unwrap();
    let properties = sent.0.get("i").or_else(|| sent.0.get("properties")).unwrap();
    assert!(
        properties.contains("APOGEE_REDELIVERED_FROM") && properties.contains("ORIGIN_MESSAGE_ID\u{1}ABC"),
        "{properties}"
    );
    let none = admin.submit("/dead-letters/workers", "/dead-letters/workers", &[("again", "group")]);
    let to = none.header("location").unwrap().to_owned();
    admin.get(&to).has("No message was chosen.");
}

#[test]
fn clients_that_read_no_retry_topic_get_nothing_there() {
    let scene = Scene::new(|code| match code {
        RequestCode::GET_CONSUMER_CONNECTION_LIST => {
            Some(r#"{"connectionSet":[{"clientId":"c"}],"consumeType":"CONSUME_POP"}"#.to_owned())
        }
        _ => None,
    });
    let mut admin = scene.admin();
    let fields = |again| [("place", "broker-a.0.0"), ("again", again)];
    let page = admin.submit("/dead-letters/workers", "/dead-letters/workers", &fields("group"));
    assert_eq!(page.status, 400);
    page.has("read no retry topic");
    nothing_changed(&scene);
    assert_eq!(admin.submit("/dead-letters/workers", "/dead-letters/workers", &fields("topic")).status, 303);
}
