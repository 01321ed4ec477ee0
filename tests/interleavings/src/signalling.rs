//! That the checks can fail: the hold without the second look loses a wake-up, and shuttle finds the thread that waits
//! for ever.

use std::panic::catch_unwind;
use std::sync::Arc;

use shuttle::thread;

use crate::sync::{Condvar, Mutex};

/// A message, and a flag that says that somebody waits for it: what a held pull comes down to.
#[derive(Default)]
struct Hold {
    message: Mutex<bool>,
    woken: Mutex<bool>,
    waits: Mutex<bool>,
    changed: Condvar,
}

fn hold(looks_again: bool) {
    let hold = Arc::new(Hold::default());
    let appending = hold.clone();
    let appender = thread::spawn(move || {
        *appending.message.lock().unwrap() = true;
        wake(&appending);
    });
    if !*hold.message.lock().unwrap() {
        *hold.waits.lock().unwrap() = true;
        if looks_again && *hold.message.lock().unwrap() {
            wake(&hold);
        }
        let woken = hold.woken.lock().unwrap();
        drop(hold.changed.wait_while(woken, |woken| !*woken).unwrap());
    }
    appender.join().unwrap();
}

fn wake(hold: &Hold) {
    if *hold.waits.lock().unwrap() {
        *hold.woken.lock().unwrap() = true;
        hold.changed.notify_all();
    }
}

#[test]
fn a_wake_up_that_is_lost_is_found() {
    shuttle::check_random(|| hold(true), 500);
    let found = catch_unwind(|| shuttle::check_random(|| hold(false), 500));
    assert!(found.is_err(), "nobody noticed");
}
