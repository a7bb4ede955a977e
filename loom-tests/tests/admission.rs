//! The way of a task: pushers, workers and the job's owner against each other, with the workers' part played
//! by the model's threads. At rest no task waits beside a free permit; then everything is run, and each
//! task has run once.

#![cfg(tollgate_loom)]

use loom::sync::atomic::AtomicBool;
use loom::sync::atomic::Ordering::{Acquire, Release};
use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::{Door, Gauge, Late, Ledger, rest};
use std::sync::Arc;
use tollgate::Job;
use tollgate::model::Stage;

fn fill(job: &Job, gauge: &Arc<Gauge>, tasks: usize) {
    for _ in 0..tasks {
        job.execute(gauge.task());
    }
}

#[test]
fn limit_is_used_when_a_spawn_meets_a_finish() {
    // The lost hand-over: one task ends while another one is pushed into a full job.
    check(Bound::None, || {
        let stage = Stage::new(1);
        let (job, gauge) = (stage.job(1), Gauge::new(1));
        job.execute(gauge.task());
        let worker = thread::spawn(move || stage.play(0, 1));
        job.execute(gauge.task());
        worker.join().unwrap();
        rest(stage, job);
        assert_eq!(gauge.ran(), 2);
    });
}

#[test]
fn limit_is_used_when_two_spawns_meet_a_finish() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let (job, gauge) = (stage.job(1), Gauge::new(1));
        job.execute(gauge.task());
        let worker = thread::spawn(move || stage.play(0, 1));
        fill(&job, &gauge, 2);
        worker.join().unwrap();
        rest(stage, job);
        assert_eq!(gauge.ran(), 3);
    });
}

#[test]
fn limit_is_used_when_two_finish() {
    // Two permits come back at once, and two tasks wait for them.
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(2);
        let (job, gauge) = (stage.job(2), Gauge::new(2));
        fill(&job, &gauge, 4);
        let other = thread::spawn(move || stage.play(1, 1));
        stage.play(0, 1);
        other.join().unwrap();
        rest(stage, job);
        assert_eq!(gauge.ran(), 4);
    });
}

#[test]
fn serial_in_order_with_two_workers() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(2);
        let (job, ledger) = (stage.job(1), Ledger::new());
        for line in 0..2 {
            let ledger = ledger.clone();
            job.execute(move || ledger.write(line));
        }
        let other = thread::spawn(move || stage.play(1, 2));
        let third = ledger.clone();
        job.execute(move || third.write(2));
        stage.play(0, 2);
        other.join().unwrap();
        rest(stage, job);
        assert_eq!(ledger.read(), [0, 1, 2]);
    });
}

#[test]
fn limit_is_used_after_a_raise_from_0() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let (job, gauge) = (stage.job(0), Gauge::new(1));
        let (theirs, seen) = (job.clone(), gauge.clone());
        let pusher = thread::spawn(move || fill(&theirs, &seen, 2));
        job.set_limit(1);
        pusher.join().unwrap();
        rest(stage, job);
        assert_eq!(gauge.ran(), 2);
    });
}

#[test]
fn limit_is_used_after_a_resume() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let (job, gauge) = (stage.job(1), Gauge::new(1));
        job.pause();
        let (theirs, seen) = (job.clone(), gauge.clone());
        let pusher = thread::spawn(move || fill(&theirs, &seen, 2));
        job.resume();
        pusher.join().unwrap();
        rest(stage, job);
        assert_eq!(gauge.ran(), 2);
    });
}

#[test]
fn limit_holds_while_lowered() {
    // 2 is lowered to 1 while two tasks run or are about to. What starts after the call is alone.
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(2);
        let (job, wide, narrow) = (stage.job(2), Gauge::new(2), Gauge::new(1));
        fill(&job, &wide, 2);
        let other = thread::spawn(move || stage.play(1, 1));
        job.set_limit(1);
        fill(&job, &wide, 1);
        stage.play(0, 1);
        other.join().unwrap();
        // Both workers are at rest: from here on the limit is 1 for all of them.
        fill(&job, &narrow, 1);
        rest(stage, job);
        assert_eq!(wide.ran() + narrow.ran(), 4);
    });
}

#[test]
fn limit_holds_after_a_pause() {
    // Who has been told that the job is paused sees no task start, not even one that was ready, or
    // next in line under a permit that is held.
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let (job, late) = (stage.job(1), Late::new());
        (0..3).for_each(|_| job.execute(late.task()));
        let worker = thread::spawn(move || stage.play(0, usize::MAX));
        job.pause();
        let running = job.stats().running;
        late.begin();
        worker.join().unwrap();
        let late = late.count();
        assert!(late <= running, "{late} tasks started in a paused job, {running} ran");
        job.resume();
        rest(stage, job);
    });
}

#[test]
fn nothing_lost_when_close_meets_a_spawn() {
    check(Bound::None, || {
        let stage = Stage::new(1);
        let (job, gauge) = (stage.job(1), Gauge::new(1));
        let (theirs, seen) = (job.clone(), gauge.clone());
        let pusher = thread::spawn(move || theirs.try_execute(seen.task()).is_ok());
        job.close();
        assert!(job.try_execute(gauge.task()).is_err(), "a closed job took a task");
        let accepted = usize::from(pusher.join().unwrap());
        rest(stage, job);
        assert_eq!(gauge.ran(), accepted);
    });
}

#[test]
fn idle_is_free_when_the_last_handle_meets_the_last_finish() {
    // The record is freed once, by whoever is last; a leak, or a use after, fails the model.
    check(Bound::None, || {
        let stage = Stage::new(1);
        let (job, gauge) = (stage.job(1), Gauge::new(1));
        fill(&job, &gauge, 2);
        let worker = thread::spawn(move || stage.play(0, usize::MAX));
        drop(job);
        worker.join().unwrap();
        while stage.play(0, usize::MAX) > 0 {}
        assert_eq!(gauge.ran(), 2);
        stage.end();
    });
}

#[test]
fn idle_is_free_when_two_handles_go() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let (job, gauge) = (stage.job(0), Gauge::new(1));
        let theirs = job.clone();
        let other = thread::spawn(move || {
            theirs.set_limit(1);
            drop(theirs);
        });
        job.execute(gauge.task());
        drop(job);
        other.join().unwrap();
        while stage.play(0, usize::MAX) > 0 {}
        assert_eq!(gauge.ran(), 1);
        stage.end();
    });
}

#[test]
fn nothing_lost_when_a_task_panics() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let (job, gauge) = (stage.job(1), Gauge::new(1));
        // Without the hook's noise: the payload is not a message.
        job.execute(|| std::panic::resume_unwind(Box::new(())));
        let worker = thread::spawn(move || stage.play(0, 1));
        job.execute(gauge.task());
        worker.join().unwrap();
        rest(stage, job);
        assert_eq!(gauge.ran(), 1);
    });
}

#[test]
fn limit_holds_for_a_job_as_wide_as_the_pool() {
    // Such a job's tasks lie in deques uncounted, under a thief's hands.
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(2);
        let (job, gauge) = (stage.job(2), Gauge::new(2));
        fill(&job, &gauge, 3);
        let other = thread::spawn(move || stage.play(1, 2));
        stage.play(0, 2);
        other.join().unwrap();
        rest(stage, job);
        assert_eq!(gauge.ran(), 3);
    });
}

#[test]
fn limit_is_used_by_a_job_as_wide_as_the_pool() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(2);
        let (job, gauge) = (stage.job(2), Gauge::new(2));
        fill(&job, &gauge, 1);
        let worker = thread::spawn(move || stage.play(1, 1));
        fill(&job, &gauge, 2);
        worker.join().unwrap();
        rest(stage, job);
        assert_eq!(gauge.ran(), 3);
    });
}

#[test]
fn limit_is_used_whatever_a_worker_takes_its_deque_to_hold() {
    // Whose tasks lie on top of its deque is a guess. A hold that opens with a wrong one looks at the backlog all the
    // same: what pushers have left to whoever runs the job must be within reach while its task runs.
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(2);
        let (job, other, gauge) = (stage.job(3), stage.job(1), Gauge::new(3));
        let [started, ran] = [(), ()].map(|()| Arc::new(AtomicBool::new(false)));
        stage.lay(0, &other, || ());
        stage.runs_elsewhere(&job);
        job.pause();
        job.execute(gauge.task());
        let (theirs, ends) = (job.clone(), ran.clone());
        job.execute(move || {
            // Into the backlog, and nobody takes it out: it is left to the next who runs a task.
            theirs.pause();
            theirs.execute(move || ends.store(true, Release));
            theirs.resume();
            Stage::mislead_worker(&theirs);
        });
        let (begins, ends) = (started.clone(), ran.clone());
        job.execute(move || {
            begins.store(true, Release);
            while !ends.load(Acquire) {
                thread::yield_now();
            }
        });
        job.resume();
        // Another's task in its deque ends the turn after two.
        let worker = thread::spawn(move || stage.play(0, 2));
        while !started.load(Acquire) {
            thread::yield_now();
        }
        while !ran.load(Acquire) {
            stage.play(1, 1);
            thread::yield_now();
        }
        worker.join().unwrap();
        stage.ends_elsewhere(&job);
        drop(other);
        rest(stage, job);
    });
}

#[test]
fn limit_holds_once_it_has_settled() {
    // The excess ends while somebody is on its way to wait for that.
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let job = stage.job(2);
        stage.runs_elsewhere(&job);
        stage.runs_elsewhere(&job);
        let theirs = job.clone();
        let other = thread::spawn(move || stage.ends_elsewhere(&theirs));
        job.set_limit(1);
        job.settled().wait();
        assert_eq!(job.stats().running, 1, "the excess has not ended");
        other.join().unwrap();
        stage.ends_elsewhere(&job);
        rest(stage, job);
    });
}

#[test]
fn nothing_lost_when_a_task_pushes_on() {
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(2);
        let (job, gauge) = (stage.job(2), Gauge::new(2));
        let (inner, seen) = (job.clone(), gauge.clone());
        job.execute(move || {
            inner.execute(seen.task());
            inner.execute(seen.task());
        });
        let other = thread::spawn(move || stage.play(1, 2));
        stage.play(0, 2);
        other.join().unwrap();
        rest(stage, job);
        assert_eq!(gauge.ran(), 2);
    });
}

#[test]
fn idle_is_free_when_two_handles_of_a_held_job_go() {
    // The list of held jobs has a handle of its own: it must not be the last one left.
    check(Bound::None, || {
        let stage = Stage::new(1);
        let job = stage.job(0);
        let theirs = job.clone();
        let other = thread::spawn(move || drop(theirs));
        drop(job);
        other.join().unwrap();
        stage.end();
    });
}

#[test]
fn limit_is_used_when_a_refusal_meets_a_raise() {
    // The task was ready when the limit fell to 0; its way back to the backlog crosses the raise.
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let (job, gauge) = (stage.job(1), Gauge::new(1));
        job.execute(gauge.task());
        job.set_limit(0);
        let worker = thread::spawn(move || stage.play(0, 1));
        job.set_limit(1);
        worker.join().unwrap();
        rest(stage, job);
        assert_eq!(gauge.ran(), 1);
    });
}

#[test]
fn limit_is_used_by_a_stolen_batch_that_is_refused() {
    // A thief steals a batch of a job that has been paused. The resume comes while the thief's tasks are refused.
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(2);
        let (job, gauge) = (stage.job(2), Gauge::new(2));
        for _ in 0..3 {
            stage.lay_in_batch(0, &job, gauge.task());
        }
        job.pause();
        let thief = thread::spawn(move || stage.play(1, 2));
        job.resume();
        thief.join().unwrap();
        rest(stage, job);
        assert_eq!(gauge.ran(), 3);
    });
}

#[test]
fn serial_in_order_beside_a_task_that_ends() {
    // The permit comes back while a task waits for it, and another task is pushed.
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let (job, ledger) = (stage.job(1), Ledger::new());
        stage.runs_elsewhere(&job);
        let writes = |line| {
            let ledger = ledger.clone();
            move || ledger.write(line)
        };
        job.execute(writes(0));
        let theirs = job.clone();
        let other = thread::spawn(move || stage.ends_elsewhere(&theirs));
        job.execute(writes(1));
        other.join().unwrap();
        rest(stage, job);
        assert_eq!(ledger.read(), [0, 1]);
    });
}

#[test]
fn limit_holds_once_it_has_settled_again() {
    // One thread waits twice. The second wait begins while the first task to end still wakes the waiters.
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let job = stage.job(2);
        stage.runs_elsewhere(&job);
        stage.runs_elsewhere(&job);
        let theirs = job.clone();
        job.set_limit(1);
        let other = thread::spawn(move || {
            stage.ends_elsewhere(&theirs);
            stage.ends_elsewhere(&theirs);
        });
        job.settled().wait();
        assert!(job.stats().running <= 1, "the excess has not ended");
        job.pause();
        job.settled().wait();
        assert_eq!(job.stats().running, 0, "settled while a task of a paused job runs");
        other.join().unwrap();
        job.resume();
        rest(stage, job);
    });
}

#[test]
fn limit_is_used_beside_a_ready_task_that_runs_on_and_stays() {
    // The worker runs a ready task under the permit that it holds, and gives up that task's reservation: there is room for the task
    // that was pushed meanwhile.
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(3);
        let (job, started, looked) = (stage.job(2), Door::new(), Door::new());
        let (begins, ends) = (started.clone(), looked.clone());
        stage.lay(0, &job, move || {
            begins.open();
            ends.pass();
        });
        stage.lay(0, &job, || ());
        let worker = thread::spawn(move || stage.play(0, 3));
        job.execute(|| ());
        started.pass();
        stage.assert_none_waits_beside_room(&job);
        looked.open();
        worker.join().unwrap();
        rest(stage, job);
    });
}
