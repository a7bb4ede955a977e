//! `PoolBuilder`: configures the workers of a pool, and starts them.

use crate::api::clock::ManualClock;
use crate::api::pool::Pool;
use crate::base::sleep::MOST_SPARES;
use crate::error::BuildError;
use crate::pool::core::{Hooks, PoolPtr, Threads};
use crate::sync::Mutex;
use crate::sync::atomic::AtomicBool;
use crate::worker::run;
use crate::worker::spares::{may_be_a_name, usual_name};
use std::any::Any;
use std::fmt;

/// The greatest number of workers of a pool. Each count of workers in the packed word of [`Sleep`](crate::base::sleep::Sleep) has
/// room for this number.
const MOST_WORKERS: usize = (1 << 15) - 1;

/// The smallest stack of a worker in bytes.
const LEAST_STACK: usize = 64 << 10;

/// Configures and starts a pool. Returned by [`Pool::builder`].
///
/// The closures that are given to this builder are dropped when the pool's last thread has ended, even if [`Job`](crate::Job)
/// handles remain.
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder()
///     .workers(2)
///     .thread_name(|i| format!("http-{i}"))
///     .build()?;
/// let name = pool.job(1).spawn(|| std::thread::current().name().map(str::to_owned));
/// assert!(name.join().unwrap().unwrap().starts_with("http-"));
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[must_use = "a builder starts no pool until `build` is called"]
pub struct PoolBuilder {
    workers: Option<usize>,
    stack_size: Option<usize>,
    hooks: Hooks,
    max_spare_workers: usize,
    clock: Option<ManualClock>,
}

impl PoolBuilder {
    pub(crate) fn new() -> Self {
        Self {
            workers: None,
            stack_size: None,
            hooks: Hooks { name: Box::new(usual_name), start: None, stop: None, panic: None },
            max_spare_workers: MOST_SPARES,
            clock: None,
        }
    }

    /// Sets the number of workers, which are the threads that run tasks. The number must be from 1 to 32,767.
    ///
    /// Without this call the pool has one worker for each available core. This default suits tasks that compute. If tasks block
    /// on sockets, disks or locks, set as many workers as tasks block at once.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(3).build()?;
    /// assert_eq!(pool.workers(), 3);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Names the pool's threads. `name` receives the index of a thread, and returns the thread's name. Without this call the
    /// names are `tollgate-0` and so on.
    ///
    /// Workers have the indices from 0 on. [Spare workers](Self::max_spare_workers) have greater indices. If `name` panics for
    /// a spare worker, or returns a name with a nul byte, the spare worker is named `tollgate-` and its index.
    ///
    /// # Panics
    ///
    /// If `name` panics for a worker, [`build`](Self::build) panics. The method `thread_name` itself does not panic.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).thread_name(|i| format!("http-{i}")).build()?;
    /// let name = pool.job(1).spawn(|| std::thread::current().name().map(str::to_owned));
    /// assert_eq!(name.join().unwrap().as_deref(), Some("http-0"));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn thread_name(mut self, name: impl Fn(usize) -> String + Send + Sync + 'static) -> Self {
        self.hooks.name = Box::new(name);
        self
    }

    /// Sets the size of each thread's stack in bytes. Without this call the size is the platform's default.
    ///
    /// A size below 64 KiB is raised to 64 KiB, because the pool and the report of a panic need that much. A task that overflows
    /// its stack aborts the process, as on any thread. A joined task can run inline on the stack of the joining task. In this way
    /// up to 32 tasks can run inside one another.
    ///
    /// # Examples
    ///
    /// ```
    /// fn deep(levels: usize) -> u64 {
    ///     let level = std::hint::black_box([levels as u64; 1024]); // 8 KiB a level
    ///     if levels == 0 { 0 } else { deep(levels - 1) + u64::from(level[7] > 0) }
    /// }
    ///
    /// let pool = tollgate::Pool::builder().workers(1).stack_size(32 << 20).build()?;
    /// assert_eq!(pool.job(1).spawn(|| deep(1_000)).join().unwrap(), 1_000);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes.max(LEAST_STACK));
        self
    }

    /// Sets a hook that each thread of the pool calls once, before the thread's first task. The hook receives the thread's
    /// index.
    ///
    /// Each [spare worker](Self::max_spare_workers) calls the start hook, too, with an index above those of the workers. If the
    /// hook panics, the thread ignores the panic and runs tasks. The hook must not wait for a task or a job of any pool: such a
    /// wait panics.
    ///
    /// # Examples
    ///
    /// The hook can set up a thread-local for all tasks. In this example each thread enters a runtime, so that tasks find the
    /// runtime:
    ///
    /// ```
    /// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    /// let handle = runtime.handle().clone();
    /// let pool = tollgate::Pool::builder()
    ///     .on_worker_start(move |_| std::mem::forget(handle.clone().enter()))
    ///     .build()?;
    /// let found = pool.job(1).spawn(|| tokio::runtime::Handle::try_current().is_ok());
    /// assert!(found.join().unwrap());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_worker_start(mut self, hook: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.hooks.start = Some(Box::new(hook));
        self
    }

    /// Sets a hook that each thread of the pool calls once, after the thread's last task. The hook receives the thread's index.
    ///
    /// A spare worker calls the stop hook when it ends, which can be long before the pool ends. If the hook panics, the thread
    /// ignores the panic and ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// let ended = Arc::new(AtomicUsize::new(0));
    /// let count = ended.clone();
    /// let pool = tollgate::Pool::builder()
    ///     .workers(2)
    ///     .on_worker_stop(move |_| _ = count.fetch_add(1, Ordering::Relaxed))
    ///     .build()?;
    /// pool.shutdown();
    /// assert_eq!(ended.load(Ordering::Relaxed), 2);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn on_worker_stop(mut self, hook: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.hooks.stop = Some(Box::new(hook));
        self
    }

    /// Sets a hook that a worker calls when a task that was pushed by [`execute`](crate::Job::execute) panics. The hook
    /// receives the payload of the panic, because such a task has no handle that returns the payload.
    ///
    /// If this hook itself panics, the worker ignores that panic and runs the next task.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// let seen = Arc::new(AtomicUsize::new(0));
    /// let count = seen.clone();
    /// let pool = tollgate::Pool::builder()
    ///     .on_panic(move |_| {
    ///         count.fetch_add(1, Ordering::Relaxed);
    ///     })
    ///     .build()?;
    /// pool.job(1).execute(|| panic!("told to the hook"));
    /// pool.shutdown();
    /// assert_eq!(seen.load(Ordering::Relaxed), 1);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn on_panic(mut self, hook: impl Fn(&(dyn Any + Send)) + Send + Sync + 'static) -> Self {
        self.hooks.panic = Some(Box::new(hook));
        self
    }

    /// Sets the greatest number of *spare workers* at once. A spare worker is a thread that replaces a worker whose task waits.
    /// The number must be from 0 to 16,383.
    ///
    /// Without this call a pool has up to 16,383 spare workers. If a task waits in `join`, `wait` or `scope` and no spare
    /// worker is idle, the pool starts one. 1,000 tasks that wait at once need 1,000 spare workers. Each spare worker takes
    /// some 20 KiB of memory, and address space for its stack. A spare worker ends after five idle seconds.
    ///
    /// If no further spare worker can be started, a task can still wait, but its worker is not replaced until another thread of
    /// the pool is free. Only the pool's last thread must not wait: a wait panics if all other threads of the pool wait inside
    /// tasks. A thread counts as waiting until its task has its permits back. A thread inside [`blocking`](crate::blocking)
    /// counts as waiting if a spare worker replaces it. A thread that blocks in another way does not count as waiting.
    ///
    /// In two cases the pool starts one spare worker above the greatest number, so that a wait does not panic. One case is the
    /// end of a [`scope`](crate::Job::scope), which must wait for its tasks. In the other case a task has run a task of another
    /// job inline, and must wait to re-acquire its own permit.
    ///
    /// For a task that calls `blocking`, the pool starts a spare worker only while there are fewer than 256 spare workers. With
    /// 256 or more, the call blocks its worker.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).max_spare_workers(1).build()?;
    /// let (outer, inner) = (pool.job(1), pool.job(1));
    /// let waits = outer.spawn(move || {
    ///     inner.execute(|| ());
    ///     inner.wait() // needs one
    /// });
    /// waits.join().unwrap();
    /// assert_eq!(pool.stats().spare_workers, 1);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn max_spare_workers(mut self, most: usize) -> Self {
        self.max_spare_workers = most;
        self
    }

    /// Sets a clock that a test moves. The delays, hold-offs, rates and deadlines of the pool's jobs then count by this clock.
    ///
    /// Without this call the pool uses the real time. With a `ManualClock` the time passes only when the test moves the
    /// clock.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let clock = tollgate::ManualClock::new();
    /// let pool = tollgate::Pool::builder().workers(1).clock(&clock).build()?;
    /// let job = pool.job(1);
    /// job.hold_off(Duration::from_secs(60));
    /// assert_eq!(job.held_until(), Some(clock.now() + Duration::from_secs(60)));
    /// clock.advance(Duration::from_secs(60));
    /// assert_eq!(job.held_until(), None);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn clock(mut self, clock: &ManualClock) -> Self {
        self.clock = Some(clock.clone());
        self
    }

    /// Starts the workers and returns the pool.
    ///
    /// # Errors
    ///
    /// - [`BuildError::NoWorkers`]: the number of workers is 0.
    /// - [`BuildError::TooManyWorkers`]: the number of workers is more than 32,767.
    /// - [`BuildError::TooManySpareWorkers`]: the number of spare workers is more than 16,383.
    /// - [`BuildError::ThreadName`]: the name of a worker contains a nul byte.
    /// - [`BuildError::Spawn`]: the platform could not start a thread. The threads that were started before are ended.
    ///
    /// # Panics
    ///
    /// Panics if the closure given to [`thread_name`](Self::thread_name) panics. No thread is started in that case.
    ///
    /// # Examples
    ///
    /// ```
    /// use tollgate::{BuildError, Pool};
    ///
    /// assert_eq!(Pool::builder().workers(2).build()?.workers(), 2);
    /// let error = Pool::builder().workers(1_000_000).build().unwrap_err();
    /// assert!(matches!(error, BuildError::TooManyWorkers { most: 32_767, .. }));
    /// # Ok::<(), BuildError>(())
    /// ```
    #[track_caller]
    pub fn build(self) -> Result<Pool, BuildError> {
        let workers = self.workers.unwrap_or_else(available_cores);
        if workers == 0 {
            return Err(BuildError::NoWorkers);
        }
        if workers > MOST_WORKERS {
            return Err(BuildError::TooManyWorkers { asked: workers, most: MOST_WORKERS });
        }
        let spares = self.max_spare_workers;
        if spares > MOST_SPARES {
            return Err(BuildError::TooManySpareWorkers { asked: spares, most: MOST_SPARES });
        }
        // All names are made before the first thread is started. So if the closure that makes the names panics, there is no
        // thread to end.
        let names: Vec<String> = (0..workers).map(&self.hooks.name).collect();
        if let Some(index) = names.iter().position(|name| !may_be_a_name(name)) {
            return Err(BuildError::ThreadName { index, name: names[index].clone() });
        }
        let how = Threads { stack_size: self.stack_size, work: run::work };
        let shared = PoolPtr::make(
            workers,
            self.hooks,
            how,
            spares,
            self.clock.as_ref().map(ManualClock::hands),
        );
        if let Some(clock) = &self.clock {
            clock.enter(shared);
        }
        let mut threads = Vec::with_capacity(workers);
        for (index, name) in names.into_iter().enumerate() {
            let builder = shared.shared().threads.builder_named(name);
            match builder.spawn(move || run::work(shared, index, index)) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    // Subtracts the workers that were not started from the pool's number of workers. Otherwise the drop of the
                    // pool would wait for them.
                    shared.shared().give_up_workers(workers - index);
                    shared.disown((workers - index) as u64);
                    drop(Pool {
                        shared,
                        threads: Mutex::new(threads),
                        abandoned: AtomicBool::new(false),
                        clock: self.clock,
                    });
                    return Err(BuildError::Spawn(error));
                }
            }
        }
        Ok(Pool {
            shared,
            threads: Mutex::new(threads),
            abandoned: AtomicBool::new(false),
            clock: self.clock,
        })
    }
}

impl Pool {
    /// Makes a pool with one worker for each core that is available to the process.
    ///
    /// # Errors
    ///
    /// Returns [`BuildError::Spawn`] if a thread could not be started.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::new()?;
    /// assert!(pool.workers() >= 1);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn new() -> Result<Self, BuildError> {
        Self::builder().build()
    }

    /// Returns a builder for a pool whose settings differ from the default settings.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(3).build()?;
    /// assert_eq!(pool.workers(), 3);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }
}

/// Returns the number of cores available to this process, or 1 if the number is unknown.
fn available_cores() -> usize {
    crate::sync::thread::available_parallelism().map_or(1, usize::from)
}

impl fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder")
            .field("workers", &self.workers)
            .field("stack_size", &self.stack_size)
            .field("max_spare_workers", &self.max_spare_workers)
            .finish_non_exhaustive()
    }
}
