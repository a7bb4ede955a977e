//! The simulation of many cores: what must hold of any machine and any contender.

#[path = "../src/model/mod.rs"]
mod model;

use clap::ValueEnum;
use model::{Contender, MOST_CORES, Path, Shape, Time, play};

fn shape(path: Path, contender: Contender, cores: usize, transfer: Time) -> Shape {
    Shape {
        path,
        contender,
        cores,
        pushers: None,
        transfer,
        work: 0,
        tasks: 1_000,
        look_first: false,
        seed: 1,
    }
}

/// Every path with every contender.
fn for_each(check: impl Fn(Path, Contender)) {
    for &path in Path::value_variants() {
        for &contender in Contender::value_variants() {
            check(path, contender);
        }
    }
}

#[test]
fn work_is_conserved_and_limits_hold() {
    for_each(|path, contender| {
        for cores in [1, 2, 3, 8, 64] {
            for look_first in [false, true] {
                let shape = Shape { look_first, ..shape(path, contender, cores, 100) };
                let outcome = play(&shape);
                assert_eq!(outcome.pushed, shape.total(), "{shape:?}");
                assert_eq!(outcome.run, shape.total(), "{shape:?}");
                assert_eq!(outcome.limits_broken, 0, "{shape:?}");
            }
        }
    });
}

#[test]
fn one_core_moves_no_lines() {
    for_each(|path, contender| {
        let cheap = play(&shape(path, contender, 1, 1));
        assert!(cheap.transfers_a_task() == 0.0, "{path:?} {contender:?}: {cheap:?}");
        assert!(cheap.busiest.is_none_or(|(_, share)| share == 0.0), "{cheap:?}");
        assert_eq!(cheap, play(&shape(path, contender, 1, 1_000)), "{path:?} {contender:?}");
    });
}

#[test]
fn dearer_transfers_are_never_faster() {
    for_each(|path, contender| {
        for cores in [2, 8, 64] {
            let figures =
                [0, 50, 200, 800].map(|transfer| play(&shape(path, contender, cores, transfer)));
            let times = figures.map(|outcome| outcome.nanoseconds());
            assert!(times.is_sorted(), "{path:?} {contender:?} {cores}: {times:?}");
        }
    });
}

#[test]
fn a_serial_job_takes_as_long_as_its_tasks() {
    for &contender in Contender::value_variants() {
        let shape = Shape { work: 500, ..shape(Path::Serial, contender, 16, 100) };
        assert!(play(&shape).nanoseconds() >= 500.0, "{contender:?}");
    }
}

#[test]
fn a_push_into_a_full_job_and_its_run_cost_what_is_counted() {
    // Two read-modify-writes each; the rest of what `tests/counts.rs` counts is once a batch.
    let serial = play(&shape(Path::Serial, Contender::Tollgate, 2, 25));
    assert!((4.0..4.5).contains(&serial.atomics_a_task()), "{serial:?}");
}

#[test]
fn the_same_run_prints_the_same_figures() {
    let shape = shape(Path::Nested, Contender::Tollgate, MOST_CORES, 100);
    assert_eq!(play(&shape), play(&shape));
}
