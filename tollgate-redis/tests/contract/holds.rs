//! The limit over several processes, without faults.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fleet_testing::{Process, Resource, within};
use tollgate_redis::{Gate, GateError};

use crate::server::Server;
use crate::worker::{self, Work};

fn start(server: &Server, resource: &Resource, processes: usize) -> Vec<Process> {
    let work = Work {
        redis: server.port,
        resource: resource.port,
        lease: Duration::from_secs(3),
        local: 4,
        task: Duration::from_millis(10),
        heeds: true,
    };
    (0..processes).map(|_| worker::start(&work)).collect()
}

#[test]
fn fleet_limit_holds_over_processes_while_the_limit_changes() {
    let (server, resource) = (Server::start(), Resource::start());
    let gate = Gate::open(server.client(), "fleet").limit(3).build().unwrap();
    let workers = start(&server, &resource, 3);
    within(Duration::from_secs(20), "the limit is used", || resource.most() == 3);
    for limit in [6, 2, 8, 1, 4] {
        gate.set_limit(limit).unwrap();
        let limit = limit as usize;
        within(Duration::from_secs(5), "the tasks above the limit end", || resource.now() <= limit);
        resource.forget();
        let before = resource.visits();
        within(Duration::from_secs(20), "a hundred visits", || resource.visits() > before + 100);
        within(Duration::from_secs(20), "the limit is used", || resource.most() >= limit);
        assert_eq!(resource.most(), limit, "the most visits at once, under limit {limit}");
    }
    workers.into_iter().for_each(Process::end);
    let rest = gate.explain().unwrap();
    assert!(rest.held.is_empty(), "a worker that ended has kept a lease: {rest}");
    // Fencing numbers were given out once each.
    let mut fences = resource.begun();
    fences.sort_unstable();
    fences.dedup();
    assert_eq!(fences.len() as u64, resource.visits());
}

/// Counts the requests that the server runs while `during` runs.
fn requests(server: &Server, during: impl FnOnce()) -> u64 {
    let mut connection = server.client().get_connection().unwrap();
    let mut read = || {
        let info: String =
            tollgate_redis::redis::cmd("INFO").arg("commandstats").query(&mut connection).unwrap();
        let line =
            info.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls=")).unwrap();
        line.split(',').next().unwrap().parse::<u64>().unwrap()
    };
    let before = read();
    during();
    read() - before
}

#[test]
fn waiters_are_woken_one_by_one() {
    let server = Server::start();
    let open = || {
        Gate::open(server.client(), "one").limit(1).lease(Duration::from_secs(60)).build().unwrap()
    };
    let first = open();
    let lease = first.acquire().unwrap();
    let waited = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                let gate = open();
                let lease = gate.acquire().unwrap();
                // Ordering: SeqCst; a test, and nothing is lost.
                waited.fetch_add(1, Ordering::SeqCst);
                drop(lease);
            });
        }
        within(Duration::from_secs(10), "all wait", || first.explain().unwrap().waiting == 12);
        let requests = requests(&server, || {
            drop(lease);
            // Ordering: SeqCst; a test, and nothing is lost.
            within(Duration::from_secs(10), "all have had the lease", || {
                waited.load(Ordering::SeqCst) == 12
            });
        });
        // One release and one request for each, and the polls of a second that fall into the time.
        assert!(requests < 60, "{requests} requests for 12 leases: each release wakes all");
    });
}

#[test]
fn the_permit_goes_to_a_waiter_at_once() {
    let server = Server::start();
    let open = || {
        Gate::open(server.client(), "one").limit(1).lease(Duration::from_secs(60)).build().unwrap()
    };
    let (here, there) = (open(), open());
    let mut times = Vec::new();
    for _round in 0..20 {
        let lease = here.acquire().unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| there.acquire().unwrap());
            within(Duration::from_secs(5), "the other gate waits", || {
                here.explain().unwrap().waiting == 1
            });
            drop(lease);
            let start = Instant::now();
            drop(waiter.join().unwrap());
            times.push(start.elapsed());
        });
    }
    // A waiter polls once a second, so a wake-up that is lost takes most of a second. A busy machine may delay two of them.
    times.sort_unstable();
    assert!(times[17] < Duration::from_millis(400), "the wake-ups took {times:?}");
}

#[test]
fn a_raised_limit_wakes_as_many_waiters() {
    let server = Server::start();
    let open = || {
        Gate::open(server.client(), "one").limit(1).lease(Duration::from_secs(60)).build().unwrap()
    };
    let gate = open();
    // A busy machine may delay one round or two.
    let times = [(); 3].map(|()| {
        let lease = gate.acquire().unwrap();
        let took = std::thread::scope(|scope| {
            let waiters: Vec<_> =
                (0..6).map(|_| scope.spawn(|| open().acquire().unwrap())).collect();
            within(Duration::from_secs(10), "all wait", || gate.explain().unwrap().waiting == 6);
            gate.set_limit(7).unwrap();
            let took = within(Duration::from_secs(5), "each waiter has a lease", || {
                gate.explain().unwrap().held.len() == 7
            });
            drop(waiters.into_iter().map(|waiter| waiter.join().unwrap()).collect::<Vec<_>>());
            took
        });
        drop(lease);
        gate.set_limit(1).unwrap();
        took
    });
    let fastest = times.into_iter().min().unwrap();
    assert!(fastest < Duration::from_millis(700), "the wake-ups were not passed on: {times:?}");
}

#[test]
fn an_open_gate_that_is_idle_costs_no_request_and_no_time() {
    let server = Server::start();
    let gates: Vec<_> = (0..20)
        .map(|n| Gate::open(server.client(), format!("idle-{n}")).limit(1).build().unwrap())
        .collect();
    gates.iter().for_each(|gate| drop(gate.acquire().unwrap()));
    within(Duration::from_secs(5), "all is given back", || {
        gates.iter().all(|gate| gate.explain().unwrap().held.is_empty())
    });
    let requests = requests(&server, || std::thread::sleep(Duration::from_millis(1500)));
    assert_eq!(requests, 0);
}

#[test]
fn a_timeout_ends_a_wait_and_an_impatient_call_does_not_wait_for_another_thread() {
    let server = Server::start();
    let gate =
        Gate::open(server.client(), "one").limit(1).lease(Duration::from_secs(60)).build().unwrap();
    let lease = gate.acquire().unwrap();
    let timeout = Duration::from_millis(4500); // longer than one wait at the server
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let start = Instant::now();
            (gate.acquire_timeout(timeout).unwrap().is_none(), start.elapsed())
        });
        within(Duration::from_secs(5), "a thread waits", || gate.explain().unwrap().waiting == 1);
        let start = Instant::now();
        assert!(gate.try_acquire().unwrap().is_none());
        assert!(
            start.elapsed() < timeout / 3,
            "it waited for the other thread: {:?}",
            start.elapsed()
        );
        let (none, took) = waiter.join().unwrap();
        assert!(none && took >= timeout && took < timeout * 2, "{took:?}");
    });
    assert_eq!(gate.explain().unwrap().waiting, 0, "a thread that has given up still waits");
    drop(lease);
}

#[test]
fn a_cancelled_task_stops_waiting_for_its_lease() {
    let server = Server::start();
    let gate =
        Gate::open(server.client(), "one").limit(1).lease(Duration::from_secs(60)).build().unwrap();
    let lease = gate.acquire().unwrap();
    let pool = tollgate::Pool::builder().workers(2).build().unwrap();
    let job = pool.job(2);
    let tasks: Vec<_> = (0..2).map(|_| gate.spawn(&job, |_| unreachable!())).collect();
    within(Duration::from_secs(5), "a task waits", || gate.explain().unwrap().waiting == 1);
    let start = Instant::now();
    job.cancel();
    for task in tasks {
        let end: Result<Result<(), GateError>, _> = task.join();
        // The second task may not have started.
        assert!(
            matches!(end, Ok(Err(GateError::Cancelled)) | Err(tollgate::JoinError::Cancelled)),
            "{end:?}"
        );
    }
    assert!(start.elapsed() < Duration::from_secs(4), "took {:?}", start.elapsed());
    drop(lease);
}
