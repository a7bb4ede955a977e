//! A work-stealing thread pool in which tasks belong to *jobs*, and each job has a *limit*. At most that many tasks of the job
//! run at once, whatever the pool's size. The limit can change while tasks run.
//!
//! ```
//! # fn fetch(url: &str) -> usize { url.len() }
//! let pool = tollgate::Pool::new()?;
//! let search = pool.job(2); // at most 2 at once
//! let pages: Vec<_> = ["/a", "/b", "/c"].map(|url| search.spawn(move || fetch(url))).into();
//! let sizes: Vec<usize> = pages.into_iter().map(|page| page.join().unwrap()).collect();
//! assert_eq!(sizes, [2, 2, 2]);
//! assert!(search.stats().most_running <= 2);
//! # Ok::<(), tollgate::BuildError>(())
//! ```
//!
//! # Where to look
//!
//! | to | see |
//! |---|---|
//! | start workers, and end them | [`Pool`], [`PoolBuilder`] |
//! | limit how many tasks of a job run at once, and change the limit live | [`Pool::job`], [`Job::set_limit`], [`Job::pause`] |
//! | put a limit inside a larger limit | [`Job::job`] |
//! | give a job longer or shorter turns, or let it go first | [`JobBuilder::share`], [`JobBuilder::turn_time`], [`JobBuilder::priority`] |
//! | limit how many tasks start in a time | [`JobBuilder::rate`], [`Rate`] |
//! | have a job for each key, such as each host or user | [`JobBuilder::keyed`], [`Keyed`] |
//! | start no task of a job before a time | [`Job::hold_off`] |
//! | push a closure with a result, or without | [`Job::spawn`], [`Job::execute`] |
//! | push a closure that starts later, or only before a deadline | [`Job::spawn_after`], [`Job::spawn_within`] |
//! | try a task again while it fails | [`Job::spawn_retry`], [`Retry`] |
//! | push a future | `Job::spawn_future` |
//! | limit work that runs elsewhere, such as on tokio | [`Job::acquire`], [`Permit`] |
//! | wait for a task anywhere, or await it | [`TaskHandle`] |
//! | take the results of many tasks as they end | [`Job::set`] |
//! | let tasks borrow from the stack | [`Job::scope`] |
//! | process more input than fits in memory | [`Job::map`], [`Job::for_each`], `Job::map_async` |
//! | let a limit adapt to how long the tasks take | [`JobBuilder::adaptive`], [`Adaptive`], [`overloaded`] |
//! | bound the tasks that wait to start | [`JobBuilder::capacity`], [`Job::try_spawn`] |
//! | wait for all tasks of a job, close the job, or cancel it | [`Job::wait`], [`Job::idle`], [`Job::close`], [`Job::cancel`], [`is_cancelled`] |
//! | block inside a task on a socket, a lock or a sleep | [`blocking`] |
//! | see what runs | [`Job::stats`], [`Pool::stats`], [`current_job`] |
//! | find jobs | [`Pool::jobs`], [`Job::children`] |
//! | name a task, or tell tasks apart | [`Job::spawn_named`], [`TaskHandle::id`], [`current_task_id`] |
//! | see how long tasks wait and run | [`JobBuilder::timed`], [`Job::timings`] |
//! | see what each task did, and why it waited, over time | `Pool::timeline`, with the feature `timeline` |
//! | publish figures, or trace tasks | `JobMetrics`, `JobBuilder::traced`, with the features `metrics` and `tracing` |
//! | see why a task does not run | [`Job::explain`], [`Job::explain_task`] |
//!
//! # When a task starts
//!
//! A task starts when none of the *conditions* in the table below keeps it from starting. The conditions are independent: several
//! of them can keep a task from starting at once, and they can end in any order. A task that a condition keeps from starting
//! holds no permit, no worker and no thread.
//!
//! | condition | of | keeps a task from starting |
//! |---|---|---|
//! | [limit](Job::set_limit) | the job and each ancestor | while that many tasks run: until one of them ends, or the limit is raised |
//! | [pause](Job::pause) | the job and each ancestor | until [`Job::resume`] is called |
//! | [rate](JobBuilder::rate) | the job and each ancestor | while the burst is used up: until the next start is allowed, or another rate is set |
//! | [hold-off](Job::hold_off) | the job and each ancestor | until the time that the call has set |
//! | [delay](Job::spawn_after) | the task | until the delay is over. The task then enters the queue |
//!
//! A [deadline](Job::spawn_within) does not delay a task: a task that has not started by its deadline is dropped. A
//! [capacity](JobBuilder::capacity) does not delay a pushed task: if no slot is free, the pusher waits before the push.
//!
//! # Where code may wait
//!
//! A task waits when it calls [`TaskHandle::join`], [`Job::wait`], [`Job::scope`], [`Settled::wait`] and the like.
//!
//! | code | runs on | a wait in this code |
//! |---|---|---|
//! | a task | a thread of the pool | is safe. The task holds no permit meanwhile, except those of jobs that [keep permits](JobBuilder::keep_permits) |
//! | [`PoolBuilder::on_panic`], and a panic hook of the process | the thread of the task that panicked | is safe, as in a task |
//! | the input of [`Job::map`] and [`Job::for_each`] | a thread of the pool, as a part of a task | is safe |
//! | [`LimitRule::next_limit`] | the thread that ends a task or drops a [`Permit`] | panics on a thread of the pool. On another thread the wait blocks the thread, which still holds the permit |
//! | a waker of a future | the thread that ends what the future waits for | is safe |
//! | a destructor of a capture or a result | the thread that drops the capture or the result. If a deadline drops a task, the thread of the pool's timer | is safe |
//! | [`PoolBuilder::on_worker_start`] | a thread of the pool before its first task | panics, unless the wait would end at once |
//! | [`PoolBuilder::on_worker_stop`] | a thread of the pool after its last task | panics, unless the wait would end at once. A push in this code is cancelled |
//! | [`PoolBuilder::thread_name`] for a spare worker | a thread whose task is about to wait | panics. The spare worker gets its usual name |
//! | any code in a child process of `fork` | a process without the pool's threads | panics, and so does the poll of a future that is not ready |
//!
//! # Waits that nothing ends
//!
//! The pool detects three kinds of waits that can never end:
//!
//! - The pool panics if a task joins itself, or waits for its own job.
//! - The pool panics if tasks join each other in a circle.
//! - The pool panics if a task [keeps](JobBuilder::keep_permits) the only permit of a job, and waits directly for another task
//!   that needs that permit.
//!
//! The pool detects no other endless wait, because a caller might still end it, for example by a higher limit. Each wait in the
//! following table lasts until its cause is removed. A task in such a wait holds no permit and no worker, if the table does not
//! say otherwise.
//!
//! | wait | what ends the wait | what [`Job::explain`] shows |
//! |---|---|---|
//! | two tasks that wait for each other's jobs, or another circle of waits that are not all joins | [`Job::wait_timeout`], [`TaskHandle::join_timeout`] | [`Reason::Waiting`], with the job that is awaited |
//! | a destructor of a cancelled task's capture that waits for the task's own job | [`Job::wait_timeout`] in the destructor | [`Reason::Cancelled`] |
//! | futures that await each other | [`Job::cancel`], or [`TaskHandle::cancel`] by the future that has the handle | [`Reason::Waiting`] |
//! | a task that blocks on an executor's `block_on(handle)`. The task keeps its permit and its worker | [`TaskHandle::join`] instead | [`Reason::Running`] for this task. [`Reason::Limit`] or [`Reason::NoWorker`] for the task of the handle |
//! | a wait for a job that is paused or has a limit of 0, and has tasks | [`Job::resume`], [`Job::set_limit`], [`Job::cancel`] | [`Reason::Paused`], [`Reason::Limit`] |
//! | a wait for a job that has delayed tasks, or that is held off and has tasks, while the [`ManualClock`] of the pool does not move | [`ManualClock::advance`], [`Job::cancel`] | [`Reason::HeldOff`], [`Reason::Delayed`] |
//! | tasks that [keep](JobBuilder::keep_permits) all permits of a job, and wait for tasks of the same job that have not begun: directly, or through a task of another job | [`Job::set_limit`] | [`Reason::Waiting`] for the tasks that have begun, [`Reason::Limit`] for the others |
//! | a task that keeps a permit of a job, pauses that job or sets its limit to 0, and waits for [`Job::settled`] | [`Job::resume`], [`Job::set_limit`] | [`Reason::Waiting`] |
//! | two tasks, each of which holds a [`Permit`] and acquires a permit of the job of the other task's `Permit` | dropping one of the two permits | [`Reason::Limit`] |
//! | [`Pool::shutdown`], while a [`Permit`] is not given back | [`Pool::shutdown_timeout`] | [`Reason::Running`] |
//! | [`Pool::shutdown`], while a future is never woken, or while one of the waits above lasts | [`Pool::shutdown_timeout`]; for futures also [`Pool::shutdown_now`] | [`Reason::Pending`] for a future; for a wait above, the reason in its row |
//!
//! # Features
//!
//! `futures`, on by default: futures as tasks, by `Job::spawn_future` and `Job::map_async`. Without this feature, handles,
//! [`Job::acquire`], [`Job::idle`] and [`Job::settled`] can still be awaited.
//!
//! `metrics`, off by default: `JobMetrics` publishes a job's figures by the facade `metrics`.
//!
//! `tracing`, off by default: `JobBuilder::traced` runs each task of a job in a span of its own.
//!
//! `timeline`, off by default: `Pool::timeline` records what each task does and why it waits, and writes the record as a trace
//! or a page.
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | task | one closure or future, run once |
//! | job | a group of tasks with a limit; a handle that is cheap to make, clone and drop |
//! | limit | how many tasks of a job may run at once. 0 holds the job; `usize::MAX` is no limit |
//! | permit | the right to run one task of one job, taken by a worker before it runs the task |
//! | backlog | a job's tasks that wait for a permit |
//! | ready | said of a task that a worker may take: it is in a deque or an injector, and no longer in its job's queue |
//! | worker, deque, injector, stealer, victim | as crossbeam-deque and the literature use them |
//! | searching, parked, notified | the states of a worker with nothing to run |
//!
//! # Promises
//!
//! - **limit_holds**: never do more than `limit` tasks of a job run at once, also while the limit changes.
//! - **limit_is_used**: if a task waits while fewer than `limit` tasks run and a worker is idle, the task starts.
//! - **held_off_holds**: no task of a job starts before the time until which the job is held off.
//! - **rate_holds**: in any window of length t, at most burst + t / interval tasks of a job with a rate start.
//! - **deadlines_hold**: a task with a deadline starts before its deadline, or is dropped.
//! - **serial_in_order**: if the limit is 1 throughout, workers start the tasks of one pusher in the order of its pushes. Only a
//!   task that a task of the same job joins may run earlier: inside the join.
//! - **fair**: a job's queue does not delay another job. A lone task starts after at most one turn of each other waiting job on
//!   each worker, or after less than two turns of a job with a rate, an adaptive limit or weights. A turn is 16 tasks, however
//!   long they take. A task that runs inline in a join counts as a part of the joining task.
//! - **shares_hold**: with a [share](JobBuilder::share) of n, a turn in which no task waits inside has 16·n tasks. With a [turn
//!   time](JobBuilder::turn_time), a turn also ends after that time. Ready tasks of a higher [class](JobBuilder::priority) start
//!   first. `Normal` has a turn after at most 8 turns of `High` on each worker. `Low` has a turn after at most 32 turns of higher
//!   classes.
//! - **nothing_lost**: each accepted task runs exactly once or is reported cancelled exactly once.
//! - **join_is_safe**: waiting for a task, a job or a scope from inside a task never deadlocks the pool, unless the job keeps its
//!   permits.
//! - **begun_holds**: if a job [keeps its permits](JobBuilder::keep_permits), no task begins while as many of its tasks as the
//!   limit allows have begun and not ended.
//! - **idle_is_free**: a pool with nothing to run uses no CPU, and a finished job leaves nothing behind.
//! - **permits_are_tasks**: a [`Permit`] counts as a running task, and the tasks and waiters of a job wait in one queue.
//! - **weights_hold**: in a job that counts weights, the running tasks together weigh no more than the limit, or one task runs
//!   alone. Tasks that come later in the queue never keep a heavy task waiting forever.
//! - **keys_are_free**: an idle key of a [`Keyed`] is dropped. A key that is in use, or whose job was changed, is kept.
//! - **adaptive_stays_in_range**: the limit of an adaptive job never leaves its range, whatever its rule does.
//! - **refusal_is_loud**: bad input is an error value or a documented panic, never a hang.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(all(target_pointer_width = "64", target_has_atomic = "64")))]
compile_error!(
    "tollgate needs a target with 64-bit pointers and 64-bit atomics: a job's permits are one 64-bit word"
);

/// The public types and their methods. The generated documentation lists the methods of a type in the order of these lines.
mod api {
    pub mod hand_over;
    pub mod pool_builder;
    pub mod push;

    pub mod acquire;
    pub mod begun;
    pub mod builder;
    pub mod capacity;
    pub mod children;
    pub mod clock;
    pub mod current;
    pub mod delay;
    pub mod explain;
    pub mod figures;
    #[cfg(feature = "futures")]
    pub mod futures;
    pub mod hold;
    pub mod job;
    pub mod keyed;
    pub mod listing;
    #[cfg(feature = "futures")]
    pub mod map_async;
    #[cfg(feature = "metrics")]
    pub mod metrics;
    pub mod pool;
    pub mod reserve;
    pub mod retry;
    pub mod scope;
    pub mod set;
    pub mod settle;
    pub mod shutdown;
    pub mod stream;
    pub mod ticket;
    #[cfg(feature = "timeline")]
    pub mod timeline;
    pub mod traced;
    pub mod turns;
    pub mod wait;
    pub mod weights;
}
/// Primitives that do not use jobs.
mod base {
    pub mod cache;
    pub mod classes;
    pub mod later;
    #[cfg(feature = "timeline")]
    pub mod log;
    pub mod parking;
    pub mod queues;
    pub mod rests;
    pub mod sleep;
    pub mod task;
    pub mod timer;
}
mod adaptive;
mod error;
mod histogram;
mod job {
    pub mod busy;
    pub mod cancels;
    pub mod capacity;
    pub mod children;
    pub mod class;
    pub mod control;
    pub mod events;
    pub mod extra;
    pub mod family;
    pub mod gate;
    pub mod idle;
    pub mod keeping;
    pub mod lifetime;
    pub mod named;
    #[cfg(feature = "futures")]
    pub mod pending;
    pub mod permits;
    pub mod queue;
    pub mod record;
    pub mod samples;
    pub mod tally;
    pub mod timed;
    pub mod times;
    pub mod turns;
    pub mod weight;
}
#[cfg(any(tollgate_loom, tollgate_shuttle))]
#[doc(hidden)]
#[path = "../checking/model.rs"]
pub mod model;
mod pool {
    pub mod blocked;
    pub mod children;
    pub mod core;
    pub mod due;
    pub mod here;
    pub mod named;
    pub mod spares;
    pub mod waits;
}
mod priority;
mod process;
mod rate;
mod retry;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
#[path = "../checking/sequential/mod.rs"]
pub mod sequential;
mod stats;
mod sync;
#[cfg(tollgate_count)]
#[doc(hidden)]
pub use sync::count;
mod task {
    pub mod awaiting;
    pub mod cancel_on_drop;
    pub mod circle;
    pub mod closure;
    pub mod deadline;
    pub mod delay;
    pub mod face;
    #[cfg(feature = "futures")]
    pub mod future;
    pub mod handle;
    pub mod id;
    pub mod inline;
    pub mod named;
    pub mod plain;
    pub mod pointer;
    pub mod retry;
    pub mod scoped;
    pub mod state;
    pub mod waiter;
}
mod unwind;
mod worker {
    pub mod adapt;
    pub mod blocking;
    pub mod context;
    pub mod core;
    pub mod ends;
    pub mod find;
    pub mod keeping;
    pub mod lease;
    #[cfg(any(tollgate_loom, tollgate_shuttle))]
    #[path = "../../checking/play.rs"]
    pub mod play;
    pub mod run;
    pub mod spares;
    pub mod turn;
}

pub use adaptive::{Adaptive, Interval, LimitRule, MovingAverage, Vegas};
pub use api::acquire::{Acquire, Permit};
pub use api::builder::JobBuilder;
pub use api::clock::ManualClock;
pub use api::current::{current_job, current_task_id, is_cancelled, overloaded};
pub use api::explain::{Explanation, Reason};
pub use api::job::Job;
pub use api::keyed::Keyed;
#[cfg(feature = "futures")]
pub use api::map_async::{AsyncInput, Iter, Iterated, MapAsync, MapAsyncAsCompleted, Streamed};
#[cfg(feature = "metrics")]
pub use api::metrics::JobMetrics;
pub use api::pool::Pool;
pub use api::pool_builder::PoolBuilder;
pub use api::reserve::{Reserve, ReservedSlot};
pub use api::scope::Scope;
pub use api::scope::handle::ScopedHandle;
pub use api::scope::map::ScopedMap;
pub use api::set::{SetTaskId, TaskSet};
pub use api::settle::{Idle, Settled};
pub use api::shutdown::Shutdown;
pub use api::stream::fallible::{TryError, TryMap};
pub use api::stream::map::{AsCompleted, Map};
#[cfg(feature = "timeline")]
pub use api::timeline::Timeline;
pub use error::{
    BuildError, Closed, JoinError, PanicPayload, Rejected, TryAcquireError, Unfinished,
};
pub use histogram::Histogram;
pub use job::timed::Timings;
pub use priority::Priority;
pub use rate::Rate;
pub use retry::{Retried, Retry};
pub use stats::{JobStats, PoolStats, WorkerStats};
pub use task::cancel_on_drop::CancelOnDrop;
pub use task::handle::TaskHandle;
pub use task::id::TaskId;
pub use worker::blocking::blocking;

/// The README's examples, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The example of docs/observing.md, as a test.
#[cfg(doctest)]
#[doc = include_str!("../docs/observing.md")]
struct Observing;
