//! Operations on the packed word of a job, against plain integers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate::sequential::permits::Program;

fuzz_target!(|program: Program| program.run());
