//! What `Job::stats` says while tasks run.

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use common::event::{Gauge, Latch, Opening, stay};
use common::{LONG, pool, until_parked, with_workers, within};
use tollgate::{Job, Pool, Rate, Reason, WorkerStats};

#[test]
fn completed_lags_by_at_most_16_tasks_for_each_worker() {
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
            assert!(completed >= 1_000 - 16 * workers as u64, "{completed}");
            last.open();
            job.wait();
            assert_eq!(job.stats().completed, 1_001);
        }
    });
}

#[test]
fn completed_never_lags_further_while_tasks_run() {
    with_workers(|pool, workers| {
        for limit in [1, 2, usize::MAX] {
            let job = pool.job(limit);
            let ended = Arc::new(AtomicUsize::new(0));
            for _ in 0..20_000 {
                let ended = Arc::clone(&ended);
                job.execute(move || _ = ended.fetch_add(1, SeqCst));
            }
            loop {
                // Each worker may also be about to return from one.
                let least = ended.load(SeqCst).saturating_sub(17 * workers) as u64;
                let completed = job.stats().completed;
                assert!(completed >= least, "{completed} of {least}, limit {limit}");
                if completed == 20_000 || job.wait_timeout(Duration::ZERO) {
                    break;
                }
            }
        }
    });
}

/// Tasks go from the queue, by a deque, to a worker, while another thread reads the figures: of the job, and of a job above with its
/// children. A task that holds keeps the sum from being 0.
#[test]
fn a_job_that_has_work_never_shows_none() {
    for (workers, limit, rounds) in [(1, 1, 300), (2, 1, 50), (2, 2, 50)] {
        for below in [false, true] {
            within(LONG, move || never_shows_none(&pool(workers), limit, below, rounds));
        }
    }
}

/// Runs `limit` tasks at once in each round, in a job that has a parent with the same limit if `below` is true.
fn never_shows_none(pool: &Pool, limit: usize, below: bool, rounds: usize) {
    let top = pool.job(limit);
    let job = if below { top.job(limit) } else { top.clone() };
    let (round, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let resumes = {
        let (job, round) = (job.clone(), Arc::clone(&round));
        thread::spawn(move || {
            for now in 1..=rounds {
                while round.load(SeqCst) < now {
                    thread::yield_now();
                }
                job.resume();
            }
        })
    };
    for now in 1..=rounds {
        job.pause();
        for _ in 0..limit {
            let let_go = Arc::clone(&done);
            job.execute(move || {
                while let_go.load(SeqCst) < now {
                    thread::yield_now();
                }
            });
        }
        round.store(now, SeqCst);
        loop {
            let (own, all) = (job.stats(), top.stats_with_children());
            for stats in [&own, &all] {
                assert!(
                    stats.running + stats.ready + stats.backlog > 0,
                    "round {now} of limit {limit}, below: {below}: {stats:?}"
                );
            }
            if own.running == limit {
                break;
            }
        }
        done.store(now, SeqCst);
        job.wait();
    }
    resumes.join().unwrap();
}

/// No more than one task of the job runs until the first one comes back.
#[test]
fn most_running_counts_a_task_that_has_waited() {
    with_workers(|pool, _| {
        let (job, other) = (pool.job(2), pool.job(0));
        let (gauge, latch) = (Gauge::new(), Latch::new());
        let (awaited, stays) = (other.spawn(|| ()), stay(&gauge, &latch));
        job.execute(move || {
            awaited.join().unwrap();
            tollgate::blocking(stays);
        });
        let waiting = Reason::Waiting { tasks: 1, awaited: None };
        while job.explain().reasons() != [waiting.clone()] {
            thread::yield_now();
        }
        while job.stats().running > 0 {
            thread::yield_now();
        }
        let stays = stay(&gauge, &latch);
        job.execute(move || tollgate::blocking(stays));
        gauge.until_running(1);
        assert_eq!(job.stats().most_running, 1);
        other.set_limit(1);
        gauge.until_running(2);
        assert_eq!(job.stats().most_running, 2);
        latch.open();
        job.wait();
    });
}

#[test]
fn stats_with_children_count_each_task_once() {
    with_workers(|pool, workers| {
        let root = pool.job(usize::MAX);
        let (left, right) = (root.job(2), root.job(0));
        let (below, latch) = (left.job(1), Latch::new());
        let gauge = Gauge::new();
        let running = workers.min(2);
        // Of each kind: running, waiting for a permit of its own job, and held.
        for job in [&left, &below].into_iter().take(running) {
            job.execute(stay(&gauge, &latch));
        }
        gauge.until_running(running);
        for job in [&below, &right] {
            (0..5).for_each(|_| job.execute(|| ()));
        }
        let sum = root.stats_with_children();
        assert_eq!(sum.running, running, "{sum:?}");
        assert_eq!(sum.ready + sum.backlog, 10, "{sum:?}");
        assert_eq!((sum.limit, sum.completed), (usize::MAX, 0));
        assert_eq!(root.stats().backlog, 0);
        latch.open();
        left.wait();
        let sum = left.stats_with_children();
        assert_eq!(
            (sum.completed, sum.backlog, sum.running),
            (5 + running as u64, 0, 0),
            "{sum:?}"
        );
        right.cancel();
        root.wait();
        let sum = root.stats_with_children();
        assert_eq!((sum.completed, sum.cancelled), (5 + running as u64, 5), "{sum:?}");
        assert_eq!(root.stats().completed, 0);
        assert!(sum.most_running >= running);
    });
}

/// A job without a handle goes with its last task. The worker's next job does not get the count of that task.
#[test]
fn the_count_of_a_job_that_is_gone_goes_to_no_other_job() {
    within(LONG, || {
        let pool = pool(1);
        for limit in [1, 2, usize::MAX] {
            let (gone, gauge, latch) = (pool.job(limit), Gauge::new(), Latch::new());
            gone.execute(stay(&gauge, &latch));
            gauge.until_running(1);
            drop(gone);
            let job = pool.job(limit);
            (0..3).for_each(|_| job.execute(|| ()));
            latch.open();
            job.wait();
            assert_eq!(job.stats().completed, 3, "limit {limit}");
        }
    });
}

/// A turn runs three closures and then a future that pends. The closures count for their job, and the next job gets only its own task.
#[cfg(feature = "futures")]
#[test]
fn a_turn_that_ends_with_a_pending_future_counts_its_closures() {
    within(LONG, || {
        let pool = pool(1);
        for limit in [1, 2, usize::MAX] {
            let (gauge, latch) = (Gauge::new(), Latch::new());
            pool.job(1).execute(stay(&gauge, &latch));
            gauge.until_running(1);
            let (job, other) = (pool.job(limit), pool.job(limit));
            (0..3).for_each(|_| job.execute(|| ()));
            let pending = job.spawn_future(std::future::pending::<()>());
            other.execute(|| ());
            latch.open();
            other.wait();
            until_parked(&pool, 1);
            assert_eq!((job.stats().completed, other.stats().completed), (3, 1), "limit {limit}");
            pending.cancel();
        }
    });
}

/// The worker has counted further tasks of the job ahead, for the next pushes of the task. While the task waits, or is inside
/// `blocking`, none of these is told as ready.
#[test]
fn a_task_that_has_pushed_and_waits_leaves_the_figures_right() {
    within(LONG, || {
        let pool = pool(1);
        let (job, held) = (pool.job(usize::MAX), pool.job(0));
        let waits = |wait: fn(&Job, &Opening), running| {
            let (gauge, latch) = (Gauge::new(), Latch::new());
            let (own, there, opening, pushed) =
                (job.clone(), held.clone(), latch.opening(), gauge.clone());
            let task = job.spawn(move || {
                own.execute(move || drop(pushed.enter()));
                wait(&there, &opening);
            });
            gauge.until_ended(1);
            until_parked(&pool, 1);
            let stats = job.stats();
            assert_eq!((stats.running, stats.ready, stats.backlog), (running, 0, 0));
            latch.open();
            held.set_limit(1);
            task.join().unwrap();
            held.set_limit(0);
        };
        waits(|held, _| held.spawn(|| ()).join().unwrap(), 0);
        waits(|_, opening| tollgate::blocking(|| opening.wait()), 1);
    });
}

/// With one worker nothing is stolen. With two, one task is: its pusher waits until the other worker has run that task.
#[test]
fn the_figures_of_workers_count_what_they_ran_and_stole() {
    let sums = |pool: &Pool| {
        let workers = pool.stats().workers;
        let sum = |figure: fn(&WorkerStats) -> u64| workers.iter().map(figure).sum::<u64>();
        (sum(|worker| worker.run), sum(|worker| worker.stolen))
    };
    within(LONG, move || {
        let alone = pool(1);
        let rated = alone.job_builder().rate(Rate::per_second(1).burst(100)).build();
        let jobs = [alone.job(1), alone.job(usize::MAX), alone.job(1).job(1), rated];
        (0..100).for_each(|task| jobs[task % 4].execute(|| ()));
        alone.shutdown();
        assert_eq!(sums(&alone), (100, 0));
        let pool = pool(2);
        let (job, latch) = (pool.job(usize::MAX), Latch::new());
        let (own, opening) = (job.clone(), latch.opening());
        job.execute(move || {
            own.execute(move || latch.open());
            opening.wait();
        });
        pool.shutdown();
        assert_eq!(sums(&pool), (2, 1));
    });
}

#[test]
fn stats_with_children_include_children_that_are_gone() {
    with_workers(|pool, _| {
        let root = pool.job(2);
        for round in 1..=20 {
            // A chain of jobs, each with a task that returns, one that panics and one that is cancelled.
            let mut job = root.job(2);
            for _ in 0..10 {
                job.execute(|| ());
                job.execute(|| common::unwind("a task of a child"));
                job.pause();
                assert!(job.spawn(|| ()).cancel());
                job.resume();
                job = job.job(2);
            }
            drop(job);
            root.wait();
            let sum = root.stats_with_children();
            assert_eq!(
                (sum.completed, sum.panicked, sum.cancelled),
                (10 * round, 10 * round, 10 * round)
            );
        }
        root.execute(|| ());
        root.wait();
        assert_eq!(root.stats_with_children().completed, 201);
        assert_eq!(root.stats().completed, 1);
    });
}

/// Children end and leave while another thread reads: no task is missed that was counted before.
#[test]
fn stats_with_children_never_fall() {
    with_workers(|pool, _| {
        let root = pool.job(usize::MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let reads = {
            let (root, stop) = (root.clone(), Arc::clone(&stop));
            thread::spawn(move || {
                let mut before = 0;
                while !stop.load(SeqCst) {
                    let now = root.stats_with_children().completed;
                    assert!(now >= before, "{now} after {before}");
                    before = now;
                }
            })
        };
        for _ in 0..500 {
            let child = root.job(1);
            let grandchild = child.job(1);
            grandchild.execute(|| ());
            child.execute(|| ());
        }
        root.wait();
        stop.store(true, SeqCst);
        reads.join().unwrap();
        assert_eq!(root.stats_with_children().completed, 1_000);
    });
}

#[test]
fn figures_print_what_they_hold() {
    let pool = pool(1);
    let job = pool.job(3);
    job.spawn(|| ()).join().unwrap();
    job.wait();
    assert_eq!(
        format!("{:?}", job.stats()),
        "JobStats { limit: 3, running: 0, ready: 0, backlog: 0, delayed: 0, completed: 1, panicked: 0, cancelled: 0, most_running: 1 }"
    );
    assert!(
        format!("{:?}", pool.job(usize::MAX).stats()).starts_with("JobStats { limit: unlimited, ")
    );
}

/// The job above binds. One task of the child stands in that job's queue, and the other ones in the child's own.
#[test]
fn a_task_in_the_queue_of_a_job_above_is_in_the_backlog() {
    within(LONG, || {
        let pool = pool(2);
        let host = pool.job(1);
        let (page, gauge, latch) = (host.job(3), Gauge::new(), Latch::new());
        let leaf = page.job(3);
        host.execute(stay(&gauge, &latch));
        gauge.until_running(1);
        let counts = |stats: tollgate::JobStats| (stats.running, stats.ready, stats.backlog);
        for job in [&page, &leaf] {
            (0..2).for_each(|_| job.execute(|| ()));
        }
        assert_eq!(counts(page.stats_with_children()), (0, 0, 4));
        assert_eq!(counts(leaf.stats_with_children()), (0, 0, 2));
        assert_eq!(counts(leaf.stats()), (0, 0, 2));
        assert_eq!(counts(host.stats_with_children()), (1, 0, 4));
        latch.open();
        host.wait();
        assert_eq!(host.stats_with_children().completed, 5);
    });
}
