//! The fields that few jobs have: a thread that makes them against a thread that reads them.

#![cfg(tollgate_loom)]

use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::rest;
use tollgate::Job;
use tollgate::model::{Stage, record_of};

/// Makes the fields if the job has none of them yet, and reads one field.
fn make(job: &Job) -> bool {
    record_of(job).extra_or_make().has_gap()
}

/// Reads one field, if the job has the fields.
fn read(job: &Job) -> bool {
    record_of(job).extra().is_some_and(|extra| extra.has_gap())
}

#[test]
fn a_reader_sees_the_fields_whole_while_they_are_made() {
    // loom fails if the load of a field is not ordered after the making of that field.
    for other in [make, read] {
        check(Bound::None, move || {
            let stage = Stage::new(1);
            let job = stage.job(2);
            let theirs = job.clone();
            let maker = thread::spawn(move || assert!(!make(&theirs)));
            assert!(!other(&job));
            maker.join().unwrap();
            rest(stage, job);
        });
    }
}
