//! The lease of a worker's thread: the permits that the thread holds over several tasks of one job.

use crate::job::gate;
use crate::job::record::JobPtr;
use crate::job::turns::Turns;
use crate::sync::atomic::Ordering;
use crate::sync::time::Instant;
use std::cell::Cell;

/// The permits that a thread holds over several tasks of one job, and the state of the turn under these permits.
#[derive(Debug)]
pub struct Lease {
    /// The job of the lease. `None` if the thread holds no permit.
    pub job: Cell<Option<JobPtr>>,
    /// The parent of the lease's job: a copy of the field of the job's record. A read of that field would be slow, because each
    /// push writes the cache line of that field.
    pub parent: Cell<Option<JobPtr>>,
    /// The number of the job's busy counts that this thread has: at least one while the thread holds the permits.
    pub busy: Cell<u64>,
    /// A guess of the number of the job's tasks at the top of the thread's deque: other workers might have stolen some of them.
    /// These tasks were pushed from inside a task, or stolen together with the first task of the turn.
    pub left: Cell<u64>,
    /// True if this lease has set the job's flag `BatchOut`, and has not cleared it. Another lease of the job might have
    /// cleared the flag since.
    pub batch_out: Cell<bool>,
    /// The number of tasks that have run in this turn.
    pub turn: Cell<u32>,
    /// The share, turn time and class of the lease's job.
    pub turns: Cell<Turns>,
    /// The time from which the length of the turn counts. Usually this is the start of the turn. If a turn with a child has run
    /// all its tasks, and continues because no task of a sibling waits, the length counts anew from then. `None` if the length is
    /// not measured: then a turn with a child ends as soon as a task of a sibling waits.
    pub began: Cell<Option<Instant>>,
    /// How many tasks of this turn had run at the time in the field `began`. The difference to the field `turn` is the number of
    /// tasks since that time.
    pub since: Cell<u32>,
    /// If `turn & mask` is 0, the worker checks before the next task whether the turn ends.
    pub mask: Cell<u32>,
    /// The pool's epoch when this thread last checked the job's word. An older epoch makes the worker check the word before
    /// its next task.
    pub epoch: Cell<u64>,
    /// The number of tasks that have returned under this lease and are not in the job's tally yet.
    pub completed: Cell<u64>,
}

/// The fields of a [`Lease`] that describe the worker's turn. A wait inside the turn saves and restores them.
#[derive(Clone, Copy, Debug)]
pub struct TurnSoFar {
    batch_out: bool,
    turn: u32,
    turns: Turns,
    began: Option<Instant>,
    since: u32,
}

impl Lease {
    /// Makes a lease of no job, which holds no permits.
    pub fn new() -> Self {
        Self {
            job: Cell::new(None),
            parent: Cell::new(None),
            busy: Cell::new(0),
            left: Cell::new(0),
            batch_out: Cell::new(false),
            turn: Cell::new(0),
            turns: Cell::new(Turns::USUAL),
            began: Cell::new(None),
            since: Cell::new(0),
            mask: Cell::new(0),
            epoch: Cell::new(0),
            completed: Cell::new(0),
        }
    }

    /// Makes this the lease of `job`. The thread has the permits and one busy count of a task of `job`, which it runs next.
    /// If `epoch` is not the pool's epoch, the worker checks the job's word before its second task. `left` is the number of
    /// the job's tasks at the top of the thread's deque.
    #[inline]
    pub fn open(&self, job: JobPtr, epoch: u64, left: u64) {
        self.job.set(Some(job));
        self.parent.set(job.parent());
        self.busy.set(1);
        self.left.set(left);
        self.batch_out.set(false);
        self.turn.set(0);
        self.turns.set(job.turns());
        self.began.set(None);
        self.since.set(0);
        self.epoch.set(epoch);
    }

    /// Ends the lease. The permits and one busy count now belong to a pending future or to a waiter. Gives the other busy
    /// counts back to the job.
    pub fn detach(&self) {
        let job = self.job.take().expect("a lease is closed once");
        let busy = self.busy.replace(0) - 1;
        self.settle(job);
        job.drop_tasks(busy);
    }

    /// Makes this the lease of `job` again, after a task of `job` has waited inside and has re-acquired its permits. `busy`
    /// is the number of the job's busy counts that the thread has. The lease gets an old epoch, so that the worker checks the
    /// job's word before its next task.
    pub fn resume(&self, job: JobPtr, busy: u64) {
        self.job.set(Some(job));
        self.parent.set(job.parent());
        self.busy.set(busy);
        self.left.set(0);
        self.epoch.set(self.epoch.get().wrapping_sub(1)); // order-1
    }

    /// Returns the fields of the lease that describe the turn. The caller passes them to [`go_on_with`](Self::go_on_with)
    /// after a wait inside the turn.
    pub fn turn(&self) -> TurnSoFar {
        TurnSoFar {
            batch_out: self.batch_out.get(),
            turn: self.turn.get(),
            turns: self.turns.get(),
            began: self.began.get(),
            since: self.since.get(),
        }
    }

    /// Continues a turn that a wait has interrupted. `turn` is what [`turn`](Self::turn) returned before the wait. The
    /// thread must have kept its seat during the wait.
    pub fn go_on_with(&self, turn: TurnSoFar) {
        let TurnSoFar { batch_out, turn, turns, began, since } = turn;
        self.batch_out.set(batch_out);
        self.turn.set(turn);
        self.turns.set(turns);
        self.began.set(began);
        self.since.set(since);
    }

    /// Takes `count` busy counts out of the lease, for tasks that are pushed, and keeps at least one. If the lease has too few,
    /// first adds the missing busy counts to the job and to the lease, and `credit` more for later pushes.
    #[inline]
    pub fn use_up_busy_counts(&self, job: JobPtr, count: u64, credit: u64) {
        let mut busy = self.busy.get();
        if busy <= count {
            let missing = count + 1 - busy + credit;
            job.busy.add_tasks(missing);
            busy += missing;
        }
        self.busy.set(busy - count);
    }

    /// Takes one busy count out of the lease, for a future that is pending without a permit and owns this count from now on.
    #[cfg(feature = "futures")]
    pub fn give_back_busy_count(&self) {
        self.busy.set(self.busy.get() - 1);
    }

    /// Gives all busy counts of the lease but one back to the job.
    pub fn give_back_spare_busy_counts(&self) {
        let Some(job) = self.job.get() else { return };
        let spare = self.busy.replace(1) - 1;
        if spare > 0 {
            job.drop_tasks(spare);
        }
    }

    /// Adds to the lease the busy count of a task that will run under this lease.
    #[inline]
    pub fn take_busy_count(&self) {
        self.busy.set(self.busy.get() + 1);
    }

    /// Adds to the job's tally the number of tasks that have returned under this lease, and resets that number.
    #[inline]
    pub fn settle(&self, job: JobPtr) {
        let completed = self.completed.replace(0);
        if completed > 0 {
            // Ordering: Relaxed; ordered by the release of the permit, which follows.
            job.tally.completed.fetch_add(completed, Ordering::Relaxed);
        }
    }

    /// Ends the lease: releases its permits, so that other tasks can acquire them, and gives its busy counts back to the
    /// job.
    #[inline]
    pub fn close(&self) {
        let job = self.job.take().expect("a lease is closed once");
        let busy = self.busy.replace(0);
        let left = job.busy.load();
        if left.handles() == 0
            && left.tasks() == busy
            && job.parent().is_none()
            && job.queue().is_empty()
            // The record of a named root is not freed here: a reader of the list of named jobs can add a handle at any time
            // (root-3).
            && !job.is_named_root()
        {
            self.completed.set(0);
            // SAFETY: no other thread uses the record: this thread has all busy counts, and the job has no handle.
            unsafe { job.free(1) };
            return;
        }
        self.settle(job);
        gate::release(job);
        job.drop_tasks(busy);
    }
}
