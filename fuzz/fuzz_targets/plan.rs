//! Any bytes as a plan of `gentle`, against what the tests of its reader say.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unused_imports, reason = "plans are read and none is run")]
#[path = "../../gentle/src/plan/mod.rs"]
mod plan;

#[path = "../../gentle/tests/behaviour/any_plan.rs"]
mod any_plan;

fuzz_target!(|bytes: &[u8]| any_plan::read(bytes));
