//! The face of the library for this project's models: the protocols by name, and a pool whose workers are threads of a model.
//! Not part of the published library.

pub use crate::api::scope::tasks::Tasks;
pub use crate::api::stream::{Feed, Pulled as PulledItem, chunks, results};
pub use crate::base::cache::slabs;
pub use crate::base::task::CellPtr;
pub use crate::base::{cache, later, parking, sleep};
pub use crate::job::{control, gate, idle, permits, queue, record};
pub use crate::pool::spares;
pub use crate::task::handle;
pub use crate::task::plain::plain;

use crate::api::builder::JobBuilder;
use crate::api::clock::ManualClock;
use crate::api::job::Job;
use crate::api::keyed::Keyed;
use crate::base::task::Mark;
use crate::job::capacity::Capacity;
use crate::job::extra::Extra;
use crate::pool::core::{Hooks, PoolPtr, Threads};
use crate::worker::blocking::take_back;
use crate::worker::context::Context;
use crate::worker::play;

/// The timer of a pool.
pub mod timer {
    pub use crate::base::timer::{Key, Timer};
}

/// The switch between `std` and the checkers, as the library uses it.
pub mod sync {
    pub use crate::sync::*;
}

/// A pool without threads of its own: a model's threads play its workers.
#[derive(Clone, Copy, Debug)]
pub struct Stage(PoolPtr);

impl Stage {
    /// Makes a pool for `workers` workers.
    pub fn new(workers: usize) -> Self {
        let threads = Threads { stack_size: None, work: crate::worker::run::work };
        let name = Box::new(|_| String::new());
        let hooks = Hooks { name, start: None, stop: None, panic: None };
        Self(PoolPtr::make(workers, hooks, threads, 0, None))
    }

    /// Makes a pool for `workers` workers that uses a manual clock. The clock must not be moved after [`end`](Self::end).
    pub fn with_clock(workers: usize, clock: &ManualClock) -> Self {
        let threads = Threads { stack_size: None, work: crate::worker::run::work };
        let name = Box::new(|_| String::new());
        let hooks = Hooks { name, start: None, stop: None, panic: None };
        let pool = PoolPtr::make(workers, hooks, threads, 0, Some(clock.hands()));
        clock.enter(pool);
        Self(pool)
    }

    /// Makes a job of the pool.
    pub fn job(self, limit: usize) -> Job {
        self.make(None, limit)
    }

    /// Makes a child of `parent`.
    pub fn child(self, parent: &Job, limit: usize) -> Job {
        self.make(Some(parent.ptr()), limit)
    }

    /// Makes a job with a limit and a capacity.
    pub fn bounded(self, limit: usize, capacity: usize) -> Job {
        let job = self.make(None, limit);
        let capacity = Some(crate::sync::Arc::new(Capacity::new(capacity)));
        job.ptr().set_extra(Extra::new(None, capacity));
        job
    }

    /// Makes a keyed job. Its parent has no limit, and the job of each key has the limit `limit`.
    pub fn keyed(self, limit: usize) -> Keyed<u8> {
        self.keyed_by(move |builder| builder.limit(limit))
    }

    /// Makes a keyed job. `make` configures the job of each key.
    pub fn keyed_by(
        self,
        make: impl Fn(JobBuilder) -> JobBuilder + Send + Sync + 'static,
    ) -> Keyed<u8> {
        JobBuilder::new(self.0).keyed(move |_, builder| make(builder))
    }

    /// Returns the jobs that the pool lists.
    pub fn jobs(self) -> Vec<Job> {
        crate::api::listing::jobs(self.0)
    }

    /// Makes a job that `make` configures.
    pub fn built(self, make: impl FnOnce(JobBuilder) -> JobBuilder) -> Job {
        make(JobBuilder::new(self.0)).build()
    }

    fn make(self, parent: Option<record::JobPtr>, limit: usize) -> Job {
        let job = record::JobPtr::make(self.0, parent, control::limit_bits(limit));
        if limit == 0 {
            control::list_if_held(job);
        }
        Job::from_handle(job)
    }

    /// Plays a worker until it finds no task, or has taken `most` tasks. Returns the number of tasks taken.
    pub fn play(self, index: usize, most: usize) -> usize {
        play::play(self.0, index, most)
    }

    /// Plays a worker that has served `last` until another job's turn came, and now serves one task of another job. The worker
    /// must not count as searching.
    pub fn serve_others(self, index: usize, last: &Job) {
        let _ = self.0.shared().sleep.stop_searching();
        play::serve_others(self.0, index, last.ptr());
    }

    /// Plays a worker that has searched in vain: it parks, and serves one task after it was woken.
    pub fn sleep_and_serve(self, index: usize) {
        play::sleep_and_serve(self.0, index);
    }

    /// Pushes a task into the deque of the worker with this index, marked like a woken future or a task from the injector.
    pub fn lay(self, index: usize, job: &Job, task: impl FnOnce() + Send + 'static) {
        let (shared, job) = (self.0.shared(), job.ptr());
        assert!(job.permits.reserve(shared.ready_cap()).granted(), "there is no room for it");
        job.busy.add_tasks(1);
        let cell = plain(job, task);
        cell.set_mark(Mark::Ready);
        shared.seats[index].deque.push(cell);
    }

    /// Pushes a task into the deque of the worker with this index, as a task of the same job does from inside.
    pub fn lay_from_inside(self, index: usize, job: &Job, task: impl FnOnce() + Send + 'static) {
        let (seat, job) = (&self.0.shared().seats[index], job.ptr());
        job.busy.add_tasks(1);
        let cell = plain(job, task);
        cell.set_mark(Mark::Loose);
        seat.deque.push(cell);
    }

    /// Pushes a task into the batch of the worker with this index, as after a turn that has ended early. The limit of the job
    /// must bind no worker.
    pub fn lay_in_batch(self, index: usize, job: &Job, task: impl FnOnce() + Send + 'static) {
        let (seat, job) = (&self.0.shared().seats[index], job.ptr());
        job.busy.add_tasks(1);
        let cell = plain(job, task);
        cell.set_mark(Mark::Loose);
        seat.note_batch(job.idle_key());
        seat.batch.push(cell);
    }

    /// Makes the worker of the running task count the tasks on top of its deque as tasks of `job`. Such a wrong count may
    /// remain after thieves have taken tasks.
    pub fn mislead_worker(job: &Job) {
        Context::with(|context| {
            let seat = context.and_then(Context::seat).expect("a worker calls");
            seat.note_top(job.ptr().idle_key(), 1);
        });
    }

    /// Inside a task: runs `f` without the thread's seat, as if a spare worker had it. A wait in `f` needs no spare worker.
    pub fn without_seat<R>(f: impl FnOnce() -> R) -> R {
        Context::with(|context| {
            let context = context.expect("a worker calls");
            let seat = context.seat().expect("the worker has a seat");
            context.sit(None);
            let out = f();
            context.sit(Some(seat));
            out
        })
    }

    /// Inside a task: waits for the end of the task of `handle`, as a join does. Returns false if the join was refused. The
    /// handle stays: loom runs all threads on one thread of the system, so no thread of a model may touch an atomic while it unwinds.
    pub fn joins<T>(handle: &handle::TaskHandle<T>) -> bool {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| handle.wait_or_run())).is_ok()
    }

    /// Lends a seat to an idle spare. Returns false if none is idle. `spares` must not be able to make one.
    pub fn lend(self, spares: &spares::Spares, seat: usize) -> bool {
        spares.lend(seat, usize::MAX).is_ok()
    }

    /// Counts one task of the job as running on another thread, until [`ends_elsewhere`](Self::ends_elsewhere).
    pub fn runs_elsewhere(self, job: &Job) {
        assert!(job.ptr().permits.acquire().granted(), "there is no permit for it");
        job.ptr().busy.add_tasks(1);
    }

    /// Re-acquires the permits of a task that has waited on another thread (wait-4, wait-5). The task runs until
    /// [`ends_elsewhere`](Self::ends_elsewhere).
    pub fn returns_elsewhere(self, job: &Job) {
        job.ptr().busy.add_tasks(1);
        job.ptr().gates().for_each(|gate| take_back(gate, job.ptr(), || ()));
        gate::look_outwards(job.ptr());
    }

    /// Ends a task that ran on another thread.
    pub fn ends_elsewhere(self, job: &Job) {
        gate::release(job.ptr());
        job.ptr().drop_tasks(1);
    }

    /// Returns true if a task lies in a deque.
    pub fn has_ready(self) -> bool {
        self.0.shared().has_ready()
    }

    /// Fails if a task waits at the job's gate although the gate has room, because no thread would admit it. Call it when no
    /// thread of the model is at work.
    pub fn assert_none_stranded(self, job: &Job) {
        let word = job.ptr().permits.load();
        assert_eq!(word.running(), 0, "a permit was not given back: {word:?}");
        self.assert_none_waits_beside_room(job);
    }

    /// Fails if a task waits in the job's queue although there is room for it. Call it when no thread of the model is at work;
    /// permits may be held. Call it before workers play on, because a task that ends would admit the waiting task.
    pub fn assert_none_waits_beside_room(self, job: &Job) {
        let job = job.ptr();
        let word = job.permits.load();
        // Tasks of a cancelled job may wait, because a sweep drops them.
        let waits = !job.queue().is_empty() && !gate::is_dropped(job);
        assert!(
            !(waits && job.wants_admission(word)),
            "a task waits beside a free permit: {word:?}"
        );
    }

    /// Ends the pool. No job may be left, and no thread may play a worker.
    pub fn end(self) {
        assert_none_waits();
        let workers = self.0.shared().workers() as u64;
        // If the pool still had a job, this would not be the last owner.
        self.0.disown(workers + 1);
    }
}

/// Fails if a thread or a waker is left in the parking lot, or a future in the list of pending futures. Call it when no thread
/// of the model is at work.
pub fn assert_none_waits() {
    assert!(parking::parking_lot().is_empty(), "a waiter is left in the parking lot");
    #[cfg(feature = "futures")]
    assert!(crate::job::pending::pending().is_empty(), "a future is left in flight");
}

/// Returns the time that the clock shows.
pub fn now(clock: &ManualClock) -> sync::time::Instant {
    clock.hands().now()
}

/// Returns the pointer to the job's record.
pub fn record_of(job: &Job) -> record::JobPtr {
    job.ptr()
}
