//! The worker's loop: find a task, run it, go on under its permit, hand the permit on.

pub mod context;
mod find;
#[cfg(any(tollgate_loom, tollgate_shuttle))]
#[path = "../checking/play.rs"]
pub mod play;
pub mod seat;
pub mod sleep;
pub mod spares;
pub mod turn;
pub mod waiting;

use crate::job::admission::{self, Start};
use crate::job::record::JobPtr;
use crate::pool::shared::{PoolPtr, Shared};
use crate::sync::atomic::Ordering;
use crate::sync::scaled;
use crate::task::{CellPtr, Mark, Ran};
use crate::unwind;
use crate::worker::context::Context;
use crate::worker::seat::Seat;
use std::any::Any;
use std::cell::Cell;

/// Tasks of one job after which a worker lets another job go first.
const BUDGET: u32 = scaled(16, 4, 2) as u32;

/// The life of the thread with this index: a worker's, or a spare's. It sits in `seat` first.
pub fn work(pool: PoolPtr, index: usize, seat: usize) {
    let context = Context::new(pool);
    let shared = pool.shared();
    let worker = Worker {
        context: &context,
        // A pool begins with its workers counted as searching; a place is lent by one that runs.
        searching: Cell::new(index < shared.workers()),
        last: Cell::new(None),
    };
    context.enter(|| {
        let hooks = shared.hooks();
        if let Some(hook) = hooks.as_ref().and_then(|hooks| hooks.start.as_ref()) {
            worker.begin(|| hook(index));
        }
        drop(hooks);
        let mut seat = Some(seat);
        while let Some(index) = seat {
            shared.sleep.sit_down(index);
            let sitting = &shared.seats[index];
            // The thread that lent this place has published a job that does not run here any more.
            sitting.publish(0, 0);
            context.sit(Some(sitting));
            seat = match worker.run() {
                Left::Seat => shared.spares.wait_for_place(),
                Left::Pool => {
                    shared.spares.close();
                    None
                }
            };
        }
        call_hook(|| shared.hooks()?.stop.as_ref().map(|hook| hook(index)));
    });
    shared.worker_left();
    pool.disown(context.owners());
}

/// A hook that panics is as good as one that returned; the panic has been printed.
fn call_hook(hook: impl FnOnce() -> Option<()>) {
    if let Err(payload) = unwind::halt(hook) {
        unwind::drop_quietly(payload);
    }
}

struct Worker<'a> {
    context: &'a Context,
    /// Whether the sleepers count this worker as searching.
    searching: Cell<bool>,
    /// The job that ran last; only compared, for it may be gone.
    last: Cell<Option<JobPtr>>,
}

/// What follows a task's run.
#[derive(PartialEq, Eq)]
enum Then {
    /// Its permit is free for the next task.
    GoOn,
    /// It keeps its permit.
    LeavePermit,
}

/// What a thread left when it stopped looking for tasks.
enum Left {
    /// Its place, lent while it waited inside a task.
    Seat,
    /// The pool, which is drained.
    Pool,
}

impl Worker<'_> {
    /// Runs the hook at the thread's start. A worker that is not there yet is no searcher for others to rely on.
    fn begin(&self, hook: impl FnOnce()) {
        let sleep = &self.pool().sleep;
        let searches = self.searching.get();
        if searches && sleep.stop_searching() && self.pool().has_ready() {
            self.pool().notify();
        }
        call_hook(|| {
            hook();
            Some(())
        });
        if searches {
            sleep.start_searching();
        }
    }

    fn run(&self) -> Left {
        while let Some(cell) = self.find() {
            self.serve(cell);
            if self.context.seat().is_none() {
                self.pool().sleep.arrive(|| self.pool().is_busy());
                return Left::Seat;
            }
        }
        Left::Pool
    }

    fn pool(&self) -> &Shared {
        self.context.pool()
    }

    fn seat(&self) -> &Seat {
        self.context.seat().expect("a worker that looks for tasks sits in a place")
    }

    /// Takes a task to its end, and those that follow it.
    fn serve(&self, cell: CellPtr) {
        self.context.serves.set(true);
        self.take_turn(cell);
        self.context.serves.set(false);
    }

    /// Runs a task from a deque if its gates let it, and goes on with its job's tasks while it may.
    fn take_turn(&self, cell: CellPtr) {
        let mut epoch = self.pool().epoch();
        let resumed = cell.mark() == Mark::Admitted;
        if resumed {
            // The future took its permit earlier. The worker must check whether another task may run under that permit.
            epoch = epoch.wrapping_sub(1);
        }
        match admission::start(cell) {
            Start::Gone => return,
            Start::Sweep => return self.sweep(cell),
            Start::Run => {}
        }
        let job = cell.job();
        let (lease, key) = (self.context.lease(), job.idle_key());
        if self.seat().begin_batch(key) {
            self.pool().notify();
        }
        lease.open(job, epoch, self.seat().top_of(key));
        self.last.set(Some(job));
        let mut unlimited = job.is_unlimited(job.permits.load());
        if !unlimited {
            // The start has left the window, and a future, or a task that blocks with leave, may keep its
            // permit for long.
            admission::look_outwards(job);
            // A future that was pending has had a turn already: after its end the siblings' turn is due.
            if let Some(parent) = lease.parent.get().filter(|_| !resumed) {
                self.begin_turn_below(parent);
            }
        }
        let mut next = Some(cell);
        let mut then = Then::GoOn;
        while let Some(cell) = next {
            if unlimited {
                self.put_batch_out(job);
            }
            then = self.run_cell(cell, job);
            if then == Then::LeavePermit {
                // The turn ends with this task.
                lease.turn.set(lease.turn.get() + 1);
                break;
            }
            next = self.next_under_permit(job, &mut unlimited);
        }
        if let Some(seat) = self.context.seat() {
            if lease.left.get() > 0 {
                seat.note_top(key, lease.left.get());
            }
            seat.figures.add_run(u64::from(lease.turn.get()));
            seat.publish(0, 0);
        }
        match then {
            Then::GoOn => lease.close(),
            Then::LeavePermit => lease.detach(),
        }
    }

    /// Drops the tasks in the queue of a cancelled job, one at a time (sweep-2). After [`BUDGET`] tasks, other ready tasks
    /// go first.
    fn sweep(&self, sweep: CellPtr) {
        let mut dropped = 0;
        admission::sweep(sweep, |task| {
            self.context.next_task.set(Some(sweep));
            admission::drop_task(task);
            // If the destructor has waited, the wait has injected the sweep (sweep-3).
            let goes_on = self.context.next_task.take().is_some();
            dropped += 1;
            if goes_on && dropped % BUDGET == 0 && self.pool().has_ready() {
                let _ = self.pool().inject(sweep);
                return false;
            }
            goes_on
        });
    }

    fn run_cell(&self, cell: CellPtr, job: JobPtr) -> Then {
        if let Some(seat) = self.context.seat() {
            seat.publish(job.idle_key(), self.context.lease().tokens.get() - 1);
        }
        match cell.run() {
            Ran::Completed => {
                let completed = &self.context.lease().completed;
                completed.set(completed.get() + 1);
            }
            Ran::Counted => {}
            #[cfg(feature = "futures")]
            Ran::Pending => return Then::LeavePermit,
            #[cfg(feature = "futures")]
            Ran::Waits => self.context.lease().give_token(),
            Ran::Cancelled => job.count_cancelled(),
            Ran::Panicked(payload) => {
                // Ordering: Relaxed; ordered by the permit that is given back after it.
                job.tally.panicked.fetch_add(1, Ordering::Relaxed);
                self.report(payload);
            }
        }
        Then::GoOn
    }

    #[cold]
    fn report(&self, payload: Box<dyn Any + Send>) {
        call_hook(|| self.pool().hooks()?.panic.as_ref().map(|hook| hook(&*payload)));
        unwind::drop_quietly(payload);
    }
}
