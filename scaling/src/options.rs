//! The command line.

use crate::model::{Contender, MOST_CORES, Path, Way};
use clap::Parser;

/// Simulates what a task costs on a machine of many cores.
///
/// Each core runs one thread, a pusher or a worker. Lines that another core wrote last take the transfer time, one
/// writer after the other. The same options always print the same figures.
#[derive(Debug, Parser)]
#[command(name = "scaling", max_term_width = 110)]
pub(crate) struct Options {
    /// Cores of the machine
    #[arg(long, value_delimiter = ',', default_value = "2,8,16,64,256", value_parser = cores)]
    pub(crate) cores: Vec<usize>,

    /// Nanoseconds a line takes from core to core
    #[arg(long, value_delimiter = ',', default_value = "40,100,200", value_parser = time(1))]
    pub(crate) transfer: Vec<u64>,

    /// Where the tasks come from; left out: all paths
    #[arg(long, value_delimiter = ',', value_enum)]
    pub(crate) path: Vec<Path>,

    /// Who keeps the limits; left out: all contenders
    #[arg(long, value_delimiter = ',', value_enum)]
    pub(crate) contender: Vec<Contender>,

    /// Cores that push; left out: half of them. The others are workers
    #[arg(long)]
    pub(crate) pushers: Option<usize>,

    /// Nanoseconds that each task works for itself
    #[arg(long, default_value_t = 0, value_parser = time(0))]
    pub(crate) work: u64,

    /// About how many tasks a run has; left out: 40,000, or 1,000 a core if that is more
    #[arg(long, value_parser = tasks)]
    pub(crate) tasks: Option<usize>,

    /// Where random choices begin
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,

    /// Changes of tollgate's design to simulate, all at once, separated by commas
    #[arg(long, value_delimiter = ',', value_enum)]
    pub(crate) way: Vec<Way>,

    /// Let no compare-exchange fail
    #[arg(long)]
    pub(crate) lenient: bool,

    /// For each run, also print atomics and transfers a task, and the line that is longest on its way
    #[arg(long)]
    pub(crate) detail: bool,

    /// Measure on this machine what the constants come from, instead
    #[arg(long)]
    pub(crate) measure: bool,
}

fn cores(text: &str) -> Result<usize, String> {
    let cores = text.parse().map_err(|error| format!("{error}"))?;
    if (1..=MOST_CORES).contains(&cores) { Ok(cores) } else { Err(format!("1 to {MOST_CORES}")) }
}

/// From `least` on to a second.
fn time(least: u64) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync + 'static {
    move |text| {
        let time = text.parse().map_err(|error| format!("{error}"))?;
        if (least..=1_000_000_000).contains(&time) {
            Ok(time)
        } else {
            Err(format!("{least} to 1,000,000,000 ns"))
        }
    }
}

fn tasks(text: &str) -> Result<usize, String> {
    let tasks = text.parse().map_err(|error| format!("{error}"))?;
    if (1..=10_000_000).contains(&tasks) { Ok(tasks) } else { Err("1 to 10,000,000".into()) }
}
