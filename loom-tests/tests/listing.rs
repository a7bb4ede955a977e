//! The list of jobs with a name: a reader against the end of a job.

#![cfg(tollgate_loom)]

use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::Gauge;
use tollgate::Job;
use tollgate::model::Stage;

fn named(stage: Stage) -> Job {
    stage.built(|builder| builder.name("named").limit(2))
}

/// Lists the jobs of the pool, and uses each handle.
fn list(stage: Stage) {
    for job in stage.jobs() {
        assert_eq!(job.name(), Some("named"));
        assert!(!job.clone().is_closed());
    }
}

#[test]
fn a_job_is_listed_or_freed_when_its_last_handle_goes() {
    check(Bound::None, || {
        let stage = Stage::new(1);
        let job = named(stage);
        let owner = thread::spawn(move || drop(job));
        list(stage);
        owner.join().unwrap();
        assert!(stage.jobs().is_empty());
        stage.end();
    });
}

#[test]
fn a_job_is_listed_or_freed_when_its_last_task_ends() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let (job, gauge) = (named(stage), Gauge::new(2));
        job.execute(gauge.task());
        drop(job);
        let worker = thread::spawn(move || stage.play(0, 1));
        list(stage);
        worker.join().unwrap();
        assert_eq!(gauge.ran(), 1);
        assert!(stage.jobs().is_empty());
        stage.end();
    });
}
