//! Checks HTTP endpoints, and hits each no harder than it can take.
//!
//! ```text
//! cargo run --release -p gentle                 # a built-in plan against a built-in server
//! cargo run --release -p gentle -- PLAN.toml    # a plan of your own
//! cargo run --release -p gentle -- --help       # the plan's keys, the options, the exit status
//! ```
//!
//! A plan becomes a pool with a job for each of its jobs, hosts and servers, and a request needs a permit of its job: the library keeps
//! each of them within its limits and rates, and off the servers that refuse.

mod chart;
mod check;
mod client;
mod columns;
mod cookies;
mod deliver;
mod descriptors;
mod failure_log;
#[cfg(feature = "fleet")]
mod fleet;
mod gauge;
mod hdr;
mod hosts;
mod judge;
mod limited;
mod list;
mod moment;
mod options;
mod output;
mod page;
mod permit;
pub mod plan;
mod progress;
mod redirect;
mod report;
mod restraint;
mod run;
mod schedule;
mod screen;
mod server;
mod session;
mod source;
mod stats;
mod table;
mod tables;
mod tally;
mod timeline;
mod way;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use crate::failure_log::FailureLog;
use crate::options::{Command, Options};
use crate::output::{Input, Output};
use crate::plan::{Plan, Values};
use crate::progress::say;
use crate::report::Report;
use crate::run::{Outcome, Ready};
use crate::server::Server;

/// A plan to start from.
const INIT: &str = include_str!("init.toml");

/// Runs the command with the process's arguments.
pub fn main() -> ExitCode {
    match Options::read().and_then(|options| gentle(&options)) {
        Ok(status) => status,
        Err(mistake) => {
            say(&mistake);
            ExitCode::from(2)
        }
    }
}

/// Does what the options say, or tells in one line what is wrong with them or with the plan.
fn gentle(options: &Options) -> Result<ExitCode, String> {
    match &options.command {
        Some(Command::Init { file: None }) => {
            print(INIT);
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Init { file: Some(file) }) => {
            let created =
                File::create_new(file).and_then(|mut file| file.write_all(INIT.as_bytes()));
            let file = file.display();
            created.map_err(|error| format!("{file}: {error}: name a file that does not exist"))?;
            print(&format!("{file} is written: set base in it, then run gentle {file}\n"));
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Schema) => {
            print(include_str!("plan.schema.json"));
            return Ok(ExitCode::SUCCESS);
        }
        None => {}
    }
    if options.print_plan {
        print(server::PLAN);
        return Ok(ExitCode::SUCCESS);
    }
    #[cfg(feature = "fleet")]
    if let (None, Some(address)) = (&options.plan, &options.fleet) {
        return fleet::work(options, address);
    }
    let Some(path) = &options.plan else {
        if !options.set.is_empty() {
            return Err("--set: the built-in plan has no values: give a PLAN".to_owned());
        }
        let server = Server::start()
            .map_err(|error| format!("the built-in server does not start: {error}: give a PLAN"))?;
        let plan = plan::parse("built-in", &server.plan()).map_err(|error| error.to_string())?;
        return check(options, "built-in", plan, Some(&server));
    };
    let values = Values::new(options.values()?);
    let is_dash = output::is_dash(path);
    let name = if is_dash { "standard input".to_owned() } else { path.display().to_string() };
    let bytes = if is_dash { read_all(io::stdin()) } else { fs::read(path) };
    let bytes = bytes.map_err(|error| format!("{name}: {error}: name a plan that can be read"))?;
    let plan = plan::parse_bytes(&name, &bytes, &values).map_err(|error| error.to_string())?;
    if let Some(unused) = values.unused() {
        return Err(format!("--set {unused}: {name} has no ${{{unused}}}: leave it out"));
    }
    if is_dash && let Some(job) = plan.jobs.iter().find(|job| job.files().any(|file| file == "-")) {
        let both = "standard input has the plan already";
        return Err(format!("{name}: job {:?}: {both}: give the job a file", job.name));
    }
    check(options, &name, plan, None)
}

fn read_all(mut from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Runs a plan, shows what came of it and tells the exit status.
fn check(
    options: &Options,
    name: &str,
    plan: Plan,
    server: Option<&Server>,
) -> Result<ExitCode, String> {
    let directory = options.plan.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
    let outputs = output::open_all(&inputs(options, &plan, directory), &options.outputs())?;
    let summary = plan.to_string();
    let to_standard_output = outputs.iter().any(Output::is_standard_output);
    let (log, outputs): (Vec<_>, Vec<_>) =
        outputs.into_iter().partition(|output| output.option() == "--failures");
    let log = log.into_iter().next().map(|output| Arc::new(FailureLog::new(output)));
    let thresholds = plan.thresholds.clone();
    let ready = Ready::new(plan, name, directory, options, log.as_ref())?;
    if options.dry_run {
        print(&summary);
        return Ok(ExitCode::SUCCESS);
    }
    let outcome = ready.run(options)?;
    let report = Report::new(name.to_owned(), &thresholds, &outcome, server);
    if to_standard_output {
        say(report.to_string().trim_end());
    } else {
        print(&report.to_string());
    }
    let mut all_written = true;
    if let Some(Err(error)) = log.map(|log| log.finish()) {
        say(&format!("--failures: not all failures are written: {error}"));
        all_written = false;
    }
    for output in outputs {
        let option = output.option();
        if let Err(error) = write(output, &report, &outcome) {
            say(&format!("{option}: the results are not written: {error}"));
            all_written = false;
        }
    }
    if !all_written {
        return Ok(ExitCode::FAILURE);
    }
    Ok(match (outcome.interrupted, report.as_expected) {
        (Some(status), _) => ExitCode::from(status),
        (None, true) => ExitCode::SUCCESS,
        (None, false) => ExitCode::FAILURE,
    })
}

/// The files that the run reads.
fn inputs(options: &Options, plan: &Plan, directory: &Path) -> Vec<Input> {
    let plan_file = options.plan.iter().map(|path| Input {
        what: "the plan".to_owned(),
        path: (!output::is_dash(path)).then(|| path.clone()),
    });
    let named = plan.jobs.iter().flat_map(|job| {
        job.files().map(move |file| Input {
            what: format!("{file}, which {} reads", job.name),
            path: (file != "-").then(|| directory.join(file)),
        })
    });
    let authorities = options
        .cacert
        .iter()
        .map(|path| Input { what: "the file of --cacert".to_owned(), path: Some(path.clone()) });
    plan_file.chain(named).chain(authorities).collect()
}

/// Writes the results in the form that the option asks for.
fn write(mut output: Output, report: &Report, outcome: &Outcome) -> io::Result<()> {
    let text = match output.option() {
        "--json" => report.json()?,
        "--csv" => report.csv(),
        "--junit" => report.junit(),
        "--hdr" => hdr::log(outcome),
        "--html" => report.html(outcome),
        #[cfg(feature = "timeline")]
        "--timeline" => {
            let mut timeline = Vec::new();
            match output.names_a_page() {
                true => outcome.pool.timeline().write_html(&mut timeline)?,
                false => outcome.pool.timeline().write(&mut timeline)?,
            }
            output.write(&timeline)?;
            return output.finish();
        }
        _ => unreachable!("each option has a form"),
    };
    output.write(text.as_bytes())?;
    output.finish()
}

/// Writes to standard output, as far as it takes it.
fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}
