//! The limit over several processes, without faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use fleet_testing::{Process, Resource, Server, within};

use crate::worker::{self, Work};
use crate::{SOON, block, explained, open, server};

fn start(server: &Server, resource: &Resource, processes: usize) -> Vec<Process> {
    let task = Duration::from_millis(25);
    let at = std::net::Ipv4Addr::LOCALHOST;
    let work = Work { at, nats: server.port, resource: resource.port, local: 4, task, heeds: true };
    (0..processes).map(|_| worker::start(&work)).collect()
}

#[test]
fn fleet_limit_holds_over_processes_while_the_limit_changes() {
    let (server, resource) = (server::start(), Arc::new(Resource::start()));
    let job = open(server.port, 3, Duration::from_secs(30));
    (0..200_u64).for_each(|number| block(job.push(&number)).unwrap());
    let (pusher, ends) = (job.clone(), Arc::new(AtomicBool::new(false)));
    let (end, visited) = (Arc::clone(&ends), Arc::clone(&resource));
    let pushes = std::thread::spawn(move || {
        let mut number = 200_u64;
        // Ordering: SeqCst; a test, and nothing is lost.
        while !end.load(SeqCst) {
            // No more than the workers soon run: all tasks must end after the last change.
            if number < visited.visits() + 200 {
                block(pusher.push(&number)).unwrap();
                number += 1;
            } else {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        number
    });
    let workers = start(&server, &resource, 3);
    within(SOON, "the limit is used", || resource.most() == 3);
    for limit in [6, 2, 8, 1, 4] {
        block(job.set_limit(limit)).unwrap();
        let limit = limit as usize;
        within(SOON, "the tasks above the limit end", || resource.now() <= limit);
        resource.forget();
        let before = resource.visits();
        within(SOON, "fifty visits", || resource.visits() > before + 50);
        within(SOON, "the limit is used", || resource.most() >= limit);
        assert_eq!(resource.most(), limit, "the most visits at once, under limit {limit}");
    }
    ends.store(true, SeqCst);
    let pushes = pushes.join().unwrap();
    explained(&job, "all is done", |state| state.leases == 0 && state.queued == 0);
    workers.into_iter().for_each(Process::end);
    let mut begun = resource.begun();
    begun.sort_unstable();
    assert!(begun.into_iter().eq(0..pushes), "each task runs once without faults");
}

#[test]
fn at_most_the_local_limit_runs_in_a_process() {
    let (server, resource) = (server::start(), Resource::start());
    let job = open(server.port, 100, Duration::from_secs(30));
    (0..100_u64).for_each(|number| block(job.push(&number)).unwrap());
    let task = Duration::from_millis(5);
    let at = std::net::Ipv4Addr::LOCALHOST;
    let work = Work { at, nats: server.port, resource: resource.port, local: 2, task, heeds: true };
    let workers = [worker::start(&work), worker::start(&work)];
    within(SOON, "all have run", || resource.visits() == 100);
    assert!(resource.most() <= 4, "{} at once", resource.most());
    workers.into_iter().for_each(Process::end);
}

#[test]
fn a_process_takes_no_task_that_it_cannot_run_at_once() {
    let (server, resource) = (server::start(), Resource::start());
    let job = open(server.port, 100, Duration::from_secs(30));
    (0..10_u64).for_each(|number| block(job.push(&number)).unwrap());
    let task = Duration::from_secs(600);
    let at = std::net::Ipv4Addr::LOCALHOST;
    let work = Work { at, nats: server.port, resource: resource.port, local: 3, task, heeds: true };
    let _worker = worker::start(&work);
    within(SOON, "it is busy", || resource.now() == 3);
    explained(&job, "three are held, and explained", |state| {
        state.leases == 3 && state.queued == 7 && state.held.len() == 3
    });
    let state = block(job.explain()).unwrap();
    for held in &state.held {
        assert!(held.left <= Duration::from_secs(20) && held.attempt == 1, "{state}");
        assert!(held.holder.contains(':') && (1..=3).contains(&held.sequence), "{state}");
    }
}
