//! Shows that tests catch what they should: seeds one fault after the other into the library and runs the
//! models, or scenarios, that are to fail, a process each, after the sound library has passed them.

use crate::faults::Fault;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::{available_parallelism, scope, sleep};
use std::time::{Duration, Instant};

/// A model that takes longer has not caught anything. It is the processor's time, for others may load the machine.
const LONGEST: Duration = Duration::from_secs(300);

/// The executables of a package's tests, by the name of their file.
type Suites = BTreeMap<String, PathBuf>;

/// Runs those of `faults` with these names, or all, against the tests of `package`.
pub fn run(package: &str, faults: &[Fault], names: &[String]) -> ExitCode {
    let is_there = |name: &&String| faults.iter().any(|fault| fault.name == **name);
    if let Some(unknown) = names.iter().find(|name| !is_there(name)) {
        let all: Vec<_> = faults.iter().map(|fault| fault.name).collect();
        eprintln!("no fault {unknown} is seeded here; these are: {}", all.join(", "));
        return ExitCode::from(2);
    }
    let suites = build(package);
    let chosen: Vec<_> = faults
        .iter()
        .filter(|fault| names.is_empty() || names.iter().any(|name| name == fault.name))
        .collect();
    let start = Instant::now();
    let models: BTreeSet<_> = chosen.iter().flat_map(|fault| fault.models).copied().collect();
    let models: Vec<_> = models.into_iter().collect();
    if !for_each(&models, |model| is_sound(&suites, model)).all() {
        return ExitCode::FAILURE;
    }
    println!("{} pass without a fault, in {:.0?}", models.len(), start.elapsed());
    let caught = for_each(&chosen, |fault| is_caught(&suites, fault));
    println!("{} of {} faults caught, all in {:.0?}", caught.0, chosen.len(), start.elapsed());
    if caught.all() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// For how many it is so, of how many.
struct Held(usize, usize);

impl Held {
    fn all(&self) -> bool {
        self.0 == self.1
    }
}

/// Asks of each of them, as many at a time as there are cores.
fn for_each<T: Sync>(all: &[T], is_so: impl Fn(&T) -> bool + Sync) -> Held {
    let (next, held) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let threads = available_parallelism().map_or(1, NonZero::get);
    scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(one) = all.get(next.fetch_add(1, Relaxed)) {
                    held.fetch_add(usize::from(is_so(one)), Relaxed);
                }
            });
        }
    });
    Held(held.into_inner(), all.len())
}

fn is_sound(suites: &Suites, model: &str) -> bool {
    match passes(suites, model, None) {
        Some(true) => return true,
        Some(false) => println!("UNSOUND  {model} does not pass without a fault"),
        None => println!("TOO LONG {model} without a fault"),
    }
    false
}

fn is_caught(suites: &Suites, fault: &Fault) -> bool {
    let start = Instant::now();
    let catcher =
        fault.models.iter().find(|model| passes(suites, model, Some(fault.name)) == Some(false));
    let spent = start.elapsed();
    match catcher {
        Some(model) => println!("caught   {:32} by {model}, in {spent:.1?}", fault.name),
        None => println!("MISSED   {:32} ({}), in {spent:.1?}", fault.name, fault.mistake),
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
    let spent = |child: &Child| processor_time(child.id()).unwrap_or_else(|| start.elapsed());
    loop {
        if let Some(status) = child.try_wait().expect("the child is ours") {
            return Some(status.success());
        }
        if spent(&child) > LONGEST || start.elapsed() > 20 * LONGEST {
            child.kill().expect("the child is ours");
            child.wait().expect("the child is ours");
            return None;
        }
        sleep(Duration::from_millis(2));
    }
}

/// What the process has used of it so far, where the system tells as Linux does: in hundredths of a second.
fn processor_time(process: u32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind the name, which may hold anything: the state, ten numbers, then the user's and the system's share.
    let fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let hundredths: u64 =
        fields.take(2).map(|field| field.parse::<u64>().ok()).sum::<Option<u64>>()?;
    Some(Duration::from_millis(10 * hundredths))
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
