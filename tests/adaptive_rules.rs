//! What the rules of adaptive limits make of a virtual server, beside the rules of other libraries. The same runs as the table of
//! `examples/adaptive`, which repeat exactly.

#[path = "../examples/adaptive/rules.rs"]
mod rules;
#[path = "../examples/adaptive/simulation.rs"]
mod simulation;

use rules::{Aimd, Gradient2, PlainVegas};
use simulation::{LEAST, MOST, Outcome, SCENARIOS, Scenario, run};
use std::time::Duration;
use tollgate::{Interval, LimitRule, MovingAverage, Vegas};

fn scenario(name: &str) -> Scenario {
    *SCENARIOS.iter().find(|scenario| scenario.name == name).expect("the table has it")
}

fn ours(name: &str) -> [Outcome; 2] {
    let scenario = scenario(name);
    [run(scenario, MovingAverage::new()), run(scenario, Vegas::new())]
}

#[test]
fn constant_time_outs_lower_the_limit_to_the_least() {
    for ours in ours("stalled") {
        assert_eq!((ours.least, ours.greatest), (LEAST, LEAST), "{ours:?}");
    }
    // Gradient2 sees times only, and these do not vary.
    let gradient = run(scenario("stalled"), Gradient2::default());
    assert!(gradient.mean > 50.0, "{gradient:?}");
}

#[test]
fn refusals_lower_the_limit_to_what_the_server_takes() {
    for ours in ours("refuses") {
        assert!(
            ours.greatest <= 20 + 10 + 2 && ours.used > 0.9 && ours.overloads < 0.1,
            "{ours:?}"
        );
    }
    let gradient = run(scenario("refuses"), Gradient2::default());
    assert!(gradient.greatest == MOST && gradient.overloads > 0.9, "{gradient:?}");
}

#[test]
fn a_queue_that_grows_stops_the_limit() {
    let [average, vegas] = ours("knee");
    assert!(average.greatest < 4 * 20 && average.used > 0.95, "{average:?}");
    assert!((15.0..30.0).contains(&vegas.mean) && vegas.used > 0.95, "{vegas:?}");
    // No answer says so, and AIMD looks at nothing else.
    let aimd = run(scenario("knee"), Aimd);
    assert!(aimd.least == MOST && aimd.slowed > 5.0, "{aimd:?}");
}

#[test]
fn a_server_that_slowly_becomes_slower_is_used_all_the_same() {
    for ours in ours("drift") {
        assert!(ours.used > 0.95 && ours.slowed < 3.0, "{ours:?}");
    }
    // Without probes the least time is out of date, and the whole slowness is taken for a queue.
    let plain = run(scenario("drift"), PlainVegas::default());
    assert!(plain.used < 0.5, "{plain:?}");
}

#[test]
fn a_step_down_is_followed() {
    for ours in ours("step") {
        assert!(
            ours.greatest <= 10 + 40 + 2 && ours.used > 0.95 && ours.overloads < 0.05,
            "{ours:?}"
        );
    }
}

#[test]
fn a_run_repeats_exactly() {
    let run = || format!("{:?}", run(scenario("refuses"), MovingAverage::new()));
    assert_eq!(run(), run());
}

/// Brings `Vegas` to its first probe, which halves the limit of 100. Returns the rule, and the interval under the halved limit.
fn in_a_probe() -> (Vegas, Interval) {
    let mut rule = Vegas::new();
    let mut interval = Interval::new(100, 1..=200);
    (interval.tasks, interval.mean) = (100, Duration::from_millis(50));
    for _ in 0..100 {
        let limit = rule.next_limit(&interval);
        if limit == 50 {
            interval.limit = limit;
            return (rule, interval);
        }
        assert_eq!(limit, 100);
    }
    panic!("no probe in a hundred intervals");
}

#[test]
fn an_overload_in_a_probe_ends_the_probe() {
    let (mut rule, mut interval) = in_a_probe();
    interval.overloads = 1;
    interval.limit = rule.next_limit(&interval);
    assert_eq!(interval.limit, 45);
    interval.overloads = 0;
    // The next probe is due after as many intervals as the first one.
    assert_eq!(rule.next_limit(&interval), 45);
}

#[test]
fn a_limit_that_is_set_in_a_probe_stays() {
    let (mut rule, mut interval) = in_a_probe();
    interval.limit = 80;
    assert_eq!(rule.next_limit(&interval), 80);
    assert_eq!(rule.next_limit(&interval), 80);
}

/// An interval at its full limit, whose tasks took so long.
fn full(limit: usize, mean: Duration) -> Interval {
    let mut interval = Interval::new(limit, 1..=200);
    (interval.tasks, interval.most_running, interval.mean) = (100, limit, mean);
    interval
}

/// Asks a copy of the rule, so that the rule itself learns nothing.
fn asked<R: LimitRule + Clone>(rule: &R, mean_micros: u64) -> usize {
    rule.clone().next_limit(&full(10, Duration::from_micros(mean_micros)))
}

/// The bounds within which the default rule raises, keeps and lowers a limit of 10.
#[test]
fn the_moving_average_lowers_by_two_and_a_half_deviations() {
    let mut rule = MovingAverage::new();
    assert_eq!(rule.next_limit(&full(10, Duration::from_millis(100))), 11);
    // There is no deviation yet, so each rise is one too many.
    assert_eq!((asked(&rule, 100_000), asked(&rule, 100_001)), (11, 9));
    assert_eq!(rule.next_limit(&full(10, Duration::from_millis(120))), 9);
    // The average is 100 + 0.4 * 20 = 108 ms, and the variance 0.6 * 0.4 * 20² = 96. Two and a half deviations are 24.495 ms.
    assert_eq!((asked(&rule, 50_000), asked(&rule, 108_000), asked(&rule, 108_010)), (11, 11, 10));
    assert_eq!((asked(&rule, 132_400), asked(&rule, 132_600)), (10, 9));
    assert_eq!(rule.next_limit(&full(10, Duration::from_millis(108))), 11);
    // The average stays, and the variance is 0.6 * 96. Two and a half deviations are 18.974 ms.
    assert_eq!((asked(&rule, 126_900), asked(&rule, 127_100)), (10, 9));
    assert_eq!(rule.next_limit(&full(10, Duration::from_millis(118))), 10);
    // 108 + 0.4 * 10 = 112 ms, and 0.6 * (57.6 + 0.4 * 10²) = 58.56: 19.131 ms.
    assert_eq!((asked(&rule, 112_000), asked(&rule, 112_010)), (11, 10));
    assert_eq!((asked(&rule, 131_100), asked(&rule, 131_200)), (10, 9));
}

/// Times of an overloaded interval are part of the average, too.
#[test]
fn the_moving_average_learns_from_overloaded_intervals() {
    let mut rule = MovingAverage::new();
    let mut overloaded = full(10, Duration::from_millis(50));
    overloaded.overloads = 1;
    assert_eq!(rule.next_limit(&overloaded), 9);
    assert_eq!((asked(&rule, 50_000), asked(&rule, 60_000)), (11, 9));
}

/// A tenth, rounded up, and never below the range.
#[test]
fn an_overload_lowers_by_a_tenth() {
    for (limit, lowered) in
        [(1, 1), (2, 1), (9, 8), (10, 9), (11, 9), (20, 18), (21, 18), (200, 180)]
    {
        let mut interval = full(limit, Duration::from_millis(50));
        interval.overloads = 1;
        assert_eq!(MovingAverage::new().next_limit(&interval), lowered);
        assert_eq!(Vegas::new().next_limit(&interval), lowered);
        interval.range = limit..=200;
        assert_eq!(MovingAverage::new().next_limit(&interval), limit);
        assert_eq!(Vegas::new().next_limit(&interval), limit);
    }
}

/// Of ten tasks, `10 * (1 - 50 / mean)` wait in the server.
#[test]
fn vegas_keeps_three_to_six_tasks_in_the_servers_queue() {
    let mut rule = Vegas::new();
    assert_eq!(rule.next_limit(&full(10, Duration::from_millis(50))), 11);
    assert_eq!((asked(&rule, 71_400), asked(&rule, 71_500)), (11, 10)); // 3 tasks: 71.43 ms
    assert_eq!((asked(&rule, 124_900), asked(&rule, 125_100)), (10, 9)); // 6 tasks: 125 ms
    let mut spare = full(10, Duration::from_millis(50));
    spare.most_running = 9;
    assert_eq!(rule.clone().next_limit(&spare), 10);
    // A shorter time is the new least one: 3 tasks are 28.57 ms.
    assert_eq!(rule.next_limit(&full(10, Duration::from_millis(20))), 11);
    assert_eq!((asked(&rule, 28_500), asked(&rule, 28_600)), (11, 10));
}

/// A server refuses sooner than it answers. So the times of an overloaded interval are no least time.
#[test]
fn vegas_learns_no_time_from_overloaded_intervals() {
    let mut rule = Vegas::new();
    assert_eq!(rule.next_limit(&full(10, Duration::from_millis(50))), 11);
    let mut overloaded = full(10, Duration::from_millis(1));
    overloaded.overloads = 1;
    assert_eq!(rule.next_limit(&overloaded), 9);
    assert_eq!((asked(&rule, 50_000), asked(&rule, 200_000)), (11, 9));
}

/// After 32 intervals, the limit is halved for two. The least time is that of the second, also if it is longer than before.
#[test]
fn vegas_measures_anew_after_32_intervals() {
    let mut rule = Vegas::new();
    for probe in 0..3_u64 {
        let millis = |shorter: u64| Duration::from_millis(50 + 10 * probe - shorter);
        for interval in 1..32 {
            let limit = rule.next_limit(&full(10, millis(0)));
            assert_eq!(limit, 11, "interval {interval} of {probe}");
        }
        assert_eq!(rule.next_limit(&full(10, millis(0))), 5);
        // In the first one tasks of before may end, so its times do not count.
        assert_eq!(rule.next_limit(&full(5, millis(40))), 5);
        assert_eq!(rule.next_limit(&full(5, millis(0) + Duration::from_millis(10))), 10);
    }
    // The least time is 80 ms now, so 10 of 10 tasks at 80 ms wait nowhere.
    assert_eq!((asked(&rule, 80_000), asked(&rule, 120_000)), (11, 10));
    // Half of the limit may be below the range.
    let mut rule = Vegas::new();
    let mut interval = full(5, Duration::from_millis(50));
    interval.range = 4..=200;
    (1..32).for_each(|_| _ = rule.next_limit(&interval));
    assert_eq!(rule.next_limit(&interval), 4);
}
