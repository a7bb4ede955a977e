//! The endpoint checker of `examples/gentle`: its plan reader, and the command against servers of every kind.

mod any_plan;
mod command;
mod hosts_and_lists;
mod plan_reader;
mod program;
mod servers;

/// What every run is given; `tests/gentle_async` runs the same with more.
const ALWAYS: &[&str] = &[];

#[allow(dead_code, reason = "these tests read plans and run none")]
#[path = "../../examples/gentle/plan/mod.rs"]
mod plan;
