//! Replies to requesters: 324, 325 and 326. That they are as recorded shows the replay.

use protocol::codes::{RequestCode, ResponseCode};

use crate::calls::{Introduction, introduce};
use crate::server::Server;
use crate::wire::Wire;

const PUSH: RequestCode = RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT;
const TOPIC: &str = "DefaultCluster_REPLY_TOPIC";

fn reply(wire: &mut Wire, properties: &str, body: &[u8]) -> i32 {
    let fields = [("a", "pg"), ("b", TOPIC), ("e", "0"), ("g", "1700000000000"), ("i", properties)];
    wire.request(RequestCode::SEND_REPLY_MESSAGE_V2, &fields, body)
}

/// How many replies are stored.
fn stored(server: &Server) -> u64 {
    let log = &server.broker().log;
    log.find_queue(TOPIC, 0).map_or(0, |queue| log.offsets(queue).max)
}

#[test]
fn a_reply_that_is_pushed_is_stored_as_well_unless_that_is_off() {
    for stores in [true, false] {
        let server = Server::start_with(|config| config.store_replies.set(stores));
        let (mut requester, mut responder) = (server.connect(), server.connect());
        introduce(&mut requester, &Introduction { id: "asks", ..Introduction::default() });
        let opaque = reply(&mut responder, "CORRELATION_ID\u{1}x\u{2}REPLY_TO_CLIENT\u{1}asks\u{2}", b"yes");
        let push = requester.pushed(PUSH);
        assert_eq!((push.body.as_slice(), push.oneway), (b"yes".as_slice(), false));
        assert_eq!(push.fields["bornHost"], responder.address().to_string());
        assert_eq!(stored(&server), 0, "the requester comes first");
        requester.reply(&push, ResponseCode::SUCCESS, None, b"");
        let answer = responder.answer(opaque);
        assert_eq!((answer.response_code(), answer.number("queueOffset")), (ResponseCode::SUCCESS, 0));
        assert_eq!(answer.fields["msgId"] == "0", !stores);
        assert_eq!(stored(&server), u64::from(stores));
    }
}

#[test]
fn a_reply_without_a_body_reaches_the_requester() {
    let server = Server::start();
    let (mut requester, mut responder) = (server.connect(), server.connect());
    introduce(&mut requester, &Introduction { id: "asks", ..Introduction::default() });
    let opaque = reply(&mut responder, "REPLY_TO_CLIENT\u{1}asks\u{2}", b"");
    let push = requester.pushed(PUSH);
    requester.reply(&push, ResponseCode::SUCCESS, None, b"");
    assert_eq!(responder.answer(opaque).response_code(), ResponseCode::SUCCESS);
}

#[test]
fn a_reply_that_cannot_be_pushed_is_stored_and_the_answer_says_why() {
    let server = Server::start();
    let (mut requester, mut responder) = (server.connect(), server.connect());
    introduce(&mut requester, &Introduction { id: "asks", ..Introduction::default() });
    let mut said = |properties: &str, happens: &mut dyn FnMut(&mut Wire)| {
        let opaque = reply(&mut responder, properties, b"yes");
        happens(&mut requester);
        let answer = responder.answer(opaque);
        assert_eq!(answer.response_code(), ResponseCode::SYSTEM_ERROR);
        assert!(answer.fields["msgId"].len() == 32 && answer.fields.contains_key("queueId"));
        answer.remark.unwrap()
    };
    let to_nobody = said("REPLY_TO_CLIENT\u{1}gone\u{2}", &mut |_| {});
    assert_eq!(to_nobody, "push reply message fail, channel of <gone> not found.");
    let to_none = said("", &mut |_| {});
    assert_eq!(to_none, "push reply message fail, the reply has no property REPLY_TO_CLIENT.");
    let refused = said("REPLY_TO_CLIENT\u{1}asks\u{2}", &mut |requester| {
        let push = requester.pushed(PUSH);
        requester.reply(&push, ResponseCode::SYSTEM_ERROR, Some("full"), b"");
    });
    assert_eq!(refused, "push reply message to <asks> fail, code 1: full");
    let unheard = said("REPLY_TO_CLIENT\u{1}asks\u{2}", &mut |requester| {
        requester.pushed(PUSH);
        server.broker().client_requests.give_up(i64::MAX);
    });
    assert_eq!(unheard, "push reply message to <asks> fail: the client did not answer within 10s.");
    assert_eq!(stored(&server), 4);
}
