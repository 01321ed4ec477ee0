#![no_main]

use broker::filter::{Compiled, FilterError};
use libfuzzer_sys::fuzz_target;
use protocol::properties::Properties;

// An expression, a zero, and properties in stored form.
fuzz_target!(|bytes: &[u8]| {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (text, properties) = bytes.split_at(end);
    let Ok(text) = std::str::from_utf8(text) else { return };
    let properties = Properties::new(properties.get(1..).unwrap_or_default());
    let compiled = match Compiled::new(text) {
        Ok(compiled) => compiled,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let answer = compiled.evaluate(&properties);
    assert_eq!(compiled.matches(&properties), answer == Ok(Some(true)));
    match Compiled::new(&format!(" /* before */ ({text}\n) -- after")) {
        Ok(same) => assert_eq!(same.evaluate(&properties), answer),
        Err(FilterError::TooDeep { .. } | FilterError::TooLong { .. }) => {}
        Err(error) => panic!("{error}"),
    }
});
