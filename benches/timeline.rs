//! What does the timeline cost? Prints nanoseconds a task for each workload, with the timeline off, or on if the argument is `on`.
//!
//! `benches/timeline-overhead` runs this in turn for three builds and states: compiled out, off, on.
//!
//! - *full*: one thread pushes empty tasks into a job whose limit is 2, on 2 workers.
//! - *serial*: the same with a limit of 1.
//! - *unlimited*: the same without a limit.
//! - *1 µs*: the first, with tasks that take a microsecond.

use std::hint::black_box;
use std::time::{Duration, Instant};
use tollgate::Pool;

const TASKS: u32 = 300_000;

fn run(pool: &Pool, limit: usize, task: fn()) -> f64 {
    let job = pool.job(limit);
    let start = Instant::now();
    for _ in 0..TASKS {
        job.execute(task);
    }
    job.wait();
    start.elapsed().as_nanos() as f64 / f64::from(TASKS)
}

fn a_microsecond() {
    let start = Instant::now();
    while black_box(start.elapsed()) < Duration::from_micros(1) {}
}

fn main() {
    let pool = Pool::builder().workers(2).build().expect("a pool of two workers starts");
    let on = std::env::args().any(|argument| argument == "on");
    #[cfg(feature = "timeline")]
    if on {
        pool.timeline().start();
    }
    assert!(!on || cfg!(feature = "timeline"), "the timeline is compiled out");
    let workloads: [(&str, usize, fn()); 4] = [
        ("full", 2, || ()),
        ("serial", 1, || ()),
        ("unlimited", usize::MAX, || ()),
        ("1us", 2, a_microsecond),
    ];
    for (name, limit, task) in workloads {
        // The first run fills the caches.
        run(&pool, limit, task);
        let mut times = [(); 3].map(|()| run(&pool, limit, task));
        times.sort_by(f64::total_cmp);
        println!("{name} {:.1}", times[1]);
    }
}
