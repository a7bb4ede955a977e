//! Processes that die or stop, a server that dies or stops, a network that loses and delays.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use fleet_testing::{Mode, Process, Proxy, Random, Resource, Server, soak_time, within};
use tollgate_nats::FleetJob;

use crate::bad_input::api;
use crate::worker::{self, Work, start_publisher};
use crate::{SOON, block, explained, open, server};

const LEASE: Duration = Duration::from_secs(3);
/// A lease that a busy machine does not lose.
const LONG: Duration = Duration::from_secs(12);

fn work(server: &Server, resource: &Resource) -> Work {
    let task = Duration::from_secs(600);
    let (at, nats, resource) = (Ipv4Addr::LOCALHOST, server.port, resource.port);
    Work { at, nats, resource, local: 4, task, heeds: true }
}

fn push(job: &FleetJob, tasks: std::ops::Range<u64>) {
    tasks.for_each(|number| block(job.push(&number)).unwrap());
}

#[test]
fn recovery_of_the_permits_of_a_killed_machine() {
    let (server, resource) = (server::start(), Resource::start());
    let job = open(server.port, 3, LEASE);
    push(&job, 0..3);
    let mut dies = worker::start(&work(&server, &resource));
    within(SOON, "the worker has all permits", || resource.now() == 3);
    std::thread::sleep(LEASE); // the leases are renewed
    assert_eq!(resource.visits(), 3);
    let _waits = worker::start(&work(&server, &resource));
    dies.kill();
    within(SOON, "the tasks of the dead machine end", || resource.now() == 0);
    resource.forget();
    let took = within(SOON, "another machine has all permits", || resource.now() == 3);
    println!("the permits came back after {took:?}, with a lease of {LEASE:?}");
    explained(&job, "each task runs a second time", |state| {
        state.leases == 3 && state.held.len() == 3 && state.held.iter().all(|h| h.attempt == 2)
    });
    assert_eq!((resource.most(), resource.visits()), (3, 6));
}

#[test]
fn overshoot_lasts_only_while_a_machine_is_stopped() {
    let (server, resource) = (server::start(), Resource::start());
    let job = open(server.port, 2, LEASE);
    push(&job, 0..2);
    let stopped = worker::start(&work(&server, &resource));
    within(SOON, "the worker has all permits", || resource.now() == 2);
    stopped.signal(libc::SIGSTOP);
    let _other = worker::start(&work(&server, &resource));
    within(SOON, "the permits go to another machine", || resource.now() == 4);
    explained(&job, "the server counts the limit", |state| state.leases == 2);
    stopped.signal(libc::SIGCONT);
    within(SOON, "the tasks without a lease stop", || resource.now() == 2);
    resource.forget();
    std::thread::sleep(2 * LEASE); // no late renewal or acknowledgement of the stopped machine frees a permit
    assert_eq!(resource.most(), 2);
    explained(&job, "the other machine holds both", |state| {
        state.leases == 2 && state.held.iter().all(|held| held.attempt == 2)
    });
}

#[test]
fn overshoot_of_tasks_that_do_not_heed_stays_within_the_formula() {
    let (server, resource) = (server::start(), Resource::start());
    let job = open(server.port, 2, LEASE);
    push(&job, 0..2);
    // A task of length D = 2.5 leases that does not look, on machines that cannot reach the server.
    let proxy = Proxy::start(server.port);
    let deaf =
        Work { nats: proxy.port, task: LEASE * 5 / 2, heeds: false, ..work(&server, &resource) };
    let _deaf = worker::start(&deaf);
    within(SOON, "the worker has all permits", || resource.now() == 2);
    proxy.set(Mode::KeepRequests);
    let _other = worker::start(&work(&server, &resource));
    within(SOON, "the permits go to another machine", || resource.now() == 4);
    within(SOON, "the deaf tasks end", || resource.now() == 2);
    // limit × (⌈D / lease⌉ − 1) = 4 executions beyond the limit at most.
    assert!(resource.most() <= 2 + 4, "{}", resource.most());
}

#[test]
fn fleet_limit_holds_over_a_kill_of_the_server() {
    let (mut server, resource) = (server::start(), Resource::start());
    let job = open(server.port, 3, LONG);
    push(&job, 0..10);
    let _workers = [(); 2].map(|()| worker::start(&work(&server, &resource)));
    within(SOON, "the limit is used", || resource.now() == 3);
    std::thread::sleep(Duration::from_secs(1)); // the server has written what it knows
    server.kill();
    server.restart();
    explained(&job, "the server has not forgotten the leases", |state| {
        state.leases == 3 && state.held.len() == 3
    });
    std::thread::sleep(LONG); // longer than a lease, unless they are renewed
    assert_eq!((resource.most(), resource.now(), resource.visits()), (3, 3, 3));
}

#[test]
fn fleet_limit_holds_when_the_server_has_forgotten_all_leases() {
    let (mut server, resource) = (server::start(), Resource::start());
    let job = open(server.port, 2, LEASE);
    push(&job, 0..10);
    let _workers = [(); 2].map(|()| worker::start(&work(&server, &resource)));
    within(SOON, "the limit is used", || resource.now() == 2);
    std::thread::sleep(Duration::from_millis(500));
    server.kill();
    // What a kill within the write of this file leaves behind.
    let folder = server.folder.join("jetstream/$G/streams/tollgate-fleet/obs/workers");
    std::fs::write(folder.join("o.dat"), []).unwrap();
    server.restart();
    within(SOON, "the tasks whose leases are forgotten stop", || resource.now() == 0);
    within(SOON, "the work goes on", || resource.now() == 2);
    std::thread::sleep(LEASE);
    assert_eq!((resource.most(), resource.now()), (2, 2));
}

#[test]
fn overshoot_ends_by_the_clients_own_clock_while_the_server_is_gone() {
    let mut server = server::start();
    let job = open(server.port, 1, LEASE);
    push(&job, 0..1);
    let pool = tollgate::Pool::builder().workers(1).build().unwrap();
    let (begins, begun) = mpsc::channel();
    let (ends, ended) = mpsc::channel();
    let local = pool.job(1);
    std::thread::scope(|scope| {
        let served = job.serve(&local, move |_: u64, lease| {
            let (begins, ends) = (begins.clone(), ends.clone());
            async move {
                begins.send(Instant::now()).unwrap();
                let start = Instant::now();
                while !tollgate::is_cancelled() && start.elapsed() < SOON {
                    std::thread::sleep(Duration::from_millis(1));
                }
                let _ = ends.send(lease.is_lost());
            }
        });
        scope.spawn(|| block(served).unwrap());
        begun.recv_timeout(SOON).unwrap();
        server.kill();
        assert!(ended.recv_timeout(SOON).unwrap(), "cancelled, but not lost");
        job.stop();
    });
    server.restart();
    explained(&job, "the task was not acknowledged", |state| {
        state.leases + state.queued as usize == 1
    });
}

#[test]
fn a_future_that_awaits_is_dropped_when_its_lease_is_lost() {
    let mut server = server::start();
    let job = open(server.port, 1, LEASE);
    push(&job, 0..1);
    let pool = tollgate::Pool::builder().workers(1).build().unwrap();
    struct Tells(mpsc::Sender<()>);
    impl Drop for Tells {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (begins, begun) = mpsc::channel();
    let (drops, dropped) = mpsc::channel();
    let local = pool.job(1);
    std::thread::scope(|scope| {
        let served = job.serve(&local, move |_: u64, _| {
            let tells = Tells(drops.clone());
            begins.send(()).unwrap();
            async move {
                let _tells = tells;
                std::future::pending::<()>().await;
            }
        });
        scope.spawn(|| block(served).unwrap());
        begun.recv_timeout(SOON).unwrap();
        server.kill();
        dropped.recv_timeout(SOON).expect("the future is dropped");
        job.stop();
    });
}

#[test]
fn fleet_limit_holds_when_leases_end_after_the_limit_was_lowered() {
    let (server, resource) = (server::start(), Resource::start());
    let job = open(server.port, 4, LEASE);
    push(&job, 0..4);
    let mut dies = worker::start(&work(&server, &resource));
    within(SOON, "the worker has all permits", || resource.now() == 4);
    dies.kill();
    within(SOON, "the tasks end", || resource.now() == 0);
    block(job.set_limit(1)).unwrap();
    resource.forget();
    let short = Work { task: Duration::from_millis(20), ..work(&server, &resource) };
    let workers = [(); 2].map(|()| worker::start(&short));
    within(SOON, "each task has run again", || resource.visits() >= 8);
    explained(&job, "all is done", |state| state.leases == 0 && state.queued == 0);
    assert_eq!(resource.most(), 1, "the server hands out what was held, whatever the limit is");
    workers.into_iter().for_each(Process::end);
}

#[test]
fn overshoot_after_a_late_acknowledgement_ends_with_the_next_renewal() {
    let (server, resource) = (server::start(), Resource::start());
    let proxy = Proxy::start(server.port);
    let job = open(server.port, 1, LEASE);
    push(&job, 0..2);
    // The first machine ends its task while the network keeps its acknowledgement.
    let near = open(proxy.port, 1, LEASE);
    let pool = tollgate::Pool::builder().workers(1).build().unwrap();
    let local = pool.job(1);
    let (begins, begun) = mpsc::channel();
    let release = Arc::new(AtomicU64::new(0));
    std::thread::scope(|scope| {
        let (go, stop) = (Arc::clone(&release), near.clone());
        let served = near.serve(&local, move |_: u64, _| {
            begins.send(()).unwrap();
            let go = Arc::clone(&go);
            stop.stop();
            async move {
                while go.load(SeqCst) == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        scope.spawn(|| block(served).unwrap());
        begun.recv_timeout(SOON).unwrap();
        proxy.set(Mode::KeepRequests);
        release.store(1, SeqCst); // ends in time, by its own clock
        let _other = worker::start(&work(&server, &resource));
        within(SOON, "its lease ends at the server", || resource.now() == 1);
        explained(&job, "the second machine holds it", |state| state.held.len() == 1);
        proxy.set(Mode::Pass); // the acknowledgement arrives, and frees a permit that is held
        within(SOON, "the second task is handed out", || resource.visits() == 2);
        within(SOON, "the first task's second run stops", || resource.now() == 1);
        resource.forget();
        std::thread::sleep(2 * LEASE);
        assert_eq!((resource.most(), resource.visits()), (1, 2));
    });
}

#[test]
fn fleet_limit_holds_over_resets() {
    let (server, resource) = (server::start(), Resource::start());
    let proxy = Proxy::start(server.port);
    let job = open(server.port, 2, LONG);
    push(&job, 0..1000);
    let short =
        Work { nats: proxy.port, task: Duration::from_millis(3), ..work(&server, &resource) };
    let workers = [(); 2].map(|()| worker::start(&short));
    within(SOON, "the limit is used", || resource.most() == 2);
    for _reset in 0..4 {
        let before = resource.visits();
        proxy.set(Mode::Reset);
        std::thread::sleep(Duration::from_millis(20));
        proxy.set(Mode::Pass);
        within(SOON, "the work goes on", || resource.visits() > before + 20);
    }
    // A delivery that a reset has lost comes back when its lease has ended, and only while a worker pulls.
    explained(&job, "all is done", |state| state.leases == 0 && state.queued == 0);
    assert_eq!(resource.most(), 2);
    workers.into_iter().for_each(Process::end);
}

#[test]
fn fleet_nothing_lost_over_kills_of_workers_publishers_and_the_server() {
    let (mut server, resource) = (server::start(), Resource::start());
    let job = open(server.port, 3, LEASE);
    let file = server.folder.join("accepted");
    let work = Work { task: Duration::from_millis(2), ..work(&server, &resource) };
    let mut workers: Vec<_> = (0..3).map(|_| worker::start(&work)).collect();
    for round in 0..3_u64 {
        let mut publisher = start_publisher(server.port, round * 1_000_000, &file);
        let before = resource.visits();
        within(SOON, "tasks run", || resource.visits() > before + 30);
        workers[round as usize] = worker::start(&work); // kills the old one
        if round > 0 {
            server.kill();
            server.restart();
            let before = resource.visits();
            within(SOON, "tasks run again", || resource.visits() > before + 30);
        }
        publisher.kill();
    }
    explained(&job, "all is done", |state| state.leases == 0 && state.queued == 0);
    let mut begun = resource.begun();
    begun.sort_unstable();
    let accepted = std::fs::read_to_string(&file).unwrap();
    // The last line may be cut by the kill.
    let numbers: Vec<u64> = accepted.lines().filter_map(|line| line.parse().ok()).collect();
    let lost: Vec<_> = numbers.iter().filter(|n| begun.binary_search(n).is_err()).collect();
    assert!(lost.is_empty() && numbers.len() > 90, "{lost:?} of {} are lost", numbers.len());
    workers.into_iter().for_each(Process::end);
}

#[test]
fn a_server_that_stands_still_loses_nothing() {
    let (server, resource) = (server::start(), Resource::start());
    let job = open(server.port, 2, LEASE);
    push(&job, 0..2);
    let _worker = worker::start(&work(&server, &resource));
    within(SOON, "the limit is used", || resource.now() == 2);
    server.signal(libc::SIGSTOP);
    within(SOON, "the tasks stop by their own clock", || resource.now() == 0);
    server.signal(libc::SIGCONT);
    within(SOON, "they run again", || resource.now() == 2);
    explained(&job, "within the limit", |state| state.leases == 2);
    assert_eq!(resource.most(), 2);
}

/// Gives a server the state that a kill between the writes of two files leaves: leases of messages that it does not store. Checks that
/// their permits are freed by a client that opens the job afterwards, or by one that was connected before.
fn leases_of_acknowledged_tasks(opens_after: bool) {
    let (mut server, resource) = (server::start(), Resource::start());
    let job = open(server.port, 2, LONG);
    let worker = worker::start(&work(&server, &resource));
    // A task that is set aside stays in the stream, before all others.
    block(job.push("no number")).unwrap();
    explained(&job, "it is set aside", |state| state.set_aside == 1);
    push(&job, 0..2);
    within(SOON, "both run", || resource.now() == 2);
    std::thread::sleep(Duration::from_secs(1)); // the server has written that it has handed them out
    let file = server.folder.join("jetstream/$G/streams/tollgate-fleet/obs/workers/o.dat");
    let before = std::fs::read(&file).unwrap();
    drop(worker);
    for sequence in [3, 4] {
        let body = format!("{{\"seq\":{sequence}}}");
        let answer = api(server.port, "STREAM.MSG.DELETE.tollgate-fleet", &body);
        assert!(answer.contains("\"success\":true"), "{answer}");
    }
    push(&job, 2..4);
    let connected = (!opens_after).then(|| open(server.port, 2, LONG));
    server.signal(libc::SIGTERM);
    within(SOON, "the server ends", || TcpStream::connect(("127.0.0.1", server.port)).is_err());
    server.kill();
    std::fs::write(&file, before).unwrap();
    server.restart();
    let near = connected.unwrap_or_else(|| open(server.port, 2, LONG));
    let pool = tollgate::Pool::builder().workers(1).build().unwrap();
    let (serves, local) = (near.clone(), pool.job(2));
    let service = std::thread::spawn(move || block(serves.serve(&local, |_: u64, _| async {})));
    explained(&job, "all permits are back", |state| state.leases == 0 && state.queued == 0);
    near.stop();
    service.join().unwrap().unwrap();
}

#[test]
fn recovery_of_permits_that_a_killed_server_counts_for_tasks_that_were_acknowledged() {
    leases_of_acknowledged_tasks(true);
}

#[test]
fn a_machine_that_stays_connected_frees_such_permits_too() {
    leases_of_acknowledged_tasks(false);
}

/// Kills a server, and removes the file that a kill can cut while a queue becomes empty. So the restarted server numbers messages from 1
/// again, but remembers up to which number it has handed them out. Checks that new tasks run once each.
fn tasks_after_a_server_has_forgotten_their_numbers(opens_after: bool) {
    let mut server = server::start();
    let job = open(server.port, 2, LONG);
    let pool = tollgate::Pool::builder().workers(1).build().unwrap();
    let (tell, told) = mpsc::channel();
    let (serves, local) = (job.clone(), pool.job(2));
    let service = std::thread::spawn(move || {
        block(serves.serve(&local, move |number: u64, _| {
            tell.send(number).unwrap();
            async {}
        }))
    });
    push(&job, 0..5);
    let run = |count| (0..count).map(|_| told.recv_timeout(SOON).unwrap()).collect::<BTreeSet<_>>();
    assert_eq!(run(5), (0..5).collect());
    explained(&job, "all are acknowledged", |state| state.leases == 0 && state.queued == 0);
    std::thread::sleep(Duration::from_secs(1)); // the server has written that it has handed them out
    server.kill();
    std::fs::remove_file(server.folder.join("jetstream/$G/streams/tollgate-fleet/msgs/1.idx"))
        .unwrap();
    server.restart();
    let state = api(server.port, "STREAM.INFO.tollgate-fleet", "");
    assert!(state.contains("\"last_seq\":0,"), "the server remembers the numbers: {state}");
    let pushes = if opens_after { open(server.port, 2, LONG) } else { job.clone() };
    push(&pushes, 5..8);
    assert_eq!(run(3), (5..8).collect());
    explained(&job, "all are acknowledged", |state| state.leases == 0 && state.queued == 0);
    let state = api(server.port, "STREAM.INFO.tollgate-fleet", "");
    assert!(state.contains("\"messages\":0,"), "something is left: {state}");
    job.stop();
    service.join().unwrap().unwrap();
    assert_eq!(told.try_iter().count(), 0, "a task has run twice");
}

#[test]
fn fleet_nothing_lost_when_a_killed_server_has_forgotten_the_numbers_of_its_messages() {
    tasks_after_a_server_has_forgotten_their_numbers(false);
}

#[test]
fn fleet_nothing_lost_for_a_client_that_connects_to_such_a_server() {
    tasks_after_a_server_has_forgotten_their_numbers(true);
}

/// The first push to a restarted server looks whether the server hands out its task. A worker that already waits at the server gets
/// the task before that, and still runs it during the look.
#[test]
fn a_task_that_runs_before_its_push_has_returned_runs_once() {
    let mut server = server::start();
    let job = open(server.port, 2, LONG);
    let pool = tollgate::Pool::builder().workers(1).build().unwrap();
    let (tell, told) = mpsc::channel();
    let goes_on = Arc::new(AtomicU64::new(0));
    let (serves, local, go) = (job.clone(), pool.job(2), Arc::clone(&goes_on));
    let service = std::thread::spawn(move || {
        block(serves.serve(&local, move |number: u64, _| {
            tell.send(number).unwrap();
            let go = Arc::clone(&go);
            async move {
                while number > 0 && go.load(SeqCst) == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }))
    });
    push(&job, 0..1);
    assert_eq!(told.recv_timeout(SOON), Ok(0));
    explained(&job, "it is acknowledged", |state| state.leases == 0 && state.queued == 0);
    std::thread::sleep(Duration::from_secs(1)); // the server has written that it has handed it out
    server.kill();
    server.restart();
    within(SOON, "the worker waits for tasks again", || {
        let state = api(server.port, "CONSUMER.INFO.tollgate-fleet.workers", "");
        state.contains("\"num_waiting\":") && !state.contains("\"num_waiting\":0,")
    });
    push(&job, 1..2);
    assert_eq!(told.recv_timeout(SOON), Ok(1));
    goes_on.store(1, SeqCst);
    explained(&job, "all are acknowledged", |state| state.leases == 0 && state.queued == 0);
    job.stop();
    service.join().unwrap().unwrap();
    assert_eq!(told.try_iter().count(), 0, "the task has run twice");
}

/// Random faults for `TOLLGATE_SOAK_SECS` seconds, or ten. After each, the limit holds again, and all permits are in use.
#[test]
fn soak() {
    let (mut server, resource) = (server::start(), Resource::start());
    let proxy = Proxy::start(server.port);
    let job = open(server.port, 4, LEASE);
    let file = server.folder.join("accepted");
    let mut random = Random::start();
    let task = Duration::from_millis(20);
    let start_one = |server: &Server, proxied: bool| {
        let nats = if proxied { proxy.port } else { server.port };
        worker::start(&Work { nats, task, ..work(server, &resource) })
    };
    let mut workers: Vec<_> = (0..3).map(|n| start_one(&server, n == 0)).collect();
    let mut publisher = start_publisher(server.port, 0, &file);
    let (start, mut faults, mut refilled) = (Instant::now(), 0, 0);
    while start.elapsed() < soak_time() {
        let pause = Duration::from_millis(random.below(2 * LEASE.as_millis() as u64));
        let victim = random.below(3) as usize;
        let fault = random.below(6);
        match fault {
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
            3 => publisher = start_publisher(server.port, (faults + 1) * 1_000_000, &file),
            mode => {
                proxy.set(if mode == 4 { Mode::KeepRequests } else { Mode::LoseAnswers });
                std::thread::sleep(pause);
                proxy.set(Mode::Pass);
            }
        }
        faults += 1;
        std::thread::sleep(2 * LEASE); // tasks without a lease have stopped, and each lease is renewed or has ended
        // The publisher alone is slower than the workers, so the queue may be empty.
        refilled += refill(&job, 1_000_000_000 + refilled);
        resource.forget();
        let (before, wait) = (resource.visits(), Instant::now());
        while resource.visits() <= before + 20 || resource.most() < 4 {
            assert!(
                wait.elapsed() < SOON,
                "{faults} faults, the last of kind {fault}, {} at once: {:?}",
                resource.most(),
                block(job.explain()).map(|state| state.to_string())
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(resource.most(), 4, "after {faults} faults, the last of kind {fault}");
    }
    publisher.kill();
    within(Duration::from_secs(600), "all is done", || {
        block(job.explain()).is_ok_and(|state| state.leases == 0 && state.queued == 0)
    });
    workers.into_iter().for_each(Process::end);
    let mut begun = resource.begun();
    begun.sort_unstable();
    let accepted = std::fs::read_to_string(&file).unwrap();
    let numbers = accepted.lines().filter_map(|line| line.parse().ok());
    let numbers: Vec<u64> = numbers.chain((0..refilled).map(|n| 1_000_000_000 + n)).collect();
    let lost = numbers.iter().filter(|n| begun.binary_search(n).is_err()).count();
    assert_eq!(lost, 0, "of {} tasks", numbers.len());
    println!(
        "{faults} faults, {} tasks, {} visits; {refilled} tasks were pushed into a short queue",
        numbers.len(),
        resource.visits()
    );
}

/// Pushes tasks, with the numbers from `from` on, if fewer than 200 are queued. Returns how many.
fn refill(job: &FleetJob, from: u64) -> u64 {
    let mut queued = 0;
    within(SOON, "the server answers", || {
        block(job.explain()).is_ok_and(|state| {
            queued = state.queued;
            true
        })
    });
    let more = 200_u64.saturating_sub(queued);
    for number in from..from + more {
        within(SOON, "the push is accepted", || block(job.push(&number)).is_ok());
    }
    more
}
