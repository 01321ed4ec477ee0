#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::properties::{self, Properties};

fuzz_target!(|bytes: &[u8]| {
    let read = Properties::new(bytes);
    let mut written = Vec::new();
    for (name, value) in read.iter() {
        properties::push(&mut written, name, value);
    }
    // A separator inside a value is written as a blank.
    let expected = read.iter().map(|(name, value)| (name.to_owned(), value.replace('\u{1}', " ")));
    let again = Properties::new(&written);
    assert!(again.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).eq(expected));
    for (name, _) in again.iter() {
        assert!(again.get(name).is_some());
    }
    let mut kept = Vec::new();
    properties::push_kept(&mut kept, bytes, |_| true);
    assert_eq!(Properties::new(&kept).iter().count(), read.iter().count());
});
