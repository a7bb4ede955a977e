//! A wait for a job against the end of what it waits for. When the wait returns, all figures are those of a job at rest.

#![cfg(tollgate_loom)]

use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::{block_on, rest};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Wake, Waker};
use tollgate::model::idle::is_idle;
use tollgate::model::{Stage, record_of};

#[test]
fn a_wait_returns_when_the_last_task_is_counted_and_its_permit_is_back() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let job = stage.job(1);
        job.execute(|| ());
        let worker = thread::spawn(move || stage.play(0, usize::MAX));
        job.wait();
        let stats = job.stats();
        assert_eq!((stats.running, stats.completed, stats.backlog + stats.ready), (0, 1, 0));
        worker.join().unwrap();
        rest(stage, job);
    });
}

#[test]
fn a_wait_returns_when_the_last_permit_is_counted_and_back() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let parent = stage.job(1);
        let job = stage.child(&parent, 1);
        let permit = job.try_acquire().unwrap();
        let giver = thread::spawn(move || drop(permit));
        job.wait();
        assert_eq!((job.stats().running, job.stats().completed), (0, 1));
        assert_eq!(parent.stats().running, 0);
        giver.join().unwrap();
        stage.assert_none_stranded(&parent);
        drop(parent);
        rest(stage, job);
    });
}

/// The child's counts are those of its record, or those that it has left to its parent.
#[test]
fn figures_are_whole_while_a_child_goes() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let parent = stage.job(2);
        let child = parent.job(1);
        child.execute(|| ());
        while stage.play(0, usize::MAX) > 0 {}
        let other = thread::spawn(move || drop(child));
        assert_eq!(parent.stats_with_children().completed, 1);
        other.join().unwrap();
        assert_eq!(parent.stats_with_children().completed, 1);
        rest(stage, parent);
    });
}

/// The held job has a task in its queue, so nothing of the job is busy. A resume admits the task while another thread checks the
/// job: that thread finds the task in the queue, or counted as busy. The model makes one such check; a wait makes two.
#[test]
fn a_job_is_not_idle_while_a_resume_admits_its_task() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let job = Arc::new(stage.job(1));
        job.pause();
        job.execute(|| ());
        let theirs = job.clone();
        let other = thread::spawn(move || theirs.resume());
        assert!(!is_idle(record_of(&job)));
        other.join().unwrap();
        while stage.play(0, usize::MAX) > 0 {}
        assert!(job.is_idle());
        rest(stage, Arc::into_inner(job).expect("the other thread has ended"));
    });
}

/// The child's task stands in the queue of a held parent, where no worker finds it. The task's handle cancels it while a future
/// begins to wait for the child: the future finds the task cancelled, or is woken.
#[test]
fn a_wait_for_a_child_of_a_held_parent_learns_of_a_cancel() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let parent = stage.job(0);
        let child = stage.child(&parent, 1);
        let task = child.spawn(|| ());
        let (woken, mut idle) = (Arc::new(Woken::default()), child.idle());
        let waker = Waker::from(woken.clone());
        let mut poll = || Pin::new(&mut idle).poll(&mut Context::from_waker(&waker));
        let other = thread::spawn(move || assert!(task.cancel()));
        let mut polled = poll();
        other.join().unwrap();
        while polled.is_pending() {
            stage.play(0, usize::MAX);
            assert!(woken.0.swap(false, SeqCst), "the wait has learned nothing of the cancel");
            polled = poll();
        }
        drop(idle);
        assert_eq!(child.stats().cancelled, 1);
        parent.set_limit(1);
        drop(parent);
        rest(stage, child);
    });
}

/// The first waiter sees the job at rest beside a push. The second waiter may find the job busy again, and must learn of that rest.
#[test]
fn a_waiter_learns_of_a_rest_that_another_waiter_has_seen() {
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(1);
        let job = stage.job(1);
        job.execute(|| ());
        let (mut first, mut second) = (job.idle(), job.idle());
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut first).poll(&mut context).is_pending());
        assert!(Pin::new(&mut second).poll(&mut context).is_pending());
        while stage.play(0, usize::MAX) > 0 {}
        let theirs = job.clone();
        let pusher = thread::spawn(move || theirs.execute(|| ()));
        let waiter = thread::spawn(move || block_on(second));
        let has_seen = Pin::new(&mut first).poll(&mut context).is_ready();
        pusher.join().unwrap();
        if !has_seen {
            // The push came first. Both waits end with its task.
            while stage.play(0, usize::MAX) > 0 {}
        }
        waiter.join().unwrap();
        drop(first);
        rest(stage, job);
    });
}

/// Notes that it was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

/// Two threads use one handle. The list of held jobs has a handle of its own, which may be added and dropped beside each other.
#[test]
fn a_record_stays_while_a_pause_meets_a_resume_by_one_handle() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let job = Arc::new(stage.job(1));
        let theirs = job.clone();
        let other = thread::spawn(move || theirs.pause());
        job.resume();
        other.join().unwrap();
        job.resume();
        rest(stage, Arc::into_inner(job).expect("the other thread has ended"));
    });
}
