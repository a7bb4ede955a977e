//! A turn: the tasks of one job that a worker runs one after another under one lease.
//!
//! In a turn with an *unlimited* job, the worker moves tasks from the job's queue into its *batch*, where other workers can
//! steal them. In a turn with any other job, the worker pops the tasks from the queue one at a time.
//!
//! A task that waits inside releases its permit, and the next task of its job becomes ready. The waiting task can re-acquire the
//! permit before that ready task starts (`wait-4` of `blocking`). If the worker then popped a task from the queue, the popped
//! task would overtake the ready task. So in a turn with a job whose limit is 1:
//! - `order-1`: After a wait inside, the lease gets an old epoch. So the worker checks the job's word before its next task.
//! - `order-2`: If a task of the job is ready, the worker pops no task, and ends the turn. The ready task can then start.
//!
//! Claim: at a limit of 1 no popped task overtakes a ready task (`serial_in_order`). A task becomes ready only while no other
//! task of the job holds a permit. So while a worker has a lease, a task is ready only if it became ready during a wait inside
//! the lease's task. The worker reads the word after that wait (`order-1`). If the word then shows no ready task, another worker
//! has dropped the ready task, or has put it back at the front of the queue. While the worker holds the permit, no further task
//! becomes ready. If a ready task has run inline, its empty cell counts as ready until a worker takes the cell out.

mod paced;

use crate::base::queues::Seat;
use crate::base::task::{CellPtr, Mark};
use crate::job::gate::{self, is_waited_for, may_go_on};
use crate::job::permits::Flag;
use crate::job::queue::{Consumer, Popped};
use crate::job::record::JobPtr;
use crate::sync::{fence_after_rmw, shrunk, spin_loop};
use crate::worker::core::{BUDGET, Worker};
use std::time::Duration;

/// A worker whose deque has tasks of other jobs usually takes the newest task of the deque. Once in this number of tasks the
/// worker takes the oldest one.
pub const OLDEST_EVERY: u32 = 4 * BUDGET;
/// A worker whose deque seems to have only tasks of the running job usually takes the newest task of the deque. Once in this
/// number of tasks the worker takes the oldest one. The oldest task usually pushes the most further tasks, so with a smaller
/// number the deque would grow longer.
const OWN_OLDEST_EVERY: u32 = 16 * OLDEST_EVERY;
/// The number of tasks of a turn after which a worker adds the completed tasks to the job's tally.
const COUNTED_EVERY: u32 = BUDGET;
/// The number of times that a worker checks an empty queue before it releases its permit.
const LOOKS: usize = shrunk(8, 0);
/// The number of spins before each check of an empty queue.
const SPINS: usize = 32;

/// The longest time of a turn with a child whose share is 1 and whose tasks take equally long, while tasks of its siblings
/// wait.
const TURN_TIME: Duration = Duration::from_micros(100);

impl Worker<'_> {
    /// Begins the turn of the lease that was opened just now. `resumed` must be true if the turn's first task is a future that
    /// was pending.
    #[inline]
    pub(super) fn begin_turn(&self, resumed: bool) {
        let lease = self.context.lease();
        let timed = lease.turns.get().time.is_some();
        lease.mask.set(if timed { 0 } else { BUDGET - 1 }); // time-1
        match lease.parent.get() {
            // The future of a resumed task had a turn before it was pending, so its new turn is short. Without a start time the
            // turn ends after one poll if tasks of siblings wait.
            Some(_) if resumed => {}
            _ if timed => lease.began.set(Some(self.pool().now())),
            Some(parent) => self.begin_turn_below(parent),
            None => {}
        }
    }

    /// If tasks wait in the queue of `parent` or of an ancestor of `parent`, notes the present time as the start of the turn. The
    /// turn then ends after its time, or after its number of tasks. Otherwise the turn has no start time, and ends as soon as a
    /// task of a sibling waits.
    #[inline]
    fn begin_turn_below(&self, parent: JobPtr) {
        let lease = self.context.lease();
        lease.began.set(is_waited_for(parent).then(|| self.pool().now()));
        lease.since.set(lease.turn.get());
    }

    /// Returns true if the turn of a job below `parent` must end because tasks of the job's siblings wait.
    ///
    /// If tasks of siblings waited when the turn began, the turn ends after [`BUDGET`] tasks or [`TURN_TIME`], both multiplied
    /// by the job's share. The worker reads the clock only after tasks 1, 2, 4, 8 and so on. At the next reading usually twice
    /// as much time has passed. So the worker ends the turn at the first reading at which half of the turn's time has passed.
    ///
    /// If no task of a sibling waited when the turn began, and one waits now, the turn ends at once.
    #[inline]
    fn is_siblings_turn(&self, parent: JobPtr) -> bool {
        let lease = self.context.lease();
        let Some(began) = lease.began.get() else { return is_waited_for(parent) };
        let (tasks, share) = (lease.turn.get() - lease.since.get(), lease.turns.get().share);
        if tasks >= BUDGET * share {
            let due = is_waited_for(parent);
            if !due {
                self.begin_turn_below(parent);
            }
            return due;
        }
        tasks.is_power_of_two()
            && is_waited_for(parent)
            && self.pool().now().saturating_duration_since(began)
                >= lease.turns.get().time.unwrap_or(TURN_TIME * share / 2)
    }

    /// Returns true if the turn must end because tasks of other jobs wait. Let n be [`BUDGET`] times the job's share. A turn with
    /// a turn time ends after that time, or after n tasks. Any other turn ends only after n, 2n, 3n and so on tasks. A turn that
    /// continues after n tasks, because no other task waits, has another n tasks.
    #[inline]
    pub(super) fn is_others_turn(&self) -> bool {
        let lease = self.context.lease();
        let (tasks, turns) = (lease.turn.get(), lease.turns.get());
        if turns.time.is_some() {
            return (tasks >= BUDGET * turns.share || self.context.is_out_of_time())
                && self.context.is_turn_wanted();
        }
        // The first comparison takes few instructions, because `BUDGET` is a constant, and is usually false.
        tasks.is_multiple_of(BUDGET)
            && tasks.is_multiple_of(BUDGET * turns.share)
            && self.context.others_wait()
    }

    /// Returns the job's next task, which runs under the permits of the lease. Returns `None` if the turn ends. `unlimited` must
    /// say whether the job is unlimited. If the call finds that this has changed, it updates `unlimited`.
    #[inline]
    pub(super) fn next_under_permit(&self, job: JobPtr, unlimited: &mut bool) -> Option<CellPtr> {
        let lease = self.context.lease();
        let turn = lease.turn.get() + 1;
        lease.turn.set(turn);
        // A thread without a seat runs no further task.
        let seat = self.context.seat()?;
        // The most frequent cases come first. If the job is not unlimited, the next task comes from the queue. Otherwise the task
        // comes from the batch, or, after pushes from inside a task, from the deque.
        if turn & lease.mask.get() != 0 && self.pool().epoch() == lease.epoch.get() {
            if !*unlimited {
                if lease.parent.get().is_some_and(|parent| self.is_siblings_turn(parent)) {
                    return None;
                }
                return match self.pop_waiting(job, may_go_on) {
                    Some(cell) => Some(cell),
                    None => self.next_beside_the_queue(job, seat),
                };
            }
            let left = lease.left.get();
            if left == 0 {
                if let Some(cell) = seat.batch.pop() {
                    return Some(self.run_on_with_batch(cell, job));
                }
            } else if let Some(cell) = seat.deque.pop() {
                lease.left.set(left - 1);
                return self.run_on_with(cell, job);
            }
        }
        self.next_of_turn(job, seat, unlimited)
    }

    /// Returns the job's next task from the worker's deque. If the deque is empty, or its newest task is not allowed to run
    /// under the lease, spins for a moment until a task is pushed. Call this when the job's queue has no task to pop.
    #[inline(never)]
    fn next_beside_the_queue(&self, job: JobPtr, seat: &Seat) -> Option<CellPtr> {
        let near = seat.deque.pop().and_then(|cell| self.run_on_with(cell, job));
        near.or_else(|| self.linger_for(job, false))
    }

    /// Does the rarer part of [`next_under_permit`](Self::next_under_permit). Checks the job's word if the epoch has changed,
    /// and checks whether the turn is over. If the turn continues, returns the next task from the deques or the queue.
    #[inline(never)]
    fn next_of_turn(&self, job: JobPtr, seat: &Seat, unlimited: &mut bool) -> Option<CellPtr> {
        let lease = self.context.lease();
        if lease.turn.get().is_multiple_of(COUNTED_EVERY) {
            lease.settle(job);
        }
        let epoch = self.pool().epoch();
        if epoch != lease.epoch.get() {
            lease.epoch.set(epoch);
            if !may_go_on(job) {
                return None;
            }
            let word = job.permits.load();
            if !word.keeps_order() {
                return None; // order-2
            }
            *unlimited = job.is_unlimited(word);
        }
        if self.is_others_turn() {
            self.return_batch(job, seat);
            seat.others_first.set(true);
            return None;
        }
        if lease.parent.get().is_some_and(|parent| self.is_siblings_turn(parent)) {
            return None;
        }
        self.next_at_hand(job, *unlimited).or_else(|| self.linger_for(job, *unlimited))
    }

    /// Returns the job's next task from the deques or the queue, without waiting for a push.
    #[inline]
    fn next_at_hand(&self, job: JobPtr, unlimited: bool) -> Option<CellPtr> {
        if unlimited {
            self.next_of_unlimited(job, self.context.seat()?)
        } else {
            if let Some(cell) = self.pop_waiting(job, may_go_on) {
                return Some(cell);
            }
            self.run_on_with(self.context.seat()?.deque.pop()?, job)
        }
    }

    /// Returns the next task of an unlimited job. The task comes from the deque, from the batch, or from a new batch.
    #[inline]
    fn next_of_unlimited(&self, job: JobPtr, seat: &Seat) -> Option<CellPtr> {
        let lease = self.context.lease();
        let others = seat.deque.len() as u64 > lease.left.get();
        let every = if others { OLDEST_EVERY } else { OWN_OLDEST_EVERY };
        if lease.turn.get().is_multiple_of(every)
            && let Some(cell) = self.steal_oldest()
        {
            return self.run_on_with(cell, job);
        }
        if lease.left.get() > 0
            && let Some(cell) = seat.deque.pop()
        {
            lease.left.set(lease.left.get() - 1);
            return self.run_on_with(cell, job);
        }
        lease.left.set(0);
        if let Some(cell) = seat.batch.pop() {
            return Some(self.run_on_with_batch(cell, job));
        }
        // Tasks in the deque probably belong to other jobs. So the tasks in the job's queue come first.
        self.refill(job, 1).or_else(|| self.run_on_with(self.context.seat()?.deque.pop()?, job))
    }

    /// Spins for 1–2 µs if the job's queue has just become empty and there is no other work. Returns a task of the job that was
    /// pushed meanwhile.
    ///
    /// While the worker spins, a concurrent pusher usually adds several tasks, which then all run under the same permits. The
    /// worker spins long between two checks of the queue, because each check takes the cache line of the queue's tail from the
    /// pushers.
    fn linger_for(&self, job: JobPtr, unlimited: bool) -> Option<CellPtr> {
        let stashed = self.context.next_task.take();
        if stashed.is_some() || !self.pool().has_spare_cores() || job.busy.load().handles() == 0 {
            self.context.next_task.set(stashed);
            return None;
        }
        for _ in 0..LOOKS {
            (0..SPINS).for_each(|_| spin_loop());
            let lease = self.context.lease();
            let changed = self.pool().epoch() != lease.epoch.get();
            let siblings_wait = lease.parent.get().is_some_and(is_waited_for);
            if changed || siblings_wait || !self.pool().injector_is_empty() {
                return None;
            }
            if !job.queue().is_empty() {
                return self.next_at_hand(job, unlimited);
            }
        }
        None
    }

    /// Prepares a task of the batch to run under the lease: the lease receives the task's busy count. All tasks of the batch
    /// must belong to the job.
    #[inline]
    fn run_on_with_batch(&self, cell: CellPtr, job: JobPtr) -> CellPtr {
        debug_assert_eq!((cell.job(), cell.mark()), (job, Mark::Loose), "a batch is one job's");
        self.context.lease().take_busy_count();
        cell
    }

    /// Prepares a task that came from the deque to run under the lease, and returns the task. If the task is not allowed to run
    /// under the lease, keeps it as the worker's next task after the turn, and returns `None`.
    #[inline(always)]
    fn run_on_with(&self, cell: CellPtr, job: JobPtr) -> Option<CellPtr> {
        let lease = self.context.lease();
        if cell.job() != job || lease.parent.get().is_some() || cell.mark() != Mark::Loose {
            return self.run_on_with_other(cell, job);
        }
        lease.take_busy_count();
        Some(cell)
    }

    /// Does what [`run_on_with`](Self::run_on_with) does, for a task that has a reservation or is not allowed to run under the
    /// lease.
    #[inline(never)]
    fn run_on_with_other(&self, cell: CellPtr, job: JobPtr) -> Option<CellPtr> {
        let lease = self.context.lease();
        if cell.job() != job || lease.parent.get().is_some() || cell.mark() != Mark::Ready {
            self.context.next_task.set(Some(cell));
            return None;
        }
        // The task runs under the permits of the lease, so it needs no reservation any more.
        job.permits.unreserve();
        fence_after_rmw();
        gate::look(job);
        lease.take_busy_count();
        Some(cell)
    }

    /// Returns true if the worker may start the task that it has just popped from the job's queue: if the worker has checked the
    /// job's word in the present epoch, or if `may_go_on` allows a further task now.
    ///
    /// The task might have been pushed after a pause that the worker's last check of the word did not see. Such a task must not
    /// start. After the pop the worker sees the epoch of that pause, so this function checks the word again.
    #[inline]
    fn may_start_popped(&self, job: JobPtr, may_go_on: fn(JobPtr) -> bool) -> bool {
        self.pool().epoch() == self.context.lease().epoch.get() || may_go_on(job)
    }

    /// Pops one task from the queue of a job that is not unlimited. Returns `None` if the queue is empty, if its first task is
    /// a child's, if `may_go_on` returns false, or if another thread has the queue lock.
    #[inline]
    fn pop_waiting(&self, job: JobPtr, may_go_on: fn(JobPtr) -> bool) -> Option<CellPtr> {
        let queue = job.queue();
        let mut consumer = match queue.try_lock_quietly() {
            Some(consumer) => consumer,
            None => try_briefly(&job)?,
        };
        match consumer.pop() {
            Popped::Task(cell) if cell.job() == job && self.may_start_popped(job, may_go_on) => {
                gate::unlock(job, consumer);
                Some(cell)
            }
            Popped::Task(other) => {
                // The task belongs to a child of `job`, or `job` does not allow a further start now. So the turn ends.
                // This thread puts the task back before it unlocks the queue, so that no other task overtakes this
                // one. In the meantime the job might have got room for the task, so this thread then checks the queue.
                job.queue().push_returned(other);
                gate::unlock(job, consumer);
                fence_after_rmw();
                gate::look(job);
                None
            }
            Popped::Empty | Popped::Unfinished => {
                gate::unlock(job, consumer);
                None
            }
        }
    }

    /// If the worker's batch is empty, moves tasks of the job's queue into it. Called before a task runs, so that other workers
    /// can steal the job's next tasks while that task runs.
    #[inline]
    pub(super) fn put_batch_out(&self, job: JobPtr) {
        if self.context.seat().is_some_and(|seat| seat.batch.is_empty()) {
            self.put_new_batch_out(job);
        }
    }

    fn put_new_batch_out(&self, job: JobPtr) {
        // `left` is the supposed number of this job's tasks on top of the deque. Other workers can steal these tasks,
        // so no batch is needed if `left` is above 0. But `left` can be wrong. So the worker checks the queue before
        // the first task of the turn in any case. While the flag BatchOut is set, the worker checks the queue before
        // each task, because pushers rely on the check.
        let lease = self.context.lease();
        let looked = lease.turn.get() > 0 && !lease.batch_out.get();
        if looked && lease.left.get() > 0 {
            return;
        }
        let queue = job.queue();
        if !queue.has_head() && queue.is_empty() && !job.permits.load().has(Flag::BatchOut) {
            return;
        }
        let none = self.refill(job, 0);
        debug_assert!(none.is_none(), "no task was to be kept");
        if self.context.seat().is_none_or(|seat| seat.batch.is_empty()) {
            // Pushers that have seen the flag `BatchOut` rely on this worker to check the queue, so this worker checks it now.
            lease.batch_out.set(false);
            job.permits.clear(Flag::BatchOut);
            fence_after_rmw();
            gate::look(job);
        }
    }

    /// At the end of a turn, puts the remaining tasks of the batch back at the front of the job's queue. If these tasks
    /// stayed in a deque, they would start ahead of other jobs' tasks. The worker checks the queue when it closes the lease.
    fn return_batch(&self, job: JobPtr, seat: &Seat) {
        let lease = self.context.lease();
        while let Some(cell) = seat.batch.pop() {
            // A task in a batch has a busy count, and a task in a queue has none. This task moves from the batch into the queue,
            // so its busy count goes to the lease.
            lease.take_busy_count();
            job.queue().push_returned(cell);
            // The worker gives up the batch, so it clears the flag `BatchOut`: pushers must not rely on the batch any more.
            lease.batch_out.set(false);
            job.permits.clear(Flag::BatchOut);
        }
    }

    /// Moves tasks from the queue into the worker's batch, where other workers can steal them. If `kept` is 1, also pops one
    /// task and returns it.
    #[inline(never)]
    fn refill(&self, job: JobPtr, kept: u32) -> Option<CellPtr> {
        let (lease, seat) = (self.context.lease(), self.seat());
        let mut consumer = job.queue().try_lock()?;
        let mut returned = false;
        let mut next = || match consumer.pop() {
            Popped::Task(cell) if cell.job() == job && self.may_start_popped(job, may_go_on) => {
                Some(cell)
            }
            Popped::Task(other) => {
                // The task goes back to the queue, because it must not join the batch: it is a task of a child, or the job is
                // held. The turn began when the job had no child, so the child was made just now.
                job.queue().push_returned(other);
                returned = true;
                None
            }
            Popped::Empty | Popped::Unfinished => None,
        };
        let first = if kept > 0 { next() } else { None };
        let wanted = BUDGET - lease.turn.get() % BUDGET - kept;
        let most = if kept > 0 && first.is_none() { 0 } else { wanted };
        let mut moved = 0;
        while moved < most
            && let Some(cell) = next()
        {
            if moved == 0 {
                // Each task of the batch needs a busy count before the batch shows it to other workers, which can steal it. So this
                // worker adds counts for as many tasks as the batch can get. Those that no task gets stay with the lease.
                lease.use_up_busy_counts(job, u64::from(most), 0);
            }
            cell.set_mark(Mark::Loose);
            seat.batch.push(cell);
            moved += 1;
        }
        if moved > 0 {
            lease.busy.set(lease.busy.get() + u64::from(most - moved));
            if !lease.batch_out.replace(true) && !job.permits.load().has(Flag::BatchOut) {
                job.permits.set(Flag::BatchOut);
            }
        }
        gate::unlock(job, consumer);
        if returned {
            fence_after_rmw();
            gate::look(job);
        }
        if moved > 0 {
            self.pool().notify();
        }
        first
    }
}

/// Tries to get the queue lock a few times, because the owner of the lock usually keeps it for a few instructions only.
#[cold]
fn try_briefly(job: &JobPtr) -> Option<Consumer<'_>> {
    const TRIES: usize = shrunk(32, 0);
    let queue = job.queue();
    (0..TRIES).find_map(|_| {
        spin_loop();
        if queue.is_unlocked() { queue.try_lock_quietly() } else { None }
    })
}
