//! Joins that wait for each other in a circle: exactly one is refused, and the others end. A circle that no join finds is a
//! deadlock, which loom reports.

#![cfg(tollgate_loom)]

use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use tollgate::TaskHandle;
use tollgate::model::Stage;

/// Does not print the panics of joins in a circle. A model has many of them.
fn quieten_circles() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.payload().downcast_ref::<String>();
        if !message.is_some_and(|message| message.contains("join each other in a circle")) {
            report(panic);
        }
    }));
}

/// Runs tasks of different jobs on a worker each. Each task joins the next one, and the last one the first.
fn circle(tasks: usize) {
    // One more, or the last thread that joins would be refused as the last one of the pool.
    let stage = Stage::new(tasks + 1);
    let jobs: Vec<_> = (0..tasks).map(|_| stage.job(1)).collect();
    let refused = Arc::new(AtomicUsize::new(0));
    // No part of the model: all places are filled before a worker starts.
    let places: Vec<Arc<Mutex<Option<TaskHandle<()>>>>> =
        (0..tasks).map(|_| Arc::default()).collect();
    for (which, job) in jobs.iter().enumerate() {
        let (next, refused) = (places[(which + 1) % tasks].clone(), refused.clone());
        let task = job.spawn(move || {
            let next = next.lock().unwrap().take().expect("each task is joined once");
            if !Stage::without_seat(|| Stage::joins(&next)) {
                refused.fetch_add(1, Relaxed);
            }
        });
        *places[which].lock().unwrap() = Some(task);
    }
    let play = |index| move || _ = stage.play(index, usize::MAX);
    let others: Vec<_> = (1..tasks).map(|index| thread::spawn(play(index))).collect();
    play(0)();
    others.into_iter().for_each(|other| other.join().unwrap());
    assert_eq!(refused.load(Relaxed), 1, "joins in a circle were refused");
    for job in jobs {
        stage.assert_none_stranded(&job);
        assert_eq!((job.stats().completed, job.stats().panicked), (1, 0));
    }
    stage.end();
}

#[test]
fn join_is_safe_when_two_joins_close_a_circle_together() {
    quieten_circles();
    check(Bound::Preemptions(3), || circle(2));
}

#[test]
fn join_is_safe_when_three_joins_close_a_circle_together() {
    quieten_circles();
    check(Bound::Preemptions(1), || circle(3));
}
