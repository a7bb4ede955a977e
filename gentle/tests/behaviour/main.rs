//! The endpoint checker: its plan reader, and the command against servers of every kind.

mod any_plan;
mod command;
mod corpus;
mod expectations;
mod gentleness;
mod hosts_and_lists;
mod outputs;
mod peers;
mod plan_reader;
mod program;
mod results;
mod servers;
mod tls;
mod wire;

use gentle::plan;
