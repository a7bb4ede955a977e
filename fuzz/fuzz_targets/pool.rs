//! Whole-pool operations from bytes, against the sequential model of the property tests.
#![no_main]

use std::sync::OnceLock;
use std::thread;

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/common/ops.rs"]
mod ops;
#[path = "../../tests/common/watch.rs"]
mod watch;

fuzz_target!(|bytes: &[u8]| {
    static BEFORE: OnceLock<usize> = OnceLock::new();
    let before = *BEFORE.get_or_init(threads);
    if let Some((workers, ops)) = ops::decode(bytes) {
        ops::run(workers, &ops);
    }
    // LeakSanitizer looks next. What a thread that is about to end has in hand it would take for lost.
    let mut watch = ops::surely();
    while threads() > before {
        assert!(watch.hangs().is_none(), "a pool that ended leaves threads behind");
        thread::yield_now();
    }
});

/// How many threads this process has.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("/proc is there").count()
}
