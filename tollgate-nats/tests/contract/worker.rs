//! Worker and publisher processes: this test's program, started again.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use fleet_testing::{Process, Visit};
use tollgate_nats::{Fleet, FleetJob, OpenError};

use crate::block;

const WORKER: &str = "TOLLGATE_NATS_WORKER";
const PUBLISHER: &str = "TOLLGATE_NATS_PUBLISHER";

/// What a worker process does.
#[derive(Clone, Copy)]
pub struct Work {
    /// Where the servers are.
    pub at: Ipv4Addr,
    pub nats: u16,
    pub resource: u16,
    /// Tasks at once in this process.
    pub local: usize,
    /// The length of a task.
    pub task: Duration,
    /// Whether the tasks stop when their lease is lost.
    pub heeds: bool,
}

/// Starts a worker process.
pub fn start(work: &Work) -> Process {
    let Work { at, nats, resource, local, task, heeds } = work;
    let words = format!("{nats} {resource} {local} {} {heeds} {at}", task.as_millis());
    Process::start("worker::is_a_worker_process", WORKER, &words)
}

/// Starts a process that pushes the numbers from `from` on, and writes each number that was accepted to `file`.
pub fn start_publisher(nats: u16, from: u64, file: &Path) -> Process {
    let words = format!("{nats} {from} {}", file.display());
    Process::start("worker::is_a_publisher_process", PUBLISHER, &words)
}

/// Opens the job, which must exist, as soon as the server answers.
fn open(at: Ipv4Addr, nats: u16) -> FleetJob {
    let address = format!("nats://{at}:{nats}");
    loop {
        let opened =
            block(async { Fleet::connect(address.as_str()).await?.job("fleet").open().await });
        match opened {
            Err(OpenError::Unreachable(_) | OpenError::NoJetStream) => {
                std::thread::sleep(Duration::from_millis(10)); // a fault of the test
            }
            opened => return opened.unwrap(),
        }
    }
}

/// The body of a worker process. Does nothing in a run of the tests.
#[test]
fn is_a_worker_process() {
    let Ok(words) = std::env::var(WORKER) else { return };
    let words: Vec<&str> = words.split(' ').collect();
    let number = |place: usize| words[place].parse::<u64>().unwrap();
    let (resource, local) = (number(1) as u16, number(2) as usize);
    let (length, heeds) = (Duration::from_millis(number(3)), words[4] == "true");
    let at = words[5].parse().unwrap();
    let job = open(at, number(0) as u16);
    let pool = tollgate::Pool::builder().workers(local).build().unwrap();
    let stop = job.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]); // until the test ends it
        stop.stop();
    });
    let own = pool.job(local);
    let served = job.serve(&own, move |task: u64, lease| async move {
        let visit = Visit::begin_at(at, resource, task);
        let start = Instant::now();
        while start.elapsed() < length && !(heeds && lease.is_lost()) {
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(visit);
    });
    block(served).unwrap();
}

/// The body of a publisher process. Does nothing in a run of the tests.
#[test]
fn is_a_publisher_process() {
    let Ok(words) = std::env::var(PUBLISHER) else { return };
    let words: Vec<&str> = words.split(' ').collect();
    let job = open(Ipv4Addr::LOCALHOST, words[0].parse().unwrap());
    let mut file = OpenOptions::new().append(true).create(true).open(words[2]).unwrap();
    for number in words[1].parse::<u64>().unwrap().. {
        if block(job.push(&number)).is_ok() {
            file.write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
