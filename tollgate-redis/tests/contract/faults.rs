//! Processes that die or stop, a server that dies or stops, a network that loses and delays.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use fleet_testing::{Mode, Process, Proxy, Random, Resource, soak_time, within};
use tollgate_redis::{Gate, GateError};

use crate::server::{Server, client};
use crate::worker::{self, Work};

const LEASE: Duration = Duration::from_millis(1500);
/// What a loaded machine may add to any time.
const SLACK: Duration = Duration::from_secs(1);

fn work(server: &Server, resource: &Resource) -> Work {
    let task = Duration::from_secs(600);
    Work { redis: server.port, resource: resource.port, lease: LEASE, local: 4, task, heeds: true }
}

#[test]
fn recovery_of_the_permits_of_a_killed_machine_takes_at_most_one_lease() {
    let (server, resource) = (Server::start(), Resource::start());
    let gate = Gate::open(server.client(), "fleet").limit(3).lease(LEASE).build().unwrap();
    let mut worker = worker::start(&work(&server, &resource));
    within(Duration::from_secs(20), "the worker has all permits", || resource.now() == 3);
    std::thread::sleep(LEASE); // the leases are renewed
    assert!(gate.try_acquire().unwrap().is_none());
    worker.kill();
    let killed = Instant::now();
    let leases: Vec<_> = (0..3).map(|_| gate.acquire().unwrap()).collect();
    assert!(killed.elapsed() <= LEASE + SLACK, "took {:?}", killed.elapsed());
    assert!(gate.try_acquire().unwrap().is_none(), "more than the limit");
    drop(leases);
}

#[test]
fn overshoot_lasts_only_while_a_machine_is_stopped() {
    let (server, resource) = (Server::start(), Resource::start());
    let gate = Gate::open(server.client(), "fleet").limit(2).lease(LEASE).build().unwrap();
    let stopped = worker::start(&work(&server, &resource));
    within(Duration::from_secs(20), "the worker has all permits", || resource.now() == 2);
    stopped.signal(libc::SIGSTOP);
    let other = worker::start(&work(&server, &resource));
    let took =
        within(LEASE + 10 * SLACK, "the permits go to another machine", || resource.now() == 4);
    assert_eq!(
        gate.explain().unwrap().held.len(),
        2,
        "the server has granted more than the limit after {took:?}"
    );
    stopped.signal(libc::SIGCONT);
    within(SLACK, "the tasks without a lease stop", || resource.now() == 2);
    resource.forget();
    std::thread::sleep(LEASE); // late renewals of the stopped machine revive nothing
    assert_eq!((resource.most(), gate.explain().unwrap().held.len()), (2, 2));
    drop(other);
}

#[test]
fn fleet_limit_holds_over_a_kill_of_the_server() {
    let mut server = Server::start();
    let open = |server: &Server| {
        Gate::open(server.client(), "fleet").limit(3).lease(2 * LEASE).build().unwrap()
    };
    let (here, there) = (open(&server), open(&server));
    let leases: Vec<_> = (0..3).map(|_| here.acquire().unwrap()).collect();
    server.kill();
    assert!(matches!(there.try_acquire(), Err(GateError::Unreachable(_))));
    server.restart();
    assert!(there.try_acquire().unwrap().is_none(), "the server has forgotten the leases");
    assert_eq!(there.explain().unwrap().held.len(), 3);
    std::thread::sleep(3 * LEASE); // longer than a lease: they are renewed on new connections
    assert!(leases.iter().all(|lease| !lease.is_lost()));
    assert!(there.try_acquire().unwrap().is_none());
    drop(leases);
    assert!(there.acquire_timeout(SLACK * 3).unwrap().is_some());
}

#[test]
fn overshoot_ends_by_the_clients_own_clock_while_the_server_is_gone() {
    let mut server = Server::start();
    let gate = Gate::open(server.client(), "fleet").limit(1).lease(LEASE).build().unwrap();
    let pool = tollgate::Pool::builder().workers(1).build().unwrap();
    let start = Instant::now();
    let (begins, begun) = mpsc::channel();
    let task = gate.spawn(&pool.job(1), move |lease| {
        begins.send(()).unwrap();
        within(LEASE + SLACK, "the task is cancelled", tollgate::is_cancelled);
        (lease.is_lost(), start.elapsed())
    });
    begun.recv().unwrap();
    server.kill();
    let (lost, after) = task.join().unwrap().unwrap();
    assert!(lost && after < LEASE, "cancelled after {after:?}, when the lease may have ended");
    let begun = Instant::now();
    let late = gate.acquire_timeout(Duration::from_millis(10));
    assert!(matches!(late, Err(GateError::Unreachable(_))), "{late:?}");
    assert!(matches!(gate.acquire(), Err(GateError::Unreachable(_))));
    assert!(
        begun.elapsed() >= LEASE && begun.elapsed() < LEASE + 2 * SLACK,
        "after {:?}",
        begun.elapsed()
    );
}

#[test]
fn nothing_lost_over_kills_of_the_server() {
    let mut server = Server::start();
    let gate = Gate::open(server.client(), "fleet").limit(3).lease(2 * LEASE).build().unwrap();
    let pool = tollgate::Pool::builder().workers(4).build().unwrap();
    let job = pool.job(8);
    let runs = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..600)
        .map(|_| {
            let runs = Arc::clone(&runs);
            gate.spawn(&job, move |_| {
                // Ordering: SeqCst; a test, and nothing is lost.
                runs.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(3));
            })
        })
        .collect();
    for _kill in 0..2 {
        std::thread::sleep(Duration::from_millis(100));
        server.kill();
        std::thread::sleep(Duration::from_millis(100));
        server.restart();
    }
    let done = tasks.into_iter().map(|task| task.join().unwrap()).filter(Result::is_ok).count();
    // Ordering: SeqCst; a test, and nothing is lost.
    assert_eq!((done, runs.load(Ordering::SeqCst)), (600, 600));
    within(3 * LEASE, "all permits are back", || gate.explain().unwrap().held.is_empty());
}

#[test]
fn a_lost_answer_is_asked_for_again_and_counts_once() {
    let server = Server::start();
    let proxy = Proxy::start(server.port);
    let gate = Gate::open(client(proxy.port), "fleet").limit(2).lease(LEASE).build().unwrap();
    let direct = Gate::open(server.client(), "fleet").build().unwrap();
    drop(gate.acquire().unwrap()); // connects, so that the next request reaches the server
    within(SLACK, "it is given back", || direct.explain().unwrap().held.is_empty());
    proxy.set(Mode::LoseAnswers);
    std::thread::scope(|scope| {
        let asks = scope.spawn(|| gate.acquire().unwrap());
        within(SLACK, "the server has granted", || direct.explain().unwrap().held.len() == 1);
        std::thread::sleep(LEASE / 6);
        proxy.set(Mode::Pass);
        let lease = asks.join().unwrap();
        let seen = direct.explain().unwrap();
        assert_eq!((seen.held.len(), seen.held[0].id.clone(), lease.fence()), (1, lease.id(), 2));
    });
    within(SLACK, "it is given back", || direct.explain().unwrap().held.is_empty());
}

#[test]
fn a_request_that_arrives_after_it_was_given_up_costs_one_lease_at_most() {
    let server = Server::start();
    let proxy = Proxy::start(server.port);
    let gate = Gate::open(client(proxy.port), "fleet").limit(1).lease(LEASE).build().unwrap();
    let direct = Gate::open(server.client(), "fleet").lease(LEASE).build().unwrap();
    drop(gate.acquire().unwrap());
    within(SLACK, "it is given back", || direct.explain().unwrap().held.is_empty());
    proxy.set(Mode::KeepRequests);
    let given_up = gate.try_acquire();
    assert!(matches!(given_up, Err(GateError::Unreachable(_))), "{given_up:?}");
    proxy.set(Mode::Pass); // the request and its release arrive, in any order
    let lease = direct.acquire_timeout(LEASE + SLACK).unwrap();
    assert!(lease.is_some(), "the permit did not come back");
}

#[test]
fn fleet_limit_holds_against_late_renewals() {
    let server = Server::start();
    let proxy = Proxy::start(server.port);
    let gate = Gate::open(client(proxy.port), "fleet").limit(1).lease(LEASE).build().unwrap();
    let direct = Gate::open(server.client(), "fleet").lease(LEASE).build().unwrap();
    let late = gate.acquire().unwrap();
    std::thread::sleep(LEASE); // renewed
    assert!(!late.is_lost());
    proxy.set(Mode::KeepRequests);
    let lost = within(LEASE, "the lease is lost", || late.is_lost());
    assert!(
        direct.try_acquire().unwrap().is_none(),
        "lost after {lost:?}, but not yet at the server"
    );
    let lease =
        direct.acquire_timeout(LEASE + SLACK).unwrap().expect("the lease has ended at the server");
    proxy.set(Mode::Pass); // the renewals arrive now
    std::thread::sleep(LEASE / 3);
    let seen = direct.explain().unwrap();
    assert_eq!((seen.held.len(), seen.held[0].id.clone()), (1, lease.id()));
    assert!(late.is_lost() && !lease.is_lost());
}

#[test]
fn fleet_limit_holds_over_resets() {
    let (server, resource) = (Server::start(), Resource::start());
    let proxy = Proxy::start(server.port);
    let gate = Gate::open(server.client(), "fleet").limit(2).lease(LEASE).build().unwrap();
    let short =
        Work { redis: proxy.port, task: Duration::from_millis(5), ..work(&server, &resource) };
    let workers: Vec<_> = (0..2).map(|_| worker::start(&short)).collect();
    within(Duration::from_secs(20), "the limit is used", || resource.now() == 2);
    for _reset in 0..10 {
        let before = resource.visits();
        proxy.set(Mode::Reset);
        std::thread::sleep(Duration::from_millis(20));
        proxy.set(Mode::Pass);
        within(LEASE + 10 * SLACK, "the work goes on", || resource.visits() > before + 20);
    }
    workers.into_iter().for_each(Process::end);
    within(LEASE + SLACK, "all permits are back", || gate.explain().unwrap().held.is_empty());
    assert_eq!(resource.most(), 2);
}

/// Random faults for `TOLLGATE_SOAK_SECS` seconds, or ten. After each, the limit holds again, and all permits are in use.
#[test]
fn soak() {
    let (mut server, resource) = (Server::start(), Resource::start());
    let proxy = Proxy::start(server.port);
    let gate = Gate::open(server.client(), "fleet").limit(4).lease(LEASE).build().unwrap();
    let mut random = Random::start();
    let task = Duration::from_millis(20);
    let start_one = |server: &Server, proxied: bool| {
        let redis = if proxied { proxy.port } else { server.port };
        worker::start(&Work { redis, task, ..work(server, &resource) })
    };
    let mut workers: Vec<_> = (0..3).map(|n| start_one(&server, n == 0)).collect();
    let (start, mut faults) = (Instant::now(), 0);
    while start.elapsed() < soak_time() {
        let pause = Duration::from_millis(random.below(2 * LEASE.as_millis() as u64));
        let victim = random.below(3) as usize;
        match random.below(5) {
            0 => workers[victim] = start_one(&server, victim == 0), // kills the old one
            1 => {
                workers[victim].signal(libc::SIGSTOP);
                std::thread::sleep(pause);
                workers[victim].signal(libc::SIGCONT);
            }
            2 => {
                server.kill();
                std::thread::sleep(pause / 4);
                server.restart();
            }
            mode => {
                proxy.set(if mode == 3 { Mode::KeepRequests } else { Mode::LoseAnswers });
                std::thread::sleep(pause);
                proxy.set(Mode::Pass);
            }
        }
        faults += 1;
        std::thread::sleep(2 * LEASE); // tasks without a lease have stopped, and each lease is renewed or has ended
        resource.forget();
        let before = resource.visits();
        within(10 * SLACK, "the limit is used", || {
            resource.visits() > before + 20 && resource.most() >= 4
        });
        assert_eq!(resource.most(), 4, "after {faults} faults");
    }
    workers.into_iter().for_each(Process::end);
    within(LEASE + SLACK, "all permits are back", || gate.explain().unwrap().held.is_empty());
    println!("{faults} faults, {} visits", resource.visits());
}
