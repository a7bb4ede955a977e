//! The histograms of a timed job: a thread that reads them against a worker that adds to them.

#![cfg(tollgate_loom)]

use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::rest;
use std::time::Duration;
use tollgate::ManualClock;
use tollgate::model::Stage;

#[test]
fn the_figures_of_a_histogram_agree_while_tasks_end() {
    check(Bound::Preemptions(2), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let job = stage.built(|builder| builder.limit(1).timed());
        for nanos in [4, 1_000] {
            let clock = clock.clone();
            job.execute(move || clock.advance(Duration::from_nanos(nanos)));
        }
        let worker = thread::spawn(move || while stage.play(0, usize::MAX) > 0 {});
        let run = job.timings().unwrap().run;
        if let Some(bounds) = run.quantile(1.0) {
            assert!(bounds.start() <= bounds.end(), "the longest time is older than the counts");
            assert!(run.mean() <= run.longest(), "the total is newer than the longest time");
        }
        worker.join().unwrap();
        rest(stage, job);
        drop(clock);
    });
}
