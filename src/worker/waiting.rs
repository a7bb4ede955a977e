//! Waiting inside a task: without a permit, without a worker's place, and first in line afterwards. What a dropped task had
//! captured may wait, too, on a worker's thread that holds no permit: then there is A1, and A3.
//!
//! - A1: the thread lends its place to a spare worker; from here on the pool runs as if the thread
//!   were not there, but a drain waits for it.
//! - A2: it gives the permits of its task back, which hands them on (R1 to R3 of `admission`). Its tokens
//!   stay, and keep the job's record.
//! - A3: it waits in the room, as a thread from outside does.
//! - A4: it takes the permits back, from the inside out. At a gate without room it sets `Reclaiming`
//!   and waits in the room: while the flag is set, nobody else gets a permit there.
//! - A5: whoever gives a permit back and sees `Reclaiming` wakes one that waits. Whoever returns
//!   and sees nobody else waiting clears the flag, fences, and looks at the backlog, which was held up
//!   meanwhile.
//!
//! No wake-up is lost in A4 and A5: the flag is set, and looked behind, under the lock of the room's bucket;
//! a permit given back before is seen by that look, one given back later sees the flag.

use crate::job::admission;
use crate::job::permits::{Asked, Flag};
use crate::job::record::JobPtr;
use crate::process;
use crate::sync::fence_after_rmw;
use crate::sync::time::Instant;
use crate::task::parking::{Waited, parking_lot};
use crate::unwind;
use crate::worker::context::Context;
use crate::worker::spares::NoSpare;
use std::collections::BTreeMap;

/// Waits for `key` until `wait` says that there is nothing to wait for, or the time is over. `wait` sets
/// the bit that makes whoever ends the wait look into the room, and tells whether to wait.
///
/// # Panics
/// By [`unwind::refuse`]: on a worker's thread, if there is no spare worker to be had; in a forked child.
pub fn wait(key: usize, until: Option<Instant>, wait: impl Fn() -> bool) {
    wait_then(key, until, wait, || ());
}

/// Waits as [`wait`] does. On a worker's thread, calls `then` before the task takes its permits back, which may take long:
/// for who was woken alone, and may not be the one to make use of it.
///
/// # Panics
/// As [`wait`].
pub fn wait_then(key: usize, until: Option<Instant>, wait: impl Fn() -> bool, then: impl FnOnce()) {
    if process::is_child() {
        unwind::refuse(process::NO_WORKERS.into());
    }
    Context::with(|context| match context {
        // The thread runs a hook. It has no task whose place a spare worker could take.
        Some(context) if !context.serves.get() => {
            if wait() {
                unwind::refuse(NOT_HERE.into());
            }
        }
        None => park_while(key, until, wait),
        Some(context) => {
            if wait() {
                if let Err(none) = lend_place(context, usize::MAX) {
                    refuse(context, &none);
                }
                without_permits(context, || {
                    park_while(key, until, wait);
                    then();
                });
            }
        }
    });
}

/// Waits as [`wait`] does, but also when there is no spare worker: the place then stays taken. For who must not go
/// on before what it waits for has come, not even by unwinding. In a forked child there is nothing to wait for.
pub fn wait_in_any_case(key: usize, wait: impl Fn() -> bool) {
    if process::is_child() {
        return;
    }
    Context::with(|context| match context.filter(|context| context.serves.get()) {
        None => park_while(key, None, wait),
        Some(context) => {
            if wait() {
                if lend_place(context, usize::MAX).is_err() {
                    show_stash(context);
                }
                without_permits(context, || park_while(key, None, wait));
            }
        }
    });
}

/// What a hook is told that waits on a thread of the pool, which has no task whose place a spare worker could take.
const NOT_HERE: &str = "a hook of a pool waits on the pool's own thread, for what that thread may have to run: \
                        wait inside a task";

#[cold]
fn refuse(context: &Context, none: &NoSpare) -> ! {
    let job = context.lease().job.get();
    let name = job.as_ref().and_then(|job| job.extra()?.name.as_deref());
    let of = name.map(|name| format!(" of job `{name}`")).unwrap_or_default();
    let who = if job.is_some() { "a task" } else { "what a task had captured" };
    unwind::refuse(format!("{who}{of} cannot wait here: {none}"));
}

fn park_while(key: usize, until: Option<Instant>, wait: impl Fn() -> bool) {
    while wait() {
        if parking_lot().park(key, until, &wait) == Waited::TimedOut {
            return;
        }
    }
}

/// A2 to A5 around `f`, after A1.
fn without_permits(context: &Context, f: impl FnOnce()) {
    let lease = context.lease();
    let Some(job) = lease.job.take() else {
        // What a task had captured is dropped, and waits.
        return f();
    };
    let tokens = lease.tokens.replace(0);
    lease.settle(job);
    context.pool().waiting.enter(job.idle_key());
    admission::release(job); // A2
    f(); // A3
    let mut gate = Some(job);
    while let Some(outer) = gate {
        take_back(outer); // A4
        gate = outer.parent();
    }
    context.pool().waiting.leave(job.idle_key());
    lease.resume(job, tokens);
    // The end of A5, when they are all back.
    admission::look_outwards(job);
}

/// How many tasks of which jobs wait inside: neither running nor ready, for those who ask for figures. No part of any
/// protocol, and of no model.
#[derive(Debug, Default)]
pub struct Waiting(std::sync::Mutex<BTreeMap<usize, usize>>);

impl Waiting {
    fn counts(&self) -> std::sync::MutexGuard<'_, BTreeMap<usize, usize>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn enter(&self, job: usize) {
        *self.counts().entry(job).or_default() += 1;
    }

    fn leave(&self, job: usize) {
        let mut counts = self.counts();
        let count = counts.get_mut(&job).expect("it entered");
        *count -= 1;
        if *count == 0 {
            counts.remove(&job);
        }
    }

    /// Returns true if no task waits inside.
    pub fn is_empty(&self) -> bool {
        self.counts().is_empty()
    }

    /// How many of the job with this address.
    pub fn count(&self, job: usize) -> u64 {
        self.counts().get(&job).map_or(0, |count| *count as u64)
    }
}

/// The number of spare workers from which [`blocking`] starts no further one: a wait must have one, `blocking` need not.
const MOST_FOR_BLOCKING: usize = 256;

/// A1. A thread that has lent its place before has none to lend. Starts no further spare worker if there are `most`.
fn lend_place(context: &Context, most: usize) -> Result<(), NoSpare> {
    let Some(seat) = context.seat() else { return Ok(()) };
    let shared = context.pool();
    shared.sleep.depart();
    // Figures leave out what is to spare on a thread without a place.
    context.lease().give_spare_tokens();
    match shared.spares.lend(context.pool_ptr(), seat.index, most) {
        Ok(()) => {
            context.sit(None);
            show_stash(context);
            Ok(())
        }
        Err(none) => {
            shared.sleep.arrive(|| shared.is_busy());
            Err(none)
        }
    }
}

/// Injects the cell in the stash, before the thread waits: a task, or the sweep that the worker runs (sweep-3).
fn show_stash(context: &Context) {
    if let Some(cell) = context.next_task.take() {
        let _ = context.pool().inject(cell);
    }
}

fn take_back(gate: JobPtr) {
    let key = gate.permit_key();
    // A drain cancels held jobs; their tasks that have started run to their end.
    let draining = || gate.pool().draining();
    while let Asked::Refused(_) = gate.permits.reacquire(draining()) {
        parking_lot().park(key, None, || {
            if !gate.permits.set(Flag::Reclaiming).has(Flag::Reclaiming) {
                // Whoever runs on under a permit is to look.
                gate.pool().advance_epoch();
            }
            fence_after_rmw();
            !gate.permits.load().may_reclaim(draining())
        });
    }
    // A5
    let others = parking_lot().if_none_waits(key, || {
        gate.permits.clear(Flag::Reclaiming);
    });
    if others {
        if gate.permits.load().may_reclaim(draining()) {
            parking_lot().wake_one(key);
        }
    } else {
        // A look follows, when all permits are back.
        fence_after_rmw();
    }
}

/// Runs `f`, which is going to block for long on something that is not this pool's, while a spare
/// worker takes the thread's place. The task keeps its permit: it counts as running.
///
/// Outside of a pool's tasks, and when there is no spare worker to be had, it just runs `f`. For this call a pool starts no
/// more than 256 spare workers.
///
/// # Panics
///
/// If `f` does.
///
/// # Examples
///
/// ```
/// use std::sync::mpsc;
///
/// let pool = tollgate::Pool::builder().workers(1).build()?;
/// let job = pool.job(2);
/// let (tell, told) = mpsc::channel();
/// let listener = job.spawn(move || tollgate::blocking(|| told.recv().unwrap()));
/// // The one worker is not held up: a spare runs this task.
/// job.spawn(move || tell.send("go").unwrap()).join().unwrap();
/// assert_eq!(listener.join().unwrap(), "go");
/// # Ok::<(), tollgate::BuildError>(())
/// ```
pub fn blocking<T>(f: impl FnOnce() -> T) -> T {
    Context::with(|context| {
        if let Some(context) = context.filter(|context| context.serves.get()) {
            // Without a spare the worker blocks, as it would have without this call.
            let _ = lend_place(context, MOST_FOR_BLOCKING);
        }
    });
    f()
}
