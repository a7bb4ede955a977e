//! A client whose clock the test sets, against a real server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fleet_testing::{Server, within};
use futures::executor::block_on as block;
use tollgate_lease::{BootClock, Clock, Micros};

use super::server;
use crate::engine::{Engine, Numbers};
use crate::fleet::Fleet;
use crate::job::FleetJob;
use crate::leases::Leases;

const LEASE: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(50);

/// The true clock, and a step that the test sets.
#[derive(Clone, Default)]
struct Stepped(Arc<AtomicU64>);

impl Clock for Stepped {
    fn now(&self) -> Micros {
        // Ordering: SeqCst; a test, and nothing is lost.
        BootClock.now() + self.0.load(Ordering::SeqCst)
    }
}

impl Stepped {
    fn step(&self, job: &FleetJob, by: Duration) {
        // Ordering: SeqCst; a test, and nothing is lost.
        self.0.fetch_add(by.as_micros() as Micros, Ordering::SeqCst);
        job.leases().look_again();
    }
}

fn open(server: &Server, clock: &Stepped) -> FleetJob {
    let fleet = block(Fleet::connect(server::address(server.port))).unwrap();
    let job = block(fleet.job("stepped").limit(1).lease(LEASE).open()).unwrap();
    block(job.push(&1)).unwrap();
    let engine = Engine::new(fleet.link, "stepped");
    FleetJob::start(Leases::new(engine, LEASE, Box::new(clock.clone()), 0), "test".into(), None)
}

/// Serves the job, and calls `then` while its one task runs. Returns when the task has ended.
fn beside(job: &FleetJob, then: impl FnOnce()) {
    let pool = tollgate::Pool::builder().workers(1).build().unwrap();
    let local = pool.job(1);
    std::thread::scope(|scope| {
        let stop = job.clone();
        let served = job.serve(&local, |_: u64, lease: crate::Lease| async move {
            within(SOON, "the task is cancelled", tollgate::is_cancelled);
            assert!(lease.is_lost(), "cancelled, but not lost");
        });
        scope.spawn(|| block(served).unwrap());
        within(SOON, "it runs", || !job.leases().held().is_empty());
        then();
        within(SOON, "it has ended", || job.leases().held().is_empty());
        stop.stop();
    });
}

#[test]
fn overshoot_a_task_is_cancelled_after_two_thirds_and_is_not_acknowledged() {
    let (server, clock) = (server::start(), Stepped::default());
    let job = open(&server, &clock);
    beside(&job, || clock.step(&job, LEASE / 3 * 2));
    let seen = block(job.explain()).unwrap();
    assert_eq!((seen.leases, seen.held.len()), (1, 0), "a lost lease was acknowledged: {seen}");
}

#[test]
fn clocks_a_lease_is_renewed_after_a_third_of_its_length() {
    let (server, clock) = (server::start(), Stepped::default());
    let job = open(&server, &clock);
    beside(&job, || {
        let left = || job.leases().held().first().map_or(Duration::ZERO, |(_, _, left)| *left);
        clock.step(&job, LEASE / 3);
        within(SOON, "the lease is renewed", || left() > LEASE / 2);
        clock.step(&job, LEASE / 3 * 2);
    });
}

#[test]
fn a_task_that_comes_too_late_is_neither_run_nor_acknowledged() {
    let (server, clock) = (server::start(), Stepped::default());
    let job = open(&server, &clock);
    let sent = clock.now();
    clock.step(&job, LEASE / 3 * 2);
    let numbers = Numbers { delivered: 1, sequence: 1, delivery: 1 };
    assert_eq!(job.leases().enter("reply".into(), numbers, 1, sent), None);
    assert!(job.leases().held().is_empty());
}
