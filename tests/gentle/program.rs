//! The built example, and what a run of it leaves.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;
use std::{env, fs};

use serde_json::Value;

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the command to its end.
pub(crate) fn gentle<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Ended {
    let output = command().args(arguments).stdin(Stdio::null()).output().unwrap();
    Ended {
        status: output.status.code(),
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
    let mut command = Command::new(binary());
    command.args(crate::ALWAYS);
    command
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
    Ended { status: child.wait().unwrap().code(), stdout, stderr: String::new() }
}

/// Sends Ctrl-C to a run.
#[cfg(unix)]
pub(crate) fn interrupt(child: &Child) {
    let id = i32::try_from(child.id()).unwrap();
    // SAFETY: `kill` has no conditions; the child has not been waited for, so the id is still its own.
    assert_eq!(unsafe { libc::kill(id, libc::SIGINT) }, 0);
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

/// The example's binary. Running all tests has built it beside this one; running this one alone has not.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let test = env::current_exe().unwrap();
        let profile = test.parent().and_then(Path::parent).unwrap();
        let binary =
            profile.join("examples").join("gentle").with_extension(env::consts::EXE_EXTENSION);
        if !is_up_to_date(&binary) {
            build(profile);
        }
        binary
    })
}

fn is_up_to_date(binary: &Path) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let newest = newest(&root.join("src")).max(newest(&root.join("examples/gentle")));
    modified(binary).is_some_and(|built| Some(built) >= newest)
}

/// When a file below this directory last changed.
fn newest(directory: &Path) -> Option<SystemTime> {
    let paths = fs::read_dir(directory).ok()?.flatten().map(|entry| entry.path());
    paths.filter_map(|path| if path.is_dir() { newest(&path) } else { modified(&path) }).max()
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn build(profile: &Path) {
    let name = match profile.file_name().and_then(OsStr::to_str).unwrap() {
        "debug" => "dev",
        name => name,
    };
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--example", "gentle", "--profile", name, "--target-dir"])
        .arg(profile.parent().unwrap())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(status.success(), "the example does not build");
}
