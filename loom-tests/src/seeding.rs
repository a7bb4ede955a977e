//! Shows that tests catch what they should: seeds one fault after the other into the library and runs the
//! models, or scenarios, that are to fail, a process each, after the sound library has passed them.

use crate::faults::Fault;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A model that takes longer has not caught anything.
const LONGEST: Duration = Duration::from_secs(300);

/// The executables of a package's tests, by the name of their file.
type Suites = BTreeMap<String, PathBuf>;

/// Runs those of `faults` with these names, or all, against the tests of `package`.
pub fn run(package: &str, faults: &[Fault], names: &[String]) -> ExitCode {
    let suites = build(package);
    let chosen: Vec<_> = faults
        .iter()
        .filter(|fault| names.is_empty() || names.iter().any(|name| name == fault.name))
        .collect();
    let models: BTreeSet<_> = chosen.iter().flat_map(|fault| fault.models).copied().collect();
    for model in &models {
        if passes(&suites, model, None) != Some(true) {
            println!("UNSOUND  {model} does not pass without a fault");
            return ExitCode::FAILURE;
        }
    }
    println!("{} pass without a fault", models.len());
    let missed: Vec<_> = chosen.iter().filter(|fault| !is_caught(&suites, fault)).collect();
    println!("{} of {} faults caught", chosen.len() - missed.len(), chosen.len());
    if missed.is_empty() && !chosen.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn is_caught(suites: &Suites, fault: &Fault) -> bool {
    let catcher =
        fault.models.iter().find(|model| passes(suites, model, Some(fault.name)) == Some(false));
    match catcher {
        Some(model) => println!("caught   {:32} by {model}", fault.name),
        None => println!("MISSED   {:32} ({})", fault.name, fault.mistake),
    }
    catcher.is_some()
}

/// Whether the model passes; `None` if it took too long.
fn passes(suites: &Suites, model: &str, fault: Option<&str>) -> Option<bool> {
    let (suite, name) = model.split_once("::").expect("a model is named suite::model");
    let executable = suites.get(suite).unwrap_or_else(|| panic!("no suite {suite}"));
    assert!(has(executable, name), "no model {model}");
    let mut command = Command::new(executable);
    command.args(["--exact", name]).env_remove("TOLLGATE_FAULT").env("RUST_BACKTRACE", "0");
    if let Some(fault) = fault {
        command.env("TOLLGATE_FAULT", fault);
    }
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the suite was built just now");
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("the child is ours") {
            return Some(status.success());
        }
        if start.elapsed() > LONGEST {
            child.kill().expect("the child is ours");
            child.wait().expect("the child is ours");
            return None;
        }
        sleep(Duration::from_millis(2));
    }
}

fn has(executable: &Path, model: &str) -> bool {
    let listed = Command::new(executable).arg("--list").output().expect("it was built just now");
    String::from_utf8_lossy(&listed.stdout).lines().any(|line| line == format!("{model}: test"))
}

/// Builds the suites with the flags of this very build.
fn build(package: &str) -> Suites {
    let own = std::env::current_exe().expect("the platform tells");
    // <target dir>/release/<this>
    let target = own.parent().and_then(Path::parent).expect("it lies in a target folder");
    let built = Command::new(env!("CARGO"))
        .args(["test", "-p", package, "--release", "--tests", "--no-run"])
        .args(["--message-format", "json", "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(built.status.success(), "the tests do not build");
    String::from_utf8_lossy(&built.stdout)
        .lines()
        .filter_map(|line| line.split_once("\"executable\":\"")?.1.split_once('"'))
        .map(|(path, _)| PathBuf::from(path))
        .filter_map(|path| {
            let name = path.file_stem()?.to_str()?.rsplit_once('-')?.0.to_owned();
            Some((name, path))
        })
        .collect()
}
