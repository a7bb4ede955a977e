//! The tables: a path each, a row a number of cores, a column a contender and a transfer time.

use crate::model::{Contender, Outcome, Path, Shape, Ways, play};
use crate::options::Options;
use clap::ValueEnum;

const LEAST_TASKS: usize = 40_000;
const TASKS_A_CORE: usize = 1_000;

/// Plays all runs and prints them.
pub(crate) fn print(options: &Options) {
    let contenders = or_all(&options.contender);
    println!("ns a task; C is the ns that a line takes from core to core");
    for path in or_all(&options.path) {
        println!("\n{}: {}", name(path), help(path));
        let mut header = format!("{:>6} {:>8} {:>8}", "cores", "pushers", "workers");
        for contender in &contenders {
            for transfer in &options.transfer {
                header += &format!(" {:>14}", format!("{} C={transfer}", name(*contender)));
            }
        }
        println!("{header}");
        for cores in &options.cores {
            print_row(options, path, &contenders, *cores);
        }
    }
}

fn print_row(options: &Options, path: Path, contenders: &[Contender], cores: usize) {
    let mut details = Vec::new();
    let mut row = String::new();
    for contender in contenders {
        for transfer in &options.transfer {
            let shape = Shape {
                path,
                contender: *contender,
                cores,
                pushers: options.pushers,
                transfer: *transfer,
                work: options.work,
                tasks: options.tasks.unwrap_or(LEAST_TASKS.max(TASKS_A_CORE * cores)),
                ways: Ways::of(&options.way),
                lenient: options.lenient,
                seed: options.seed,
            };
            if row.is_empty() {
                row = format!("{cores:>6} {:>8} {:>8}", shape.pushers(), shape.workers());
            }
            let outcome = play(&shape);
            row += &format!(" {:>14.1}", outcome.nanoseconds());
            details.push(detail(*contender, *transfer, &outcome));
        }
    }
    println!("{row}");
    if options.detail {
        details.iter().for_each(|detail| println!("{detail}"));
    }
}

fn detail(contender: Contender, transfer: u64, outcome: &Outcome) -> String {
    let busiest = outcome.busiest.map_or_else(String::new, |(kind, share)| {
        format!(", {kind:?} under way {:.0} % of the time", share * 100.0)
    });
    format!(
        "       {} C={transfer}: {:.2} atomics, {:.2} transfers, {:.2} failures a task{busiest}",
        name(contender),
        outcome.atomics_a_task(),
        outcome.transfers_a_task(),
        outcome.failures_a_task(),
    )
}

/// The values chosen, or all there are.
fn or_all<T: ValueEnum + Clone>(chosen: &[T]) -> Vec<T> {
    if chosen.is_empty() { T::value_variants().to_vec() } else { chosen.to_vec() }
}

fn name<T: ValueEnum>(value: T) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

fn help<T: ValueEnum>(value: T) -> String {
    let value = value.to_possible_value();
    value.and_then(|value| value.get_help().map(ToString::to_string)).unwrap_or_default()
}
