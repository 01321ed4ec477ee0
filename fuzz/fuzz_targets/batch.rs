#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::batch;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(count) = batch::check(bytes) {
        let items: Vec<_> = batch::items(bytes).map(|item| item.expect("the batch was checked")).collect();
        assert_eq!(items.len(), count);
        let mut written = Vec::new();
        for item in &items {
            batch::push(&mut written, *item).expect("an item that was read fits");
        }
        assert_eq!(written.len(), bytes.len());
        assert!(batch::items(&written).eq(items.into_iter().map(Ok)));
    }
});
