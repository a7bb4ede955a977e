//! A job's turn: what a worker runs on with under the permit it holds, and where the job's further tasks lie meanwhile.

use super::super::fifo::Steal;
use super::super::job::{Job, Waiting};
use super::super::machine::{Core, HINT, Time};
use super::super::{Task, Way};
use super::{BUDGET, Hold, Pool, spend_tokens};

/// Looks at a backlog that has run empty, and the time before each.
const LOOKS: usize = 8;
const LOOK: Time = 150;
/// After its first try for the consumer right, a worker waits for so many spin-loop hints and tries in between.
const TRIES: Time = 32;
/// The most tasks of a batch that grows with the queue ([`Way::Growing`]).
const MOST_GROWN: usize = 256;

impl Pool {
    /// Before a task runs: while it does, the job's next tasks must be where others find them.
    pub(super) async fn cover(&self, core: &Core, job: &Job, hold: &mut Hold) {
        let place = self.crew.place(core);
        if !place.batch_is_empty(core).await {
            return;
        }
        // What lies on top of the deque will do, too, once this hold has looked at the backlog.
        if hold.left > 0 && hold.turn > 0 && !hold.covered {
            return;
        }
        core.load(job.head).await;
        if !job.has_head() {
            core.load(job.tail).await;
            if job.backlog.borrow().is_empty() && !job.covered.get() {
                return;
            }
        }
        let _ = self.refill(core, job, hold, 0).await;
        if place.batch_is_empty(core).await {
            hold.covered = false;
            core.change(&job.word).await;
            job.covered.set(false);
            self.look(core, job).await;
        }
    }

    /// Takes a batch from the backlog to where it can be stolen; the first `kept` (none or one) is returned.
    async fn refill(&self, core: &Core, job: &Job, hold: &mut Hold, kept: usize) -> Option<Task> {
        if !self.worth_a_try(core, job).await || !job.try_consume(core).await {
            return if kept > 0 { self.steal_from_holder(core, job, hold).await } else { None };
        }
        let first = if kept > 0 { job.pop(core).await } else { None };
        let mut wanted = BUDGET - hold.turn % BUDGET - kept;
        if self.tries(Way::Growing) {
            // The length of the queue is the difference of a count at each end.
            core.load(job.tail).await;
            wanted = wanted.max((job.backlog.borrow().len() / 8).min(MOST_GROWN));
        }
        let most = if kept > 0 && first.is_none() { 0 } else { wanted };
        let mut moved = 0;
        while moved < most
            && let Some(task) = job.pop(core).await
        {
            if moved == 0 {
                spend_tokens(core, job, hold, most, 0).await;
            }
            self.crew.place(core).push_batch(core, Task { loose: true, ..task }).await;
            moved += 1;
        }
        if moved > 0 {
            hold.tokens += most - moved;
            job.holder.set(Some(core.index));
            if !hold.covered {
                hold.covered = true;
                core.load(job.tail).await;
                if !job.covered.get() {
                    core.change(&job.word).await;
                    job.covered.set(true);
                }
            }
        }
        self.let_go_and_look(core, job).await;
        if moved > 0 {
            self.crew.notify(core).await;
        }
        first.map(|task| Task { loose: true, ..task })
    }

    pub(super) async fn next_under_permit(
        &self,
        core: &Core,
        job: &Job,
        hold: &mut Hold,
    ) -> Option<Task> {
        hold.turn += 1;
        if hold.turn.is_multiple_of(BUDGET) {
            let none_injected = self.crew.nothing_injected(core).await;
            if !none_injected || self.crew.place(core).len() > hold.left {
                self.crew.place(core).others_first.set(true);
                return None;
            }
        }
        if let Some(task) = self.next_at_hand(core, job, hold).await {
            return Some(task);
        }
        self.linger(core, job, hold).await
    }

    async fn next_at_hand(&self, core: &Core, job: &Job, hold: &mut Hold) -> Option<Task> {
        let next = if self.is_open() {
            match self.next_of_open(core, job, hold).await {
                Some(found) => return found,
                None => self.refill(core, job, hold, 1).await,
            }
        } else if self.has_strict_batches() {
            self.pop_by_batches(core, job, hold).await
        } else {
            self.pop_waiting(core, job).await
        };
        if next.is_some() {
            return next;
        }
        let task = self.crew.place(core).pop(core).await?;
        self.run_on_with(core, job, hold, task).await
    }

    /// The next task at hand of a job whose limit does not bind: one pushed from inside, or one of the batch.
    async fn next_of_open(&self, core: &Core, job: &Job, hold: &mut Hold) -> Option<Option<Task>> {
        let place = self.crew.place(core);
        if hold.left > 0
            && let Some(task) = place.pop(core).await
        {
            hold.left -= 1;
            return Some(self.run_on_with(core, job, hold, task).await);
        }
        hold.left = 0;
        let task = place.pop_batch(core).await?;
        hold.tokens += 1;
        Some(Some(task))
    }

    /// The job's next waiting task, for a job whose limit binds: taken alone.
    async fn pop_waiting(&self, core: &Core, job: &Job) -> Option<Task> {
        let mut got = self.worth_a_try(core, job).await && job.try_quietly(core).await;
        let back_off = self.tries(Way::BackOff);
        let (mut spun, mut pause) = (0, 1);
        while !got && spun < TRIES {
            core.work(HINT * pause).await;
            spun += pause;
            if back_off {
                pause *= 2;
            }
            core.load(job.head).await;
            got = !job.held.get() && job.try_quietly(core).await;
        }
        if !got {
            return None;
        }
        let task = job.pop(core).await;
        self.let_go_and_look(core, job).await;
        task
    }

    /// Steals a task from the job's batch that was filled last, if [`Way::StealHolder`] is simulated. The worker must hold a permit.
    async fn steal_from_holder(&self, core: &Core, job: &Job, hold: &mut Hold) -> Option<Task> {
        if !self.tries(Way::StealHolder) {
            return None;
        }
        core.load(job.head).await;
        let holder = job.holder.get().filter(|holder| *holder != core.index)?;
        let (own, victim) = (self.crew.place(core), self.crew.place_of(holder));
        match own.steal_batch_of(core, victim).await {
            Steal::Success(task) => {
                if self.is_open() {
                    hold.tokens += 1;
                }
                Some(task)
            }
            Steal::Empty | Steal::Retry => None,
        }
    }

    /// Pops the next waiting task of a job whose limit binds, if such jobs fill batches ([`Way::StrictBatch`]): from this worker's
    /// batch, from a new batch, or from another worker's batch.
    async fn pop_by_batches(&self, core: &Core, job: &Job, hold: &mut Hold) -> Option<Task> {
        let place = self.crew.place(core);
        if let Some(task) = place.pop_batch(core).await {
            return Some(task);
        }
        if !self.worth_a_try(core, job).await || !job.try_quietly(core).await {
            let stolen = self.steal_from_holder(core, job, hold).await;
            return if stolen.is_some() { stolen } else { self.pop_waiting(core, job).await };
        }
        let first = job.pop(core).await;
        // The queue has a part for each permit, and the batch gets one part.
        core.load(job.tail).await;
        let part = job.backlog.borrow().len() / self.ledger.shape.limit();
        let wanted = part.min(BUDGET - hold.turn % BUDGET - 1);
        let mut moved = 0;
        while first.is_some()
            && moved < wanted
            && let Some(task) = job.pop(core).await
        {
            place.push_batch(core, task).await;
            moved += 1;
        }
        if moved > 0 {
            job.holder.set(Some(core.index));
        }
        self.let_go_and_look(core, job).await;
        first
    }

    /// Puts the rest of this worker's batch back at the front of the job's queue, if the job's limit binds and such jobs fill batches.
    pub(super) async fn return_batch(&self, core: &Core, job: &Job) {
        if !self.has_strict_batches() {
            return;
        }
        let place = self.crew.place(core);
        while let Some(task) = place.pop_batch(core).await {
            core.rmw(job.head).await;
            let linked = std::rc::Rc::new(std::cell::Cell::new(true));
            job.backlog.borrow_mut().push_front(Waiting { task, linked });
        }
        place.private.set(false);
    }

    /// Returns true if the first try for the consumer right may succeed. Always true unless [`Way::LookFirst`] is simulated: then the
    /// worker reads the lock before.
    async fn worth_a_try(&self, core: &Core, job: &Job) -> bool {
        if !self.tries(Way::LookFirst) {
            return true;
        }
        core.load(job.head).await;
        !job.held.get() && job.can_pop()
    }

    /// Goes on with a task from the deque, if it is the job's.
    async fn run_on_with(
        &self,
        core: &Core,
        job: &Job,
        hold: &mut Hold,
        task: Task,
    ) -> Option<Task> {
        if !std::ptr::eq(job, &raw const self.jobs[task.job]) {
            hold.stash = Some(task);
            return None;
        }
        if !task.loose {
            core.change(&job.word).await;
            job.ready.set(job.ready.get() - 1);
            self.look(core, job).await;
        }
        hold.tokens += 1;
        Some(task)
    }

    /// Stays for a moment with a job whose backlog has run empty.
    async fn linger(&self, core: &Core, job: &Job, hold: &mut Hold) -> Option<Task> {
        if hold.stash.is_some() || job.handles.get() == 0 {
            return None;
        }
        for _ in 0..LOOKS {
            core.work(LOOK).await;
            if !self.crew.nothing_injected(core).await {
                return None;
            }
            core.load(job.tail).await;
            if !job.backlog.borrow().is_empty() {
                return self.next_at_hand(core, job, hold).await;
            }
        }
        None
    }
}
