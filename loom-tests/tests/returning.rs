//! Tasks that have waited inside and re-acquire their permits, ahead of the queue. The waits are real joins. Their threads have no
//! seat meanwhile, so no spare worker is needed, and the models stay small.

#![cfg(tollgate_loom)]

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering::AcqRel};
use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::{Door, Ledger, rest};
use std::sync::{Arc, Mutex};
use tollgate::model::parking::parking_lot;
use tollgate::model::{Stage, record_of};
use tollgate::{Job, TaskHandle};

/// A task of `job` that joins a task of another job, and then calls `back`. The awaited task is behind it in the injector, or its
/// job is held.
fn joiner(job: &Job, awaited: &Job, begun: &Arc<Door>, back: impl FnOnce() + Send + 'static) {
    // No part of the model: the place is filled before a worker starts.
    let place: Arc<Mutex<Option<TaskHandle<()>>>> = Arc::default();
    let (theirs, begun) = (place.clone(), begun.clone());
    job.execute(move || {
        let awaited = theirs.lock().unwrap().take().expect("it is joined once");
        begun.open();
        Stage::without_seat(|| awaited.join().unwrap());
        back();
    });
    *place.lock().unwrap() = Some(awaited.spawn(|| ()));
}

/// Two permits come at once. The joiner takes one, and the task that was pushed meanwhile must get the other one: the joiner ends
/// only after that.
#[test]
fn limit_is_used_beside_a_joiner_that_has_returned() {
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(2);
        let (job, other) = (stage.job(1), stage.job(1));
        let [begun, back, ran] = [(); 3].map(|()| Door::new());
        let (returned, leave) = (back.clone(), ran.clone());
        joiner(&job, &other, &begun, move || {
            returned.open();
            leave.pass();
        });
        let worker = thread::spawn(move || stage.play(0, 1));
        begun.pass();
        job.set_limit(0);
        assert_eq!(stage.play(1, 1), 1);
        job.execute(move || ran.open());
        job.set_limit(2);
        back.pass();
        stage.play(1, usize::MAX);
        worker.join().unwrap();
        drop(other);
        rest(stage, job);
    });
}

/// A worker runs the tasks of the queue under one permit. It must give this permit to the joiner after the task that runs.
#[test]
fn join_is_safe_beside_a_worker_that_keeps_the_permit() {
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(2);
        let (job, other) = (stage.job(1), stage.job(1));
        let (begun, back) = (Door::new(), Arc::new(AtomicBool::new(false)));
        let returned = back.clone();
        joiner(&job, &other, &begun, move || _ = returned.swap(true, AcqRel));
        // The mark alone is set a moment before the worker is told of it.
        let waits = |job: &Job| parking_lot().has_waiter(record_of(job).permit_key());
        let (first, second, overtook) = (job.clone(), job.clone(), Arc::new(AtomicUsize::new(0)));
        let has_come = back.clone();
        job.execute(move || {
            while !waits(&first) && !has_come.fetch_or(false, AcqRel) {
                thread::yield_now();
            }
        });
        let counts = overtook.clone();
        job.execute(move || _ = counts.fetch_add(usize::from(waits(&second)), AcqRel));
        let worker = thread::spawn(move || stage.play(0, 1));
        begun.pass();
        stage.play(1, usize::MAX);
        worker.join().unwrap();
        while stage.play(1, usize::MAX) > 0 {}
        assert_eq!(overtook.fetch_add(0, AcqRel), 0, "a task has overtaken the joiner");
        drop(other);
        rest(stage, job);
    });
}

/// The joiner takes back the permit of its job's parent, too.
#[test]
fn limit_holds_at_the_parent_of_a_joiner_that_has_returned() {
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(2);
        let (parent, other) = (stage.job(1), stage.job(1));
        let (job, begun) = (stage.child(&parent, 1), Door::new());
        let running = Arc::new(AtomicUsize::new(9));
        let (above, notes) = (parent.clone(), running.clone());
        joiner(&job, &other, &begun, move || _ = notes.swap(above.stats().running, AcqRel));
        let worker = thread::spawn(move || stage.play(0, 1));
        begun.pass();
        assert_eq!(stage.play(1, 1), 1);
        worker.join().unwrap();
        assert_eq!(running.fetch_add(0, AcqRel), 1);
        stage.assert_none_stranded(&parent);
        drop((parent, other));
        rest(stage, job);
    });
}

/// Another worker takes the task that has become ready during the wait, and puts it back if the joiner has its permit again. The
/// joiner's worker then takes that task out of the queue, or finds it ready and ends its turn.
#[test]
fn serial_in_order_beside_a_ready_task_that_is_put_back() {
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(2);
        let (job, other) = (stage.job(1), stage.job(1));
        let (begun, ledger) = (Door::new(), Ledger::new());
        joiner(&job, &other, &begun, || ());
        for line in 1..3 {
            let lines = ledger.clone();
            job.execute(move || lines.write(line));
        }
        let worker = thread::spawn(move || stage.play(0, 1));
        begun.pass();
        stage.play(1, 2);
        worker.join().unwrap();
        while stage.play(1, usize::MAX) > 0 {}
        assert_eq!(ledger.read(), [1, 2]);
        drop(other);
        rest(stage, job);
    });
}
