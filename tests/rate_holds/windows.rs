//! Random calls, and the starts that no window forbids.

use crate::common::event::{Gauge, pass_through};
use crate::common::pool_with_clock;
use crate::settle;
use proptest::prelude::*;
use std::time::Duration;
use tollgate::Rate;

/// One rate as the promise words it: the burst, and the interval in milliseconds.
type Stated = (u32, u64);

/// How often one of these many starts may come at a time, after these earlier ones: as often as no window has too many.
fn may_start(stated: &[Stated], starts: &[u64], now: u64) -> bool {
    stated.iter().all(|&(burst, interval)| {
        // Windows that end now, each from an earlier start on.
        starts.iter().enumerate().all(|(i, start)| {
            let in_window = (starts.len() - i + 1) as u64;
            in_window <= u64::from(burst) + (now - start) / interval
        })
    })
}

#[derive(Clone, Debug)]
enum Op {
    Push(usize),
    Advance(u64),
    Pause,
    Resume,
    SetLimit(usize),
    HoldOff(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..6_usize).prop_map(Op::Push),
        6 => (0..40_u64).prop_map(Op::Advance),
        1 => (0..1_000_u64).prop_map(Op::Advance),
        1 => Just(Op::Pause),
        2 => Just(Op::Resume),
        1 => (1..5_usize).prop_map(Op::SetLimit),
        1 => (0..50_u64).prop_map(Op::HoldOff),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is done to a job, exactly those starts come that the promise allows.
    #[test]
    fn starts_are_those_that_no_window_forbids(
        workers in 1..4_usize,
        limit in prop_oneof![Just(usize::MAX), 1..4_usize],
        below in any::<bool>(),
        stated in prop::collection::vec((1..4_u32, 1..30_u64), 1..3),
        ops in prop::collection::vec(op(), 1..40),
    ) {
        let (pool, clock) = pool_with_clock(workers);
        let mut builder = pool.job_builder().limit(limit);
        for &(burst, interval) in &stated {
            builder = builder.rate(Rate::every(Duration::from_millis(interval)).burst(burst));
        }
        let (rated, gauge) = (builder.build(), Gauge::new());
        // The tasks are the job's own, or those of two children.
        let jobs = if below { vec![rated.job(2), rated.job(usize::MAX)] } else { vec![rated.clone()] };
        let (mut now, mut waiting, mut starts) = (0, 0, Vec::new());
        let (mut paused, mut held) = (false, 0);
        for op in ops {
            match op {
                Op::Push(tasks) => {
                    (0..tasks).for_each(|i| jobs[i % jobs.len()].execute(pass_through(&gauge)));
                    waiting += tasks;
                }
                Op::Advance(by) => {
                    now += by;
                    clock.advance(Duration::from_millis(by));
                }
                Op::Pause => {
                    rated.pause();
                    paused = true;
                }
                Op::Resume => {
                    rated.resume();
                    paused = false;
                }
                Op::SetLimit(limit) => rated.set_limit(limit),
                Op::HoldOff(by) => {
                    rated.hold_off(Duration::from_millis(by));
                    held = held.max(now + by);
                }
            }
            while waiting > 0 && !paused && held <= now && may_start(&stated, &starts, now) {
                starts.push(now);
                waiting -= 1;
            }
            gauge.until_ended(starts.len());
            settle(&rated);
            prop_assert_eq!(gauge.started(), starts.len(), "at {}: {:?}", now, starts);
        }
        pool.shutdown_now();
        prop_assert_eq!(gauge.started(), starts.len());
    }
}
