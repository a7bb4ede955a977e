//! `PoolBuilder`: how many workers, what they are called, what they call.

use crate::error::BuildError;
use crate::pool::Pool;
use crate::pool::shared::{Hooks, PoolPtr};
use crate::sync::Mutex;
use crate::sync::atomic::AtomicBool;
use crate::worker;
use crate::worker::sleep::MOST_AWAY;
use crate::worker::spares::{Threads, may_be_a_name, usual_name};
use std::any::Any;
use std::fmt;

/// The most workers that the sleepers' word counts.
const MOST_WORKERS: usize = (1 << 15) - 1;

/// The smallest stack that a worker gets.
const LEAST_STACK: usize = 64 << 10;

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
            thread_name: Box::new(usual_name),
            hooks: Hooks::default(),
            max_spare_workers: 256,
        }
    }

    /// How many worker threads, from 1 to 32,767; one for each available core if not called.
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

    /// Names a worker's thread by its index; `tollgate-0` and so on if not called.
    ///
    /// Workers have the indices from 0 on. [Spare workers](Self::max_spare_workers) have those behind: a spare for
    /// which `name` panics, or gives a name with a nul byte in it, is called `tollgate-` and its index.
    ///
    /// # Panics
    ///
    /// If `name` does for a worker, [`build`](Self::build) does.
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
        self.thread_name = Box::new(name);
        self
    }

    /// The size of a worker's stack in bytes; the platform's own if not called.
    ///
    /// Less than 64 KiB is raised to that, for the pool needs some itself, and so does the report of a panic. A task
    /// that overflows its stack ends the process, as on any thread.
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

    /// Called on each worker's thread with the worker's index before its first task. If it panics, the
    /// worker goes on. [Spare workers](Self::max_spare_workers) call it, too, with indices behind the workers'.
    ///
    /// # Examples
    ///
    /// What a library keeps for each thread, here a runtime to find, is there for all tasks:
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

    /// Called on each worker's thread with the worker's index after its last task. If it panics, the
    /// worker ends all the same. Spare workers call it, too, when they retire.
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
    /// 256 if not called, 16,383 at most.
    ///
    /// They are made when they are needed, and retire when nobody has needed them for a few seconds. A task that is
    /// to wait when they are all in use panics and says so; one that calls [`blocking`](crate::blocking) then keeps
    /// its worker.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).max_spare_workers(1).build()?;
    /// let (outer, inner) = (pool.job(1), pool.job(1));
    /// let task = outer.spawn(move || inner.spawn(|| 20).join().unwrap() + 1); // needs one
    /// assert_eq!(task.join().unwrap(), 21);
    /// assert_eq!(pool.stats().spare_workers, 1);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn max_spare_workers(mut self, most: usize) -> Self {
        self.max_spare_workers = most;
        self
    }

    /// Starts the workers.
    ///
    /// # Errors
    ///
    /// [`BuildError::NoWorkers`] for 0 workers, [`BuildError::TooManyWorkers`] for more than 32,767,
    /// [`BuildError::TooManySpareWorkers`] for more than 16,383 of those, [`BuildError::ThreadName`] for a name
    /// with a nul byte, [`BuildError::Spawn`] if a thread could not be started; those that were started are ended.
    ///
    /// # Panics
    ///
    /// If the closure given to [`thread_name`](Self::thread_name) does; then no thread has been started.
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
    pub fn build(self) -> Result<Pool, BuildError> {
        let workers = self.workers.unwrap_or_else(available_cores);
        if workers == 0 {
            return Err(BuildError::NoWorkers);
        }
        if workers > MOST_WORKERS {
            return Err(BuildError::TooManyWorkers { asked: workers, most: MOST_WORKERS });
        }
        let spares = self.max_spare_workers;
        if spares > MOST_AWAY {
            return Err(BuildError::TooManySpareWorkers { asked: spares, most: MOST_AWAY });
        }
        // A name that panics does so before there is anything to end.
        let names: Vec<String> = (0..workers).map(&self.thread_name).collect();
        if let Some(index) = names.iter().position(|name| !may_be_a_name(name)) {
            return Err(BuildError::ThreadName { index, name: names[index].clone() });
        }
        let how = Threads { name: self.thread_name, stack_size: self.stack_size };
        let shared = PoolPtr::make(workers, self.hooks, how, spares);
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
            .field("max_spare_workers", &self.max_spare_workers)
            .finish_non_exhaustive()
    }
}
