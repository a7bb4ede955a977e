//! Worker processes: this test's program, started again.

use std::io::Read;
use std::time::{Duration, Instant};

use fleet_testing::{Process, Visit};
use tollgate_redis::{Gate, OpenError, redis};

const SWITCH: &str = "TOLLGATE_REDIS_WORKER";

/// What a worker process does.
pub struct Work {
    pub redis: u16,
    pub resource: u16,
    pub lease: Duration,
    /// Tasks at once in this process.
    pub local: usize,
    /// The length of a task.
    pub task: Duration,
    /// Whether the tasks stop when their lease is lost.
    pub heeds: bool,
}

/// Starts a worker process.
pub fn start(work: &Work) -> Process {
    let Work { redis, resource, lease, local, task, heeds } = work;
    let words =
        format!("{redis} {resource} {} {local} {} {heeds}", lease.as_millis(), task.as_millis());
    Process::start("worker::is_a_worker_process", SWITCH, &words)
}

/// The body of a worker process. Does nothing in a run of the tests.
#[test]
fn is_a_worker_process() {
    let Ok(words) = std::env::var(SWITCH) else { return };
    let words: Vec<&str> = words.split(' ').collect();
    let number = |place: usize| words[place].parse::<u64>().unwrap();
    let (resource, lease, local) =
        (number(1) as u16, Duration::from_millis(number(2)), number(3) as usize);
    let (length, heeds) = (Duration::from_millis(number(4)), words[5] == "true");
    let client = redis::Client::open(format!("redis://127.0.0.1:{}/", number(0))).unwrap();
    let gate = loop {
        match Gate::open(client.clone(), "fleet").limit(1).lease(lease).build() {
            Err(OpenError::Unreachable(_)) => std::thread::sleep(Duration::from_millis(10)), // a fault of the test
            opened => break opened.unwrap(),
        }
    };
    let pool = tollgate::Pool::builder().workers(local).build().unwrap();
    let job = pool.job(local);
    let task = move |lease: &tollgate_redis::Lease| {
        let visit = Visit::begin(resource, lease.fence());
        let start = Instant::now();
        while start.elapsed() < length && !(heeds && tollgate::is_cancelled()) {
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(visit);
    };
    let feeder = {
        let (gate, job) = (gate.clone(), job.clone());
        std::thread::spawn(move || {
            while !job.is_closed() {
                if job.stats().running + job.stats().backlog < 2 * local {
                    drop(gate.spawn(&job, task));
                } else {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        })
    };
    let _ = std::io::stdin().read(&mut [0]); // until the test ends it
    job.cancel();
    feeder.join().unwrap();
    job.wait();
}
