//! The charts of the page: what happened over time, and how long requests took.

use crate::chart::{Axis, Bar, Chart, Unit};
use crate::plan::Rate;
use crate::stats::Latencies;
use crate::timeline::History;

/// Bars and points of a chart over time.
const MOST_POINTS: usize = 64;

/// Bars of a distribution.
const BARS: usize = 44;

/// The ends of each slot, in seconds.
fn times(history: &History) -> impl Iterator<Item = (f64, f64)> {
    let width = history.width.as_secs_f64();
    (0..history.slots.len()).map(move |slot| (slot as f64 * width, (slot + 1) as f64 * width))
}

fn time_axis(history: &History) -> Axis {
    Axis::exactly(history.width.as_secs_f64() * history.slots.len() as f64, Unit::Seconds)
}

/// Requests in flight against the limit, over time.
pub(super) fn in_flight(title: &str, history: &History) -> String {
    let limits = history.slots.iter().filter_map(|slot| slot.limit);
    let most = history.slots.iter().map(|slot| slot.in_flight).chain(limits).max().unwrap_or(0);
    let y = Axis::linear(most as f64 * 1.05, Unit::Count);
    let mut chart = Chart::new(title, time_axis(history), y);
    let slots = || times(history).zip(&history.slots);
    let inside: Vec<_> =
        slots().map(|((from, to), slot)| (from, to, slot.in_flight as f64)).collect();
    chart.steps("ok", &inside, true);
    chart.explain("ok", "requests");
    let limits: Vec<_> =
        slots().filter_map(|((from, to), slot)| Some((from, to, slot.limit? as f64))).collect();
    if !limits.is_empty() {
        chart.steps("limit", &limits, false);
        chart.explain("limit", "limit");
    }
    chart.figure()
}

/// Requests a second over time, those that failed on top.
pub(super) fn rate(history: &History, limit: Option<Rate>) -> String {
    let history = history.coarser(MOST_POINTS);
    let width = history.width.as_secs_f64();
    let per_second = |count: u64| count as f64 / width;
    let most =
        history.slots.iter().map(|slot| per_second(slot.ok + slot.failed)).fold(0.0, f64::max);
    let limit = limit.map(|rate| rate.per_second).filter(|rate| *rate < most * 3.0);
    let y = Axis::linear(most.max(limit.unwrap_or(0.0)) * 1.05, Unit::PerSecond);
    let mut chart = Chart::new("Ended requests a second", time_axis(&history), y);
    let (mut ok, mut failed) = (Vec::new(), Vec::new());
    for ((from, to), slot) in times(&history).zip(&history.slots) {
        let says = format!("{from:.2} s to {to:.2} s: {} passed, {} failed", slot.ok, slot.failed);
        let (passed, all) = (per_second(slot.ok), per_second(slot.ok + slot.failed));
        ok.push(Bar { from, to, bottom: 0.0, top: passed, says: says.clone() });
        failed.push(Bar { from, to, bottom: passed, top: all, says });
    }
    chart.bars("ok", &ok);
    chart.bars("failed", &failed);
    chart.explain("ok", "passed");
    if history.slots.iter().any(|slot| slot.failed > 0) {
        chart.explain("failed", "failed");
    }
    if let Some(limit) = limit {
        chart.across("limit", limit);
        chart.explain("limit", "rate of the plan");
    }
    chart.figure()
}

/// Latencies of the requests that passed, over time.
pub(super) fn latency(history: &History) -> String {
    const LINES: [(&str, &str, f64); 3] =
        [("most", "longest", 1.0), ("high", "p95", 0.95), ("ok", "p50", 0.5)];
    let history = history.coarser(MOST_POINTS);
    let lines = LINES.map(|(class, name, quantile)| {
        let points = times(&history).zip(&history.slots);
        let points =
            points.map(|((from, to), slot)| ((from + to) / 2.0, slot.quantile_ms(quantile)));
        (class, name, points.collect::<Vec<_>>())
    });
    let values = lines.iter().flat_map(|(_, _, points)| points).filter_map(|(_, value)| *value);
    let (least, most) = values
        .fold((f64::MAX, 0.0_f64), |(least, most), value| (least.min(value), most.max(value)));
    let is_wide = most > least * 15.0;
    let y = match is_wide {
        true => Axis::log(least, most, Unit::Milliseconds),
        false => Axis::linear(most * 1.05, Unit::Milliseconds),
    };
    let title = if is_wide { "Latency (logarithmic)" } else { "Latency" };
    let mut chart = Chart::new(title, time_axis(&history), y);
    for (class, name, points) in &lines {
        chart.line(class, points);
        chart.explain(class, name);
    }
    chart.figure()
}

/// How many of the requests that passed took how long.
pub(super) fn distribution(passed: &Latencies) -> String {
    let histogram = passed.histogram();
    if histogram.is_empty() {
        return String::new();
    }
    let ms = |microseconds: u64| microseconds.max(1) as f64 / 1_000.0;
    let (least, most) = (ms(histogram.min()), passed.summary().max_ms.max(ms(1)));
    let x = Axis::log(least, most, Unit::Milliseconds);
    let edges = x.edges(BARS);
    let mut counts = [0_u64; BARS];
    for value in histogram.iter_recorded() {
        let place = edges.partition_point(|edge| *edge <= ms(value.value_iterated_to()));
        counts[place.saturating_sub(1).min(BARS - 1)] += value.count_since_last_iteration();
    }
    let tallest = counts.iter().max().copied().unwrap_or(0);
    // Room for the names of the quantiles.
    let y = Axis::linear(tallest as f64 * 1.25, Unit::Count);
    let mut chart = Chart::new("How many took how long", x, y);
    let bar = |(at, count): (usize, &u64)| {
        let (from, to) = (edges[at], edges[at + 1]);
        let says = format!("{from:.2} ms to {to:.2} ms: {count}");
        Bar { from, to, bottom: 0.0, top: *count as f64, says }
    };
    let bars: Vec<_> = counts.iter().enumerate().map(bar).collect();
    chart.bars("ok", &bars);
    for (row, (name, quantile)) in
        [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)].into_iter().enumerate()
    {
        chart.upwards(passed.quantile_ms(quantile), name, row);
    }
    chart.figure()
}
