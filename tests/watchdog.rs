//! The tests' own watchdog: it sees a deadlock and a thread that spins, and takes neither a slow machine nor a pause for one.
#![cfg(target_os = "linux")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use common::watch::{PAUSE, Watch};
use common::{LONG, within};

/// Looks until the watch says that the test hangs.
fn until_it_hangs(mut watch: Watch) -> String {
    loop {
        thread::sleep(PAUSE);
        if let Some(reason) = watch.hangs() {
            return reason;
        }
    }
}

#[test]
fn threads_that_wait_for_each_other_hang() {
    let (end, ended) = channel::<()>();
    let blocked = thread::spawn(move || ended.recv());
    assert!(until_it_hangs(Watch::new(LONG).impatient()).contains("slept"));
    drop(end);
    assert!(blocked.join().unwrap().is_err());
}

#[test]
fn a_thread_that_spins_hangs() {
    let stop = Arc::new(AtomicBool::new(false));
    let spins = thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            while !stop.load(SeqCst) {
                thread::yield_now();
            }
        }
    });
    assert!(until_it_hangs(Watch::new(Duration::from_millis(200))).contains("processor time"));
    stop.store(true, SeqCst);
    spins.join().unwrap();
}

/// Its thread does little, and seldom, for longer than all threads may sleep.
#[test]
fn a_test_that_goes_on_does_not_hang() {
    within(Duration::from_secs(1), || {
        let begin = Instant::now();
        while begin.elapsed() < PAUSE * 6 {
            thread::sleep(PAUSE / 8);
        }
    });
    let mut watch = Watch::new(LONG).impatient();
    let goes_on = thread::spawn(|| (0..48).for_each(|_| thread::sleep(PAUSE / 8)));
    while !goes_on.is_finished() {
        thread::sleep(PAUSE / 4);
        assert_eq!(watch.hangs(), None);
    }
    goes_on.join().unwrap();
}
