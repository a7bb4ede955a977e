//! Jobs under one parent: a lone task waits for one turn of each busy sibling.

use super::*;

/// The time of a turn under a parent that binds.
const TURN_TIME: Duration = Duration::from_micros(100);

/// What the tasks of a busy sibling take.
const LENGTHS: [Duration; 3] =
    [Duration::ZERO, Duration::from_micros(10), Duration::from_millis(10)];

/// Keeps its worker busy for as long.
fn take(time: Duration) {
    if time > TURN_TIME {
        return thread::sleep(time);
    }
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Holds a lone task to one turn of each busy sibling in line before it, and the rest of the turn that each worker is at.
///
/// Tasks that are longer than a turn's time are turns of their own. A worker may have begun a further task when the lone
/// task comes: one a worker.
fn lone_among_siblings(busy: usize, limit_of: fn(usize) -> usize) {
    for workers in [1, 2, 4] {
        within(LONG, move || {
            let pool = pool(workers);
            for length in LENGTHS {
                let turn = if length > TURN_TIME { 1 } else { TURN };
                let queued = 4 * turn * workers;
                bounded(workers, (busy + workers) * turn + workers, || {
                    let (parent, started) = (pool.job(workers), Started::default());
                    parent.pause();
                    let siblings: Vec<Job> =
                        (0..busy).map(|_| parent.job(limit_of(workers))).collect();
                    for job in &siblings {
                        for _ in 0..queued {
                            let count = started.task();
                            job.execute(move || {
                                count();
                                take(length);
                            });
                        }
                    }
                    let (says, at_start) = mpsc::channel();
                    let (counted, small) = (started.clone(), parent.job(1));
                    parent.resume();
                    while started.so_far() == 0 {
                        std::hint::spin_loop();
                    }
                    small.execute(move || says.send(counted.so_far()).unwrap());
                    let pushed = started.so_far();
                    let before = at_start.recv().unwrap().saturating_sub(pushed);
                    end(&parent);
                    before
                });
            }
        });
    }
}

#[test]
fn a_lone_task_waits_for_one_turn_of_a_busy_sibling() {
    lone_among_siblings(1, |_| 1);
    lone_among_siblings(1, |workers| workers);
    lone_among_siblings(1, |_| usize::MAX);
}

#[test]
fn a_lone_task_waits_for_one_turn_of_each_of_many_busy_siblings() {
    lone_among_siblings(6, |_| 1);
    lone_among_siblings(6, |workers| workers);
}

/// A stream gives the parent's permit up to a task of a sibling: each input ends only when that task has run.
#[test]
fn a_lone_task_starts_beside_a_stream_of_a_sibling() {
    within(LONG, || {
        let pool = pool(1);
        let parent = pool.job(1);
        for turn_time in [None, Some(Duration::from_millis(1))] {
            let mut busy = parent.job_builder();
            if let Some(time) = turn_time {
                busy = busy.turn_time(time);
            }
            let (busy, lone) = (busy.build(), parent.job(1));
            let until = |done: &Arc<AtomicBool>| {
                let (done, lone, mut pushed) = (done.clone(), lone.clone(), false);
                std::iter::from_fn(move || {
                    if !std::mem::replace(&mut pushed, true) {
                        let done = done.clone();
                        lone.execute(move || done.store(true, SeqCst));
                    }
                    (!done.load(SeqCst)).then_some(())
                })
            };
            let (each, mapped) = (Arc::default(), Arc::default());
            busy.for_each(until(&each), |()| ()).unwrap();
            busy.map(until(&mapped), |()| ()).for_each(|result| result.unwrap());
            assert!(each.load(SeqCst) && mapped.load(SeqCst));
        }
    });
}

/// Futures that pend keep their permits. After the end of one, a sibling's turn is due.
#[cfg(feature = "futures")]
#[test]
fn a_lone_task_waits_for_one_future_of_a_busy_sibling() {
    with_workers(|pool, _| {
        let (parent, started) = (pool.job(1), Started::default());
        let (busy, lone) = (parent.job(1), parent.job(1));
        parent.pause();
        for _ in 0..100 {
            let count = started.task();
            drop(busy.spawn_future(async move {
                count();
                let mut pended = false;
                std::future::poll_fn(|context| {
                    context.waker().wake_by_ref();
                    if std::mem::replace(&mut pended, true) {
                        std::task::Poll::Ready(())
                    } else {
                        std::task::Poll::Pending
                    }
                })
                .await;
            }));
        }
        let (says, at_start) = mpsc::channel();
        let counted = started.clone();
        lone.execute(move || says.send(counted.so_far()).unwrap());
        parent.resume();
        let before = at_start.recv().unwrap();
        parent.wait();
        assert!(before <= 2, "a lone task waited for {before} futures of its sibling");
        assert_eq!(started.so_far(), 100);
    });
}
