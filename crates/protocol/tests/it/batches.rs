//! Bodies of recorded batch sends.

use protocol::batch;
use protocol::requests::SendMessage;
use protocol::typed::TypedHeader;

use crate::recording::{Way, frames_of};

#[test]
fn batches_are_read_and_written_again_byte_for_byte() {
    let mut messages = 0;
    for frame in frames_of(Way::Request, &[10, 310, 320]) {
        let is_batch =
            frame.with_header(|header| SendMessage::decode(&header.fields).is_ok_and(|send| send.batch == Some(true)));
        if !is_batch {
            continue;
        }
        let Ok(count) = batch::check(frame.body()) else {
            assert_eq!((frame.place.as_str(), frame.answer_code()), ("errors:179", Some(1)));
            continue;
        };
        let mut again = Vec::new();
        for item in batch::items(frame.body()) {
            let item = item.unwrap();
            batch::push(&mut again, item).unwrap();
        }
        assert_eq!(again, frame.body(), "{}", frame.place);
        messages += count;
    }
    assert_eq!(messages, 12);
}
