//! The worker's loop: the worker finds a task, runs it, runs further tasks under the same permit, and releases the permit.

use crate::base::task::{CellPtr, Mark};
use crate::job::events;
use crate::job::gate::{self, Start};
use crate::job::record::JobPtr;
use crate::pool::core::PoolPtr;
use crate::worker::context::Context;
use crate::worker::core::{BUDGET, Then, Worker, call_hook};
use std::cell::Cell;

/// Runs a worker or a spare worker, from the start of its thread to the end. `index` is the thread's number, `seat` the index
/// of its first seat.
pub fn work(pool: PoolPtr, index: usize, seat: usize) {
    let context = Context::new(pool);
    let shared = pool.shared();
    let worker = Worker {
        context: &context,
        // A new pool counts all its workers as searching. A spare worker does not count as searching at first, because it gets
        // the seat of a thread that ran a task.
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
            // The seat can still show the job of the last task that ran in it. Now the seat runs no task.
            sitting.publish(0, 0);
            context.sit(Some(sitting));
            seat = match worker.run() {
                Left::Seat => shared.spares.wait_for_seat(),
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

/// Why a thread no longer serves its seat.
enum Left {
    /// The thread has lent its seat, because a task on this thread has waited.
    Seat,
    /// The drain of the pool has ended, so the thread ends.
    Pool,
}

impl Worker<'_> {
    /// Runs the user's hook at the start of the thread. During the hook the worker does not count as searching, because it
    /// looks for no task.
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

    /// Serves tasks until the thread has lent its seat or the drain of the pool has ended.
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

    /// Serves a cell that [`find`](Self::find) has returned. Begins a turn with the task, or drops the task if its job is
    /// cancelled. If the cell is a sweep, does the sweep.
    pub(super) fn serve(&self, cell: CellPtr) {
        self.context.serves.set(true);
        self.take_turn(cell);
        self.context.serves.set(false);
    }

    /// Runs a task from a deque if its gates allow it. Then runs further tasks of its job while the turn lasts.
    fn take_turn(&self, cell: CellPtr) {
        let mut epoch = self.pool().epoch();
        let resumed = cell.mark() == Mark::Admitted;
        if resumed || cell.mark() == Mark::Handed {
            // The task had its permit before it was put into the deque, and the task's job might have been paused since. The
            // lease gets an old epoch, so that the worker checks the job's word before it runs another task under that permit.
            epoch = epoch.wrapping_sub(1);
        }
        let paced = match gate::start(cell) {
            Start::Gone => return,
            Start::Sweep => return self.sweep(cell),
            Start::Run => resumed && gate::rated::is_at_a_rate(cell.job()),
            Start::RunPaced => true,
        };
        if paced {
            // In a job with a rate, each item of lazy input counts as a task. The lease gets an old epoch, so that a puller
            // checks the job's word after one item.
            epoch = epoch.wrapping_sub(1);
        }
        let job = cell.job();
        let (lease, key) = (self.context.lease(), job.idle_key());
        if self.seat().begin_batch(key) {
            self.pool().notify();
        }
        lease.open(job, epoch, self.seat().top_of(key));
        self.last.set(Some(job));
        let unlimited = !paced && job.is_unlimited(job.permits.load());
        if !unlimited {
            // The start of this task has freed its reservation, so a further task can be admitted. The worker checks the queue
            // now, because a future or a task inside `blocking` can keep its permit for long.
            gate::look_outwards(job);
        }
        self.begin_turn(resumed);
        let then = if paced {
            self.run_tasks_paced(cell, job, resumed)
        } else {
            self.run_tasks(cell, job, unlimited)
        };
        if let Some(seat) = self.context.seat() {
            if lease.left.get() > 0 {
                seat.note_top(key, lease.left.get());
            }
            seat.figures.add_run(u64::from(lease.turn.get()));
            seat.publish(0, 0);
        }
        match then {
            Then::GoOn | Then::GoOnUnended => lease.close(),
            Then::LeavePermit => lease.detach(),
        }
        events::no_cause(self.pool());
    }

    /// Runs a task that has its permits, and then further tasks of its job while the turn lasts.
    #[inline]
    fn run_tasks(&self, cell: CellPtr, job: JobPtr, mut unlimited: bool) -> Then {
        let mut next = Some(cell);
        let mut then = Then::GoOn;
        while let Some(cell) = next {
            if unlimited {
                self.put_batch_out(job);
            }
            then = self.run_cell(cell, job);
            if then == Then::LeavePermit {
                // The task has not ended and keeps the permit, so the turn ends. The task counts as one of the turn's tasks.
                let turn = &self.context.lease().turn;
                turn.set(turn.get() + 1);
                break;
            }
            next = self.next_under_permit(job, &mut unlimited);
        }
        then
    }

    /// Drops the tasks of a sweep, one at a time (sweep-2): those of a clear, and those in the queue of a cancelled job. After
    /// each [`BUDGET`] tasks, puts the sweep back into the injector if other tasks are ready.
    fn sweep(&self, sweep: CellPtr) {
        let mut dropped = 0;
        gate::sweep(sweep, |task| {
            self.context.next_task.set(Some(sweep));
            gate::drop_task(task);
            // `next_task` is empty if a destructor of the task has waited, because the wait puts the sweep back (sweep-3).
            let goes_on = self.context.next_task.take().is_some();
            dropped += 1;
            if goes_on && dropped % BUDGET == 0 && self.pool().has_ready() {
                let _ = self.pool().inject(sweep);
                return false;
            }
            goes_on
        });
    }
}
