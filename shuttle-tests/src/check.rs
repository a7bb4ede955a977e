//! Runs a scenario under many schedules, and keeps the one that fails for a replay.

use crate::record::{Recorded, Recording};
use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tollgate::Pool;
use tollgate::model::sync::memory;

/// The depth of PCT: a schedule of it changes a thread's priority so many times, less one.
const DEPTH: usize = 3;
/// Schedules of each kind, where `TOLLGATE_SHUTTLE_SCHEDULES` does not say.
const SCHEDULES: usize = 1_000;
/// What the schedules are drawn from, where `TOLLGATE_SHUTTLE_SEED` does not say.
const SEED: u64 = 1;
/// Steps after which a schedule has got nowhere.
const STEPS: usize = 200_000;
/// Steps that the last threads of a scenario have for their way out.
const GOING: usize = 10_000;

/// Runs `scenario` under the random scheduler and under PCT, and says how long that took.
///
/// A schedule that fails is written to a file, and the command that replays it is printed. With
/// `TOLLGATE_SHUTTLE_REPLAY` set to such a file, that schedule alone is run.
pub fn check<F: Fn() + Send + Sync + 'static>(scenario: F) {
    check_as(&name_of::<F>(), scenario);
}

/// As `check`, for a scenario that begins with a pool of so many workers.
pub fn in_a_pool<F: Fn(Pool) + Send + Sync + 'static>(workers: usize, scenario: F) {
    check_as(&name_of::<F>(), move || scenario(crate::pool(workers)));
}

fn check_as<F: Fn() + Send + Sync + 'static>(name: &str, scenario: F) {
    if let Some(file) = std::env::var_os("TOLLGATE_SHUTTLE_REPLAY") {
        replay(&PathBuf::from(file), scenario);
        eprintln!("the schedule passes: it was another scenario's, or the code has changed");
        return;
    }
    let scenario = Arc::new(move || {
        memory::forget();
        scenario();
        assert_at_rest();
    });
    let (seed, schedules) = (number("SEED", SEED), number("SCHEDULES", SCHEDULES as u64) as usize);
    let start = Instant::now();
    run(name, RandomScheduler::new_from_seed(seed, schedules), scenario.clone());
    run(name, PctScheduler::new_from_seed(seed, DEPTH, schedules), scenario);
    eprintln!("2 x {schedules} schedules from seed {seed} in {:.1?}", start.elapsed());
}

/// Fails if a job, a task or a pool is left when its last handle has gone, or a waiter in the parking lot.
fn assert_at_rest() {
    // A spare worker, which no thread joins, may still be on its way out.
    for _ in 0..GOING {
        if memory::live() == 0 {
            break;
        }
        shuttle::thread::yield_now();
    }
    assert_eq!(memory::live(), 0, "jobs, tasks or pools are left, and no handle of them");
    tollgate::model::assert_none_waits();
}

/// Runs the one schedule in `file`.
pub fn replay(file: &Path, scenario: impl Fn() + Send + Sync + 'static) {
    let recording = Recording::read(file);
    Runner::new(ReplayScheduler::new_from_schedule(recording.schedule()), config()).run(scenario);
}

/// Where a failing schedule of this scenario is written to.
pub fn file_of(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it is in a workspace");
    root.join("target/shuttle/schedules").join(name.replace("::", "."))
}

/// How schedules are run: the recording is ours, and shuttle need not print one.
pub fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = 128 << 10;
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::FailAfter(STEPS);
    // What it warns of is said in this crate's head.
    config.silence_warnings = true;
    config
}

fn run<S: Scheduler + 'static, F: Fn() + Send + Sync + 'static>(
    name: &str,
    scheduler: S,
    scenario: Arc<F>,
) {
    let file = file_of(name);
    let _ = std::fs::remove_file(&file);
    let recorded = Recorded::new(scheduler, file.clone());
    let runner = Runner::new(recorded, config());
    let outcome = catch_unwind(AssertUnwindSafe(|| runner.run(move || scenario())));
    let recording = crate::record::stop();
    if let Err(failure) = outcome {
        let recording = recording.expect("a scenario is recorded while it runs");
        recording.write(&file);
        let test = name.split_once("::").map_or(name, |(_, test)| test);
        eprintln!(
            "\n{name} fails after {} schedules that pass. To replay that one:",
            recording.before
        );
        eprintln!("TOLLGATE_SHUTTLE_REPLAY={} ci/shuttle {test}\n", file.display());
        resume_unwind(failure);
    }
}

/// The test that a scenario's closure stands in, as `suite::test`.
fn name_of<F>() -> String {
    let name = std::any::type_name::<F>();
    name.trim_end_matches("::{{closure}}").to_owned()
}

fn number(of: &str, otherwise: u64) -> u64 {
    let name = format!("TOLLGATE_SHUTTLE_{of}");
    std::env::var(&name).map_or(otherwise, |text| {
        text.parse().unwrap_or_else(|_| panic!("{name} is a number, not `{text}`"))
    })
}
