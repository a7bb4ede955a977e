//! What `JobMetrics` publishes, read by a recorder of the test.
#![cfg(feature = "metrics")]

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use common::event::{Gauge, Latch, stay};
use common::{LONG, SECOND, pool, pool_with_clock, within};
use metrics::{
    Counter, CounterFn, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use tollgate::{Job, JobMetrics};

/// The values by name and job: the last one of a gauge or a counter, each one of a histogram.
#[derive(Clone, Debug, Default)]
struct Values(Arc<Mutex<BTreeMap<String, Vec<f64>>>>);

/// One of the values.
struct Value(Values, String);

impl Value {
    fn set(&self, value: f64) {
        self.0.0.lock().unwrap().insert(self.1.clone(), vec![value]);
    }
}

impl CounterFn for Value {
    fn increment(&self, _: u64) {
        unreachable!("counters are absolute");
    }
    fn absolute(&self, value: u64) {
        self.set(value as f64);
    }
}

impl GaugeFn for Value {
    fn increment(&self, _: f64) {
        unreachable!("gauges are set");
    }
    fn decrement(&self, _: f64) {
        unreachable!("gauges are set");
    }
    fn set(&self, value: f64) {
        Self::set(self, value);
    }
}

impl HistogramFn for Value {
    fn record(&self, value: f64) {
        self.0.0.lock().unwrap().entry(self.1.clone()).or_default().push(value);
    }
}

impl Values {
    fn value(&self, key: &Key) -> Arc<Value> {
        let labels: Vec<_> = key.labels().map(|label| (label.key(), label.value())).collect();
        let [("job", job)] = labels[..] else { panic!("{labels:?}") };
        Arc::new(Value(self.clone(), format!("{}[{job}]", key.name())))
    }

    fn publish(&self, metrics: &mut JobMetrics) -> BTreeMap<String, Vec<f64>> {
        metrics::with_local_recorder(self, || metrics.publish());
        self.0.lock().unwrap().clone()
    }
}

impl Recorder for Values {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.value(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> metrics::Gauge {
        metrics::Gauge::from_arc(self.value(key))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.value(key))
    }
}

#[track_caller]
fn assert_values(values: &BTreeMap<String, Vec<f64>>, wanted: &[(&str, f64)]) {
    for (name, value) in wanted {
        assert_eq!(values.get(&format!("tollgate.job.{name}")), Some(&vec![*value]), "{name}");
    }
}

#[test]
fn figures_are_those_of_the_moment() {
    within(LONG, || {
        let pool = pool(2);
        let search = pool.job_builder().name("search").limit(1).build();
        let (values, mut metrics) = (Values::default(), JobMetrics::new(&search));
        let (gauge, latch) = (Gauge::new(), Latch::new());
        search.execute(stay(&gauge, &latch));
        gauge.until_running(1);
        (0..3).for_each(|_| search.execute(|| ()));
        let seen = values.publish(&mut metrics);
        let (running, limit) = (("running[search]", 1.0), ("limit[search]", 1.0));
        assert_values(&seen, &[running, limit, ("queue.size[search]", 3.0)]);
        assert_values(&seen, &[("task.completed[search]", 0.0)]);
        assert_eq!(seen.len(), 4, "a job that is not timed has no waits: {seen:?}");
        latch.open();
        search.wait();
        search.set_limit(usize::MAX);
        let seen = values.publish(&mut metrics);
        assert_values(&seen, &[("running[search]", 0.0), ("limit[search]", f64::INFINITY)]);
        assert_values(&seen, &[("queue.size[search]", 0.0), ("task.completed[search]", 4.0)]);
    });
}

/// The ready tasks of an unlimited job count as queued.
#[test]
fn ready_tasks_are_queued() {
    within(LONG, || {
        let pool = pool(1);
        let (gauge, latch) = (Gauge::new(), Latch::new());
        pool.job(1).execute(stay(&gauge, &latch));
        gauge.until_running(1);
        let job = pool.job_builder().name("all").build();
        let (values, mut metrics) = (Values::default(), JobMetrics::new(&job));
        (0..3).for_each(|_| job.execute(|| ()));
        assert!(job.stats().ready > 0, "{:?}", job.stats());
        let seen = values.publish(&mut metrics);
        assert_values(&seen, &[("queue.size[all]", 3.0), ("running[all]", 0.0)]);
        latch.open();
        job.wait();
    });
}

/// What is said of each figure: its kind, name and unit.
#[derive(Debug, Default)]
struct Described(Mutex<Vec<(&'static str, String, Option<Unit>)>>);

impl Described {
    fn note(&self, kind: &'static str, name: &KeyName, unit: Option<Unit>, says: &SharedString) {
        assert!(!says.is_empty(), "{name:?} is not described");
        self.0.lock().unwrap().push((kind, name.as_str().to_owned(), unit));
    }
}

impl Recorder for Described {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, says: SharedString) {
        self.note("counter", &name, unit, &says);
    }
    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, says: SharedString) {
        self.note("gauge", &name, unit, &says);
    }
    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, says: SharedString) {
        self.note("histogram", &name, unit, &says);
    }
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> metrics::Gauge {
        metrics::Gauge::noop()
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn each_figure_is_described_with_its_unit() {
    let (pool, described) = (pool(1), Described::default());
    metrics::with_local_recorder(&described, || _ = JobMetrics::new(&pool.job(1)));
    let mut said = described.0.into_inner().unwrap();
    said.sort_by(|one, other| one.1.cmp(&other.1));
    let figure = |kind, name: &str, unit| (kind, format!("tollgate.job.{name}"), Some(unit));
    let wanted = [
        figure("gauge", "limit", Unit::Count),
        figure("gauge", "queue.size", Unit::Count),
        figure("gauge", "running", Unit::Count),
        figure("counter", "task.completed", Unit::Count),
        figure("histogram", "task.wait", Unit::Seconds),
    ];
    assert_eq!(said, wanted);
}

#[test]
fn each_wait_is_published_once() {
    fn waits(job: &Job, seconds: u32, clock: &tollgate::ManualClock) {
        job.pause();
        let task = job.spawn(|| ());
        clock.advance(seconds * SECOND);
        job.resume();
        task.join().unwrap();
    }
    within(LONG, || {
        let (pool, clock) = pool_with_clock(1);
        let job = pool.job_builder().timed().build();
        let (values, mut metrics) = (Values::default(), JobMetrics::new(&job));
        waits(&job, 1, &clock);
        waits(&job, 1, &clock);
        let seen = values.publish(&mut metrics);
        assert_eq!(seen["tollgate.job.task.wait[]"], [1.0, 1.0]);
        assert_eq!(values.publish(&mut metrics)["tollgate.job.task.wait[]"].len(), 2);
        waits(&job, 3, &clock);
        assert_eq!(values.publish(&mut metrics)["tollgate.job.task.wait[]"], [1.0, 1.0, 3.0]);
    });
}

/// A recorder beside which tasks run: each time it is asked for a histogram, it runs a task of the job.
struct Busy(Values, Job);

impl Recorder for Busy {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.0.register_counter(key, metadata)
    }
    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> metrics::Gauge {
        self.0.register_gauge(key, metadata)
    }
    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.1.spawn(|| ()).join().unwrap();
        self.0.register_histogram(key, metadata)
    }
}

/// A wait that ends while the figures are published is in the next call.
#[test]
fn a_wait_that_ends_meanwhile_is_published_next() {
    within(LONG, || {
        let (pool, _clock) = pool_with_clock(1);
        let job = pool.job_builder().timed().build();
        let (values, mut metrics) = (Values::default(), JobMetrics::new(&job));
        let busy = Busy(values.clone(), job.clone());
        job.spawn(|| ()).join().unwrap();
        metrics::with_local_recorder(&busy, || metrics.publish());
        assert_eq!(values.publish(&mut metrics)["tollgate.job.task.wait[]"], [0.0, 0.0]);
    });
}

/// A task that panics is not completed, and a delayed task is neither queued nor ready.
#[test]
fn tasks_that_panic_or_are_delayed_have_no_figure() {
    within(LONG, || {
        let (pool, clock) = pool_with_clock(1);
        let job = pool.job_builder().name("some").build();
        let (values, mut metrics) = (Values::default(), JobMetrics::new(&job));
        job.execute(|| ());
        job.execute(|| common::unwind("a task that fails"));
        job.wait();
        let late = job.spawn_after(SECOND, || ());
        let seen = values.publish(&mut metrics);
        assert_values(&seen, &[("task.completed[some]", 1.0), ("queue.size[some]", 0.0)]);
        clock.advance(SECOND);
        late.join().unwrap();
        job.wait();
        assert_values(&values.publish(&mut metrics), &[("task.completed[some]", 2.0)]);
    });
}
