//! Whole-pool operations from bytes, against the sequential model of the property tests.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/common/ops.rs"]
mod ops;

fuzz_target!(|bytes: &[u8]| {
    if let Some((workers, ops)) = ops::decode(bytes) {
        ops::run(workers, &ops);
    }
});
