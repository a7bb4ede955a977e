//! The simulation of many cores: what must hold of any machine and any contender.

#[path = "../src/model/mod.rs"]
mod model;

use clap::ValueEnum;
use model::{Change, Contender, MOST_CORES, Path, Shape, Time, Way, Ways, change, play, throw};

fn shape(path: Path, contender: Contender, cores: usize, transfer: Time) -> Shape {
    Shape {
        path,
        contender,
        cores,
        pushers: None,
        transfer,
        work: 0,
        tasks: 1_000,
        ways: Ways::default(),
        lenient: false,
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

/// Plays a run, in which all tasks must run and all limits hold.
fn play_whole(shape: &Shape) {
    let outcome = play(shape);
    assert_eq!(outcome.pushed, shape.total(), "{shape:?}");
    assert_eq!(outcome.run, shape.total(), "{shape:?}");
    assert_eq!(outcome.limits_broken, 0, "{shape:?}");
}

#[test]
fn work_is_conserved_and_limits_hold() {
    for_each(|path, contender| {
        for cores in [1, 2, 3, 8, 64] {
            for lenient in [false, true] {
                play_whole(&Shape { lenient, ..shape(path, contender, cores, 100) });
            }
        }
    });
}

#[test]
fn work_is_conserved_and_limits_hold_whatever_is_tried() {
    let ways = Way::value_variants();
    for &path in Path::value_variants() {
        let shape = |cores| shape(path, Contender::Tollgate, cores, 100);
        for way in ways {
            for cores in [1, 3, 16] {
                play_whole(&Shape { ways: Ways::of(&[*way]), ..shape(cores) });
            }
        }
        for cores in [1, 2, 3, 8, 64] {
            play_whole(&Shape { ways: Ways::of(ways), ..shape(cores) });
        }
    }
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
            let times = |lenient, transfers: &[Time]| -> Vec<f64> {
                let play = |transfer: &Time| {
                    let shape = shape(path, contender, cores, *transfer);
                    play(&Shape { lenient, ..shape }).nanoseconds()
                };
                transfers.iter().map(play).collect()
            };
            let lenient = times(true, &[0, 50, 200, 800]);
            assert!(lenient.is_sorted(), "{path:?} {contender:?} {cores}: {lenient:?}");
            // Which exchanges fail depends on when they meet, so only a much dearer transfer is surely slower.
            let failing = times(false, &[50, 800]);
            assert!(failing.is_sorted(), "{path:?} {contender:?} {cores}: {failing:?}");
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

#[test]
fn a_compare_exchange_fails_only_if_another_core_interferes() {
    for_each(|path, contender| {
        let alone = play(&shape(path, contender, 1, 100));
        assert_eq!(alone.failures, 0, "{path:?} {contender:?}: {alone:?}");
        let lenient = Shape { lenient: true, ..shape(path, contender, 64, 100) };
        assert_eq!(play(&lenient).failures, 0, "{lenient:?}");
    });
    let contended = play(&shape(Path::Medium, Contender::Tollgate, 64, 100));
    assert!(contended.failures_a_task() > 0.1, "{contended:?}");
}

#[test]
fn changes_of_one_word_cost_what_two_cores_show() {
    // The measured figures are those of docs/scaling.md: a throw of 31 to 34 ns, and changes between two cores.
    const TRIP: Time = 16;
    assert!((31.0..=34.0).contains(&throw(TRIP)), "{}", throw(TRIP));
    let measured = [
        (Change::Add, 0, 10.0, 0.0),
        (Change::Add, 1, 17.0, 0.0),
        (Change::Add, 4, 56.0, 0.0),
        (Change::Exchange, 0, 11.0, 0.06),
        (Change::Exchange, 1, 32.0, 0.11),
        (Change::Exchange, 4, 78.0, 0.08),
    ];
    for (kind, hints, time, failures) in measured {
        let simulated = change(kind, 2, TRIP, hints);
        let near = 0.8..1.5;
        assert!(near.contains(&(simulated.0 / time)), "{kind:?} {hints}: {simulated:?}");
        assert!((simulated.1 - failures).abs() < 0.3, "{kind:?} {hints}: {simulated:?}");
        assert_eq!(simulated.1 > 0.0, kind == Change::Exchange, "{kind:?} {hints}: {simulated:?}");
    }
}

#[test]
fn a_word_that_more_cores_change_fails_more_often() {
    let failures = [1, 2, 8, 64].map(|cores| change(Change::Exchange, cores, 100, 4).1);
    assert_eq!(failures[0], 0.0);
    assert!(failures.is_sorted(), "{failures:?}");
}
