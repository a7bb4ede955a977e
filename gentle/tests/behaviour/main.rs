//! The endpoint checker: its plan reader, and the command against servers of every kind.

mod any_plan;
mod bad_servers;
mod command;
mod corpus;
mod expectations;
mod first_plan;
mod gentleness;
mod hosts_and_lists;
mod outputs;
mod page;
mod peers;
mod plan_reader;
mod plan_refusals;
mod ports;
mod program;
mod refusals;
mod results;
mod servers;
mod stages;
mod terminal;
mod threads;
#[cfg(feature = "timeline")]
mod timeline;
mod tls;
mod values;
mod wire;

use gentle::plan;
