//! Plays the ways of a task on machines of 2 to 256 cores, with the time that a cache line takes from core to core as
//! a parameter, and prints what a task costs, and which line bounds it. `docs/scaling.md` says what came of it.
//!
//! ```text
//! cargo run --release -p scaling                # all ways on machines of every size
//! cargo run --release -p scaling -- --measure   # what the constants come from, measured here
//! cargo run --release -p scaling -- --help      # machines, ways, contenders, and what to print
//! ```

mod measure;
mod model;
mod options;
mod table;

use clap::Parser;
use options::Options;
use tollgate::BuildError;

fn main() -> Result<(), BuildError> {
    let options = Options::parse();
    if options.measure {
        return measure::print();
    }
    table::print(&options);
    Ok(())
}
