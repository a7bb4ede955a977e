//! Any bytes as a plan of `examples/gentle`, against what the tests of its reader say.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unused_imports, reason = "plans are read and none is run")]
#[path = "../../examples/gentle/plan/mod.rs"]
mod plan;

#[path = "../../tests/gentle/any_plan.rs"]
mod any_plan;

fuzz_target!(|bytes: &[u8]| any_plan::read(bytes));
