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
