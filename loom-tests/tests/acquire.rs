//! Permits without tasks: acquired and given back by threads of their own, against what else changes a job.

#![cfg(tollgate_loom)]

use loom::thread::{self, JoinHandle};
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::{Gauge, Ledger, block_on, rest};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use tollgate::model::Stage;
use tollgate::{Acquire, Closed, Job, Permit, TryAcquireError};

type Polled = Poll<Result<Permit, Closed>>;

fn poll(acquire: &mut Acquire<'_>, waker: &Waker) -> Polled {
    Pin::new(acquire).poll(&mut Context::from_waker(waker))
}

/// A waiter that stands in the queue, behind a permit that is held. Its waker does nothing.
fn queued(job: &Job) -> Acquire<'_> {
    let mut acquire = job.acquire();
    assert!(poll(&mut acquire, Waker::noop()).is_pending(), "the permit is held");
    acquire
}

fn visit(permit: Permit, gauge: &Gauge) {
    gauge.visit();
    drop(permit);
}

/// Acquires the job's permit, and has another thread visit the gauge under it.
fn held_elsewhere(job: &Job, gauge: &Arc<Gauge>) -> JoinHandle<()> {
    let (held, seen) = (job.try_acquire().unwrap(), gauge.clone());
    thread::spawn(move || visit(held, &seen))
}

#[test]
fn limit_is_used_when_an_acquire_meets_a_release() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let (job, gauge) = (stage.job(1), Gauge::new(1));
        let holder = held_elsewhere(&job, &gauge);
        visit(block_on(job.acquire()).unwrap(), &gauge);
        holder.join().unwrap();
        rest(stage, job);
        assert_eq!(gauge.ran(), 2);
    });
}

#[test]
fn limit_is_used_when_a_thread_acquires() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let (job, gauge) = (stage.job(1), Gauge::new(1));
        let holder = held_elsewhere(&job, &gauge);
        visit(job.acquire_blocking().unwrap(), &gauge);
        holder.join().unwrap();
        rest(stage, job);
        assert_eq!(gauge.ran(), 2);
    });
}

#[test]
fn limit_1_orders_those_who_acquire() {
    // What one holder wrote, the next reads, whether it waited or not.
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let (job, ledger) = (stage.job(1), Ledger::new());
        let (theirs, lines) = (job.clone(), ledger.clone());
        let other = thread::spawn(move || {
            let permit = block_on(theirs.acquire()).unwrap();
            lines.write(1);
            drop(permit);
        });
        let permit = block_on(job.acquire()).unwrap();
        ledger.write(0);
        drop(permit);
        other.join().unwrap();
        assert_eq!(ledger.read().len(), 2);
        rest(stage, job);
    });
}

#[test]
fn limit_is_used_by_tasks_and_waiters() {
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(1);
        let (job, gauge) = (stage.job(1), Gauge::new(1));
        job.execute(gauge.task());
        let worker = thread::spawn(move || stage.play(0, usize::MAX));
        visit(block_on(job.acquire()).unwrap(), &gauge);
        worker.join().unwrap();
        rest(stage, job);
        assert_eq!(gauge.ran(), 2);
    });
}

#[test]
fn limit_is_used_by_a_task_behind_a_permit() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let (job, gauge) = (stage.job(1), Gauge::new(1));
        let holder = held_elsewhere(&job, &gauge);
        job.execute(gauge.task());
        holder.join().unwrap();
        rest(stage, job);
        assert_eq!(gauge.ran(), 2);
    });
}

#[test]
fn nothing_lost_when_a_release_meets_a_waiter_that_leaves() {
    check(Bound::None, || {
        let stage = Stage::new(1);
        let job = stage.job(1);
        let held = job.try_acquire().unwrap();
        let waiter = queued(&job);
        let holder = thread::spawn(move || drop(held));
        drop(waiter);
        holder.join().unwrap();
        assert_eq!((job.stats().completed, job.stats().cancelled), (1, 1));
        assert!(job.try_acquire().is_ok(), "the permit was lost");
        rest(stage, job);
    });
}

#[test]
fn limit_is_used_by_the_next_when_a_waiter_leaves() {
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(1);
        let job = stage.job(1);
        let held = job.try_acquire().unwrap();
        let waiter = queued(&job);
        let theirs = job.clone();
        let next = thread::spawn(move || drop(block_on(theirs.acquire()).unwrap()));
        let holder = thread::spawn(move || drop(held));
        drop(waiter);
        holder.join().unwrap();
        next.join().unwrap();
        rest(stage, job);
    });
}

#[test]
fn limit_is_used_by_a_waiter_that_changes_its_waker() {
    check(Bound::None, || {
        let stage = Stage::new(1);
        let job = stage.job(1);
        let held = job.try_acquire().unwrap();
        let waiter = queued(&job);
        let holder = thread::spawn(move || drop(held));
        drop(block_on(waiter).unwrap());
        holder.join().unwrap();
        rest(stage, job);
    });
}

/// A waker that does nothing. Its reference count tells how many clones are left.
struct Quiet;

impl Wake for Quiet {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn idle_is_free_when_a_release_meets_a_waiter_that_changes_its_waker() {
    check(Bound::None, || {
        let stage = Stage::new(1);
        let job = stage.job(1);
        let held = job.try_acquire().unwrap();
        let mut waiter = queued(&job);
        let holder = thread::spawn(move || drop(held));
        let quiet = Arc::new(Quiet);
        let polled = poll(&mut waiter, &Waker::from(quiet.clone()));
        holder.join().unwrap();
        drop((polled, waiter));
        rest(stage, job);
        assert_eq!(Arc::strong_count(&quiet), 1, "a waker is left behind");
    });
}

#[test]
fn limit_is_used_after_a_raise_from_0() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let job = stage.job(0);
        let theirs = job.clone();
        let owner = thread::spawn(move || theirs.set_limit(1));
        drop(block_on(job.acquire()).unwrap());
        owner.join().unwrap();
        rest(stage, job);
    });
}

/// After `hold` has returned, no more permits are granted than were held then.
fn limit_holds_after(hold: fn(&Job), unhold: fn(&Job)) {
    let stage = Stage::new(1);
    let job = stage.job(1);
    let held = job.try_acquire().unwrap();
    let mut waiter = queued(&job);
    let holder = thread::spawn(move || drop(held));
    hold(&job);
    let running = job.stats().running;
    let before = poll(&mut waiter, Waker::noop());
    holder.join().unwrap();
    match before {
        Poll::Ready(permit) => drop(permit.unwrap()),
        Poll::Pending => {
            let after = poll(&mut waiter, Waker::noop());
            assert!(after.is_pending() || running > 0, "a permit was granted in a held job");
            unhold(&job);
            let permit = match after {
                Poll::Ready(permit) => permit,
                Poll::Pending => block_on(waiter),
            };
            drop(permit.unwrap());
        }
    }
    unhold(&job);
    rest(stage, job);
}

#[test]
fn limit_holds_for_waiters_after_a_pause() {
    check(Bound::None, || limit_holds_after(Job::pause, Job::resume));
}

#[test]
fn limit_holds_for_waiters_after_it_was_lowered() {
    check(Bound::Preemptions(3), || {
        limit_holds_after(|job| job.set_limit(0), |job| job.set_limit(1));
    });
}

#[test]
fn limit_holds_for_permits_given_back_above_a_lowered_limit() {
    check(Bound::None, || {
        let stage = Stage::new(1);
        let job = stage.job(2);
        let [first, second] = [(), ()].map(|()| job.try_acquire().unwrap());
        let mut waiter = queued(&job);
        job.set_limit(1);
        let holder = thread::spawn(move || drop(first));
        assert!(poll(&mut waiter, Waker::noop()).is_pending(), "the limit is full without it");
        holder.join().unwrap();
        assert!(poll(&mut waiter, Waker::noop()).is_pending(), "the limit is full without it");
        drop(second);
        drop(block_on(waiter).unwrap());
        rest(stage, job);
    });
}

#[test]
fn limit_holds_for_permits_given_back_in_a_paused_job() {
    check(Bound::None, || {
        let stage = Stage::new(1);
        let job = stage.job(1);
        let held = job.try_acquire().unwrap();
        let mut waiter = queued(&job);
        job.pause();
        let holder = thread::spawn(move || drop(held));
        assert!(poll(&mut waiter, Waker::noop()).is_pending(), "the job is paused");
        holder.join().unwrap();
        assert!(poll(&mut waiter, Waker::noop()).is_pending(), "the job is paused");
        job.resume();
        drop(block_on(waiter).unwrap());
        rest(stage, job);
    });
}

/// A thread that gives a permit back sees a waiter and no pause. Then that waiter gets another permit, and a pause and a further
/// waiter come before the pop.
#[test]
fn limit_holds_for_a_waiter_that_comes_after_a_pause() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let job = stage.job(2);
        let [first, second] = [(), ()].map(|()| job.try_acquire().unwrap());
        let mut early = queued(&job);
        let holder = thread::spawn(move || drop(first));
        drop(second);
        let granted = poll(&mut early, Waker::noop());
        job.pause();
        let mut late = queued(&job);
        holder.join().unwrap();
        assert!(
            poll(&mut late, Waker::noop()).is_pending(),
            "a permit was granted in a paused job"
        );
        job.resume();
        let permit = match granted {
            Poll::Ready(permit) => permit,
            Poll::Pending => block_on(early),
        };
        drop(permit.unwrap());
        drop(block_on(late).unwrap());
        rest(stage, job);
    });
}

#[test]
fn limit_1_orders_a_waiter_that_is_polled_before_it_is_woken() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let (job, ledger) = (stage.job(1), Ledger::new());
        let held = job.try_acquire().unwrap();
        let mut waiter = queued(&job);
        let lines = ledger.clone();
        let holder = thread::spawn(move || {
            lines.write(0);
            drop(held);
        });
        let permit = match poll(&mut waiter, Waker::noop()) {
            Poll::Ready(permit) => permit,
            Poll::Pending => block_on(waiter),
        };
        ledger.write(1);
        drop(permit.unwrap());
        holder.join().unwrap();
        assert_eq!(ledger.read(), [0, 1]);
        rest(stage, job);
    });
}

#[test]
fn refusal_is_loud_when_a_close_meets_an_acquire() {
    check(Bound::None, || {
        let stage = Stage::new(1);
        let job = stage.job(1);
        let theirs = job.clone();
        let closer = thread::spawn(move || theirs.close());
        match job.try_acquire() {
            Ok(permit) => drop(permit),
            Err(error) => assert_eq!(error, TryAcquireError::Closed),
        }
        closer.join().unwrap();
        assert!(matches!(block_on(job.acquire()), Err(Closed)));
        rest(stage, job);
    });
}

#[test]
fn nothing_lost_when_a_cancel_meets_a_waiter() {
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(1);
        let job = stage.job(1);
        let held = job.try_acquire().unwrap();
        let mut waiter = queued(&job);
        let holder = thread::spawn(move || drop(held));
        let theirs = job.clone();
        let canceller = thread::spawn(move || theirs.cancel());
        while stage.play(0, usize::MAX) > 0 {}
        holder.join().unwrap();
        canceller.join().unwrap();
        stage.assert_none_waits_beside_room(&job);
        while stage.play(0, usize::MAX) > 0 {}
        let Poll::Ready(outcome) = poll(&mut waiter, Waker::noop()) else {
            panic!("the waiter was left in a cancelled job");
        };
        let granted = outcome.is_ok();
        drop(outcome);
        let stats = job.stats();
        let expected = if granted { (2, 0) } else { (1, 1) };
        assert_eq!((stats.completed, stats.cancelled), expected);
        rest(stage, job);
    });
}

#[test]
fn nothing_lost_when_the_job_s_handle_goes_before_its_permit() {
    check(Bound::None, || {
        let stage = Stage::new(1);
        let job = stage.job(1);
        let permit = job.try_acquire().unwrap();
        let holder = thread::spawn(move || drop(permit));
        drop(job);
        holder.join().unwrap();
        stage.end();
    });
}

#[test]
fn limit_is_used_by_a_waiter_of_the_other_child() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let parent = stage.job(1);
        let children = [stage.child(&parent, 1), stage.child(&parent, 1)];
        let gauge = Gauge::new(1);
        let held = children[0].try_acquire().unwrap();
        let seen = gauge.clone();
        let holder = thread::spawn(move || visit(held, &seen));
        visit(block_on(children[1].acquire()).unwrap(), &gauge);
        holder.join().unwrap();
        assert_eq!(gauge.ran(), 2);
        stage.assert_none_stranded(&parent);
        children.iter().for_each(|child| stage.assert_none_stranded(child));
        drop((children, parent));
        stage.end();
    });
}

#[test]
fn limit_is_used_by_two_waiters_of_one_child() {
    // One of them stands in the parent's queue, the other in the child's.
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let parent = stage.job(1);
        let child = stage.child(&parent, 2);
        let held = parent.try_acquire().unwrap();
        let waiters = [queued(&child), queued(&child)];
        let holder = thread::spawn(move || drop(held));
        for waiter in waiters {
            drop(block_on(waiter).unwrap());
        }
        holder.join().unwrap();
        stage.assert_none_stranded(&parent);
        stage.assert_none_stranded(&child);
        drop((child, parent));
        stage.end();
    });
}
