//! Serves the figures of each job with a name as Prometheus reads them. Asks its own server once, prints the answer, and ends.
//!
//! `cargo run --release --features metrics --example prometheus`. Your program installs the recorder of an exporter instead of the
//! small one here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use tokio::net::TcpListener;
use tollgate::{JobMetrics, Pool};

/// The lines of the answer, each with its value.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<BTreeMap<String, f64>>>);

/// One metric: its lines, its name, and its labels.
struct Metric(Lines, String, String);

impl Metric {
    fn change(&self, ending: &str, by: impl FnOnce(f64) -> f64) {
        let mut lines = self.0.0.lock().expect("nothing panics under this lock");
        let value = lines.entry(format!("{}{ending}{}", self.1, self.2)).or_default();
        *value = by(*value);
    }
}

impl CounterFn for Metric {
    fn increment(&self, value: u64) {
        self.change("", |before| before + value as f64);
    }
    fn absolute(&self, value: u64) {
        self.change("", |_| value as f64);
    }
}

impl GaugeFn for Metric {
    fn increment(&self, value: f64) {
        self.change("", |before| before + value);
    }
    fn decrement(&self, value: f64) {
        self.change("", |before| before - value);
    }
    fn set(&self, value: f64) {
        self.change("", |_| value);
    }
}

impl HistogramFn for Metric {
    fn record(&self, value: f64) {
        self.change("_sum", |before| before + value);
        self.change("_count", |before| before + 1.0);
    }
}

impl Lines {
    fn metric(&self, key: &Key) -> Arc<Metric> {
        let labels = key.labels().map(|label| format!("{}={:?}", label.key(), label.value()));
        let labels = labels.collect::<Vec<_>>().join(",");
        Arc::new(Metric(self.clone(), key.name().replace('.', "_"), format!("{{{labels}}}")))
    }
}

impl Recorder for Lines {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.metric(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.metric(key))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.metric(key))
    }
}

/// Publishes the figures of all jobs, and returns them as text.
async fn scrape(State((lines, jobs)): State<(Lines, Arc<Mutex<Vec<JobMetrics>>>)>) -> String {
    jobs.lock().expect("nothing panics under this lock").iter_mut().for_each(JobMetrics::publish);
    let lines = lines.0.lock().expect("nothing panics under this lock");
    lines.iter().fold(String::new(), |mut text, (name, value)| {
        _ = writeln!(text, "{name} {value}");
        text
    })
}

fn ask(server: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(server)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let lines = Lines::default();
    metrics::set_global_recorder(lines.clone())?;
    let pool = Pool::builder().workers(2).build()?;
    let search = pool.job_builder().name("search").limit(2).timed().build();
    let held = pool.job_builder().name("held").limit(0).build();
    for _ in 0..20 {
        search.execute(|| std::thread::sleep(Duration::from_millis(1)));
        held.execute(|| ());
    }
    search.wait();
    // A program whose jobs come and go does this before each answer, and keeps the figures of the jobs that it knows.
    let jobs: Vec<_> = pool.jobs().iter().map(JobMetrics::new).collect();
    let jobs = Arc::new(Mutex::new(jobs));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let answer = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let server = listener.local_addr()?;
        let routes = Router::new().route("/metrics", get(scrape)).with_state((lines, jobs));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        tokio::task::spawn_blocking(move || ask(server)).await?
    })?;
    println!("{answer}");
    assert!(answer.contains("tollgate_job_task_completed{job=\"search\"} 20\n"));
    assert!(answer.contains("tollgate_job_queue_size{job=\"held\"} 20\n"));
    assert!(answer.contains("tollgate_job_task_wait_count{job=\"search\"} 20\n"));
    held.cancel();
    Ok(())
}
