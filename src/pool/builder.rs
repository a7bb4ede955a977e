//! `PoolBuilder`: how many workers, what they are called, what they call.

use crate::error::BuildError;
use crate::pool::Pool;
use crate::pool::shared::{Hooks, PoolPtr};
use crate::sync::Mutex;
use crate::sync::atomic::AtomicBool;
use crate::worker;
use crate::worker::spares::Threads;
use std::any::Any;
use std::fmt;

/// The most workers that the sleepers' word counts.
const MOST_WORKERS: usize = (1 << 15) - 1;

type NameThread = Box<dyn Fn(usize) -> String + Send + Sync>;

/// Makes a pool step by step; from [`Pool::builder`].
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
#[must_use = "a builder makes nothing until `build`"]
pub struct PoolBuilder {
    workers: Option<usize>,
    stack_size: Option<usize>,
    thread_name: NameThread,
    hooks: Hooks,
    max_spare_workers: usize,
}

impl PoolBuilder {
    pub(crate) fn new() -> Self {
        Self {
            workers: None,
            stack_size: None,
            thread_name: Box::new(|index| format!("tollgate-{index}")),
            hooks: Hooks::default(),
            max_spare_workers: 256,
        }
    }

    /// How many worker threads; one for each available core if not called.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Names a worker's thread by its index; `tollgate-0` and so on if not called.
    pub fn thread_name(mut self, name: impl Fn(usize) -> String + Send + Sync + 'static) -> Self {
        self.thread_name = Box::new(name);
        self
    }

    /// The size of a worker's stack in bytes; the platform's own if not called.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Called on each worker's thread with the worker's index before its first task. If it panics, the
    /// worker goes on.
    pub fn on_worker_start(mut self, hook: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.hooks.start = Some(Box::new(hook));
        self
    }

    /// Called on each worker's thread with the worker's index after its last task. If it panics, the
    /// worker ends all the same.
    pub fn on_worker_stop(mut self, hook: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.hooks.stop = Some(Box::new(hook));
        self
    }

    /// Called with the payload of each panic that no handle carries over: those of tasks pushed by
    /// [`execute`](crate::Job::execute). If it panics itself, the worker goes on.
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

    /// The most threads beyond the workers that may take the place of those that wait inside tasks;
    /// 256 if not called, 16,383 at most. A task that is to wait when they are all in use panics and says so.
    pub fn max_spare_workers(mut self, most: usize) -> Self {
        self.max_spare_workers = most;
        self
    }

    /// Starts the workers.
    ///
    /// # Errors
    ///
    /// [`BuildError::NoWorkers`] for 0 workers, [`BuildError::TooManyWorkers`] for more than 32,767,
    /// [`BuildError::Spawn`] if a thread could not be started; those that were started are ended.
    pub fn build(self) -> Result<Pool, BuildError> {
        let workers = self.workers.unwrap_or_else(available_cores);
        if workers == 0 {
            return Err(BuildError::NoWorkers);
        }
        if workers > MOST_WORKERS {
            return Err(BuildError::TooManyWorkers { asked: workers, most: MOST_WORKERS });
        }
        // A name that panics does so before there is anything to end.
        let names: Vec<String> = (0..workers).map(&self.thread_name).collect();
        let how = Threads { name: self.thread_name, stack_size: self.stack_size };
        let shared = PoolPtr::make(workers, self.hooks, how, self.max_spare_workers);
        let mut threads = Vec::with_capacity(workers);
        for (index, name) in names.into_iter().enumerate() {
            let builder = shared.shared().threads.builder_named(name);
            match builder.spawn(move || worker::work(shared, index, index)) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    // The missing workers are taken off the sleepers' count; dropping the pool
                    // then ends those that did start.
                    shared.shared().give_up_workers(workers - index);
                    shared.disown((workers - index) as u64);
                    drop(Pool {
                        shared,
                        threads: Mutex::new(threads),
                        abandoned: AtomicBool::new(false),
                    });
                    return Err(BuildError::Spawn(error));
                }
            }
        }
        Ok(Pool { shared, threads: Mutex::new(threads), abandoned: AtomicBool::new(false) })
    }
}

fn available_cores() -> usize {
    crate::sync::thread::available_parallelism().map_or(1, usize::from)
}

impl fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder")
            .field("workers", &self.workers)
            .field("stack_size", &self.stack_size)
            .finish_non_exhaustive()
    }
}
