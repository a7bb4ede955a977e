//! What does a rate cost, beside the same job without one, and beside `governor` with tokio's `Semaphore`?
//!
//! Both of a line run in turn, round by round, in one process; figures are medians, and the median of the rounds' ratios. `--quick`
//! takes fewer rounds. The lines are:
//!
//! - *does not bind*: tasks of a job with a rate that always allows a start, beside the same job without a rate; in nanoseconds for
//!   each task. The limit is 1 or 2 on two workers, and a task is empty or spins for 1 µs or 10 µs.
//! - *permit*: one task of a current-thread runtime acquires and gives back; the rate never binds. Theirs waits for governor's
//!   `until_ready`, and then for a permit of the semaphore.
//! - *tasks*: 2,000 tasks at a rate that never binds, on two threads. Theirs is a tokio task for each.
//! - *binds*: the same with 100 tasks at 1,000 a second. The time is that of all tasks over the ideal of 99 ms.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use benches::{compare, median};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tollgate::{Job, Pool, Rate};

const ALONE: u32 = 100_000;
const TASKS: u32 = 2_000;
const SLOW: u32 = 100;

/// A rate that binds no task of a run.
fn loose() -> Rate {
    Rate::every(Duration::from_nanos(1)).burst(u32::MAX)
}

fn spin(time: Duration) {
    let start = Instant::now();
    while !time.is_zero() && start.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Pushes the tasks and waits for them; the time for each.
fn tasks(job: &Job, count: u32, work: Duration) -> Duration {
    let start = Instant::now();
    for _ in 0..count {
        job.execute(move || spin(black_box(work)));
    }
    job.wait();
    start.elapsed() / count
}

fn ours_alone(job: &Job) -> Duration {
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let start = Instant::now();
    runtime.block_on(async {
        for _ in 0..ALONE {
            drop(black_box(job.acquire().await.expect("it is open")));
        }
    });
    start.elapsed() / ALONE
}

/// governor and a semaphore.
#[derive(Clone)]
struct Theirs {
    rate: Arc<DefaultDirectRateLimiter>,
    permits: Arc<Semaphore>,
}

impl Theirs {
    fn new(quota: Quota, limit: usize) -> Self {
        let rate = Arc::new(RateLimiter::direct(quota));
        Self { rate, permits: Arc::new(Semaphore::new(limit)) }
    }

    fn alone(&self) -> Duration {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let start = Instant::now();
        runtime.block_on(async {
            for _ in 0..ALONE {
                self.rate.until_ready().await;
                drop(black_box(self.permits.acquire().await.expect("it is open")));
            }
        });
        start.elapsed() / ALONE
    }

    fn tasks(&self, runtime: &Runtime, count: u32) -> Duration {
        runtime.block_on(async {
            let mut tasks = JoinSet::new();
            let start = Instant::now();
            for _ in 0..count {
                let this = self.clone();
                tasks.spawn(async move {
                    this.rate.until_ready().await;
                    let _permit = this.permits.acquire().await.expect("it is open");
                    spin(black_box(Duration::ZERO));
                });
            }
            tasks.join_all().await;
            start.elapsed() / count
        })
    }
}

fn does_not_bind(pool: &Pool, rounds: usize) {
    for limit in [1, 2] {
        let bare = pool.job_builder().limit(limit).build();
        let paced = pool.job_builder().limit(limit).rate(loose()).build();
        for micros in [0, 1, 10] {
            let (count, work) = (40_000 / (micros as u32 + 1), Duration::from_micros(micros));
            let name = format!("does not bind, limit {limit}, {micros} µs");
            compare(
                &name,
                "theirs",
                rounds,
                || tasks(&paced, count, work),
                || tasks(&bare, count, work),
            );
        }
    }
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick" || arg == "--test");
    let rounds = if quick { 3 } else { 15 };
    let pool = Pool::builder().workers(2).build().expect("a pool");
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build();
    let runtime = runtime.expect("a runtime");

    does_not_bind(&pool, rounds);

    let never = Quota::per_second(NonZeroU32::MAX);
    let (job, theirs) = (pool.job_builder().rate(loose()).build(), Theirs::new(never, 1_000));
    compare("permit", "theirs", rounds, || ours_alone(&job), || theirs.alone());

    let (job, theirs) = (pool.job_builder().limit(2).rate(loose()).build(), Theirs::new(never, 2));
    let ours = || tasks(&job, TASKS, Duration::ZERO);
    compare("tasks", "theirs", rounds, ours, || theirs.tasks(&runtime, TASKS));

    let slow = NonZeroU32::new(1_000).expect("it is more than none");
    let slow = Quota::per_second(slow).allow_burst(NonZeroU32::MIN);
    let ideal = Duration::from_millis(99);
    let over = |each: Duration| (each * SLOW).as_secs_f64() / ideal.as_secs_f64();
    let (mut ours, mut other) = (vec![], vec![]);
    for _ in 0..rounds {
        // Each with its whole burst.
        let job = pool.job_builder().limit(2).rate(Rate::per_second(1_000)).build();
        ours.push(over(tasks(&job, SLOW, Duration::ZERO)));
        other.push(over(Theirs::new(slow, 2).tasks(&runtime, SLOW)));
    }
    let name = "binds, of the ideal time";
    println!("{name:36} ours {:8.3}      theirs {:8.3}", median(ours), median(other));
}
