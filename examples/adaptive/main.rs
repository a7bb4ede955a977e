//! Five rules for an adaptive limit, against five virtual servers. `cargo run --release --example adaptive`
//!
//! The client always has more to send than the limit lets through. The figures are of the last quarter of two minutes, which pass at
//! once: see `simulation.rs`. `tests/adaptive_rules.rs` asserts what the table shows.

mod rules;
mod simulation;

use rules::{Aimd, Gradient2, PlainVegas};
use simulation::{LENGTH, Outcome, SCENARIOS, Scenario, run};
use tollgate::{MovingAverage, Vegas};

/// A rule's name, and a run under it.
type Rule = (&'static str, fn(Scenario) -> Outcome);

fn main() {
    println!("| server | knee | rule | limit: least, mean, greatest | used | overloads | slowed |");
    println!("|---|---|---|---|---|---|---|");
    for scenario in SCENARIOS {
        let rules: [Rule; 5] = [
            ("`MovingAverage`", |scenario| run(scenario, MovingAverage::new())),
            ("`Vegas`", |scenario| run(scenario, Vegas::new())),
            ("Vegas without probes", |scenario| run(scenario, PlainVegas::default())),
            ("AIMD", |scenario| run(scenario, Aimd)),
            ("Gradient2", |scenario| run(scenario, Gradient2::default())),
        ];
        for (name, run) in rules {
            let Outcome { least, mean, greatest, used, overloads, slowed } = run(scenario);
            println!(
                "| {} | {} | {name} | {least}, {mean:.1}, {greatest} | {:.0} % | {:.1} % | {slowed:.1} |",
                scenario.name,
                (scenario.serves)(1.0),
                used * 100.0,
                overloads * 100.0,
            );
        }
    }
    eprintln!("{} runs of {LENGTH:?}", SCENARIOS.len() * 5);
}
