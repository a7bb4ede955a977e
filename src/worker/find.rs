//! Where a worker looks for a task: near, then in the injector and in others' deques; and when it parks.

use crate::sync::deque::Steal;
use crate::sync::{shrunk, spin_loop};
use crate::task::{CellPtr, Mark, cells};
use crate::worker::Worker;
use crate::worker::sleep::Woken;
use crate::worker::turn::OLDEST_EVERY;

/// Ready tasks of the job that has just had its turn that a worker passes over, looking for another's.
const OWN_PASSED: usize = shrunk(4, 1);
/// Further looks that the only searching worker takes before it parks, yielding in between.
const LINGER: usize = shrunk(16, 0);

impl Worker<'_> {
    /// The next task from anywhere; parks while there is none. `None`: the pool is drained.
    pub(super) fn find(&self) -> Option<CellPtr> {
        if let Some(cell) = self.context.next_task.take() {
            return Some(cell);
        }
        let sleep = &self.pool().sleep;
        if !self.searching.get() {
            if let Some(cell) = self.find_near() {
                return Some(cell);
            }
            sleep.start_searching();
            self.searching.set(true);
        }
        let mut lingered = 0;
        loop {
            if let Some(cell) = self.search() {
                self.searching.set(false);
                if sleep.stop_searching() && self.pool().has_ready() {
                    self.pool().notify();
                }
                return Some(cell);
            }
            if lingered < LINGER && sleep.one_searches() {
                // One stays awake for a moment: a wake-up costs a pusher more than its push.
                lingered += 1;
                crate::sync::thread::yield_now();
                continue;
            }
            lingered = 0;
            self.seat().figures.add_parked();
            cells::tidy();
            let pool = self.pool();
            let (look, busy) = (|| pool.has_ready(), || pool.is_busy());
            match sleep.park(self.seat().index, look, busy) {
                Woken::Search => {}
                Woken::Leave => return None,
            }
        }
    }

    /// The next task from the local queue or the injector, each going first in turn.
    pub(super) fn find_near(&self) -> Option<CellPtr> {
        let seat = self.seat();
        let turns = seat.turns.get().wrapping_add(1);
        seat.turns.set(turns);
        if turns.is_multiple_of(OLDEST_EVERY) {
            // Futures that wake one another here would keep the tasks of their own job, which wait in the
            // injector, from their turn.
            let waiting = self.take_injected_of_others().or_else(|| self.steal_injected_one());
            let cell = waiting.or_else(|| self.steal_oldest());
            if cell.is_some() {
                return cell;
            }
        }
        if seat.others_first.replace(false) {
            let waiting = self.take_injected_of_others().or_else(|| self.steal_oldest());
            let cell = waiting.or_else(|| self.steal_injected_one());
            if cell.is_some() {
                return cell;
            }
        } else {
            // Next time those who have waited longest go first.
            seat.others_first.set(true);
        }
        seat.batch.pop().or_else(|| seat.deque.pop()).or_else(|| self.steal_injected_batch())
    }

    /// Returns the task that has waited longest of those that came from the injector or are in it, unless it is of the job that
    /// has just had its turn. Passes over a few tasks of that job.
    fn take_injected_of_others(&self) -> Option<CellPtr> {
        let (mut found, mut passed) = (None, false);
        for _ in 0..OWN_PASSED {
            let next = self.pop_injected().or_else(|| self.steal_injected_one());
            let Some(cell) = next else { break };
            if Some(cell.job()) != self.last.get() {
                found = Some(cell);
                break;
            }
            self.pool().injector().push(cell);
            passed = true;
        }
        if passed {
            // Out of the injector for a moment, they were in no searcher's sight.
            self.pool().notify();
        }
        found
    }

    /// Pops the top of the deque if it came from the injector.
    ///
    /// A batch from the injector lies on the deque with its oldest task on top. All of it is older than what the injector has
    /// now. A task that was pushed from inside, or woken, is not marked as ready.
    fn pop_injected(&self) -> Option<CellPtr> {
        let deque = &self.seat().deque;
        let cell = deque.pop()?;
        if cell.mark() == Mark::Ready {
            return Some(cell);
        }
        deque.push(cell);
        // Out of the deque for a moment, it was in no searcher's sight.
        self.pool().notify();
        None
    }

    /// The oldest task of the thread's own deque, from the thieves' end.
    pub(super) fn steal_oldest(&self) -> Option<CellPtr> {
        match self.pool().victims()[self.seat().index].deque.steal() {
            Steal::Success(cell) => Some(cell),
            Steal::Empty | Steal::Retry => None,
        }
    }

    /// For a worker that nobody counts as searching: those who look while the batch is on its way to the deque see it
    /// neither there nor in the injector, and may park.
    fn steal_injected_batch(&self) -> Option<CellPtr> {
        let deque = &self.seat().deque;
        match self.pool().injector().steal_batch_and_pop(deque) {
            Steal::Success(cell) => {
                if !deque.is_empty() {
                    self.pool().notify();
                }
                Some(cell)
            }
            Steal::Empty | Steal::Retry => None,
        }
    }

    fn steal_injected_one(&self) -> Option<CellPtr> {
        loop {
            match self.pool().injector().steal() {
                Steal::Success(cell) => return Some(cell),
                Steal::Empty => return None,
                Steal::Retry => spin_loop(),
            }
        }
    }

    /// Looks into the injector and into all deques, from a random victim on.
    pub(super) fn search(&self) -> Option<CellPtr> {
        let seat = self.seat();
        let victims = self.pool().victims();
        loop {
            let mut retry = false;
            match self.pool().injector().steal_batch_and_pop(&seat.deque) {
                Steal::Success(cell) => return Some(cell),
                Steal::Empty => {}
                Steal::Retry => retry = true,
            }
            let first = seat.random_below(victims.len());
            for victim in (first..victims.len()).chain(0..first) {
                if victim == seat.index {
                    continue;
                }
                match self.steal_from(victim) {
                    Steal::Success(cell) => {
                        seat.figures.add_stolen();
                        return Some(cell);
                    }
                    Steal::Empty => {}
                    Steal::Retry => retry = true,
                }
            }
            if let Some(cell) = seat.batch.pop().or_else(|| seat.deque.pop()) {
                return Some(cell);
            }
            if !retry {
                return None;
            }
            crate::sync::thread::yield_now();
        }
    }

    /// Takes a task out of somebody's deques, and brings more along.
    fn steal_from(&self, victim: usize) -> Steal<CellPtr> {
        let (seat, pool) = (self.seat(), self.pool());
        let batch = pool.victims()[victim].batch.steal_batch_and_pop(&seat.batch);
        if let Steal::Success(cell) = &batch {
            // This thread's own was empty, and a victim's is of one job at a time.
            seat.note_batch(cell.job().idle_key());
        }
        if !batch.is_empty() {
            return batch;
        }
        let own = pool.victims()[victim].deque.steal_batch_and_pop(&seat.deque);
        if let Steal::Success(cell) = &own {
            let job = cell.job().idle_key();
            if pool.seats[victim].running_job() == job {
                // Likely its children, all of them: this thread goes on with them as if they were its own.
                seat.note_top(job, u64::MAX);
            }
        }
        own
    }
}
