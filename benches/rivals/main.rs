//! tollgate against its rivals: every contender behind one trait, every workload a question.
//!
//! `cargo bench --bench rivals -- --summary` prints the table of ratios with the targets; without it criterion runs the
//! plots. See `benches/README.md`.
//!
//! - `contender` is the trait, and the files beside it are the contenders
//! - `workloads` are the questions
//! - `measure` counts, times, and chooses the allocator
//! - `report` is the summary, its rows and the plots

mod contender;
mod measure;
mod report;
mod workloads;

mod buffer_unordered;
mod channels;
mod floor;
mod one;
mod ours;
mod rayon_gate;
mod rayon_spawn;
mod shared_channel;
mod smol_semaphore;
mod tokio_semaphore;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: measure::allocator::Chosen = measure::allocator::Chosen;

fn main() -> ExitCode {
    measure::clock::sleep_exactly();
    report::run()
}
