//! What the bench program prints: the summary's table, one of its rows, or criterion's plots.

mod options;
mod plots;
mod row;
mod summary;
mod table;

use std::process::ExitCode;

use clap::Parser;
use options::Options;

/// Does what the command line asks for.
pub(crate) fn run() -> ExitCode {
    let test = std::env::args().any(|argument| argument == "--test");
    if Options::are_for_us() {
        let options = Options::parse();
        return match &options.row {
            Some(row) => row::print(row, &options),
            None => summary::print(&options),
        };
    }
    plots::run(test);
    if test { summary::print(&Options::for_test()) } else { ExitCode::SUCCESS }
}
