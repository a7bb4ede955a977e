//! How many instructions does a task take, on three paths that one thread walks alone?
//!
//! Run under callgrind by `ci/instructions`, which counts only what `measured` calls: instructions repeat where
//! timings wander. Run plainly, it does the same and prints nothing.

use std::hint::black_box;
use tollgate::{Job, Pool};

const TASKS: u64 = 10_000;

fn push_all(job: &Job) {
    for i in 0..TASKS {
        let captures = [i; 3];
        job.execute(move || {
            black_box(captures);
        });
    }
}

/// What callgrind counts.
#[inline(never)]
fn measured(f: impl FnOnce()) {
    f();
    black_box(());
}

fn main() {
    let path = std::env::args().nth(1).unwrap_or_default();
    let pool = Pool::builder().workers(1).build().expect("a pool of one worker starts");
    // The cells are warm: what is pushed here is dropped again.
    let warm = pool.job(0);
    push_all(&warm);
    warm.cancel();
    warm.wait();
    // Only then has the worker given back what it had in hand.
    while pool.stats().parked == 0 {
        std::thread::yield_now();
    }
    match path.as_str() {
        "push-full" => {
            let job = pool.job(0);
            measured(|| push_all(&job));
        }
        "make-job" => measured(|| {
            for _ in 0..TASKS {
                drop(black_box(pool.job(2)));
            }
        }),
        "spawn-and-join-inside" => {
            let job = pool.job(1);
            let inner = job.clone();
            let task = job.spawn(move || {
                measured(|| {
                    for i in 0..TASKS {
                        black_box(inner.spawn(move || i).join().expect("the task returns"));
                    }
                });
            });
            task.join().expect("the task returns");
        }
        // `cargo bench` passes its own arguments.
        _ => {}
    }
}
