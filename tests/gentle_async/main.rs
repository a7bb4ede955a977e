//! The command of `examples/gentle` once more, with `--async`: what is sent by futures is sent as by threads, limit for
//! limit and failure for failure.
#![cfg(feature = "futures")]

#[path = "../gentle/command.rs"]
mod command;
#[path = "../gentle/hosts_and_lists.rs"]
mod hosts_and_lists;
#[path = "../gentle/program.rs"]
mod program;
#[path = "../gentle/servers.rs"]
mod servers;

#[allow(dead_code, unused_imports, reason = "the plan that is printed is read, and no more")]
#[path = "../../examples/gentle/plan/mod.rs"]
mod plan;

/// What every run is given.
const ALWAYS: &[&str] = &["--async"];
