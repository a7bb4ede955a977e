//! The summary: runs each workload in a process of its own and prints the table.

use std::io::Read;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::options::Options;
use super::row::Row;
use super::table;
use crate::measure::allocator;
use crate::workloads::Workload;

/// A workload that takes longer hangs.
const HANGS_AFTER: Duration = Duration::from_secs(150);

/// Runs the workloads that were asked for and prints the table. Fails if one of them did.
pub(crate) fn print(options: &Options) -> ExitCode {
    let workloads = match options.workloads() {
        Ok(workloads) => workloads,
        Err(unknown) => {
            eprintln!("{unknown}");
            return ExitCode::from(2);
        }
    };
    let start = Instant::now();
    let mut rows = Vec::new();
    for workload in workloads {
        eprintln!("{:3.0} s  {}: {}", start.elapsed().as_secs_f64(), workload.name, workload.shape);
        rows.push((workload, run(workload, options)));
    }
    eprintln!("{:3.0} s  done", start.elapsed().as_secs_f64());
    if !options.test {
        table::print(&rows);
    }
    for (workload, row) in &rows {
        if let Err(why) = row {
            println!("{} failed: {why}", workload.name);
        }
    }
    ExitCode::from(u8::from(rows.iter().any(|(_, row)| row.is_err())))
}

/// Runs one workload with its allocator.
fn run(workload: &Workload, options: &Options) -> Result<Row, String> {
    let program = std::env::current_exe()
        .map_err(|error| format!("this program cannot be found: {error}"))?;
    let mut command = Command::new(program);
    command.env(allocator::VARIABLE, workload.allocator.name());
    command.args(["--row", workload.name, "--rounds", &options.rounds.to_string()]);
    for which in &options.against {
        command.args(["--against", which.name()]);
    }
    if options.test {
        command.arg("--test");
    }
    let child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("it did not start: {error}"))?;
    let output = output(child)?;
    serde_json::from_str(&output).map_err(|error| format!("its row cannot be read: {error}"))
}

/// What the child prints, if it ends well and in time.
fn output(mut child: Child) -> Result<String, String> {
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => break,
            Ok(Some(status)) => return Err(status.to_string()),
            Ok(None) if start.elapsed() > HANGS_AFTER => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("not done after {} s", HANGS_AFTER.as_secs()));
            }
            Ok(None) => thread::sleep(Duration::from_millis(20)),
            Err(error) => return Err(error.to_string()),
        }
    }
    let mut printed = String::new();
    let mut pipe = child.stdout.take().expect("its output is piped");
    pipe.read_to_string(&mut printed).map_err(|error| error.to_string())?;
    Ok(printed)
}
