//! The options of the summary. Whatever is not one of them is criterion's.

use clap::Parser;

use crate::contender::Which;
use crate::workloads::{ALL, Scale, Workload};

/// Ratios of tollgate to its rivals.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Options {
    /// Print the table of ratios with the targets
    #[arg(long)]
    pub(crate) summary: bool,
    /// Only these workloads
    #[arg(long, value_delimiter = ',', value_name = "WORKLOAD")]
    pub(crate) only: Vec<String>,
    /// Only these rivals
    #[arg(long, value_delimiter = ',', value_name = "CONTENDER")]
    pub(crate) against: Vec<Which>,
    /// Rounds in which the contenders take their turns
    #[arg(long, default_value_t = 9)]
    pub(crate) rounds: usize,
    /// Run everything once, as small as it goes
    #[arg(long)]
    pub(crate) test: bool,
    /// Run one workload and print its figures as JSON
    #[arg(long, hide = true, value_name = "WORKLOAD")]
    pub(crate) row: Option<String>,
    /// What cargo passes to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// Whether the command line has an option of ours.
    pub(crate) fn are_for_us() -> bool {
        let ours = ["--summary", "--only", "--against", "--rounds", "--row"];
        std::env::args()
            .any(|argument| ours.contains(&argument.split('=').next().unwrap_or_default()))
    }

    /// Everything once.
    pub(crate) fn for_test() -> Options {
        Options::parse_from(["rivals", "--summary", "--test", "--rounds=1"])
    }

    pub(crate) fn scale(&self) -> Scale {
        if self.test { Scale::Tiny } else { Scale::Full }
    }

    /// The workloads asked for, or the name that none of them has.
    pub(crate) fn workloads(&self) -> Result<Vec<&'static Workload>, String> {
        let named = |name: &String| find(name).ok_or_else(|| unknown(name));
        if self.only.is_empty() { Ok(ALL.to_vec()) } else { self.only.iter().map(named).collect() }
    }

    /// The contenders of `workload` that were asked for; ours always.
    pub(crate) fn contenders(&self, workload: &Workload) -> Vec<Which> {
        let asked = |which: &Which| {
            *which == Which::Ours || self.against.is_empty() || self.against.contains(which)
        };
        workload.contenders.iter().copied().filter(asked).collect()
    }
}

/// The workload of that name.
pub(crate) fn find(name: &str) -> Option<&'static Workload> {
    ALL.iter().copied().find(|workload| workload.name == name)
}

/// What to say when there is none.
pub(crate) fn unknown(name: &str) -> String {
    let names: Vec<_> = ALL.iter().map(|workload| workload.name).collect();
    format!("no workload is called {name}; there are {}", names.join(", "))
}
