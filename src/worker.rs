//! The worker's loop: find a task, run it, go on under its permit, hand the permit on.

pub mod context;
pub mod place;
#[cfg(any(tollgate_loom, tollgate_shuttle))]
pub mod play;
pub mod sleep;
pub mod spares;
pub mod waiting;

use crate::job::admission::{self, Start};
use crate::job::backlog::{Consumer, Popped};
use crate::job::permits::Flag;
use crate::job::record::JobPtr;
use crate::pool::shared::{PoolPtr, Shared};
use crate::sync::atomic::Ordering;
use crate::sync::deque::Steal;
use crate::sync::{fault, fence_after_rmw, shrunk, spin_loop};
use crate::task::{CellPtr, Mark, Ran};
use crate::unwind;
use crate::worker::context::Context;
use crate::worker::place::Place;
use crate::worker::sleep::Woken;
use std::any::Any;
use std::cell::Cell;

/// Tasks of one job after which a worker lets another job go first.
const BUDGET: u32 = shrunk(16, 2) as u32;
/// Tasks after which a worker takes the oldest of its own deque instead of the newest, if others' tasks lie there.
const OLDEST_EVERY: u32 = 4 * BUDGET;
/// The same if none are known to: whoever opens the oldest branch of a tree leaves the newest ones lying.
const OWN_OLDEST_EVERY: u32 = 16 * OLDEST_EVERY;
/// Ready tasks of the job that has just had its turn that a worker passes over, looking for another's.
const OWN_PASSED: usize = shrunk(4, 1);
/// Tasks that a worker takes from a backlog at once: what is left of the job's turn, so that none of
/// them lie in the deque when it is another job's.
const BATCH: usize = BUDGET as usize;
/// Looks that a worker takes at the backlog of a job that has run empty, before it gives the permit back.
const LOOKS: usize = shrunk(8, 0);
/// Spins before each of them.
const SPINS: usize = 32;
/// Further looks that the only searching worker takes before it parks, yielding in between.
const LINGER: usize = shrunk(16, 0);

/// The life of the thread with this index: a worker's, or a spare's. It sits in `place` first.
pub fn work(pool: PoolPtr, index: usize, place: usize) {
    let context = Context::new(pool);
    let shared = pool.shared();
    let worker = Worker {
        context: &context,
        // A pool begins with its workers counted as searching; a place is lent by one that runs.
        searching: Cell::new(index < shared.workers()),
        stash: Cell::new(None),
        last: Cell::new(None),
    };
    context.enter(|| {
        call_hook(|| shared.hooks.start.as_ref().map(|hook| hook(index)));
        let mut place = Some(place);
        while let Some(index) = place {
            shared.sleep.sit_down(index);
            context.sit(Some(&shared.places[index]));
            place = match worker.run() {
                Left::Place => shared.spares.wait_for_place(),
                Left::Pool => {
                    shared.spares.close();
                    None
                }
            };
        }
        call_hook(|| shared.hooks.stop.as_ref().map(|hook| hook(index)));
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
    /// A task of another job that came out of the deque while a permit was held.
    stash: Cell<Option<CellPtr>>,
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
    Place,
    /// The pool, which is drained.
    Pool,
}

impl Worker<'_> {
    fn run(&self) -> Left {
        while let Some(cell) = self.find() {
            self.serve(cell);
            if self.context.place().is_none() {
                self.pool().sleep.arrive(|| self.pool().is_busy());
                self.pool().end_stall();
                return Left::Place;
            }
        }
        Left::Pool
    }

    fn pool(&self) -> &Shared {
        self.context.pool()
    }

    fn place(&self) -> &Place {
        self.context.place().expect("a worker that looks for tasks sits in a place")
    }

    /// The next task from anywhere; parks while there is none. `None`: the pool is drained.
    fn find(&self) -> Option<CellPtr> {
        if let Some(cell) = self.stash.take() {
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
            self.place().figures.add_parked();
            let pool = self.pool();
            let (look, busy) = (|| pool.has_ready(), || pool.is_busy());
            match sleep.park(self.place().index, look, busy, || pool.end_stall()) {
                Woken::Search => {}
                Woken::Leave => return None,
            }
        }
    }

    /// The next task from the local queue or the injector, each going first in turn.
    fn find_near(&self) -> Option<CellPtr> {
        let place = self.place();
        let turns = place.turns.get().wrapping_add(1);
        place.turns.set(turns);
        if turns.is_multiple_of(OLDEST_EVERY) {
            // Futures that wake one another here would keep the tasks of their own job, which wait in the
            // injector, from their turn.
            if let Some(cell) = self.steal_injected_one().or_else(|| self.steal_oldest()) {
                return Some(cell);
            }
        }
        if place.others_first.replace(false) {
            let cell = self.take_others();
            if cell.is_some() {
                return cell;
            }
        } else {
            // Next time those who have waited longest go first.
            place.others_first.set(true);
        }
        place.batch.pop().or_else(|| place.deque.pop()).or_else(|| self.steal_injected_batch())
    }

    /// The task that has waited longest, in the injector or else in the thread's own deque; not one of the
    /// job that has just had its turn, if there is another.
    fn take_others(&self) -> Option<CellPtr> {
        let injector = self.pool().injector();
        for _ in 0..OWN_PASSED {
            let Some(cell) = self.steal_injected_one() else { break };
            if Some(cell.job()) != self.last.get() {
                return Some(cell);
            }
            injector.push(cell);
        }
        self.steal_oldest().or_else(|| self.steal_injected_one())
    }

    /// The oldest task of the thread's own deque, from the thieves' end.
    fn steal_oldest(&self) -> Option<CellPtr> {
        match self.pool().victims()[self.place().index].deque.steal() {
            Steal::Success(cell) => Some(cell),
            Steal::Empty | Steal::Retry => None,
        }
    }

    fn steal_injected_batch(&self) -> Option<CellPtr> {
        match self.pool().injector().steal_batch_and_pop(&self.place().deque) {
            Steal::Success(cell) => Some(cell),
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
    fn search(&self) -> Option<CellPtr> {
        let place = self.place();
        let victims = self.pool().victims();
        loop {
            let mut retry = false;
            match self.pool().injector().steal_batch_and_pop(&place.deque) {
                Steal::Success(cell) => return Some(cell),
                Steal::Empty => {}
                Steal::Retry => retry = true,
            }
            let first = place.random_below(victims.len());
            for victim in (first..victims.len()).chain(0..first) {
                if victim == place.index {
                    continue;
                }
                match self.steal_from(victim) {
                    Steal::Success(cell) => {
                        place.figures.add_stolen();
                        return Some(cell);
                    }
                    Steal::Empty => {}
                    Steal::Retry => retry = true,
                }
            }
            if let Some(cell) = place.batch.pop().or_else(|| place.deque.pop()) {
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
        let (place, pool) = (self.place(), self.pool());
        let batch = pool.victims()[victim].batch.steal_batch_and_pop(&place.batch);
        if !matches!(batch, Steal::Empty) {
            return batch;
        }
        let own = pool.victims()[victim].deque.steal_batch_and_pop(&place.deque);
        if let Steal::Success(cell) = &own {
            let job = cell.job().idle_key();
            if pool.places[victim].running_job() == job {
                // Likely its children, all of them: this thread goes on with them as if they were its own.
                place.note_top(job, u64::MAX);
            }
        }
        own
    }

    /// Runs a task from a deque if its gates let it, and goes on with its job's tasks while it may.
    fn serve(&self, cell: CellPtr) {
        let mut epoch = self.pool().epoch();
        if cell.mark() == Mark::Admitted {
            // Its permit is from before: whether others may go on under it is to be looked up.
            epoch = epoch.wrapping_sub(1);
        }
        match admission::start(cell) {
            Start::Gone => return,
            Start::Run => {}
        }
        let job = cell.job();
        let (hold, key) = (self.context.hold(), job.idle_key());
        hold.open(job, epoch, self.place().top_of(key));
        self.last.set(Some(job));
        let mut open = job.is_open(job.permits.load());
        if !open {
            // The start has left the window, and a future, or a task that blocks with leave, may keep its
            // permit for long.
            admission::look_outwards(job);
        }
        let mut next = Some(cell);
        let mut then = Then::GoOn;
        while let Some(cell) = next {
            if open {
                self.cover(job);
            }
            then = self.run_cell(cell, job);
            if then == Then::LeavePermit {
                // The turn ends with this task.
                hold.turn.set(hold.turn.get() + 1);
                break;
            }
            next = self.next_under_permit(job, &mut open);
        }
        if let Some(place) = self.context.place() {
            if hold.left.get() > 0 {
                place.note_top(key, hold.left.get());
            }
            place.figures.add_run(u64::from(hold.turn.get()));
            place.publish(0, 0);
        }
        match then {
            Then::GoOn => hold.close(),
            Then::LeavePermit => hold.detach(),
        }
    }

    fn run_cell(&self, cell: CellPtr, job: JobPtr) -> Then {
        if let Some(place) = self.context.place() {
            place.publish(job.idle_key(), self.context.hold().tokens.get() - 1);
        }
        match cell.run() {
            Ran::Completed => {
                let completed = &self.context.hold().completed;
                completed.set(completed.get() + 1);
            }
            Ran::Counted => {}
            #[cfg(feature = "futures")]
            Ran::Pending => return Then::LeavePermit,
            #[cfg(feature = "futures")]
            Ran::Waits => self.context.hold().give_token(),
            Ran::Cancelled => job.count_cancelled(),
            Ran::Panicked(payload) => {
                // Ordering: Relaxed; ordered by the permit that is given back after it.
                job.tally.panicked.fetch_add(1, Ordering::Relaxed);
                self.report(payload);
                if fault("permit-lost-on-panic") {
                    return Then::LeavePermit;
                }
            }
        }
        Then::GoOn
    }

    #[cold]
    fn report(&self, payload: Box<dyn Any + Send>) {
        if let Some(hook) = &self.pool().hooks.panic {
            call_hook(|| {
                hook(&*payload);
                Some(())
            });
        }
        unwind::drop_quietly(payload);
    }

    /// A further task of the job to run under the permit held, if it is still this job's turn.
    #[inline]
    fn next_under_permit(&self, job: JobPtr, open: &mut bool) -> Option<CellPtr> {
        let hold = self.context.hold();
        let turn = hold.turn.get() + 1;
        hold.turn.set(turn);
        let epoch = self.pool().epoch();
        if epoch != hold.epoch.get() {
            hold.epoch.set(epoch);
            if !may_go_on(job) {
                return None;
            }
            *open = job.is_open(job.permits.load());
        }
        // A thread that has lent its place runs this one task to its end.
        let place = self.context.place()?;
        if turn.is_multiple_of(BUDGET) && self.context.others_wait() {
            place.others_first.set(true);
            return None;
        }
        self.next_at_hand(job, place, *open).or_else(|| self.linger_for(job, place, *open))
    }

    /// Looks for the job's next task in the deque and in the backlog.
    #[inline]
    fn next_at_hand(&self, job: JobPtr, place: &Place, open: bool) -> Option<CellPtr> {
        if open {
            self.next_of_open(job, place)
        } else {
            if let Some(cell) = self.pop_waiting(job) {
                return Some(cell);
            }
            self.run_on_with(place.deque.pop()?, job)
        }
    }

    /// The next task of a job whose limit does not bind: one pushed from inside, one of the batch, a new batch.
    #[inline]
    fn next_of_open(&self, job: JobPtr, place: &Place) -> Option<CellPtr> {
        let hold = self.context.hold();
        let others = place.deque.len() as u64 > hold.left.get();
        let every = if others { OLDEST_EVERY } else { OWN_OLDEST_EVERY };
        if hold.turn.get().is_multiple_of(every)
            && let Some(cell) = self.steal_oldest()
        {
            return self.run_on_with(cell, job);
        }
        if hold.left.get() > 0
            && let Some(cell) = place.deque.pop()
        {
            hold.left.set(hold.left.get() - 1);
            return self.run_on_with(cell, job);
        }
        hold.left.set(0);
        if let Some(cell) = place.batch.pop() {
            return self.run_on_with(cell, job);
        }
        // What lies in the deque is others': they wait for the end of this job's turn.
        self.refill(job, 1).or_else(|| self.run_on_with(place.deque.pop()?, job))
    }

    /// Stays with a job whose backlog has just run empty, for a microsecond or two, while there is nothing
    /// else to do: a pusher at work will have pushed several tasks by then, and all of them run under
    /// the permit held. Looking seldom keeps the pushers' line theirs.
    fn linger_for(&self, job: JobPtr, place: &Place, open: bool) -> Option<CellPtr> {
        let stashed = self.stash.take();
        if stashed.is_some() || !self.pool().has_spare_cores() || job.tokens.load().handles() == 0 {
            self.stash.set(stashed);
            return None;
        }
        for _ in 0..LOOKS {
            (0..SPINS).for_each(|_| spin_loop());
            let changed = self.pool().epoch() != self.context.hold().epoch.get();
            if changed || !self.pool().injector_is_empty() {
                return None;
            }
            if !job.backlog().is_empty() {
                return self.next_at_hand(job, place, open);
            }
        }
        None
    }

    /// Goes on with a task from the deque: under the permit if it is the job's, else after it.
    #[inline]
    fn run_on_with(&self, cell: CellPtr, job: JobPtr) -> Option<CellPtr> {
        let hold = self.context.hold();
        if cell.job() != job || hold.parent.get().is_some() {
            self.stash.set(Some(cell));
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
            Mark::Admitted | Mark::Sweep => {
                self.stash.set(Some(cell));
                return None;
            }
        }
        hold.take_token();
        Some(cell)
    }

    /// The job's next waiting task, for a job whose limit binds: taken alone.
    #[inline]
    fn pop_waiting(&self, job: JobPtr) -> Option<CellPtr> {
        let mut gate = self.context.hold().parent.get();
        while let Some(outer) = gate {
            if !outer.backlog().is_empty() {
                // A sibling's turn.
                return None;
            }
            gate = outer.parent();
        }
        let mut consumer = try_briefly(&job)?;
        let popped = consumer.pop();
        admission::let_go(job, consumer);
        match popped {
            Popped::Task(cell) if cell.job() == job => Some(cell),
            Popped::Task(delegate) => {
                // A child's turn: closing the hold makes room for it, and it is first in line.
                job.backlog().push_returned(delegate);
                None
            }
            Popped::Empty | Popped::HalfDone => None,
        }
    }

    /// Before a task runs: while it does, the job's next tasks must be where others find them.
    #[inline]
    fn cover(&self, job: JobPtr) {
        if self.context.hold().left.get() > 0 || !self.place().batch.is_empty() {
            return;
        }
        let backlog = job.backlog();
        if !backlog.has_head() && backlog.is_empty() && !job.permits.load().has(Flag::Covered) {
            return;
        }
        let hold = self.context.hold();
        let none = self.refill(job, 0);
        debug_assert!(none.is_none(), "no task was to be kept");
        if self.place().batch.is_empty() {
            // Pushers have relied on a look like this one.
            hold.covered.set(false);
            job.permits.clear(Flag::Covered);
            fence_after_rmw();
            admission::look(job);
        }
    }

    /// Takes a batch from the backlog to where it can be stolen; the first `kept`
    /// (none or one) is returned.
    fn refill(&self, job: JobPtr, kept: usize) -> Option<CellPtr> {
        let mut consumer = job.backlog().try_consume()?;
        let mut batch = [const { None }; BATCH];
        let mut count = 0;
        let turn = self.context.hold().turn.get();
        let most = (BUDGET - turn % BUDGET) as usize;
        while count < most {
            let Popped::Task(cell) = consumer.pop() else {
                break;
            };
            if cell.job() != job {
                // A delegate of the job's first child, which has come just now.
                job.backlog().push_returned(cell);
                break;
            }
            batch[count] = Some(cell);
            count += 1;
        }
        let first = if kept > 0 { batch[0] } else { None };
        let rest = &batch[kept.min(count)..count];
        if !rest.is_empty() {
            let place = self.place();
            let hold = self.context.hold();
            hold.spend_tokens(job, rest.len() as u64, 0);
            for cell in rest.iter().flatten() {
                cell.set_mark(Mark::Loose);
                place.batch.push(*cell);
            }
            if !hold.covered.replace(true) && !job.permits.load().has(Flag::Covered) {
                job.permits.set(Flag::Covered);
            }
            admission::let_go(job, consumer);
            self.pool().notify();
        } else {
            admission::let_go(job, consumer);
        }
        first
    }
}

/// Tries for the consumer right a few times: whoever has it keeps it for a few instructions.
#[inline]
fn try_briefly(job: &JobPtr) -> Option<Consumer<'_>> {
    const TRIES: usize = shrunk(32, 1);
    let backlog = job.backlog();
    (0..TRIES).find_map(|_| {
        let consumer = backlog.try_consume_quietly();
        if consumer.is_none() {
            spin_loop();
        }
        consumer
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
