//! With a limit of 1 throughout, tasks that one thread pushes start in the order pushed.

#![cfg(tollgate_shuttle)]

use shuttle::thread;
use shuttle_tests::instruments::Ledger;
use shuttle_tests::{check, pool};

/// Lines of one pusher come in order.
fn in_order(lines: &[usize], of: std::ops::Range<usize>) -> bool {
    lines.iter().copied().filter(|line| of.contains(line)).eq(of.clone())
}

#[test]
fn serial_in_order_for_each_of_three_pushers() {
    check(|| {
        let pool = pool(4);
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
    check(|| {
        let pool = pool(3);
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
    check(|| {
        let pool = pool(3);
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
    check(|| {
        let pool = pool(3);
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
