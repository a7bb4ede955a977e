//! A job whose backlog has a capacity: those who wait for room to push, against those who make it, and against its close.

#![cfg(tollgate_loom)]

use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::{Drops, Gauge, block_on, rest};
use std::future::Future;
use std::task::{Context, Waker};
use tollgate::Pool;
use tollgate::model::Stage;

#[test]
fn limit_is_used_when_a_pusher_waits_for_room() {
    // The room is given back by the start of a task, while the pusher is on its way to wait.
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let (job, gauge) = (stage.bounded(1, 1), Gauge::new(1));
        job.execute(gauge.task());
        let worker = thread::spawn(move || stage.play(0, 1));
        job.execute(gauge.task());
        worker.join().unwrap();
        rest(stage, job);
        assert_eq!(gauge.ran(), 2);
    });
}

#[test]
fn limit_is_used_when_two_pushers_wait_for_room() {
    // Nothing runs: room comes back when a task is cancelled, by one pusher after the other.
    check(Bound::Preemptions(1), || {
        let stage = Stage::new(1);
        let job = stage.bounded(1, 1);
        job.pause();
        let first = job.spawn(|| ());
        let pushers = [(), ()].map(|()| {
            let theirs = job.clone();
            thread::spawn(move || assert!(theirs.spawn(|| ()).cancel()))
        });
        assert!(first.cancel());
        for pusher in pushers {
            pusher.join().unwrap();
        }
        drop(first);
        job.resume();
        rest(stage, job);
    });
}

#[test]
fn limit_is_used_when_a_future_waits_for_room() {
    // As above, with a future instead of a thread that blocks.
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let (job, gauge) = (stage.bounded(1, 1), Gauge::new(1));
        job.execute(gauge.task());
        let worker = thread::spawn(move || stage.play(0, 1));
        block_on(job.reserve()).unwrap().execute(gauge.task());
        worker.join().unwrap();
        rest(stage, job);
        assert_eq!(gauge.ran(), 2);
    });
}

#[test]
fn limit_is_used_when_a_wait_for_room_is_given_up() {
    // The slot comes back while one future is on its way to give its wait up, and another one stays.
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(1);
        let job = stage.bounded(0, 1);
        let slot = block_on(job.reserve()).unwrap();
        let gives_up = {
            let mut reserve = Box::pin(job.reserve());
            let waker = Waker::noop();
            assert!(reserve.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
            reserve
        };
        let stays = thread::spawn({
            let job = job.clone();
            move || drop(block_on(job.reserve()).unwrap())
        });
        let gives = thread::spawn(move || drop(slot));
        drop(gives_up);
        gives.join().unwrap();
        stays.join().unwrap();
        rest(stage, job);
    });
}

#[test]
fn refusal_is_loud_when_a_close_meets_a_future_that_waits_for_room() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let job = stage.bounded(0, 1);
        let slot = block_on(job.reserve()).unwrap();
        let theirs = job.clone();
        let waits = thread::spawn(move || assert!(block_on(theirs.reserve()).is_err()));
        job.close();
        waits.join().unwrap();
        drop(slot);
        rest(stage, job);
    });
}

#[test]
fn refusal_is_loud_when_a_close_meets_a_pusher_who_waits_for_room() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let (job, drops) = (stage.bounded(1, 1), Drops::default());
        let payloads = [drops.payload(), drops.payload()];
        let theirs = job.clone();
        let pusher = thread::spawn(move || {
            for payload in payloads {
                theirs.execute(move || drop(payload));
            }
        });
        job.close();
        pusher.join().unwrap();
        while stage.play(0, usize::MAX) > 0 {}
        let stats = job.stats();
        assert_eq!(stats.completed + stats.cancelled, 2);
        assert_eq!(drops.count(), 2);
        rest(stage, job);
    });
}

#[test]
fn refusal_is_loud_when_a_close_meets_two_pushers_of_which_one_has_its_slot() {
    // The pusher that has its slot leaves the list of blocked pushers. The other one must stay there, or the close misses it.
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(1);
        let (job, drops) = (stage.bounded(0, 1), Drops::default());
        let slot = block_on(job.reserve()).unwrap();
        let pushers = [(); 2].map(|()| {
            let (theirs, payload) = (job.clone(), drops.payload());
            thread::spawn(move || theirs.execute(move || drop(payload)))
        });
        drop(slot);
        job.close();
        for pusher in pushers {
            pusher.join().unwrap();
        }
        job.set_limit(1);
        while stage.play(0, usize::MAX) > 0 {}
        let stats = job.stats();
        assert_eq!((stats.completed + stats.cancelled, drops.count()), (2, 2));
        rest(stage, job);
    });
}

#[test]
fn limit_holds_for_tasks_that_are_handed_over() {
    // Two pushers, one permit, and a worker that gives it back: what is accepted runs, one at a time.
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(1);
        let (job, gauge) = (stage.bounded(1, 0), Gauge::new(1));
        let (theirs, task) = (job.clone(), gauge.task());
        let pusher = thread::spawn(move || theirs.try_execute(task).is_ok());
        let own = job.try_execute(gauge.task()).is_ok();
        let worker = thread::spawn(move || stage.play(0, 1));
        let accepted = usize::from(own) + usize::from(pusher.join().unwrap());
        worker.join().unwrap();
        while stage.play(0, usize::MAX) > 0 {}
        assert!(accepted > 0, "both were refused beside a free permit");
        assert_eq!(gauge.ran(), accepted);
        rest(stage, job);
    });
}

#[test]
fn limit_is_used_when_a_pusher_waits_for_a_permit() {
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(1);
        let (job, gauge) = (stage.bounded(1, 0), Gauge::new(1));
        job.execute(gauge.task());
        let worker = thread::spawn(move || stage.play(0, 1));
        job.execute(gauge.task()); // waits until the first one has ended
        worker.join().unwrap();
        while stage.play(0, usize::MAX) > 0 {}
        assert_eq!((gauge.ran(), job.stats().cancelled), (2, 0));
        rest(stage, job);
    });
}

#[test]
fn refusal_is_loud_when_a_close_meets_a_pusher_who_waits_for_a_permit() {
    // The permit comes back as the job is closed: the task runs or is cancelled, and is counted once.
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(1);
        let job = stage.bounded(1, 0);
        let slot = block_on(job.reserve()).unwrap();
        let theirs = job.clone();
        let pusher = thread::spawn(move || drop(theirs.spawn(|| ())));
        job.close();
        drop(slot);
        pusher.join().unwrap();
        while stage.play(0, usize::MAX) > 0 {}
        let stats = job.stats();
        assert_eq!(stats.completed + stats.cancelled, 1, "{stats:?}");
        rest(stage, job);
    });
}

#[test]
fn refusal_is_loud_when_a_held_permit_stays_and_a_close_meets_a_pusher() {
    // Only the close can end the wait.
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let job = stage.bounded(1, 0);
        let slot = block_on(job.reserve()).unwrap();
        let (threads, futures) = (job.clone(), job.clone());
        let pusher = thread::spawn(move || threads.execute(|| ()));
        job.close();
        pusher.join().unwrap();
        assert!(block_on(futures.reserve()).is_err());
        assert_eq!(job.stats().cancelled, 1);
        drop(slot);
        drop(futures);
        rest(stage, job);
    });
}

#[test]
fn limit_is_used_when_a_refused_hand_over_meets_a_resume() {
    // The worker puts the task of the paused job back into the queue, while another thread lets the job go.
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let (job, gauge) = (stage.bounded(1, 0), Gauge::new(1));
        job.try_execute(gauge.task()).unwrap();
        job.pause();
        let worker = thread::spawn(move || stage.play(0, 1));
        job.resume();
        worker.join().unwrap();
        stage.assert_none_waits_beside_room(&job);
        while stage.play(0, usize::MAX) > 0 {}
        assert_eq!(gauge.ran(), 1);
        rest(stage, job);
    });
}

#[test]
fn limit_holds_for_a_task_that_is_handed_over_before_a_pause() {
    check(Bound::None, || {
        let stage = Stage::new(1);
        let (job, gauge) = (stage.bounded(1, 0), Gauge::new(1));
        job.try_execute(gauge.task()).unwrap();
        job.pause();
        while stage.play(0, usize::MAX) > 0 {}
        assert_eq!((gauge.ran(), job.stats().running, job.stats().backlog), (0, 0, 1));
        job.resume();
        while stage.play(0, usize::MAX) > 0 {}
        assert_eq!(gauge.ran(), 1);
        rest(stage, job);
    });
}

#[test]
fn nothing_lost_when_a_cancel_meets_a_task_that_is_handed_over() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let (job, drops) = (stage.bounded(1, 0), Drops::default());
        let payload = drops.payload();
        let task = job.try_spawn(move || drop(payload)).unwrap();
        job.cancel();
        let worker = thread::spawn(move || stage.play(0, 1));
        assert!(task.join().is_err(), "a task of a cancelled job has started");
        worker.join().unwrap();
        let stats = job.stats();
        assert_eq!((drops.count(), stats.cancelled, stats.running), (1, 1, 0));
        rest(stage, job);
    });
}

#[test]
fn nothing_lost_when_a_drain_meets_a_hand_over() {
    // What was accepted runs, however late the drain begins.
    check(Bound::Preemptions(2), || {
        let pool = Pool::builder().workers(1).max_spare_workers(0).build().unwrap();
        let job = pool.job_builder().limit(1).capacity(0).build();
        let theirs = job.clone();
        let pusher = thread::spawn(move || theirs.try_spawn(|| ()).ok());
        pool.shutdown();
        if let Some(task) = pusher.join().unwrap() {
            assert!(task.join().is_ok(), "a drain left out a task that was accepted");
        }
        drop(job);
        drop(pool);
    });
}
