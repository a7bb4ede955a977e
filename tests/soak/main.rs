//! Everything at once, at random, from several threads over hundreds of jobs: closures and futures pushed, jobs inside jobs,
//! bounded ones, joins, permits without tasks, scopes and waits inside tasks, `blocking`, lazy input, limits that move, pauses, cancels, clears, panics,
//! waits and drops. Each task checks the limits that hold for it; at the end every task is accounted for.
//!
//! `TOLLGATE_SOAK_SECS` says how long (2 s; 20 s where `CI` is set), `TOLLGATE_SOAK_WORKERS` with how many workers (16),
//! `TOLLGATE_SEED` repeats the choices of a run, though not its interleaving.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/ledger.rs"]
mod ledger;

mod act;
mod groups;
mod permits;
mod weights;
mod work;
mod world;

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use act::act;
use common::rng::Rng;
use common::within;
use ledger::Ledger;
use world::World;

const ACTORS: usize = 6;

/// How a round ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// The actors stop, everything is let go and waited for, then the pool drains.
    AtRest,
    /// The pool ends in the midst of it all.
    Drain,
    Drop,
    Now,
    Timeout,
}

fn round(workers: usize, end: End, length: Duration, mut rng: Rng) -> usize {
    let (world, ended) = World::new(workers, &mut rng);
    let mut threads: Vec<_> = (0..ACTORS)
        .map(|number| {
            let (world, rng) = (Arc::clone(&world), rng.split());
            thread::spawn(move || act(&world, number, rng))
        })
        .collect();
    // How long the round is; nothing waits for this to be over.
    let warden = Arc::clone(&world);
    threads.push(thread::spawn(move || warden.keep_going()));
    thread::sleep(length);
    let stop = |threads: Vec<thread::JoinHandle<()>>| {
        world.stop.store(true, SeqCst);
        while !threads.iter().all(thread::JoinHandle::is_finished) {
            // One may wait for what is held.
            world.let_all_go();
            thread::yield_now();
        }
        threads.into_iter().for_each(|thread| thread.join().expect("an actor's check failed"));
    };
    if let End::AtRest = end {
        stop(threads);
        let all: Vec<_> = world.slots().chain(world.closed.lock().unwrap().drain(..)).collect();
        world.hosts.iter().chain(&all).for_each(|slot| slot.let_go());
        // A task that runs may still push into a job that was waited for.
        while world.outstanding.load(SeqCst) > 0 {
            all.iter().for_each(|slot| slot.job.wait());
        }
        world.hosts.iter().chain(&all).for_each(|slot| slot.job.wait());
        for slot in &all {
            let stats = slot.job.stats();
            slot.ledger.check_against(stats);
            let unended = (stats.running, stats.ready, stats.backlog, stats.delayed);
            assert_eq!(unended, (0, 0, 0, 0), "{:?}", slot.job);
            if slot.runs_all() {
                slot.ledger.check_ran();
            }
        }
        for ledger in world.let_go.lock().unwrap().iter() {
            until_settled(ledger);
            ledger.check_ran();
        }
        world.keys.check(true);
        world.weights.check(true);
        world.closed.lock().unwrap().extend(all);
        drop(world.pool.write().unwrap().take());
    } else {
        // The lock is not held meanwhile: actors still make jobs, in a pool that ends.
        let pool = world.pool.write().unwrap().take().expect("the pool is there until now");
        match end {
            End::Drain => pool.shutdown(),
            End::Now => _ = pool.shutdown_now(),
            End::Timeout => _ = pool.shutdown_timeout(Duration::from_millis(rng.next() % 20)),
            End::AtRest | End::Drop => {}
        }
        drop(pool);
        stop(threads);
        // After a time-out, what ran is left to end by itself.
        while world.outstanding.load(SeqCst) > 0 {
            thread::yield_now();
        }
    }
    let closed = std::mem::take(&mut *world.closed.lock().unwrap());
    let mut accounted = world.keys.check(false) + world.weights.check(false);
    for slot in world.hosts.iter().cloned().chain(world.slots()).chain(closed) {
        slot.job.wait();
        slot.ledger.check();
        accounted += slot.ledger.tickets();
    }
    let let_go = std::mem::take(&mut *world.let_go.lock().unwrap());
    for ledger in let_go {
        until_settled(&ledger);
        ledger.check();
        accounted += ledger.tickets();
    }
    drop(world);
    until_ended(&ended);
    accounted
}

/// After a time-out the workers leave by themselves.
fn until_ended(pool: &Weak<()>) {
    while pool.strong_count() > 0 {
        thread::yield_now();
    }
}

/// A job without a handle cannot be waited for, and not all that its tasks push is counted as outstanding.
fn until_settled(ledger: &Ledger) {
    while !ledger.is_settled() {
        thread::yield_now();
    }
}

fn from_env(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number, not '{text}'")),
        Err(_) => otherwise,
    }
}

/// The panics of joins in a circle are many, and expected: they are counted, and not printed.
fn quieten_circles() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !info
            .payload_as_str()
            .is_some_and(|message| message.contains("join each other in a circle"))
        {
            before(info);
        }
    }));
}

#[test]
fn soak() {
    quieten_circles();
    let in_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
    let time = Duration::from_secs(from_env("TOLLGATE_SOAK_SECS", if in_ci { 20 } else { 2 }));
    let workers = from_env("TOLLGATE_SOAK_WORKERS", 16) as usize;
    let (mut rng, begin) = (Rng::from_env(), Instant::now());
    let ends = [End::AtRest, End::Drain, End::AtRest, End::Now, End::Drop, End::Timeout];
    let length = (time / ends.len() as u32).min(Duration::from_secs(5));
    let (mut rounds, mut accounted) = (0, 0);
    while begin.elapsed() < time || rounds < ends.len() {
        let (end, rng) = (ends[rounds % ends.len()], rng.split());
        eprintln!("round {rounds}, {end:?}, {workers} workers, {accounted} tasks so far");
        accounted +=
            within(length + Duration::from_secs(100), move || round(workers, end, length, rng));
        rounds += 1;
    }
    eprintln!("{accounted} tasks in {rounds} rounds accounted for");
}
