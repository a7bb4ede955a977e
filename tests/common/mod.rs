//! What the behaviour tests share: events (`Latch`, `Gauge`), a watchdog (`within`, `watch`), counted drops (`Token`), what
//! refused pushes say (`refuses_pushes`), a seeded generator (`Rng`), and what the system says of this process (`proc`).
//!
//! Events are ordered by latches, gauges and channels, never by sleeping. No test asserts that something is quick:
//! `within` only turns a hang into a failure. Each file was seen to fail with its promise broken in the source.
#![allow(dead_code, reason = "each test file uses its own part of this")]

pub mod event;
pub mod proc;
pub mod rng;
pub mod watch;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tollgate::{Job, JoinError, ManualClock, Pool, Rejected, TaskHandle};

use event::{Gauge, Latch, stay};
use watch::Watch;

/// How many workers a test is repeated with, where the number matters.
pub const WORKERS: [usize; 3] = [1, 2, 8];

/// More than any test here takes with the machine to itself.
pub const LONG: Duration = Duration::from_secs(50);

/// Runs `test` on a thread of its own and fails if it hangs: see [`watch`]. Its process may use as much processor time as
/// all processors have in `limit`, however long that takes.
pub fn within<R: Send + 'static>(limit: Duration, test: impl FnOnce() -> R + Send + 'static) -> R {
    let (report, ended) = mpsc::channel();
    thread::spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(test));
        // Nobody listens once the time was over.
        let _ = report.send(result);
    });
    let mut watch = Watch::new(limit);
    loop {
        match ended.recv_timeout(watch::PAUSE) {
            Ok(Ok(value)) => return value,
            Ok(Err(payload)) => resume_unwind(payload),
            Err(_) => assert_eq!(watch.hangs(), None, "hangs"),
        }
    }
}

/// Runs `test` with each number of workers in [`WORKERS`], under the watchdog.
pub fn with_workers(test: impl Fn(&Pool, usize) + Send + Sync + 'static) {
    let test = Arc::new(test);
    for workers in WORKERS {
        let test = Arc::clone(&test);
        within(LONG, move || {
            eprintln!("with {workers} workers");
            let pool = pool(workers);
            test(&pool, workers);
        });
    }
}

/// A second of a clock that the test moves.
pub const SECOND: Duration = Duration::from_secs(1);

/// The least time by which a clock moves.
pub const NANO: Duration = Duration::from_nanos(1);

/// Makes a pool of so many workers, and the clock that the pool goes by.
pub fn pool_with_clock(workers: usize) -> (Pool, ManualClock) {
    let clock = ManualClock::new();
    let pool = Pool::builder().workers(workers).clock(&clock).build();
    (pool.expect("a pool of a few workers starts"), clock)
}

/// Runs `test` with each number of workers in [`WORKERS`], in a pool that goes by a clock, under the watchdog.
pub fn with_clock(test: impl Fn(&Pool, &ManualClock) + Send + Sync + 'static) {
    let test = Arc::new(test);
    for workers in WORKERS {
        let test = Arc::clone(&test);
        within(LONG, move || {
            eprintln!("with {workers} workers");
            let (pool, clock) = pool_with_clock(workers);
            test(&pool, &clock);
        });
    }
}

/// Makes a capture, and a function that returns true if the capture was dropped.
pub fn capture() -> (Arc<()>, impl Fn() -> bool) {
    let capture = Arc::new(());
    let weak = Arc::downgrade(&capture);
    (capture, move || weak.strong_count() == 0)
}

/// A pool of so many workers.
pub fn pool(workers: usize) -> Pool {
    Pool::builder().workers(workers).build().expect("a pool of a few workers starts")
}

/// Makes a job with a limit of 1 whose tasks do not run inline in a task of another job that joins them. The job counts weights, which
/// rules that out. So the join waits, and a spare worker takes its thread's place.
pub fn job_without_inline_tasks(pool: &Pool) -> Job {
    pool.job_builder().limit(1).weighted().build()
}

/// Comes back when `free` workers, all that the caller left unblocked, have been inside a task at the same time,
/// twice: whatever was ready before could have been found by each of them.
pub fn workers_pass(pool: &Pool, free: usize) {
    let job = pool.job(usize::MAX);
    for _ in 0..2 {
        let (gauge, latch) = (Gauge::new(), Latch::new());
        for _ in 0..free {
            job.execute(stay(&gauge, &latch));
        }
        gauge.until_running(free);
        latch.open();
        job.wait();
    }
}

/// Comes back when this many workers have found nothing to do, and have parked.
pub fn until_parked(pool: &Pool, workers: usize) {
    while pool.stats().parked != workers {
        thread::yield_now();
    }
}

/// Waits until no task of the job is running or ready. So none starts before something changes, such as a clock or a limit.
pub fn settle(job: &Job) {
    loop {
        let stats = job.stats();
        if stats.running == 0 && stats.ready == 0 {
            return;
        }
        thread::yield_now();
    }
}

/// Ends a task by unwinding with `message`, without the report that `panic!` prints.
pub fn unwind(message: &str) -> ! {
    resume_unwind(Box::new(message.to_owned()))
}

/// The text of a payload, whichever way it was thrown.
pub fn message_of(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .expect("the payload is a text")
}

/// Runs `call`, which must panic, and gives back what it says.
pub fn panic_of<R>(call: impl FnOnce() -> R) -> String {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(_) => panic!("the call did not panic"),
        Err(payload) => message_of(&*payload).to_owned(),
    }
}

/// Joins them all; whether each says that its task was cancelled.
pub fn all_cancelled<T>(handles: Vec<TaskHandle<T>>) -> bool {
    handles.into_iter().all(|handle| matches!(handle.join(), Err(JoinError::Cancelled)))
}

/// All four ways into a closed job, or one whose pool has shut down, refuse, each as it should.
pub fn refuses_pushes(job: &Job) {
    let tokens = Tokens::new();
    let cancelled = job.stats().cancelled;
    let (one, two, three, four) = (tokens.token(), tokens.token(), tokens.token(), tokens.token());
    let handle = job.spawn(move || drop(one));
    assert!(handle.is_finished());
    assert!(matches!(handle.join(), Err(JoinError::Cancelled)));
    job.execute(move || drop(two));
    assert_eq!(tokens.dropped(), 2, "a refused closure was kept");
    let spawned = job.try_spawn(move || drop(three)).unwrap_err();
    let executed = job.try_execute(move || drop(four)).unwrap_err();
    for refused in [spawned.to_string(), executed.to_string()] {
        assert!(refused.contains("closed"), "'{refused}' does not say 'closed'");
    }
    assert!(matches!(&spawned, Rejected::Closed(_)) && matches!(&executed, Rejected::Closed(_)));
    assert_eq!(tokens.dropped(), 2, "try_* drops the closure that it should give back");
    (spawned.into_inner())();
    (executed.into_inner())();
    assert_eq!(tokens.dropped(), 4);
    // The refused spawn and execute are reported; try_* gave theirs back.
    assert_eq!(job.stats().cancelled, cancelled + 2);
}

/// Counts how many [`Token`]s were made and how many dropped.
#[derive(Clone, Default)]
pub struct Tokens {
    made: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
}

impl Tokens {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn token(&self) -> Token {
        self.made.fetch_add(1, SeqCst);
        Token { owner: self.clone(), dropped: false }
    }

    pub fn made(&self) -> usize {
        self.made.load(SeqCst)
    }

    pub fn dropped(&self) -> usize {
        self.dropped.load(SeqCst)
    }
}

/// A capture or a result whose drops are counted; dropped twice, it aborts the process.
pub struct Token {
    owner: Tokens,
    dropped: bool,
}

impl Drop for Token {
    fn drop(&mut self) {
        if std::mem::replace(&mut self.dropped, true) {
            eprintln!("a token was dropped twice");
            std::process::abort();
        }
        self.owner.dropped.fetch_add(1, SeqCst);
    }
}

/// Pushes three tasks from inside a task of the job, and runs them. Returns how many of them waited in the job's queue.
pub fn backlog_of_three_pushed_inside(job: &Job) -> u64 {
    let own = job.clone();
    let pushes = job.spawn(move || {
        let pushed = [(); 3].map(|()| own.spawn(|| ()));
        (own.stats().backlog as u64, pushed)
    });
    let (backlog, pushed) = pushes.join().unwrap();
    pushed.into_iter().for_each(|task| task.join().unwrap());
    backlog
}
