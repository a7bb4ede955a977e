//! A job's turn: what a worker runs on with under the permit it holds, and where the job's further tasks lie meanwhile.

use crate::job::admission;
use crate::job::permits::Flag;
use crate::job::queue::{Consumer, Popped};
use crate::job::record::JobPtr;
use crate::sync::time::Instant;
use crate::sync::{fence_after_rmw, shrunk, spin_loop};
use crate::task::{CellPtr, Mark};
use crate::worker::seat::Seat;
use crate::worker::{BUDGET, Worker};
use std::time::Duration;

/// Tasks after which a worker takes the oldest of its own deque instead of the newest, if others' tasks lie there.
pub const OLDEST_EVERY: u32 = 4 * BUDGET;
/// The same if none are known to: whoever opens the oldest branch of a tree leaves the newest ones lying.
const OWN_OLDEST_EVERY: u32 = 16 * OLDEST_EVERY;
/// Tasks after which a worker adds those that have returned to the job's statistics, although its turn goes on.
const COUNTED_EVERY: u32 = 4 * BUDGET;
/// Looks that a worker takes at the backlog of a job that has run empty, before it gives the permit back.
const LOOKS: usize = shrunk(8, 0);
/// Spins before each of them.
const SPINS: usize = 32;

/// The most time that a turn takes while siblings wait, if its tasks are alike.
const TURN_TIME: Duration = Duration::from_micros(100);

impl Worker<'_> {
    /// Notes the time if tasks wait at a gate outside the job: its siblings' turn comes when this one's time is over.
    #[inline]
    pub(super) fn begin_turn_below(&self, parent: JobPtr) {
        self.context.lease().began.set(is_waited_for(parent).then(Instant::now));
    }

    /// Returns true if the turn of a job below `parent` must end because siblings wait.
    ///
    /// If siblings waited when the turn began, it ends after [`BUDGET`] tasks or [`TURN_TIME`]. The worker reads the clock
    /// after 1, 2, 4 and 8 tasks. The next reading follows after as many tasks again, so half the time is the most that may
    /// be over. If siblings came later, the turn ends at once.
    #[inline]
    fn is_siblings_turn(&self, parent: JobPtr) -> bool {
        let lease = self.context.lease();
        let tasks = lease.turn.get() % BUDGET;
        let Some(began) = lease.began.get() else { return is_waited_for(parent) };
        if tasks == 0 {
            let due = is_waited_for(parent);
            if !due {
                self.begin_turn_below(parent);
            }
            return due;
        }
        tasks.is_power_of_two() && is_waited_for(parent) && began.elapsed() >= TURN_TIME / 2
    }

    /// A further task of the job to run under the permit held, if it is still this job's turn.
    #[inline]
    pub(super) fn next_under_permit(&self, job: JobPtr, unlimited: &mut bool) -> Option<CellPtr> {
        let lease = self.context.lease();
        let turn = lease.turn.get() + 1;
        lease.turn.set(turn);
        // A thread that has lent its place runs this one task to its end.
        let seat = self.context.seat()?;
        // The two cases that matter most, as short as they go: the next of the batch, the next of a full job's backlog.
        if !turn.is_multiple_of(BUDGET) && self.pool().epoch() == lease.epoch.get() {
            if !*unlimited {
                if lease.parent.get().is_some_and(|parent| self.is_siblings_turn(parent)) {
                    return None;
                }
                return match self.pop_waiting(job) {
                    Some(cell) => Some(cell),
                    None => self.next_beside_the_backlog(job, seat),
                };
            }
            if lease.left.get() == 0
                && let Some(cell) = seat.batch.pop()
            {
                return Some(self.run_on_with_batch(cell, job));
            }
        }
        self.next_of_turn(job, seat, unlimited)
    }

    /// The next task of a full job whose backlog has none to take.
    #[inline(never)]
    fn next_beside_the_backlog(&self, job: JobPtr, seat: &Seat) -> Option<CellPtr> {
        let near = seat.deque.pop().and_then(|cell| self.run_on_with(cell, job));
        near.or_else(|| self.linger_for(job, false))
    }

    /// As `next_under_permit`, wherever the task lies and whatever has changed.
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
            *unlimited = job.is_unlimited(job.permits.load());
        }
        if lease.turn.get().is_multiple_of(BUDGET) && self.context.others_wait() {
            seat.others_first.set(true);
            return None;
        }
        if lease.parent.get().is_some_and(|parent| self.is_siblings_turn(parent)) {
            return None;
        }
        self.next_at_hand(job, *unlimited).or_else(|| self.linger_for(job, *unlimited))
    }

    /// Looks for the job's next task in the deque and in the backlog.
    #[inline]
    fn next_at_hand(&self, job: JobPtr, unlimited: bool) -> Option<CellPtr> {
        if unlimited {
            self.next_of_unlimited(job, self.context.seat()?)
        } else {
            if let Some(cell) = self.pop_waiting(job) {
                return Some(cell);
            }
            self.run_on_with(self.context.seat()?.deque.pop()?, job)
        }
    }

    /// The next task of a job whose limit does not bind: one pushed from inside, one of the batch, a new batch.
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
        // What lies in the deque is others': they wait for the end of this job's turn.
        self.refill(job, 1).or_else(|| self.run_on_with(self.context.seat()?.deque.pop()?, job))
    }

    /// Stays with a job whose backlog has just run empty, for a microsecond or two, while there is nothing
    /// else to do: a pusher at work will have pushed several tasks by then, and all of them run under
    /// the permit held. Looking seldom keeps the pushers' line theirs.
    fn linger_for(&self, job: JobPtr, unlimited: bool) -> Option<CellPtr> {
        let stashed = self.context.next_task.take();
        if stashed.is_some() || !self.pool().has_spare_cores() || job.tokens.load().handles() == 0 {
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

    /// Goes on with a task of the batch, which is all of the open job that has its turn.
    #[inline]
    fn run_on_with_batch(&self, cell: CellPtr, job: JobPtr) -> CellPtr {
        debug_assert_eq!((cell.job(), cell.mark()), (job, Mark::Loose), "a batch is one job's");
        self.context.lease().take_token();
        cell
    }

    /// Goes on with a task from the deque: under the permit if it is the job's, else after it.
    #[inline]
    fn run_on_with(&self, cell: CellPtr, job: JobPtr) -> Option<CellPtr> {
        let lease = self.context.lease();
        if cell.job() != job || lease.parent.get().is_some() {
            self.context.next_task.set(Some(cell));
            return None;
        }
        match cell.mark() {
            Mark::Loose => {}
            Mark::Ready => {
                // It needs no room of its own any more.
                job.permits.unreserve();
                fence_after_rmw();
                admission::look(job);
            }
            Mark::Admitted | Mark::Sweep | Mark::Doomed => {
                self.context.next_task.set(Some(cell));
                return None;
            }
        }
        lease.take_token();
        Some(cell)
    }

    /// The job's next waiting task, for a job whose limit binds: taken alone.
    #[inline]
    fn pop_waiting(&self, job: JobPtr) -> Option<CellPtr> {
        let queue = job.queue();
        let mut consumer = match queue.try_lock_quietly() {
            Some(consumer) => consumer,
            None => try_briefly(&job)?,
        };
        let popped = consumer.pop();
        admission::unlock(job, consumer);
        match popped {
            Popped::Task(cell) if cell.job() == job => Some(cell),
            Popped::Task(delegate) => {
                // A child's turn: closing the hold makes room for it, and it is first in line. There may be room now.
                job.queue().push_returned(delegate);
                fence_after_rmw();
                admission::look(job);
                None
            }
            Popped::Empty | Popped::HalfDone => None,
        }
    }

    /// Before a task runs: while it does, the job's next tasks must be where others find them.
    #[inline]
    pub(super) fn put_batch_out(&self, job: JobPtr) {
        if self.context.seat().is_some_and(|seat| seat.batch.is_empty()) {
            self.put_new_batch_out(job);
        }
    }

    fn put_new_batch_out(&self, job: JobPtr) {
        // What lies on top of the deque will do, too, but only once this hold has looked at the backlog, and unless pushers
        // rely on it to look again: whose tasks those are is a guess.
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
            // Pushers have relied on a look like this one.
            lease.batch_out.set(false);
            job.permits.clear(Flag::BatchOut);
            fence_after_rmw();
            admission::look(job);
        }
    }

    /// Takes a batch from the backlog to where it can be stolen; the first `kept`
    /// (none or one) is returned.
    #[inline(never)]
    fn refill(&self, job: JobPtr, kept: u32) -> Option<CellPtr> {
        let (lease, seat) = (self.context.lease(), self.seat());
        let mut consumer = job.queue().try_lock()?;
        let mut returned = false;
        let mut next = || match consumer.pop() {
            Popped::Task(cell) if cell.job() == job => Some(cell),
            Popped::Task(delegate) => {
                // Of the job's first child, which has come just now.
                job.queue().push_returned(delegate);
                returned = true;
                None
            }
            Popped::Empty | Popped::HalfDone => None,
        };
        let first = if kept > 0 { next() } else { None };
        let wanted = BUDGET - lease.turn.get() % BUDGET - kept;
        let most = if kept > 0 && first.is_none() { 0 } else { wanted };
        let mut moved = 0;
        while moved < most
            && let Some(cell) = next()
        {
            if moved == 0 {
                // Before anyone can run them; what is left over stays here.
                lease.spend_tokens(job, u64::from(most), 0);
            }
            cell.set_mark(Mark::Loose);
            seat.batch.push(cell);
            moved += 1;
        }
        if moved > 0 {
            lease.tokens.set(lease.tokens.get() + u64::from(most - moved));
            if !lease.batch_out.replace(true) && !job.permits.load().has(Flag::BatchOut) {
                job.permits.set(Flag::BatchOut);
            }
        }
        admission::unlock(job, consumer);
        if returned {
            fence_after_rmw();
            admission::look(job);
        }
        if moved > 0 {
            self.pool().notify();
        }
        first
    }
}

/// Whether tasks wait at this gate or further out.
fn is_waited_for(gate: JobPtr) -> bool {
    let mut gate = Some(gate);
    while let Some(outer) = gate {
        if !outer.queue().is_empty() {
            return true;
        }
        gate = outer.parent();
    }
    false
}

/// Tries for the consumer right a few times: whoever has it keeps it for a few instructions.
#[cold]
fn try_briefly(job: &JobPtr) -> Option<Consumer<'_>> {
    const TRIES: usize = shrunk(32, 0);
    let queue = job.queue();
    (0..TRIES).find_map(|_| {
        spin_loop();
        if queue.is_unlocked() { queue.try_lock_quietly() } else { None }
    })
}

/// Whether a further task may start under the permits of one that has ended.
pub fn may_go_on(job: JobPtr) -> bool {
    let mut gate = Some(job);
    while let Some(outer) = gate {
        if !outer.permits.load().may_go_on() {
            return false;
        }
        gate = outer.parent();
    }
    !job.pool().drops()
}
