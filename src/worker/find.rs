//! The search for a task. A worker looks in its own deques, in the injector, and in the deques of other workers. A worker that
//! finds no task parks.

use crate::base::cache;
use crate::base::sleep::Woken;
use crate::base::task::{CellPtr, Mark};
use crate::job::events;
use crate::sync::deque::{Injector, Steal};
use crate::sync::{shrunk, spin_loop};
use crate::worker::core::Worker;
use crate::worker::turn::OLDEST_EVERY;

mod classes;

/// The greatest number of tasks of one job that a worker puts back into the injector to find a task of another job.
const OWN_PASSED: usize = shrunk(4, 1);
/// The number of times that the only searching worker searches again before it parks. The worker yields before each further
/// search.
const LINGER: usize = shrunk(16, 0);

impl Worker<'_> {
    /// Returns the next task from any deque or injector. Parks while there is none. Returns `None` if the pool's drain is over,
    /// so that the worker must end.
    pub(super) fn find(&self) -> Option<CellPtr> {
        if let Some(cell) = self.context.next_task.take() {
            if !self.pool().has_classes() {
                return Some(cell);
            }
            // A task of a higher class might be ready. So this task goes back into the deque, and the search below
            // chooses among the classes.
            self.seat().deque.push(cell);
            self.pool().notify();
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
                // One worker stays awake for a moment, because a pusher needs more time to wake a worker than to push.
                lingered += 1;
                crate::sync::thread::yield_now();
                continue;
            }
            lingered = 0;
            self.seat().figures.add_parked();
            cache::tidy();
            let pool = self.pool();
            let (look, busy) = (|| pool.has_ready(), || pool.is_busy());
            events::parked(pool);
            let woken = sleep.park(self.seat().index, look, busy);
            events::woken(pool);
            match woken {
                Woken::Search => {}
                Woken::Leave => return None,
            }
        }
    }

    /// Returns the next task from the worker's own deques or the injector. At every second call the tasks that have waited
    /// longest go first.
    fn find_near_of_normal(&self) -> Option<CellPtr> {
        let seat = self.seat();
        let turns = seat.turns.get().wrapping_add(1);
        seat.turns.set(turns);
        if turns.is_multiple_of(OLDEST_EVERY) {
            // At one call in `OLDEST_EVERY`, the worker looks for the oldest task first. Otherwise futures that wake
            // one another on this worker could delay older tasks for ever.
            let waiting =
                self.take_injected_of_others().or_else(|| steal_one(self.pool().injector()));
            let cell = waiting.or_else(|| self.steal_oldest());
            if cell.is_some() {
                return cell;
            }
        }
        if seat.others_first.replace(false) {
            let waiting = self.take_injected_of_others().or_else(|| self.steal_oldest());
            let cell = waiting.or_else(|| steal_one(self.pool().injector()));
            if cell.is_some() {
                return cell;
            }
        } else {
            // At the next call, this worker first looks for the tasks that have waited longest.
            seat.others_first.set(true);
        }
        seat.batch.pop().or_else(|| seat.deque.pop()).or_else(|| self.steal_injected_batch())
    }

    /// Takes the oldest of the tasks that are in the injector, or that this worker has moved from the injector to its deque.
    /// Passes over a few tasks of the job whose turn has just ended, and puts these tasks back into the injector.
    fn take_injected_of_others(&self) -> Option<CellPtr> {
        let (mut found, mut passed) = (None, false);
        for _ in 0..OWN_PASSED {
            let next = self.pop_injected().or_else(|| steal_one(self.pool().injector()));
            let Some(cell) = next else { break };
            if Some(cell.job()) != self.last.get() {
                found = Some(cell);
                break;
            }
            self.pool().injector().push(cell);
            passed = true;
        }
        if passed {
            // While these tasks were out of the injector, a searching worker could not find them, and might have parked.
            self.pool().notify();
        }
        found
    }

    /// Pops the next task of the worker's deque if that task came from the injector: then its mark is `Ready`. Tasks pushed
    /// from inside a task, and woken futures, have other marks.
    ///
    /// A task that has come from the injector into the deque has waited longer than each task that is still in the injector. A
    /// worker that moves tasks from the injector to its deque pops the oldest of them first.
    fn pop_injected(&self) -> Option<CellPtr> {
        let deque = &self.seat().deque;
        let cell = deque.pop()?;
        if cell.mark() == Mark::Ready {
            return Some(cell);
        }
        deque.push(cell);
        // While the task was out of the deque, a searching worker could not find the task, and might have parked.
        self.pool().notify();
        None
    }

    /// Steals the oldest task from the worker's own deque.
    pub(super) fn steal_oldest(&self) -> Option<CellPtr> {
        match self.pool().victims()[self.seat().index].deque.steal() {
            Steal::Success(cell) => Some(cell),
            Steal::Empty | Steal::Retry => None,
        }
    }

    /// Moves a batch of tasks from the injector to the worker's deque, and returns the first of them. Call this only in a
    /// worker that does not count as searching.
    ///
    /// While the tasks move, they are neither in the injector nor in the deque. A worker that makes its final check before it
    /// parks (`sleep-3`) then misses the tasks. So this worker notifies afterwards.
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

    /// Searches the injector, then the deques of the other workers, and then the worker's own deques. Of the other workers, a
    /// random one is searched first.
    fn search_normal(&self) -> Option<CellPtr> {
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

    /// Steals a task from the deques of the seat with the index `victim`, and moves further tasks from there to this worker's
    /// deques.
    fn steal_from(&self, victim: usize) -> Steal<CellPtr> {
        let (seat, pool) = (self.seat(), self.pool());
        let batch = pool.victims()[victim].batch.steal_batch_and_pop(&seat.batch);
        if let Steal::Success(cell) = &batch {
            // This worker's batch was empty, and all tasks of a victim's batch belong to one job. So all tasks of this worker's
            // batch now belong to that job.
            seat.note_batch(cell.job().idle_key());
        }
        if !batch.is_empty() {
            return batch;
        }
        let own = pool.victims()[victim].deque.steal_batch_and_pop(&seat.deque);
        if let Steal::Success(cell) = &own {
            let job = cell.job().idle_key();
            if pool.seats[victim].running_job() == job {
                // The victim runs a task of `job`, which has probably pushed all the stolen tasks. So this worker
                // notes that all tasks of its own deque belong to `job`, as if its own task had pushed them.
                seat.note_top(job, u64::MAX);
            }
        }
        own
    }
}

/// Steals the oldest task of the injector. Returns `None` if the injector is empty.
#[inline]
fn steal_one(injector: &Injector<CellPtr>) -> Option<CellPtr> {
    loop {
        match injector.steal() {
            Steal::Success(cell) => return Some(cell),
            Steal::Empty => return None,
            Steal::Retry => spin_loop(),
        }
    }
}
