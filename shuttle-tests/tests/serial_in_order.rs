//! If the limit is 1 throughout, workers start the tasks of one pusher in the order of its pushes, but for tasks that a task of the
//! same job joins.

#![cfg(tollgate_shuttle)]

use shuttle::thread;
use shuttle_tests::in_a_pool;
use shuttle_tests::instruments::Ledger;
use tollgate::{Job, Pool};

/// Lines of one pusher come in order.
fn in_order(lines: &[usize], of: std::ops::Range<usize>) -> bool {
    lines.iter().copied().filter(|line| of.contains(line)).eq(of.clone())
}

#[test]
fn serial_in_order_for_each_of_three_pushers() {
    in_a_pool(4, |pool| {
        let (job, ledger) = (pool.job(1), Ledger::new());
        let pushers = [0, 10].map(|first| {
            let (job, ledger) = (job.clone(), ledger.clone());
            thread::spawn(move || (first..first + 3).for_each(|n| job.execute(ledger.task(n))))
        });
        (20..24).for_each(|line| job.execute(ledger.task(line)));
        for pusher in pushers {
            pusher.join().unwrap();
        }
        job.wait();
        let lines = ledger.lines();
        assert_eq!(lines.len(), 10);
        assert!([0..3, 10..13, 20..24].into_iter().all(|of| in_order(&lines, of)), "{lines:?}");
    });
}

#[test]
fn serial_in_order_through_a_pause() {
    in_a_pool(3, |pool| {
        let (job, ledger) = (pool.job(1), Ledger::new());
        (0..3).for_each(|line| job.execute(ledger.task(line)));
        job.pause();
        (3..5).for_each(|line| job.execute(ledger.task(line)));
        job.resume();
        (5..7).for_each(|line| job.execute(ledger.task(line)));
        job.wait();
        assert_eq!(ledger.lines(), [0, 1, 2, 3, 4, 5, 6]);
    });
}

#[test]
fn serial_in_order_beside_a_busy_job() {
    in_a_pool(3, |pool| {
        let (job, ledger, busy) = (pool.job(1), Ledger::new(), pool.job(2));
        for line in 0..5 {
            busy.execute(thread::yield_now);
            job.execute(ledger.task(line));
        }
        job.wait();
        busy.wait();
        assert_eq!(ledger.lines(), [0, 1, 2, 3, 4]);
    });
}

#[test]
fn serial_in_order_under_a_parent() {
    in_a_pool(3, |pool| {
        let parent = pool.job(1);
        let jobs = [parent.job(1), parent.job(1)];
        let ledger = Ledger::new();
        for line in 0..4 {
            jobs[0].execute(ledger.task(line));
            jobs[1].execute(ledger.task(10 + line));
        }
        parent.wait();
        let lines = ledger.lines();
        assert_eq!(lines.len(), 8);
        assert!(in_order(&lines, 0..4) && in_order(&lines, 10..14), "{lines:?}");
    });
}

#[test]
fn serial_in_order_when_cancelled_tasks_leave_a_held_line() {
    // Who waits for a held job drops what handles have cancelled. Let go just then, the job has the others in their places.
    in_a_pool(3, |pool| {
        let (job, ledger) = (pool.job(1), Ledger::new());
        job.pause();
        let cancelled = [0, 1].map(|line| {
            let handle = job.spawn(|| ());
            job.execute(ledger.task(line));
            handle
        });
        assert!(cancelled.iter().all(|handle| handle.cancel()));
        let (theirs, seen) = (job.clone(), ledger.clone());
        let pusher = thread::spawn(move || {
            theirs.resume();
            (2..4).for_each(|line| theirs.execute(seen.task(line)));
        });
        job.wait();
        pusher.join().unwrap();
        job.wait();
        assert_eq!(ledger.lines(), [0, 1, 2, 3]);
    });
}

#[test]
fn serial_in_order_for_a_joined_task_behind_another() {
    // The second task may run inline in the task that joins it, but not before the first.
    in_a_pool(2, |pool| {
        let (outer, serial, ledger) = (pool.job(2), pool.job(1), Ledger::new());
        for first in [0, 10] {
            let (serial, lines) = (serial.clone(), ledger.clone());
            outer.execute(move || {
                serial.execute(lines.task(first));
                serial.spawn(lines.task(first + 1)).join().unwrap();
            });
        }
        outer.wait();
        let lines = ledger.lines();
        assert_eq!(lines.len(), 4);
        assert!([0..2, 10..12].into_iter().all(|of| in_order(&lines, of)), "{lines:?}");
    });
}

#[test]
fn serial_in_order_for_a_joined_task_of_the_parent() {
    // The joining task re-acquires the parent's permit while the first task there may be ready. It then lends that permit to the
    // second one, which may run inline only if the first has started.
    in_a_pool(1, |pool| {
        let (parent, other, ledger) = (pool.job(1), pool.job(1), Ledger::new());
        let child = parent.job(1);
        let (to, first, second) = (parent.clone(), ledger.task(0), ledger.task(1));
        let task = child.spawn(move || {
            let pushed = other.spawn(move || {
                to.execute(first);
                to.spawn(second)
            });
            pushed.join().unwrap().join().unwrap();
        });
        task.join().unwrap();
        parent.wait();
        assert_eq!(ledger.lines(), [0, 1]);
    });
}

/// Pushes tasks into the paused job, the first two of which join a task of another job, and checks their order.
fn check_after_waits(pool: &Pool, job: &Job) {
    let (other, ledger) = (pool.job(1), Ledger::new());
    job.pause();
    for line in 0..5 {
        let (other, write) = (other.clone(), ledger.task(line));
        job.execute(move || {
            write();
            if line < 2 {
                other.spawn(|| ()).join().unwrap();
            }
        });
    }
    job.resume();
    job.wait();
    assert_eq!(ledger.lines(), [0, 1, 2, 3, 4]);
}

#[test]
fn serial_in_order_after_tasks_that_wait_inside() {
    in_a_pool(2, |pool| check_after_waits(&pool, &pool.job(1)));
}

#[test]
fn serial_in_order_after_tasks_that_wait_inside_in_a_job_with_weights() {
    in_a_pool(1, |pool| {
        check_after_waits(&pool, &pool.job_builder().limit(1).weighted().build());
    });
}
