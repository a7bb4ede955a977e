//! The built command, and what a run of it leaves.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs};

use serde_json::Value;

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    /// The signal that ended the run, if one did; tests show it when they fail.
    #[allow(dead_code, reason = "it is shown")]
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the command to its end.
pub(crate) fn gentle<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Ended {
    let mut command = command();
    command.args(arguments);
    run(command)
}

/// Runs a command to its end, without standard input.
pub(crate) fn run(mut command: Command) -> Ended {
    let output = command.stdin(Stdio::null()).output().unwrap();
    Ended {
        status: output.status.code(),
        signal: output.status.signal(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs a plan and reads the results that it wrote as JSON.
pub(crate) fn check(plan: &str) -> (Ended, Value) {
    let plan = Scratch::file("plan.toml", plan);
    let json = Scratch::file("results.json", "");
    let ended = gentle([plan.path().as_os_str(), OsStr::new("--json"), json.path().as_os_str()]);
    let results = fs::read_to_string(json.path()).unwrap();
    let results = serde_json::from_str(&results)
        .unwrap_or_else(|error| panic!("{error} in {results:?} of {ended:?}"));
    (ended, results)
}

/// The command, not started.
pub(crate) fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_gentle"))
}

/// The results of one job.
pub(crate) fn job<'a>(results: &'a Value, name: &str) -> &'a Value {
    let jobs = results["jobs"].as_array().unwrap();
    jobs.iter().find(|job| job["name"] == name).unwrap()
}

/// Waits for a run to end.
pub(crate) fn end(mut child: Child) -> Ended {
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    let status = child.wait().unwrap();
    Ended { status: status.code(), signal: status.signal(), stdout, stderr: String::new() }
}

/// Lines of text.
pub(crate) type Lines = Box<dyn Iterator<Item = String>>;

/// Starts a run and gives its standard error, line by line.
pub(crate) fn start(arguments: &[impl AsRef<OsStr>]) -> (Child, Lines) {
    let mut command = command();
    command.args(arguments);
    start_command(command)
}

/// The same with a command.
pub(crate) fn start_command(mut command: Command) -> (Child, Lines) {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    (child, Box::new(stderr.lines().map(Result::unwrap)))
}

/// Sends Ctrl-C to a run.
#[cfg(unix)]
pub(crate) fn interrupt(child: &Child) {
    signal(child, libc::SIGINT);
}

/// Sends a signal to a run.
#[cfg(unix)]
pub(crate) fn signal(child: &Child, number: i32) {
    let id = i32::try_from(child.id()).unwrap();
    // SAFETY: `kill` has no conditions; the child has not been waited for, so the id is still its own.
    assert_eq!(unsafe { libc::kill(id, number) }, 0);
}

/// A plan's job with one path.
pub(crate) fn plan_job(name: &str, limit: usize, base: &str, repeat: usize, more: &str) -> String {
    format!(
        "[[job]]\nname = \"{name}\"\nlimit = {limit}\nbase = \"{base}\"\npaths = [\"/\"]\n\
         repeat = {repeat}\n{more}\n"
    )
}

/// A file that is deleted with this value.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn file(name: &str, text: &str) -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let unique = format!("gentle-test-{}-{number}-{name}", std::process::id());
        let path = env::temp_dir().join(unique);
        fs::write(&path, text).unwrap();
        Scratch(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
