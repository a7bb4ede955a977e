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
