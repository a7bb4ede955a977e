//! Waits inside a task. During the wait the task holds no permit, except at gates that keep permits, and its thread has no
//! seat. After the wait the task re-acquires its permits ahead of the queue.
//!
//! When a worker drops a cancelled task, a destructor of the task's captures can wait. In this case the worker holds no permit.
//! So it only lends its seat and waits in the parking lot (`wait-1`, `wait-3`).
//!
//! A thread whose task waits does these steps:
//! - `wait-1`: the thread lends its seat to a spare worker, or leaves the seat to the next thread that needs one. From here on
//!   the pool runs without this thread, but a drain waits for this thread.
//! - `wait-2`: the thread releases the permits of its task, and admits other tasks (release-1 to release-3 of `gate`). The
//!   thread keeps its busy counts, which keep the job's record, and its permit at each gate that keeps permits (module
//!   `keeping`).
//! - `wait-3`: the thread waits in the parking lot, as a thread outside of the pool does.
//! - `wait-4`: the thread re-acquires the permits, first of the task's own job, then of each ancestor. At a gate without room
//!   the thread sets the flag `Reclaiming` and waits in the parking lot. While the flag is set, no other task gets a permit of
//!   that gate.
//! - `wait-5`: a thread that releases a permit and sees `Reclaiming` wakes one of the threads that wait for a permit of that
//!   gate (`wait-4`). A thread that has re-acquired its permit of that gate checks whether another thread waits for one. If
//!   not, the thread clears the flag, executes a full fence, and checks the queue.
//!
//! No wake-up is lost between a thread that waits for a permit of a gate (`wait-4`) and a thread that releases one (`wait-5`).
//! The waiting thread sets the gate's flag `Reclaiming`, and then checks whether a permit is free, both under the lock of the
//! parking lot's bucket. If the permit was released before, this check sees the permit. If the permit is released later, the
//! releasing thread sees the flag, and wakes the waiting thread.
//!
//! No queued task is missed when a thread clears the flag `Reclaiming` of a gate (`wait-5`). While the flag is set, a pusher
//! leaves its task in the queue. The clearing thread clears the flag before its fence, and the pusher pushes before its own
//! fence (`push-3` of `gate`). So the pusher sees the flag cleared, or the clearing thread sees the task in the queue.

use crate::base::parking::{Waited, parking_lot};
use crate::base::timer;
use crate::job::events;
use crate::job::gate;
use crate::job::permits::{Asked, Flag};
use crate::job::record::JobPtr;
use crate::pool::spares::NoSpare;
use crate::pool::waits::Wait;
use crate::sync::fence_after_rmw;
use crate::sync::time::Instant;
use crate::worker::context::Context;
use crate::worker::spares::{lend, lend_beyond};
use crate::{process, unwind};

/// Waits in the parking lot for `key`, until `wait` returns false or the time `until` has come. `wait` must set the *waited*
/// bit of the object that the caller waits for, and then return true if the caller must wait.
///
/// # Panics
/// Refuses the wait by [`unwind::refuse`] in three cases:
/// - The caller is a task, no spare worker can replace its thread, and all other threads of the pool are blocked.
/// - The caller is user code outside of tasks on a thread of the pool, such as a hook, and would have to wait.
/// - The process is a forked child.
pub fn wait(key: usize, until: Option<Instant>, wait: impl Fn() -> bool) {
    wait_then(key, None, until, wait, || ());
}

/// Waits as [`wait`] does. If the caller is a task, calls `then` after the wait and before the task re-acquires its permits.
/// Re-acquiring permits can take long. With `then` the caller can wake another waiter first. `awaited` is the job that the
/// caller waits for in [`Job::wait`](crate::Job::wait), or `None`.
///
/// # Panics
/// As [`wait`].
pub fn wait_then(
    key: usize,
    awaited: Option<JobPtr>,
    until: Option<Instant>,
    wait: impl Fn() -> bool,
    then: impl FnOnce(),
) {
    if process::is_child() {
        unwind::refuse(process::NO_WORKERS.into());
    }
    Context::with(|context| match context {
        // The thread runs user code outside of tasks, such as a hook. So it has no task whose place a spare worker could take.
        Some(context) if !context.serves.get() => {
            if wait() {
                unwind::refuse(NOT_HERE.into());
            }
        }
        None => {
            timer::end_service();
            park_while(key, until, wait);
        }
        Some(context) => {
            if wait() {
                let blocked = match Blocked::enter(context) {
                    Ok(blocked) => blocked,
                    Err(none) => refuse(context, &none),
                };
                without_permits(context, awaited, || {
                    park_while(key, until, wait);
                    then();
                });
                drop(blocked);
            }
        }
    });
}

/// Waits as [`wait`] does, but never panics. Call this if the caller must not continue before the end of the wait, not even by
/// unwinding.
///
/// If all other threads of the pool are blocked, starts a further spare worker, even above the greatest number of spare
/// workers. If the platform starts no thread, the calling thread keeps its seat during the wait. In a forked child, where no
/// task ever ends, the call returns at once.
pub fn wait_in_any_case(key: usize, wait: impl Fn() -> bool) {
    if process::is_child() {
        return;
    }
    Context::with(|context| match context.filter(|context| context.serves.get()) {
        None => {
            timer::end_service();
            park_while(key, None, wait);
        }
        Some(context) => {
            if wait() {
                let blocked = Blocked::enter_beyond(context);
                if blocked.is_err() {
                    show_stash(context);
                }
                without_permits(context, None, || park_while(key, None, wait));
                drop(blocked);
            }
        }
    });
}

/// The panic message if a hook waits on a thread of the pool.
const NOT_HERE: &str = "a hook of a pool waits on the pool's own thread, for what that thread may have to run: \
                        wait inside a task";

#[cold]
fn refuse(context: &Context, none: &NoSpare) -> ! {
    let who = match context.lease().job.get() {
        Some(job) => format!("a task{}", job.of_its_name()),
        None => "what a task had captured".to_owned(),
    };
    unwind::refuse(format!("{who} cannot wait here: {none}"));
}

fn park_while(key: usize, until: Option<Instant>, wait: impl Fn() -> bool) {
    while wait() {
        if parking_lot().park(key, until, &wait) == Waited::TimedOut {
            return;
        }
    }
}

/// Runs `f` while the running task holds no permit, except at gates that keep permits (wait-2 to wait-5). The caller must have
/// lent or left the seat. `awaited` is the job that the task waits for in [`Job::wait`](crate::Job::wait), or `None`.
fn without_permits(context: &Context, awaited: Option<JobPtr>, f: impl FnOnce()) {
    let Some(job) = context.lease().job.get() else {
        // No task runs on this thread: a destructor of a dropped task's captures waits. So the thread has no permits to
        // release.
        return f();
    };
    without_permits_inside(context, job, None, awaited, f, || ());
}

/// Runs `f` in place of a wait of the joining task. `f` must run the joined task inline. `job` is the job of the joining task.
/// `end` is the innermost gate above both tasks, or `None` if there is none.
///
/// Before `f`, the joining task releases its permits of the gates below `end`. After `f`, the joining task re-acquires these
/// permits. Before the thread waits for one of them, it lends its seat, and releases the permits of `end` and of the gates
/// above.
pub fn instead(context: &Context, job: JobPtr, end: Option<JobPtr>, f: impl FnOnce()) {
    // A *spare* busy count belongs to no task. The statistics of `job` find spare busy counts only at seats that run `job`,
    // and during `f` this seat runs another job. So this thread first gives its spare busy counts of `job` back.
    context.lease().give_back_spare_busy_counts();
    let (turn, mut blocked) = (context.lease().turn(), None);
    without_permits_inside(context, job, end, None, f, || {
        // `Blocked::enter` panics if no spare worker is left. This wait must never panic, because the task cannot continue without
        // its permits. So the call is `enter_beyond`, which then starts a spare worker above the pool's greatest number.
        blocked
            .get_or_insert_with(|| Blocked::enter_beyond(context).map_err(|_| show_stash(context)));
    });
    drop(blocked);
    context.lease().go_on_with(turn);
}

/// Runs `f` while the running task, which is of `job`, holds no permit of the gates below `end`. If `end` is `None`, the task
/// holds no permit of any gate. At gates that keep permits the task keeps its permit in both cases.
///
/// Calls `before_wait` each time before the thread waits to re-acquire a permit. After the first of these calls, releases the
/// permits of `end` and of the gates above `end`, too, and re-acquires them later.
fn without_permits_inside(
    context: &Context,
    job: JobPtr,
    end: Option<JobPtr>,
    awaited: Option<JobPtr>,
    f: impl FnOnce(),
    mut before_wait: impl FnMut(),
) {
    let lease = context.lease();
    lease.job.set(None);
    events::waits(job);
    let busy = lease.busy.replace(0);
    lease.settle(job);
    let sample = context.sample.take().map(|sample| (sample, job.pool().now()));
    let wait = Wait { task: context.running_cell(), awaited: awaited.map(JobPtr::opaque) };
    let begun = context.pool().waits.enter(job.opaque(), wait);
    gate::release_unkept(job, end); // wait-2
    f(); // wait-3
    let mut lent = end;
    for gate in gate::unkept(job, None) {
        if Some(gate) == lent {
            break;
        }
        // While a task waits to re-acquire its permit of one gate, its permits of the gates above must be free for other tasks
        // (wait-4).
        take_back(gate, job, || {
            before_wait();
            if let Some(end) = lent.take() {
                gate::release_from(end, job);
            }
        });
    }
    context.pool().waits.leave(job.opaque(), begun);
    lease.resume(job, busy);
    context.sample.set(sample.map(|(sample, left)| sample.without(left, job.pool().now())));
    // The task has all its permits again, so this thread checks the queues (the end of `wait-5`).
    gate::look_outwards(job);
    events::resumed(job);
}

/// If a pool has this many spare workers, [`blocking`] starts no further one. A wait must have a spare worker, but `blocking`
/// can run its closure without one.
const MOST_FOR_BLOCKING: usize = 256;

/// While this value exists, the pool counts this thread as blocked. The field is `None` if the thread already counted as blocked
/// when the value was made.
struct Blocked<'a>(Option<&'a Context>);

impl<'a> Blocked<'a> {
    /// Counts this thread, which is about to wait, as blocked, and lends or leaves its seat (wait-1). Does nothing if the
    /// thread already counts as blocked.
    ///
    /// # Errors
    /// Returns an error if no spare worker can take the seat and all other threads of the pool are blocked. Then the thread
    /// keeps its seat.
    fn enter(context: &'a Context) -> Result<Self, NoSpare> {
        Self::enter_if(context, usize::MAX, |seat| context.pool().spares.leave(seat))
    }

    /// Does what [`enter`](Self::enter) does. If `enter` would return an error, starts a further spare worker, even above the
    /// greatest number of spare workers.
    ///
    /// # Errors
    /// Returns an error if the platform starts no thread. Then the calling thread keeps its seat.
    fn enter_beyond(context: &'a Context) -> Result<Self, NoSpare> {
        let pool = context.pool_ptr();
        let leave = |seat| pool.shared().spares.leave(seat).or_else(|_| lend_beyond(pool, seat));
        Self::enter_if(context, usize::MAX, leave)
    }

    /// Does what [`enter`](Self::enter) does, but starts no further spare worker if the pool has `most` of them. If no spare
    /// worker takes the seat, calls `leave` with the index of the seat. If the thread has no seat, calls `leave` with `None`.
    fn enter_if(
        context: &'a Context,
        most: usize,
        leave: impl Fn(Option<usize>) -> Result<(), NoSpare>,
    ) -> Result<Self, NoSpare> {
        if context.blocked.get() {
            // The thread counts as blocked already, because it waits inside `blocking`.
            return Ok(Self(None));
        }
        let Some(seat) = context.seat() else {
            return leave(None).map(|()| Self::counted(context));
        };
        let shared = context.pool();
        shared.sleep.depart();
        // A *spare* busy count belongs to no task. The statistics of a job find spare busy counts only at seats, so this thread
        // gives its spare busy counts back before it loses its seat.
        context.lease().give_back_spare_busy_counts();
        if let Err(none) = lend(context.pool_ptr(), seat.index, most)
            && leave(Some(seat.index)).is_err()
        {
            shared.sleep.arrive(|| shared.is_busy());
            return Err(none);
        }
        context.sit(None);
        show_stash(context);
        Ok(Self::counted(context))
    }

    /// Notes that the pool counts the thread as blocked.
    fn counted(context: &'a Context) -> Self {
        context.blocked.set(true);
        Self(Some(context))
    }
}

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        if let Some(context) = self.0 {
            context.blocked.set(false);
            context.pool().spares.unblock();
        }
    }
}

/// Moves the worker's next task, if there is one, into the injector, so that other workers find the task while this thread
/// waits. During a sweep, moves the cell of the sweep instead, so that another worker continues the sweep (sweep-3).
fn show_stash(context: &Context) {
    if let Some(cell) = context.next_task.take() {
        let _ = context.pool().inject(cell);
    }
}

/// Re-acquires the permits of a task of `job` at one gate (wait-4). If a further permit of the gate is free, wakes the next
/// thread that waits to re-acquire a permit of the gate (wait-5). Calls `before_wait` each time before the calling thread
/// waits.
pub fn take_back(gate: JobPtr, job: JobPtr, mut before_wait: impl FnMut()) {
    let (key, weight) = (gate.permit_key(), gate.permits_for(job));
    // A drain cancels held jobs, but the started tasks of these jobs must run to their end. So during a drain a task gets its
    // permits although its job is held.
    let draining = || gate.pool().draining();
    let word = loop {
        match gate.permits.reacquire(draining(), weight) {
            Asked::Granted(word) => break word,
            Asked::Refused(_) => before_wait(),
        }
        parking_lot().park(key, None, || {
            if !gate.permits.set(Flag::Reclaiming).has(Flag::Reclaiming) {
                // Each worker with a lease must check its job's word before its next task, so that it sees the flag
                // `Reclaiming`.
                gate.pool().advance_epoch();
            }
            fence_after_rmw();
            !gate.permits.load().may_reclaim(draining(), weight)
        });
    };
    gate.tally.note_running(word);
    // If no other task waits for a permit of this gate, clears the flag `Reclaiming`, so that queued tasks are admitted again
    // (wait-5).
    let others = parking_lot().if_none_waits(key, || {
        gate.permits.clear(Flag::Reclaiming);
    });
    if others {
        if gate.permits.load().may_reclaim(draining(), 1) {
            gate::weigh::wake_reclaimers(gate);
        }
    } else {
        // After this fence the caller must check the gate's queue, as soon as its task has re-acquired all permits.
        fence_after_rmw();
    }
}

/// Runs `f`, which can block for long on something outside the pool. Meanwhile a spare worker runs other tasks in the place of
/// this thread.
///
/// The calling task keeps its permit, and counts as running. If the caller is not a task of a pool, or if no spare worker can
/// be started, the call only runs `f`. A pool starts at most 256 spare workers for such calls.
///
/// # Panics
///
/// Passes on a panic of `f`.
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
        let context = context.filter(|context| context.serves.get());
        // An error means that no spare worker takes the seat. The error is ignored: the thread keeps its seat, and `f` blocks
        // the seat.
        let blocked = context.map(|context| {
            let spares = &context.pool().spares;
            let leave = |seat| match seat {
                None => spares.leave(None),
                Some(_) => Err(NoSpare::Most(MOST_FOR_BLOCKING)),
            };
            Blocked::enter_if(context, MOST_FOR_BLOCKING, leave)
        });
        let out = f();
        drop(blocked);
        out
    })
}
