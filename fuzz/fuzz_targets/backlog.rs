//! Operations on the backlog, pushes that stop half-way among them, against a deque.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate::sequential::queue::Program;

fuzz_target!(|program: Program| program.run());
