//! Scopes: a task that borrows against the wait of its scope.

#![cfg(tollgate_loom)]

use loom::cell::UnsafeCell;
use loom::thread::{self, JoinHandle};
use loom_tests::check;
use loom_tests::check::Bound;
use std::cell::RefCell;
use tollgate::Scope;
use tollgate::model::{Stage, Tasks, gate, record_of};

/// A value that the tasks of a scope change without a lock.
struct Borrowed(UnsafeCell<usize>);

// SAFETY: the model checks that accesses do not race.
unsafe impl Sync for Borrowed {}

impl Borrowed {
    fn add(&self) {
        // SAFETY: the model checks that accesses do not race.
        self.0.with_mut(|value| unsafe { *value += 1 });
    }
}

/// A result that changes what it borrows when it is dropped.
struct Adds<'a>(&'a Borrowed);

impl Drop for Adds<'_> {
    fn drop(&mut self) {
        self.0.add();
    }
}

/// Runs a scope, which starts the worker itself. At the end of the scope its tasks must have changed the value `times` times.
fn beside_a_worker(
    bound: Bound,
    times: usize,
    run: impl for<'s> Fn(&'s Scope<'s, '_>, &'s Borrowed, &dyn Fn()) + Send + Sync + 'static,
) {
    check(bound, move || {
        let stage = Stage::new(1);
        let job = stage.job(1);
        let (borrowed, worker) = (Borrowed(UnsafeCell::new(0)), RefCell::new(None));
        let start = || _ = worker.replace(Some(thread::spawn(move || stage.play(0, 4))));
        job.scope(|s| run(s, &borrowed, &start));
        // SAFETY: the model checks that accesses do not race.
        borrowed.0.with(|value| assert_eq!(unsafe { *value }, times));
        let worker: Option<JoinHandle<usize>> = worker.take();
        worker.expect("it was started").join().unwrap();
        drop(job);
        stage.end();
    });
}

#[test]
fn nothing_lost_when_the_end_of_a_task_meets_the_wait_of_its_scope() {
    beside_a_worker(Bound::Preemptions(3), 1, |s, borrowed, start| {
        s.execute(|| borrowed.add());
        start();
    });
}

#[test]
fn nothing_lost_when_a_task_of_a_scope_pushes_another() {
    beside_a_worker(Bound::Preemptions(2), 2, |s, borrowed, start| {
        s.execute(|| {
            borrowed.add();
            s.execute(|| borrowed.add());
        });
        start();
    });
}

#[test]
fn nothing_lost_when_the_end_of_a_scoped_task_meets_the_drop_of_its_handle() {
    beside_a_worker(Bound::Preemptions(2), 1, |s, borrowed, start| {
        let handle = s.spawn(|| Adds(borrowed));
        start();
        drop(handle);
    });
}

#[test]
fn nothing_lost_of_a_task_that_the_scope_has_no_reference_to() {
    // A scope drops its reference to a task that has started. Then only the count of tasks orders the task before the scope's end.
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let (job, borrowed, tasks) = (stage.job(1), Borrowed(UnsafeCell::new(0)), Tasks::new());
        let worker = tasks.enter(|| {
            // SAFETY: the task borrows what outlives `enter`, and this is called by `enter`.
            let task =
                unsafe { tasks.make::<true, _, _>(record_of(&job), false, || borrowed.add()) };
            gate::push(record_of(&job), task.cell());
            thread::spawn(move || stage.play(0, 4))
        });
        // SAFETY: the model checks that accesses do not race.
        borrowed.0.with(|value| assert_eq!(unsafe { *value }, 1));
        worker.ok().expect("no task panics").join().unwrap();
        drop((job, tasks));
        stage.end();
    });
}
