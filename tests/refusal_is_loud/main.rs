//! refusal_is_loud: bad input is an error value or a documented panic whose message says what to do; never a hang, never a
//! silent drop. After each, the pool runs its next task.

#[path = "../common/mod.rs"]
mod common;

mod building;
mod calls;
mod names;
mod no_timer;
mod panics;
mod says;

use std::process::Command;
use std::thread;

use tollgate::Pool;

use common::event::{Gauge, Latch, stay};
use common::{Tokens, pool};

/// The pool runs its next task, on each of its workers, by each way in.
fn runs_its_next_task(pool: &Pool) {
    let (job, gauge, latch) = (pool.job(pool.workers()), Gauge::new(), Latch::new());
    (0..pool.workers()).for_each(|_| job.execute(stay(&gauge, &latch)));
    gauge.until_running(pool.workers());
    latch.open();
    assert_eq!(job.spawn(|| "next").join().unwrap(), "next");
}

fn a_new_pool_runs_its_next_task() {
    runs_its_next_task(&pool(2));
}

/// An error as a user reads it: it says something, and is an `Error`.
fn reads_as(error: &dyn std::error::Error, word: &str) {
    let text = error.to_string();
    assert!(text.contains(word), "'{text}' does not say '{word}'");
}

/// The workers of a pool that was never built have ended: the last one to use its hooks has dropped them.
fn until_nothing_is_left(hooks: &Tokens) {
    while hooks.dropped() < hooks.made() {
        thread::yield_now();
    }
}

/// In the parent: runs the named test as [`child`] does, which must end well, and says false. In the
/// child: true.
fn in_child(test: &str) -> bool {
    if std::env::var_os("TOLLGATE_CHILD").is_some() {
        return true;
    }
    let output = child(test);
    let (said, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{errors}");
    assert!(said.contains("1 passed"), "no test is called {test}: {said}");
    false
}

/// Runs the named test of this program in a process of its own.
fn child(test: &str) -> std::process::Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env("TOLLGATE_CHILD", "1");
    command.output().expect("this very program starts")
}
