//! A client whose clock the test sets, against a real server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::server::Server;
use crate::book::Micros;
use crate::gate::Gate;
use crate::redis_store::RedisBackend;
use tollgate_lease::{BootClock, Clock};

const LEASE: Duration = Duration::from_secs(60);

/// The true clock, and a step that the test sets.
#[derive(Clone, Default)]
struct Stepped(Arc<AtomicU64>);

impl Clock for Stepped {
    fn now(&self) -> Micros {
        // Ordering: SeqCst; a test, and nothing is lost.
        BootClock.now() + self.0.load(Ordering::SeqCst)
    }
}

fn gate(server: &Server, clock: &Stepped) -> Gate {
    let backend = RedisBackend::new(server.client(), "stepped");
    backend.prepare(Some(1), Duration::from_secs(5)).unwrap();
    let length = LEASE.as_micros() as Micros;
    Gate::start("stepped".into(), "test".into(), length, Box::new(backend), Box::new(clock.clone()))
        .unwrap()
}

fn step(gate: &Gate, clock: &Stepped, by: Duration) {
    // Ordering: SeqCst; a test, and nothing is lost.
    clock.0.fetch_add(by.as_micros() as Micros, Ordering::SeqCst);
    gate.shared().look_again();
}

/// Waits for a condition. Fails after ten seconds.
fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn overshoot_a_task_is_cancelled_after_two_thirds_and_its_lease_is_left_to_end() {
    let (server, clock) = (Server::start(), Stepped::default());
    let gate = gate(&server, &clock);
    let pool = tollgate::Pool::builder().workers(1).build().unwrap();
    let (tell, told) = mpsc::channel();
    let task = gate.spawn(&pool.job(1), move |lease| {
        tell.send(lease.is_lost()).unwrap();
        wait_for("the task is cancelled", tollgate::is_cancelled);
        lease.is_lost()
    });
    assert!(!told.recv().unwrap());
    step(&gate, &clock, LEASE / 3 * 2);
    assert!(task.join().unwrap().unwrap(), "cancelled, but not lost");
    std::thread::sleep(Duration::from_millis(50));
    let seen = gate.explain().unwrap();
    assert_eq!(seen.held.len(), 1, "a lost lease was released");
    assert!(seen.held[0].left > LEASE / 3 * 2, "a live lease has ended");
}

#[test]
fn a_lease_is_renewed_after_a_third_of_its_length() {
    let (server, clock) = (Server::start(), Stepped::default());
    let gate = gate(&server, &clock);
    let lease = gate.acquire().unwrap();
    step(&gate, &clock, LEASE / 3 - Duration::from_secs(2));
    std::thread::sleep(Duration::from_millis(50));
    assert!(lease.time_left() < LEASE / 2, "renewed before it was due");
    step(&gate, &clock, Duration::from_secs(2));
    wait_for("the lease is renewed", || lease.time_left() > LEASE / 2);
    assert!(!lease.is_lost());
}

#[test]
fn a_lease_that_comes_too_late_is_given_back() {
    let (server, clock) = (Server::start(), Stepped::default());
    let gate = gate(&server, &clock);
    let (late, lost) = (gate.shared().next_id(), gate.shared().next_id());
    let now = clock.now();
    step(&gate, &clock, LEASE);
    assert!(!gate.shared().granted(late, now), "the lease is of no use");
    assert!(gate.shared().is_lost(late) && gate.shared().is_lost(lost));
    wait_for("nothing is held", || gate.explain().unwrap().held.is_empty());
}
