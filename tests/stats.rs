//! What `Job::stats` says while tasks run.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;

use common::event::Latch;
use common::{LONG, pool, with_workers, within};

#[test]
fn completed_lags_by_at_most_64_tasks_for_each_worker() {
    with_workers(|pool, workers| {
        for limit in [1, 2, usize::MAX] {
            let job = pool.job(limit);
            // All of them wait while this one runs.
            let (first, last) = (Latch::new(), Latch::new());
            let opening = first.opening();
            job.execute(move || opening.wait());
            for _ in 1..1_000 {
                job.execute(|| ());
            }
            if limit > 1 {
                first.open();
                job.wait();
                assert_eq!(job.stats().completed, 1_000);
                continue;
            }
            let (opening, (tell, told)) = (last.opening(), mpsc::channel());
            job.execute(move || {
                tell.send(()).unwrap();
                opening.wait();
            });
            first.open();
            told.recv().unwrap();
            // 1,000 have ended, all in one turn, if no other job came between.
            let completed = job.stats().completed;
            assert!(completed >= 1_000 - 64 * workers as u64, "{completed}");
            last.open();
            job.wait();
            assert_eq!(job.stats().completed, 1_001);
        }
    });
}

#[test]
fn a_job_that_has_work_never_shows_none() {
    const ROUNDS: usize = 300;
    within(LONG, || {
        let pool = pool(1);
        let job = pool.job(1);
        let (round, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let resumes = {
            let (job, round) = (job.clone(), Arc::clone(&round));
            thread::spawn(move || {
                for now in 1..=ROUNDS {
                    while round.load(SeqCst) < now {
                        thread::yield_now();
                    }
                    job.resume();
                }
            })
        };
        for now in 1..=ROUNDS {
            job.pause();
            let let_go = Arc::clone(&done);
            job.execute(move || {
                while let_go.load(SeqCst) < now {
                    thread::yield_now();
                }
            });
            round.store(now, SeqCst);
            // From the queue, by a deque, to a worker.
            loop {
                let stats = job.stats();
                assert!(stats.running + stats.ready + stats.backlog > 0, "round {now}: {stats:?}");
                if stats.running > 0 {
                    break;
                }
            }
            done.store(now, SeqCst);
            job.wait();
        }
        resumes.join().unwrap();
    });
}
