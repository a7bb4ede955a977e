//! Keyed jobs: an eviction of idle keys against what uses or changes a key.

#![cfg(tollgate_loom)]

use loom::thread::{self, JoinHandle};
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::{Gauge, rest};
use std::sync::Arc;
use std::time::Duration;
use tollgate::model::Stage;
use tollgate::{Keyed, ManualClock, Rate};

/// Has another thread drop the idle keys.
fn evict_elsewhere(jobs: &Keyed<u8>) -> JoinHandle<usize> {
    let theirs = jobs.clone();
    thread::spawn(move || theirs.evict_idle())
}

/// Ends the pool, with nothing stranded at the parent.
fn end(stage: Stage, jobs: Keyed<u8>) {
    let parent = jobs.parent().clone();
    drop(jobs);
    rest(stage, parent);
}

#[test]
fn keys_are_free_and_stay_while_there_is_a_handle() {
    check(Bound::None, || {
        let stage = Stage::new(1);
        let jobs = stage.keyed(1);
        drop(jobs.job(&0));
        let evictor = evict_elsewhere(&jobs);
        let job = jobs.job(&0);
        assert_eq!(job, jobs.job(&0), "a key in use was dropped");
        evictor.join().unwrap();
        assert_eq!(job, jobs.job(&0), "a key in use was dropped");
        drop(job);
        assert_eq!(jobs.evict_idle(), 1);
        end(stage, jobs);
    });
}

#[test]
fn keys_are_free_and_stay_while_a_permit_is_held() {
    check(Bound::Preemptions(3), || {
        let stage = Stage::new(1);
        let jobs = stage.keyed(1);
        let evictor = evict_elsewhere(&jobs);
        let permit = jobs.job(&0).try_acquire().unwrap();
        assert!(jobs.job(&0).try_acquire().is_err(), "two permits of a key");
        drop(permit);
        evictor.join().unwrap();
        let keys = jobs.len();
        assert_eq!(jobs.evict_idle(), keys);
        end(stage, jobs);
    });
}

#[test]
fn keys_are_free_and_a_change_of_their_limit_stays() {
    check(Bound::None, || {
        let stage = Stage::new(1);
        let jobs = stage.keyed(1);
        drop(jobs.job(&0));
        let evictor = evict_elsewhere(&jobs);
        jobs.job(&0).set_limit(2);
        evictor.join().unwrap();
        assert_eq!(jobs.get(&0).map(|job| job.limit()), Some(2), "the limit was lost");
        assert_eq!(jobs.evict_idle(), 0);
        end(stage, jobs);
    });
}

#[test]
fn keys_are_free_and_what_is_used_up_of_their_rate_stays() {
    // Of a burst of two, one start is used up, and the clock does not move.
    check(Bound::Preemptions(3), || {
        let clock = ManualClock::new();
        let stage = Stage::with_clock(1, &clock);
        let jobs = stage.keyed_by(|builder| builder.rate(Rate::per_second(1).burst(2)));
        drop(jobs.job(&0));
        let evictor = evict_elsewhere(&jobs);
        drop(jobs.job(&0).try_acquire().unwrap());
        evictor.join().unwrap();
        drop(jobs.job(&0).try_acquire().unwrap());
        assert!(jobs.job(&0).try_acquire().is_err(), "three starts of a burst of two");
        clock.advance(Duration::from_secs(2));
        assert_eq!(jobs.evict_idle(), 1);
        end(stage, jobs);
    });
}

#[test]
fn keys_are_free_and_made_once() {
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(1);
        let jobs = stage.keyed(1);
        let theirs = jobs.clone();
        let other = thread::spawn(move || theirs.job(&0));
        let job = jobs.job(&0);
        assert_eq!(job, other.join().unwrap(), "a key has two jobs");
        drop(job);
        assert_eq!(jobs.len(), 1);
        end(stage, jobs);
    });
}

#[test]
fn keys_are_free_and_evicted_beside_a_push() {
    // The look-up that makes the second key evicts the first, unless its task waits or runs.
    check(Bound::Preemptions(2), || {
        let stage = Stage::new(1);
        let (jobs, gauge) = (stage.keyed(1), Gauge::new(1));
        jobs.job(&0).execute(gauge.task());
        let (theirs, seen): (_, Arc<Gauge>) = (jobs.clone(), gauge.clone());
        let other = thread::spawn(move || {
            drop(theirs.job(&1));
            theirs.job(&0).execute(seen.task());
        });
        while stage.play(0, usize::MAX) > 0 {}
        other.join().unwrap();
        while stage.play(0, usize::MAX) > 0 {}
        assert_eq!(gauge.ran(), 2);
        let keys = jobs.len();
        assert_eq!(jobs.evict_idle(), keys);
        end(stage, jobs);
    });
}
