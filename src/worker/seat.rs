//! A worker's place: its deques and what it knows of its own work.
//!
//! There are as many places as workers. The thread that sits in a place is its only user; a
//! thread that has to wait inside a task hands its place to a spare one.

use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::deque::{Stealer, Worker};
use crate::task::CellPtr;
use std::cell::Cell;

/// One worker's place.
pub struct Seat {
    /// Which place.
    pub index: usize,
    /// The local queue: tasks pushed from inside, woken futures, what came from the injector. Last in, first out.
    pub deque: Worker<CellPtr>,
    /// What was taken from a backlog for the turn that goes on here. First in, first out.
    pub batch: Worker<CellPtr>,
    /// The job, by its record's address, that all of the batch is of.
    batch_of: Cell<usize>,
    /// A job, by its record's address, and how many tasks at the top of `deque` are known to be its. Only compared.
    pub top: Cell<(usize, u64)>,
    /// How often the thread has looked for a job to serve here; wraps.
    pub turns: Cell<u32>,
    rng: Cell<u32>,
    /// Look for those who have waited longest, in the injector and at the deque's other end, before the
    /// newest task of the deque.
    pub others_first: Cell<bool>,
    /// The job that runs here, by its record's address; 0 if none does. For figures, and for a guess of thieves.
    job: AtomicUsize,
    /// Tokens of that job that the thread holds beyond those of tasks. For figures.
    spare: AtomicU64,
    /// Futures that became in flight here less those that ended here; wraps.
    flights: AtomicU64,
    /// Figures for people.
    pub figures: Figures,
}

/// The thieves' ends of a place's deques.
pub struct Victim {
    /// Of the local queue.
    pub deque: Stealer<CellPtr>,
    /// Of the batch.
    pub batch: Stealer<CellPtr>,
}

impl Victim {
    /// Whether there looks to be nothing to steal.
    pub fn is_empty(&self) -> bool {
        self.deque.is_empty() && self.batch.is_empty()
    }
}

/// What a worker has done so far. Written by it alone.
#[derive(Debug, Default)]
pub struct Figures {
    run: AtomicU64,
    stolen: AtomicU64,
    parked: AtomicU64,
}

// SAFETY: the deques' own ends and the `Cell`s are used only by the thread that sits in the place, which is one at a
// time: threads hand places over under a lock. The rest is atomics.
unsafe impl Sync for Seat {}
// SAFETY: as above; what it holds is Send.
unsafe impl Send for Seat {}

impl Seat {
    /// An empty place.
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
            figures: Figures::default(),
        }
    }

    /// Publishes the job that runs here, by its record's address, and how many tokens of it are no task's.
    #[inline]
    pub fn publish(&self, job: usize, spare: u64) {
        // Ordering: Relaxed all; figures, which are exact while the worker does not move.
        if self.job.load(Ordering::Relaxed) != job {
            self.job.store(job, Ordering::Relaxed);
        }
        self.spare.store(spare, Ordering::Relaxed);
    }

    /// Returns how many tokens of the job with this address are no task's here.
    pub fn spare_tokens(&self, job: usize) -> u64 {
        if self.running_job() == job {
            // Ordering: Relaxed; a figure.
            self.spare.load(Ordering::Relaxed)
        } else {
            0
        }
    }

    /// Returns the job that runs here, by its record's address; 0 if none does.
    pub fn running_job(&self) -> usize {
        // Ordering: Relaxed; a guess.
        self.job.load(Ordering::Relaxed)
    }

    /// Changes the count of futures in flight.
    #[cfg(feature = "futures")]
    pub fn add_flights(&self, change: u64) {
        // Ordering: Relaxed; one writer, and the drain reads it when all places are parked.
        let flights = self.flights.load(Ordering::Relaxed);
        self.flights.store(flights.wrapping_add(change), Ordering::Relaxed);
    }

    /// Returns the count of futures in flight.
    pub fn flights(&self) -> u64 {
        // Ordering: Relaxed; one writer, and the drain reads it when all places are parked.
        self.flights.load(Ordering::Relaxed)
    }

    /// The thieves' ends of the deques.
    pub fn victim(&self) -> Victim {
        Victim { deque: self.deque.stealer(), batch: self.batch.stealer() }
    }

    /// All of the batch is of this job: it was stolen just now.
    pub fn note_batch(&self, job: usize) {
        self.batch_of.set(job);
    }

    /// From now on the batch is this job's. What is left of another's goes to the local queue, each task out of everybody's
    /// sight for a moment; whether there was any.
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

    /// Notes that the tasks at the top of the deque are of this job: `count` of them, or as many as there are.
    #[inline]
    pub fn note_top(&self, job: usize, count: u64) {
        self.top.set((job, count));
    }

    /// How many tasks at the top of the deque are known to be of this job.
    #[inline]
    pub fn top_of(&self, job: usize) -> u64 {
        let (top, count) = self.top.get();
        if top == job { count.min(self.deque.len() as u64) } else { 0 }
    }

    /// A number below `bound`, to choose victims by.
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
        f.debug_struct("Place").field("index", &self.index).finish_non_exhaustive()
    }
}

impl Figures {
    fn add(counter: &AtomicU64, count: u64) {
        // Ordering: Relaxed; a figure with one writer.
        counter.store(counter.load(Ordering::Relaxed) + count, Ordering::Relaxed);
    }

    /// Adds tasks that were run.
    pub fn add_run(&self, count: u64) {
        Self::add(&self.run, count);
    }

    /// Adds a task that was stolen.
    pub fn add_stolen(&self) {
        Self::add(&self.stolen, 1);
    }

    /// Adds a time that the worker parked.
    pub fn add_parked(&self) {
        Self::add(&self.parked, 1);
    }

    /// Tasks run, tasks stolen, times parked.
    pub fn read(&self) -> (u64, u64, u64) {
        // Ordering: Relaxed; figures.
        (
            self.run.load(Ordering::Relaxed),
            self.stolen.load(Ordering::Relaxed),
            self.parked.load(Ordering::Relaxed),
        )
    }
}
