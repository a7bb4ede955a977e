//! A task with a deadline that has ended leaves nothing in the timer, however it has ended; alone in its process, whose
//! allocations are counted.

#[path = "common/allocated.rs"]
mod allocated;
mod common;

use std::time::Duration;

use allocated::allocated;
use common::{LONG, pool_with_clock, within};
use tollgate::{JoinError, Pool, TaskHandle};

/// The time after which each task expires. The clock is moved by hand, and stands still, so no task expires.
const HOUR: Duration = Duration::from_secs(3_600);

/// How many tasks end in one round.
const TASKS: usize = 1_000;

/// How many rounds are counted.
const ROUNDS: usize = 40;

fn assert_cancelled(task: TaskHandle<()>) {
    assert!(matches!(task.join(), Err(JoinError::Cancelled)));
}

/// A worker runs each task.
fn run(pool: &Pool) {
    let job = pool.job(1);
    let tasks: Vec<_> = (0..TASKS).map(|_| job.spawn_within(HOUR, || ())).collect();
    job.wait();
    tasks.into_iter().for_each(|task| task.join().unwrap());
}

/// Each task runs inline in a task that joins it.
fn run_inline(pool: &Pool) {
    let job = pool.job(1);
    let own = job.clone();
    let joins = move || (0..TASKS).for_each(|_| own.spawn_within(HOUR, || ()).join().unwrap());
    job.spawn(joins).join().unwrap();
    job.wait();
}

/// The cancel of the job drops each task.
fn cancel_the_job(pool: &Pool) {
    let job = pool.job(0);
    let tasks: Vec<_> = (0..TASKS).map(|_| job.spawn_within(HOUR, || ())).collect();
    job.cancel();
    job.wait();
    tasks.into_iter().for_each(assert_cancelled);
}

/// The handle of each task drops it.
fn cancel_by_handle(pool: &Pool) {
    let job = pool.job(0);
    let tasks: Vec<_> = (0..TASKS).map(|_| job.spawn_within(HOUR, || ())).collect();
    assert!(tasks.iter().all(TaskHandle::cancel));
    job.set_limit(1);
    job.wait();
    tasks.into_iter().for_each(assert_cancelled);
}

/// The first rounds take what the pool keeps for the tasks of later ones. An entry of the timer that stayed would keep the cell of
/// its task: together at least 100 bytes.
#[test]
fn tasks_that_end_before_their_deadlines_leave_nothing_in_the_timer() {
    within(LONG, || {
        for way in [run, run_inline, cancel_the_job, cancel_by_handle] {
            let (pool, _clock) = pool_with_clock(1);
            (0..ROUNDS / 4).for_each(|_| way(&pool));
            let before = allocated();
            (0..ROUNDS).for_each(|_| way(&pool));
            let kept = allocated() - before;
            eprintln!("{kept} bytes more");
            assert!(kept < (TASKS * ROUNDS * 25) as isize, "{kept} bytes are kept");
        }
    });
}
