//! A worker's seat: its deques, and the state of its own work.
//!
//! A pool has as many seats as workers. A seat has one owner at a time: the thread that uses it. A thread that waits inside a
//! task lends its seat to a spare worker.

use crate::base::classes::ClassTurns;
use crate::base::task::CellPtr;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::deque::{Stealer, Worker};
use crate::sync::shrunk;
use std::cell::Cell;

/// The number of tasks at which a worker's deque counts as full. If the deque is full, a push from inside a task puts the new
/// task into the job's queue, and not into the deque.
pub const LOCAL_MOST: usize = shrunk(256, 4);

/// The seat of one worker: its deques, and the state of its own work.
pub struct Seat {
    /// The index of the seat in the pool.
    pub index: usize,
    /// The worker's deque: tasks pushed from inside a task, woken futures, and tasks from the injector. The seat's owner pops
    /// the task that was pushed last.
    pub deque: Worker<CellPtr>,
    /// The batch: tasks that the seat's owner moved from a job's queue for the present turn. The owner pops the task that was
    /// moved first.
    pub batch: Worker<CellPtr>,
    /// The address of the job to which all tasks of the batch belong.
    batch_of: Cell<usize>,
    /// The address of a job, and how many tasks at the top of `deque`, where the owner pops, belong to that job. The code only
    /// compares the address.
    pub top: Cell<(usize, u64)>,
    /// How often the seat's owner has searched its own deques and the injector for a task of the class `Normal`, modulo 2³².
    pub turns: Cell<u32>,
    /// The state of the random number generator that chooses the seats to steal from.
    rng: Cell<u32>,
    /// True if the seat's owner must next take a task that has waited long: a task from the injector, or the oldest task of
    /// the deque.
    pub others_first: Cell<bool>,
    /// The address of the job whose task the seat's owner runs, or 0. Read for statistics, and by thieves as a hint.
    job: AtomicUsize,
    /// How many busy counts of the job at `job` the seat's owner has added in advance, for tasks that it has not taken yet. Read
    /// for statistics.
    spare: AtomicU64,
    /// The number of futures that became pending on this seat, less the number of pending futures that ended on this seat. A
    /// difference below 0 wraps.
    flights: AtomicU64,
    /// The counts by which the seat's owner chooses a class. Used only in a pool with classes.
    pub classes: ClassTurns,
    /// The worker's statistics.
    pub figures: Figures,
}

/// The stealers of a seat's two deques. Thieves take tasks through them.
pub struct Victim {
    /// The stealer of the worker's deque.
    pub deque: Stealer<CellPtr>,
    /// The stealer of the batch.
    pub batch: Stealer<CellPtr>,
}

impl Victim {
    /// Returns true if the deque and the batch seem to be empty, so that there is nothing to steal.
    pub fn is_empty(&self) -> bool {
        self.deque.is_empty() && self.batch.is_empty()
    }
}

/// The statistics of one worker. Only the owner of its seat writes them.
#[derive(Debug, Default)]
pub struct Figures {
    run: AtomicU64,
    stolen: AtomicU64,
    parked: AtomicU64,
}

// SAFETY: only the seat's owner uses the deques' own ends and the `Cell`s, and gets the seat under a lock. The rest is atomic.
unsafe impl Sync for Seat {}
// SAFETY: a seat gets a new owner under a lock, and all fields are Send.
unsafe impl Send for Seat {}

impl Seat {
    /// Makes a seat with empty deques.
    pub fn new(index: usize) -> Self {
        Self {
            index,
            deque: Worker::new_lifo(),
            batch: Worker::new_fifo(),
            batch_of: Cell::new(0),
            top: Cell::new((0, 0)),
            turns: Cell::new(0),
            rng: Cell::new((index as u32).wrapping_mul(0x9E37_79B9) | 1),
            others_first: Cell::new(false),
            job: AtomicUsize::new(0),
            spare: AtomicU64::new(0),
            flights: AtomicU64::new(0),
            classes: ClassTurns::default(),
            figures: Figures::default(),
        }
    }

    /// Publishes the address of the job that runs on this seat, and the number of spare busy counts of that job, which belong
    /// to no task.
    #[inline]
    pub fn publish(&self, job: usize, spare: u64) {
        // Ordering: Relaxed all; figures, which are exact while the worker starts and ends no task.
        if self.job.load(Ordering::Relaxed) != job {
            self.job.store(job, Ordering::Relaxed);
        }
        self.spare.store(spare, Ordering::Relaxed);
    }

    /// Returns the number of busy counts of the job with the address `job` that the seat's owner has and that belong to no
    /// task. Returns 0 if another job runs on this seat.
    pub fn spare_busy_counts(&self, job: usize) -> u64 {
        if self.running_job() == job {
            // Ordering: Relaxed; the number is only a figure for statistics.
            self.spare.load(Ordering::Relaxed)
        } else {
            0
        }
    }

    /// Returns the address of the job that runs on this seat, or 0.
    pub fn running_job(&self) -> usize {
        // Ordering: Relaxed; the address is only a hint.
        self.job.load(Ordering::Relaxed)
    }

    /// Adds `change` to the seat's count of pending futures. The addition wraps: to subtract n, pass `n.wrapping_neg()`.
    pub fn add_flights(&self, change: u64) {
        // Ordering: Relaxed; one writer, and the drain reads it when all workers are parked.
        let flights = self.flights.load(Ordering::Relaxed);
        self.flights.store(flights.wrapping_add(change), Ordering::Relaxed);
    }

    /// Returns the seat's count of pending futures.
    pub fn flights(&self) -> u64 {
        // Ordering: Relaxed; one writer, and the drain reads it when all workers are parked.
        self.flights.load(Ordering::Relaxed)
    }

    /// Returns the stealers of the seat's two deques, for thieves.
    pub fn victim(&self) -> Victim {
        Victim { deque: self.deque.stealer(), batch: self.batch.stealer() }
    }

    /// Notes that all tasks of the batch belong to the job with the address `job`.
    pub fn note_batch(&self, job: usize) {
        self.batch_of.set(job);
    }

    /// Prepares the batch for tasks of the job with the address `job`. If the batch has tasks of another job, moves these
    /// tasks to the deque. Returns true if a task was moved.
    ///
    /// If this call returns true, the caller must notify a worker. During the move a task is in neither the batch nor the deque.
    /// So a worker that searched meanwhile might have missed the task, and parked.
    #[inline]
    #[must_use]
    pub fn begin_batch(&self, job: usize) -> bool {
        self.batch_of.replace(job) != job && self.move_batch()
    }

    fn move_batch(&self) -> bool {
        let mut moved = false;
        while let Some(cell) = self.batch.pop() {
            self.deque.push(cell);
            moved = true;
        }
        moved
    }

    /// Notes that `count` tasks at the top of the deque belong to the job with the address `job`. If the deque has fewer tasks,
    /// all its tasks belong to that job.
    #[inline]
    pub fn note_top(&self, job: usize, count: u64) {
        self.top.set((job, count));
    }

    /// Returns how many tasks at the top of the deque belong to the job with the address `job`. The number comes from the last
    /// call of [`note_top`](Self::note_top).
    #[inline]
    pub fn top_of(&self, job: usize) -> u64 {
        let (top, count) = self.top.get();
        if top == job { count.min(self.deque.len() as u64) } else { 0 }
    }

    /// Returns a random number below `bound`, by which the seat's owner chooses the seat to steal from.
    pub fn random_below(&self, bound: usize) -> usize {
        let mut x = self.rng.get();
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.rng.set(x);
        ((u64::from(x) * bound as u64) >> 32) as usize
    }
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat").field("index", &self.index).finish_non_exhaustive()
    }
}

impl Figures {
    fn add(counter: &AtomicU64, count: u64) {
        // Ordering: Relaxed; a figure with one writer.
        counter.store(counter.load(Ordering::Relaxed) + count, Ordering::Relaxed);
    }

    /// Adds `count` to the number of tasks that this worker has run.
    pub fn add_run(&self, count: u64) {
        Self::add(&self.run, count);
    }

    /// Adds one to the number of tasks that this worker has stolen.
    pub fn add_stolen(&self) {
        Self::add(&self.stolen, 1);
    }

    /// Adds one to the number of times that this worker has parked.
    pub fn add_parked(&self) {
        Self::add(&self.parked, 1);
    }

    /// Returns this worker's numbers of tasks run, of tasks stolen, and of times parked.
    pub fn read(&self) -> (u64, u64, u64) {
        // Ordering: Relaxed; the numbers are only figures for statistics.
        (
            self.run.load(Ordering::Relaxed),
            self.stolen.load(Ordering::Relaxed),
            self.parked.load(Ordering::Relaxed),
        )
    }
}
