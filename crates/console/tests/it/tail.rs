//! The live tail of a topic.

use std::io::{Read, Write};

use protocol::codes::RequestCode;

use crate::cluster::{ESCAPED, MESSAGE_ID, Scene};

fn usual() -> Scene {
    Scene::new(|_| None)
}

#[test]
fn the_tail_shows_the_newest_messages_and_how_fast_is_too_fast() {
    let scene = usual();
    let mut admin = scene.admin();
    admin.get("/topics/orders").has("/topics/orders/tail");
    let page = admin.get("/topics/orders/tail");
    page.has(MESSAGE_ID).has(ESCAPED).has("Shown: 1 of the 1 newest messages; the topic holds 1.");
    // One queue gives 32 messages a look.
    page.has("No message is skipped while fewer than 32 come between two looks.").has("data-live=");
    assert_eq!(admin.get("/topics/none/tail").status, 404);
}

#[test]
fn messages_that_pass_unseen_are_counted() {
    let scene = Scene::new(|code| {
        let fast = r#"{"topicPutTps":500,"offsetTable":{{"brokerName":"broker-a","queueId":0,"topic":"orders"}:{"lastUpdateTimestamp":1796000000000,"maxOffset":1,"minOffset":0}}}"#;
        (code == RequestCode::GET_TOPIC_STATS_INFO).then(|| fast.to_owned())
    });
    scene.browser().get("/topics/orders/tail").has("Skips about 484 of 500 messages a second");
}

#[test]
fn the_tail_is_filtered_by_tag_key_and_text() {
    let scene = usual();
    let mut admin = scene.admin();
    for name in ["tag", "key", "text"] {
        admin.get(&format!("/topics/orders/tail?{name}=%3Cscript%3Ealert%281%29%3C%2Fscript%3E")).has(MESSAGE_ID);
        admin
            .get(&format!("/topics/orders/tail?{name}=other"))
            .lacks(MESSAGE_ID)
            .has("None of the 1 newest messages passes the filter.");
    }
    let bad = admin.get("/topics/orders/tail?tagg=x");
    assert_eq!(bad.status, 400);
    bad.has("tagg");
}

#[test]
fn somebody_who_may_not_see_bodies_sees_none_and_cannot_ask_for_their_text() {
    let scene = usual();
    let mut guest = scene.browser();
    guest.get("/topics/orders/tail").has(MESSAGE_ID).lacks("td class=\"preview\"").lacks("name=\"text\"");
    assert_eq!(guest.get("/topics/orders/tail?text=a").status, 403);
}

#[test]
fn a_paused_tail_stands_still_and_keeps_its_filter() {
    let scene = usual();
    let mut browser = scene.browser();
    let page = browser.get("/topics/orders/tail?tag=a&paused=yes");
    page.has("Paused").lacks("data-live=").has("/topics/orders/tail?tag=a\"").has("Resume");
    assert_eq!(browser.get("/topics/orders/tail?paused=maybe").status, 400);
}

#[test]
fn the_tail_comes_as_events() {
    let scene = usual();
    let mut stream = std::net::TcpStream::connect(scene.console.address).unwrap();
    write!(stream, "GET /live?path=%2Ftopics%2Forders%2Ftail HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains(MESSAGE_ID) {
        let count = stream.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "the stream ended: {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    assert!(text.contains("event: patch") && text.contains("id=\"tail\""), "{text}");
}

#[test]
fn many_who_watch_cost_one_reading() {
    let scene = usual();
    for _ in 0..10 {
        scene.browser().get("/topics/orders/tail").has(MESSAGE_ID);
    }
    let readings = scene.count(RequestCode::PULL_MESSAGE);
    assert!((1..=4).contains(&readings), "{readings}");
}
