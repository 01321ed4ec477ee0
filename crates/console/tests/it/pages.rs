//! What pages show, and how they stand a cluster in trouble.

use std::collections::{BTreeSet, VecDeque};

use console::AuthMode;
use protocol::codes::RequestCode;

use crate::browser::Browser;
use crate::cluster::{ESCAPED, MESSAGE_ID, SCRIPT, Scene};

/// All pages without parameters in their path.
const LISTS: [&str; 10] = [
    "/",
    "/topics",
    "/groups",
    "/messages",
    "/dead-letters",
    "/scheduled",
    "/clients",
    "/cluster",
    "/doctor",
    "/settings",
];

fn usual() -> Scene {
    Scene::new(|_| None)
}

#[test]
fn pages_show_what_brokers_tell() {
    let scene = usual();
    let mut admin = scene.admin();
    admin.get("/").has("broker-a").has("Groups that are behind by more than a minute: 1.").has("2.50/s").has("50 %");
    admin.get("/topics").has("orders").has("2.50").has("read and write");
    admin.get("/topics/orders").has("workers").has("Next offset").has("Configuration");
    admin.get("/groups").has("workers").has(">5<").has("connected");
    admin.get("/groups/workers").has("10.0.0.1:5").has("Retries before the dead letters").has(">16<");
    admin.get("/clients").has("10.0.0.2:6").has("consumes").has("produces");
    admin.get("/cluster").has("DefaultCluster").has("knows all");
    admin.get("/brokers/broker-a/0").has("fileReservedTime").has("2.00 KiB");
    admin.get("/dead-letters").has("workers");
    admin.get("/messages?topic=orders").has("broker-a:0 #0").has(ESCAPED);
    admin.get(&format!("/messages/orders/{MESSAGE_ID}")).has("Who consumed it").has("workers").has("own");
}

#[test]
fn a_member_is_asked_what_it_does_by_those_who_may() {
    let scene = usual();
    let mut admin = scene.admin();
    let page = admin.get("/groups/workers");
    let links = page.values("href");
    let link = links.iter().find(|link| link.starts_with("/groups/workers/clients/")).unwrap();
    admin
        .get(link)
        .has("Queues it pulls")
        .has(">41<")
        .has("(41–43)")
        .has("locked")
        .has(">77<")
        .has("12.5 ms")
        .lacks("waits");
    admin.get(&format!("{link}?stacks=true")).has("main: waits");
    let (asked, _) = scene.last(RequestCode::GET_CONSUMER_RUNNING_INFO).unwrap();
    assert_eq!((asked["consumerGroup"].as_str(), asked["jstackEnable"].as_str()), ("workers", "true"));
    assert_eq!(admin.get("/groups/workers/clients/nobody").status, 404);
    let mut guest = scene.browser();
    assert_eq!(guest.get(link).status, 403);
    guest.get("/groups/workers").lacks("/groups/workers/clients/");
}

#[test]
fn a_body_is_shown_as_its_reader_wants_it() {
    let scene = usual();
    let mut admin = scene.admin();
    let mut shown = |view| admin.get(&format!("/messages/orders/{MESSAGE_ID}?view={view}"));
    shown("hex").has("000000  3c 73 63 72");
    shown("gbk").has(ESCAPED).lacks("The body is");
    shown("json").has("The body is not JSON.").has(ESCAPED);
    shown("msgpack").has("The body is not MessagePack: it goes on after its value, at byte 1.").has(ESCAPED);
    shown("protobuf").has("The body is not Protobuf: no value begins as byte").has(ESCAPED);
    let unknown = shown("xmas");
    assert_eq!(unknown.status, 400);
    unknown.has("known: text, gbk, json, xml, msgpack, cbor, protobuf, hex");
}

#[test]
fn script_in_names_keys_and_bodies_is_text_on_every_page() {
    let scene = usual();
    let mut admin = scene.admin();
    let mut seen = 0;
    for page in crawl(&mut admin, 400).iter().filter(|page| page.is_html) {
        assert!(!page.text.contains(SCRIPT), "{} has a script of somebody else", page.path);
        seen += page.text.matches(ESCAPED).count();
    }
    assert!(20 < seen, "the names were shown only {seen} times");
}

/// A page that a link led to.
pub struct Visited {
    pub path: String,
    pub status: u16,
    pub text: String,
    pub is_html: bool,
}

/// Follows every link.
pub fn crawl(browser: &mut Browser, most: usize) -> Vec<Visited> {
    let mut known: BTreeSet<String> = BTreeSet::new();
    let mut waiting: VecDeque<String> = LISTS.iter().map(|path| (*path).to_owned()).collect();
    let mut visited = Vec::new();
    while let Some(path) = waiting.pop_front() {
        if !known.insert(path.clone()) || most < known.len() {
            continue;
        }
        let page = browser.get(&path);
        for link in page.values("href") {
            let path = link.split('#').next().unwrap_or_default();
            if path.starts_with('/') && !path.starts_with("/login") {
                waiting.push_back(path.to_owned());
            }
            assert!(path.is_empty() || path.starts_with('/'), "{link} on {path} leads away");
        }
        let is_html = page.header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
        visited.push(Visited { path, status: page.status, text: page.text, is_html });
    }
    visited
}

#[test]
fn no_link_is_dead_for_anybody() {
    let scene = usual();
    for mut browser in [scene.browser(), scene.admin()] {
        let visited = crawl(&mut browser, 400);
        assert!(30 < visited.len());
        for page in visited {
            // Of names that only the stand-in has, the topics of origin need not exist.
            assert_eq!(page.status, 200, "{}: {}", page.path, page.text);
        }
    }
}

#[test]
fn pages_work_below_a_prefix() {
    let scene = Scene::with(AuthMode::Off, "/mq", "", |_| None);
    let mut browser = scene.browser();
    assert_eq!(browser.get("/topics").status, 404);
    let page = browser.get("/mq/topics");
    assert_eq!(page.status, 200);
    for link in page.values("href").iter().chain(&page.values("action")).chain(&page.values("src")) {
        assert!(link.starts_with("/mq/") || link.starts_with('#'), "{link}");
    }
    assert_eq!(browser.get("/mq/").status, 200);
    let style = page.values("href").into_iter().find(|link| link.ends_with(".css")).unwrap();
    assert_eq!(browser.get(&style).header("content-type"), Some("text/css; charset=utf-8"));
}

#[test]
fn pages_speak_the_language_of_the_browser_and_the_chosen_one() {
    let scene = usual();
    let mut browser = scene.browser();
    browser.language = "zh-CN,zh;q=0.9,en;q=0.8";
    for path in LISTS {
        browser.get(path).has("lang=\"zh\"").has("总览");
    }
    let page = browser.submit("/topics", "/preferences", &[("language", "en"), ("back", "/topics?kind=all")]);
    assert_eq!((page.status, page.header("location")), (303, Some("/topics?kind=all")));
    browser.get("/topics").has("lang=\"en\"").has("Overview");
    let page = browser.submit("/topics", "/preferences", &[("theme", "dark"), ("back", "//evil.example/")]);
    assert_eq!(page.header("location"), Some("/"));
    browser.get("/topics").has("data-theme=\"dark\"");
}

#[test]
fn a_broker_that_does_not_answer_is_named_and_the_others_are_shown() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let scene = Scene::with(AuthMode::Off, "", &format!("broker-b={gone}"), |_| None);
    let mut browser = scene.browser();
    browser.get("/").has("No answer from broker-b.").has("Brokers that answer: 1 of 2.").has("orders");
    browser.get("/topics").has("No answer from broker-b.").has("orders");
    browser.get("/cluster").has("silent").has("broker-a");
    let ready = browser.get("/readyz");
    assert_eq!(ready.status, 200);
    ready.has("broker broker-b").has("\"ok\":false");
}

#[test]
fn what_a_broker_does_not_know_is_a_dash_with_its_reason() {
    let scene = Scene::new(|code| match code {
        RequestCode::GET_BROKER_RUNTIME_INFO => Some(r#"{"table":{}}"#.to_owned()),
        RequestCode::GET_CONSUME_STATS => Some(
            r#"{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"t"}:{"brokerOffset":3,"consumerOffset":9}}}"#
                .to_owned(),
        ),
        _ => None,
    });
    let mut browser = scene.browser();
    browser.get("/cluster").has("title=\"no broker tells this\">—<");
    let page = browser.get("/groups/workers");
    page.has("title=\"the committed offset lies behind the end of the queue").lacks(">-6<").lacks("−6");
}

#[test]
fn garbage_from_a_broker_is_an_error_on_the_page_and_no_panic() {
    let scene = Scene::new(|code| match code {
        RequestCode::GET_BROKER_RUNTIME_INFO => None,
        _ => Some("{\"x\":[[[".to_owned()),
    });
    let mut browser = scene.browser();
    for path in LISTS {
        assert_eq!(browser.get(path).status, 200, "{path}");
    }
    browser.get("/topics").has("Some brokers did not tell this:");
    assert_eq!(browser.get("/topics/orders").status, 404);
}

#[test]
fn without_a_nameserver_the_page_says_whom_it_asked() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let console = console::RunningConsole::start(console::ConsoleSettings {
        listen: ([127, 0, 0, 1], 0).into(),
        nameservers: client::Nameservers::parse(&gone.to_string(), client::Connections::default()).unwrap(),
        folder: folder.path().to_owned(),
        auth: AuthMode::Viewer,
        first_password: None,
        base_path: String::new(),
        proxies: console::ProxySettings::default(),
        metrics: metrics::Exporter::new(metrics::Options::default()),
    })
    .unwrap();
    assert!(console.first_password.is_some());
    let mut browser = Browser::new(console.address);
    browser.get("/").has("No nameserver answers.").has(&gone.to_string());
    assert_eq!(browser.get("/readyz").status, 503);
    assert_eq!(browser.get("/livez").status, 200);
    browser.get("/metrics").has("# TYPE process_resident_memory_bytes gauge");
    console.stop();
}

#[test]
fn names_with_every_kind_of_character_have_clear_pages() {
    let scene = usual();
    let mut admin = scene.admin();
    for name in ["%25RETRY%25x", "a%2Fb", "%F0%9F%9A%80", "..%2F..", &"x".repeat(127), "%00", "%FF"] {
        for path in [format!("/topics/{name}"), format!("/groups/{name}"), format!("/topics/{name}/edit")] {
            let page = admin.get(&path);
            assert!([400, 404].contains(&page.status), "{path}: {}", page.status);
        }
        assert_eq!(admin.get(&format!("/dead-letters/{name}")).status, if name == "%FF" { 400 } else { 200 });
    }
}

#[test]
fn a_mistyped_parameter_is_named() {
    let scene = usual();
    let page = scene.browser().get("/topics?kidn=dead");
    assert_eq!(page.status, 400);
    page.has("there is no parameter `kidn`");
}

#[test]
fn many_viewers_cost_no_more_requests_than_one() {
    let scene = usual();
    let address = scene.console.address;
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(move || Browser::new(address).get("/topics").has("orders").status);
        }
    });
    // The console itself takes a point for its charts; answers may have got old meanwhile on a slow machine.
    assert!(scene.count(RequestCode::GET_ALL_TOPIC_CONFIG) < 5);
}

#[test]
fn a_list_of_thousands_is_shown_in_pages_of_at_most_60_kb() {
    let scene = Scene::new(|code| match code {
        RequestCode::GET_ALL_TOPIC_CONFIG => {
            let topics = (0..5000).map(|number| {
                format!(
                    r#""topic-{number:04}":{{"topicName":"topic-{number:04}","readQueueNums":8,"writeQueueNums":8}}"#
                )
            });
            Some(format!(r#"{{"topicConfigTable":{{{}}}}}"#, topics.collect::<Vec<_>>().join(",")))
        }
        _ => None,
    });
    let mut browser = scene.browser();
    browser.get("/topics").has("topic-0099").lacks("topic-0100").has("/topics?kind=user&amp;after=topic-0099");
    browser.get("/topics?after=topic-4949").has("topic-4999").lacks("topic-0000").lacks(">More<");
    browser.get("/topics?q=PIC-49").has("topic-4900").has("topic-4999").lacks("topic-4800");
    let packed = browser.send("GET", "/topics", &[("accept-encoding", "gzip")], "");
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    let size: usize = packed.header("content-length").unwrap().parse().unwrap();
    assert!(size < 60_000, "{size} bytes");
    // Figures are asked for only of the topics that are shown.
    assert!(scene.count(RequestCode::GET_TOPIC_STATS_INFO) <= 4 * 100);
}

#[test]
fn a_live_page_sends_its_parts() {
    use std::io::{Read, Write};

    let scene = usual();
    let mut stream = std::net::TcpStream::connect(scene.console.address).unwrap();
    write!(stream, "GET /live?path=%2Ftopics HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains("id=\"topics\"") {
        let count = stream.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "the stream ended: {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    assert!(text.contains("content-type: text/event-stream") && text.contains("event: patch"), "{text}");
    let bad = scene.browser().get("/live?path=http%3A%2F%2Felsewhere%2F");
    assert_eq!(bad.status, 400);
}
