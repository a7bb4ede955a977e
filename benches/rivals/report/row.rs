//! One workload in a process of its own: the contenders in turn, round after round; the figures go out as one line of JSON.
//!
//! A process of its own gives every workload a fresh heap and the allocator it asks for, and keeps a contender that
//! hangs from taking the table with it.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::options::{self, Options};
use crate::workloads::Workload;

/// No third or later round begins after this, so that the whole table takes less than six minutes.
const ENOUGH: Duration = Duration::from_secs(6);

/// The figures of each contender, a round each, and what there was to say about the last.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) figures: BTreeMap<String, Vec<f64>>,
    /// Processor time a task, in the same order; empty where nobody asks.
    pub(crate) processor: BTreeMap<String, Vec<f64>>,
    pub(crate) details: BTreeMap<String, String>,
}

impl Row {
    /// The figures of a contender, empty if it did not run.
    pub(crate) fn of(&self, name: &str) -> &[f64] {
        self.figures.get(name).map_or(&[], Vec::as_slice)
    }

    /// The processor time of a contender, as `of`.
    pub(crate) fn processor_of(&self, name: &str) -> &[f64] {
        self.processor.get(name).map_or(&[], Vec::as_slice)
    }
}

/// Runs the workload called `name` and prints its row.
pub(crate) fn print(name: &str, options: &Options) -> ExitCode {
    let Some(workload) = options::find(name) else {
        eprintln!("{}", options::unknown(name));
        return ExitCode::from(2);
    };
    let row = run(workload, options);
    println!("{}", serde_json::to_string(&row).expect("numbers and strings are JSON"));
    ExitCode::SUCCESS
}

fn run(workload: &Workload, options: &Options) -> Row {
    let contenders = options.contenders(workload);
    for which in &contenders {
        (workload.check_limits)(*which);
    }
    let mut row = Row::default();
    let start = Instant::now();
    for round in 0..options.rounds.clamp(1, workload.most_rounds) {
        if round > 1 && start.elapsed() > ENOUGH {
            break;
        }
        for turn in 0..contenders.len() {
            let which = contenders[(round + turn) % contenders.len()];
            let sample = (workload.run)(which, options.scale());
            row.figures.entry(which.name().to_owned()).or_default().push(sample.figure);
            if sample.processor > 0.0 {
                row.processor.entry(which.name().to_owned()).or_default().push(sample.processor);
            }
            if !sample.detail.is_empty() {
                row.details.insert(which.name().to_owned(), sample.detail);
            }
        }
    }
    row
}
