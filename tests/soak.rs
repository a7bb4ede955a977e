//! Random pushes, limit changes, pauses, cancels, panics, waits and drops from several threads over hundreds of jobs, while
//! each task checks the limits that hold for it; at the end every task is accounted for.
//!
//! `TOLLGATE_SOAK_SECS` says how long (2 s; 20 s where `CI` is set), `TOLLGATE_SOAK_WORKERS` with how many workers (16),
//! `TOLLGATE_SEED` repeats the choices of a run, though not its interleaving.

mod common;
#[path = "common/ledger.rs"]
mod ledger;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use common::rng::Rng;
use common::{pool, unwind, within};
use ledger::{Entry, Ledger, Started, Ticket};
use tollgate::{Job, JoinError, Pool, TaskHandle};

const ACTORS: usize = 6;
const HOSTS: usize = 8;
const SLOTS: usize = 300;

/// Tasks that may wait at once; pushers hold back beyond it.
const MOST_OUTSTANDING: usize = 50_000;

/// Tasks that may wait inside for others at once: fewer than the spare workers there are.
const MOST_WAITERS: usize = 60;

/// A job, the books of its tasks, and what its limit is. Who changes the limit holds `control`.
struct Slot {
    job: Job,
    ledger: Arc<Ledger>,
    control: Mutex<Control>,
}

struct Control {
    limit: usize,
    cancelled: bool,
}

impl Slot {
    fn new(job: Job, limit: usize, parent: Option<&Slot>) -> Arc<Self> {
        let ledger = Ledger::new(limit, parent.map(|slot| &slot.ledger));
        let control = Mutex::new(Control { limit, cancelled: false });
        Arc::new(Self { job, ledger, control })
    }

    fn set_limit(&self, limit: usize) {
        let mut control = self.control.lock().unwrap();
        self.ledger.may_become(limit);
        self.job.set_limit(limit);
        control.limit = limit;
        assert_eq!(self.job.limit(), limit);
    }

    /// From a moment at which the job is idle, only its present limit counts.
    fn sharpen(&self) {
        let control = self.control.lock().unwrap();
        if self.job.wait_timeout(Duration::ZERO) {
            self.ledger.is_from_idle(control.limit);
        }
    }

    /// Whatever held it holds it no more.
    fn let_go(&self) {
        if self.control.lock().unwrap().limit == 0 {
            self.set_limit(1);
        }
        self.job.resume();
    }
}

/// All that a round's threads and tasks share.
struct World {
    pool: RwLock<Option<Pool>>,
    hosts: Vec<Arc<Slot>>,
    slots: Vec<RwLock<Arc<Slot>>>,
    /// Jobs whose last handle was dropped, with all their tasks to run.
    let_go: Mutex<Vec<Arc<Ledger>>>,
    /// Jobs that were replaced after a close or a cancel.
    closed: Mutex<Vec<Arc<Slot>>>,
    outstanding: AtomicUsize,
    waiters: AtomicUsize,
    stop: AtomicBool,
}

impl World {
    fn new(workers: usize, rng: &mut Rng) -> Arc<Self> {
        let pool = pool(workers);
        let hosts: Vec<_> = (0..HOSTS).map(|i| Slot::new(pool.job(2 + i), 2 + i, None)).collect();
        let slots = (0..SLOTS).map(|_| RwLock::new(new_job(&pool, &hosts, rng))).collect();
        Arc::new(Self {
            pool: RwLock::new(Some(pool)),
            hosts,
            slots,
            let_go: Mutex::default(),
            closed: Mutex::default(),
            outstanding: AtomicUsize::new(0),
            waiters: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        })
    }

    fn slot(&self, rng: &mut Rng) -> Arc<Slot> {
        Arc::clone(&self.slots[rng.below(SLOTS)].read().unwrap())
    }

    /// Puts a new job in the place of one; none any more if the pool is gone.
    fn replace(&self, rng: &mut Rng) -> Option<Arc<Slot>> {
        let pool = self.pool.read().unwrap();
        let new = new_job(pool.as_ref()?, &self.hosts, rng);
        drop(pool);
        Some(std::mem::replace(&mut *self.slots[rng.below(SLOTS)].write().unwrap(), new))
    }
}

fn limit(rng: &mut Rng) -> usize {
    *rng.pick(&[0, 1, 1, 1, 2, 2, 3, 5, 16, usize::MAX])
}

fn new_job(pool: &Pool, hosts: &[Arc<Slot>], rng: &mut Rng) -> Arc<Slot> {
    let limit = limit(rng);
    match rng.below(2) {
        0 => Slot::new(pool.job(limit), limit, None),
        _ => {
            let host = rng.pick(hosts);
            Slot::new(host.job.job(limit), limit, Some(host))
        }
    }
}

/// Counts a task as outstanding until its closure is dropped.
struct Outstanding(Arc<World>);

impl Outstanding {
    fn new(world: &Arc<World>) -> Self {
        world.outstanding.fetch_add(1, SeqCst);
        Self(Arc::clone(world))
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        self.0.outstanding.fetch_sub(1, SeqCst);
    }
}

/// One task: enters the books, does something, leaves.
fn work(outstanding: &Outstanding, ticket: Ticket, mut rng: Rng) {
    let (world, entry) = (&outstanding.0, ticket.enter());
    match rng.below(100) {
        0..50 => {}
        50..70 => (0..rng.below(2_000)).for_each(|_| std::hint::spin_loop()),
        70..80 => thread::yield_now(),
        // The task's work, and not an order of events.
        80..82 => thread::sleep(Duration::from_micros(rng.next() % 1_000)),
        82..90 => {
            (0..1 + rng.below(2)).for_each(|_| drop(push(world, &world.slot(&mut rng), &mut rng)))
        }
        90..94 => join_inside(world, &entry, &mut rng),
        _ => {
            entry.will_panic();
            unwind("a task that fails");
        }
    }
}

/// Waits inside a task for another, of any job.
fn join_inside(world: &Arc<World>, entry: &Entry, rng: &mut Rng) {
    if world.waiters.fetch_add(1, SeqCst) < MOST_WAITERS {
        let slot = world.slot(rng);
        let ticket = slot.ledger.ticket();
        let started = ticket.started();
        let awaited = slot.job.spawn(move || drop(ticket.enter()));
        let result = entry.while_waiting(|| awaited.join());
        assert_eq!(result.is_ok(), started.get());
    }
    world.waiters.fetch_sub(1, SeqCst);
}

/// A handle, and whether its task has started.
struct Spawned {
    handle: TaskHandle<()>,
    started: Started,
    slot: Arc<Slot>,
}

impl Spawned {
    fn join_for(mut self, time: Duration) -> Option<Self> {
        match self.handle.join_timeout(time) {
            Err(handle) => {
                self.handle = handle;
                Some(self)
            }
            Ok(result) => {
                let ran = !matches!(result, Err(JoinError::Cancelled));
                assert_eq!(ran, self.started.get(), "a handle and its task disagree: {result:?}");
                None
            }
        }
    }

    fn cancel(self) {
        if self.handle.cancel() {
            self.slot.ledger.count_cancelled_by_handle();
            assert!(!self.started.get(), "cancelled and run");
            assert!(self.join_for(Duration::ZERO).is_none(), "cancelled and not finished");
        }
    }
}

/// Pushes one task, by any of the four ways in.
fn push(world: &Arc<World>, slot: &Arc<Slot>, rng: &mut Rng) -> Option<Spawned> {
    let (outstanding, ticket, rng_of_task) =
        (Outstanding::new(world), slot.ledger.ticket(), rng.split());
    let started = ticket.started();
    let task = move || work(&outstanding, ticket, rng_of_task);
    let handle = match rng.below(6) {
        0 => slot.job.spawn(task),
        1 => match slot.job.try_spawn(task) {
            Ok(handle) => handle,
            Err(_) => {
                slot.ledger.count_given_back();
                return None;
            }
        },
        2 => {
            if slot.job.try_execute(task).is_err() {
                slot.ledger.count_given_back();
            }
            return None;
        }
        _ => {
            slot.job.execute(task);
            return None;
        }
    };
    Some(Spawned { handle, started, slot: Arc::clone(slot) })
}

/// One of the threads that do as they please.
fn act(world: &Arc<World>, mut rng: Rng) {
    let mut handles: Vec<Spawned> = Vec::new();
    while !world.stop.load(SeqCst) {
        let slot =
            if rng.one_in(20) { Arc::clone(rng.pick(&world.hosts)) } else { world.slot(&mut rng) };
        match rng.below(100) {
            0..50 => {
                if world.outstanding.load(SeqCst) > MOST_OUTSTANDING {
                    slot.let_go();
                    thread::yield_now();
                    continue;
                }
                for _ in 0..1 + rng.below(30) {
                    handles.extend(push(world, &slot, &mut rng));
                }
                handles.truncate(100);
            }
            50..58 => slot.set_limit(limit(&mut rng)),
            58..61 => slot.job.pause(),
            61..68 => slot.let_go(),
            68..78 => slot.sharpen(),
            78..82 => _ = slot.job.wait_timeout(Duration::from_micros(rng.next() % 3_000)),
            82..85 => _ = (slot.job.stats(), slot.job.is_closed(), slot.job.limit()),
            85..88 => replace_after(world, &mut rng, |slot| {
                slot.job.close();
                slot.let_go();
            }),
            88..91 => replace_after(world, &mut rng, |slot| {
                slot.control.lock().unwrap().cancelled = true;
                slot.job.cancel();
            }),
            91..94 => {
                if let Some(old) = world.replace(&mut rng) {
                    drop_handle_of(world, old);
                }
            }
            _ => {
                for _ in 0..handles.len().min(10) {
                    let spawned = handles.swap_remove(rng.below(handles.len()));
                    match rng.below(3) {
                        0 => spawned.cancel(),
                        1 => drop(spawned),
                        _ => handles
                            .extend(spawned.join_for(Duration::from_micros(rng.next() % 500))),
                    }
                }
            }
        }
    }
}

fn replace_after(world: &World, rng: &mut Rng, end: impl FnOnce(&Slot)) {
    if let Some(old) = world.replace(rng) {
        end(&old);
        world.closed.lock().unwrap().push(old);
    }
}

/// The job of a replaced slot goes on without a handle, once nobody else has one: its tasks are let go for that.
fn drop_handle_of(world: &World, old: Arc<Slot>) {
    match Arc::try_unwrap(old) {
        Ok(slot) => {
            slot.let_go();
            world.let_go.lock().unwrap().push(Arc::clone(&slot.ledger));
        }
        // Another thread has it in hand, and may yet hold or cancel it.
        Err(shared) => world.closed.lock().unwrap().push(shared),
    }
}

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
    let world = World::new(workers, &mut rng);
    let actors: Vec<_> = (0..ACTORS)
        .map(|_| {
            let (world, rng) = (Arc::clone(&world), rng.split());
            thread::spawn(move || act(&world, rng))
        })
        .collect();
    // How long the round is; nothing waits for this to be over.
    thread::sleep(length);
    let stop = |actors: Vec<thread::JoinHandle<()>>| {
        world.stop.store(true, SeqCst);
        actors.into_iter().for_each(|actor| actor.join().expect("an actor's check failed"));
    };
    let slots = || world.slots.iter().map(|slot| Arc::clone(&slot.read().unwrap()));
    if let End::AtRest = end {
        stop(actors);
        let all: Vec<_> = slots().chain(world.closed.lock().unwrap().drain(..)).collect();
        world.hosts.iter().chain(&all).for_each(|slot| slot.let_go());
        // A task that runs may still push into a job that was waited for.
        while world.outstanding.load(SeqCst) > 0 {
            all.iter().for_each(|slot| slot.job.wait());
        }
        world.hosts.iter().chain(&all).for_each(|slot| slot.job.wait());
        for slot in &all {
            slot.ledger.check_against(slot.job.stats());
            if !slot.control.lock().unwrap().cancelled && !slot.job.is_closed() {
                slot.ledger.check_ran();
            }
        }
        world.let_go.lock().unwrap().iter().for_each(|ledger| ledger.check_ran());
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
        stop(actors);
        // After a time-out, what ran is left to end by itself.
        while world.outstanding.load(SeqCst) > 0 {
            thread::yield_now();
        }
    }
    let closed = std::mem::take(&mut *world.closed.lock().unwrap());
    let mut accounted = 0;
    for slot in world.hosts.iter().cloned().chain(slots()).chain(closed) {
        slot.job.wait();
        slot.ledger.check();
        accounted += slot.ledger.tickets();
    }
    let let_go = std::mem::take(&mut *world.let_go.lock().unwrap());
    for ledger in let_go {
        ledger.check();
        accounted += ledger.tickets();
    }
    accounted
}

fn from_env(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number, not '{text}'")),
        Err(_) => otherwise,
    }
}

#[test]
fn soak() {
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
