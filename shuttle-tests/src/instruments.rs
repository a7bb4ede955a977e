//! Instruments that tasks of a scenario carry: what they may see, and what they leave behind.
//!
//! They are read when the scenario is at rest: a task that panics is the pool's to catch. What they count
//! with is `std`'s, and gives no schedule a chance of its own, but for the gauge's look round.

use shuttle::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize as Count, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use tollgate::{Job, ManualClock, Pool, Retried, Retry, TaskHandle};

/// Pushes a task that never runs inline, so that a join of it waits: it may be tried again.
pub fn spawn_apart<T: Send + 'static>(
    job: &Job,
    task: impl FnOnce() -> T + Send + 'static,
) -> TaskHandle<Retried<T, ()>> {
    let mut task = Some(task);
    job.spawn_retry(Retry::new().seed(1), move || {
        Ok(task.take().expect("the first attempt succeeds")())
    })
}

/// Sees how many tasks are inside at once.
#[derive(Debug)]
pub struct Gauge {
    limit: Count,
    inside: AtomicUsize,
    over: Count,
    ran: Count,
}

impl Gauge {
    /// For tasks of a job with this limit.
    pub fn new(limit: usize) -> Arc<Self> {
        let (limit, inside) = (Count::new(limit), AtomicUsize::new(0));
        Arc::new(Self { limit, inside, over: Count::new(0), ran: Count::new(0) })
    }

    /// From now on so many at most may be inside.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Relaxed);
    }

    /// What a task does: goes in, looks round, comes out.
    pub fn visit(&self) {
        let inside = self.inside.fetch_add(1, SeqCst) + 1;
        if inside > self.limit.load(Relaxed) {
            self.over.fetch_max(inside, Relaxed);
        }
        self.ran.fetch_add(1, Relaxed);
        self.inside.fetch_sub(1, SeqCst);
    }

    /// A task that visits.
    pub fn task(self: &Arc<Self>) -> impl FnOnce() + Send + use<> {
        let gauge = self.clone();
        move || gauge.visit()
    }

    /// How many have been inside; fails if that were too many at once.
    #[track_caller]
    pub fn ran(&self) -> usize {
        let over = self.over.load(Relaxed);
        assert_eq!(over, 0, "{over} tasks at once, over the limit");
        self.ran.load(Relaxed)
    }
}

/// What became of numbered tasks: each runs once or is dropped unrun, and its captures are dropped once.
#[derive(Debug)]
pub struct Fates(Box<[Fate]>);

#[derive(Debug, Default)]
struct Fate {
    ran: Count,
    dropped: Count,
}

/// What a numbered task captures.
#[derive(Debug)]
pub struct Ticket {
    fates: Arc<Fates>,
    number: usize,
}

impl Fates {
    /// For so many tasks.
    pub fn of(tasks: usize) -> Arc<Self> {
        Arc::new(Self((0..tasks).map(|_| Fate::default()).collect()))
    }

    /// The ticket of one task.
    pub fn ticket(self: &Arc<Self>, number: usize) -> Ticket {
        Ticket { fates: self.clone(), number }
    }

    /// A task that punches its ticket.
    pub fn task(self: &Arc<Self>, number: usize) -> impl FnOnce() + Send + use<> {
        let ticket = self.ticket(number);
        move || ticket.punch()
    }

    /// Returns true if the task has run.
    pub fn has_run(&self, number: usize) -> bool {
        self.0[number].ran.load(Relaxed) > 0
    }

    /// How many ran. Fails if one ran twice, or its captures were not dropped once.
    #[track_caller]
    pub fn ran(&self) -> usize {
        for (number, fate) in self.0.iter().enumerate() {
            let (ran, dropped) = (fate.ran.load(Relaxed), fate.dropped.load(Relaxed));
            assert!(ran <= 1 && dropped == 1, "task {number}: ran {ran}, dropped {dropped} times");
        }
        self.0.iter().map(|fate| fate.ran.load(Relaxed)).sum()
    }
}

impl Ticket {
    /// What the task does first.
    pub fn punch(&self) {
        self.fates.0[self.number].ran.fetch_add(1, Relaxed);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.fates.0[self.number].dropped.fetch_add(1, Relaxed);
    }
}

/// Lines in the order in which tasks wrote them.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Vec<usize>>);

impl Ledger {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A task that writes a line.
    pub fn task(self: &Arc<Self>, line: usize) -> impl FnOnce() + Send + use<> {
        let ledger = self.clone();
        move || ledger.0.lock().unwrap().push(line)
    }

    /// The lines.
    pub fn lines(&self) -> Vec<usize> {
        self.0.lock().unwrap().clone()
    }
}

/// Ends a task by a panic that no hook is told of: shuttle takes one that is for a failure.
pub fn unwind() -> ! {
    std::panic::resume_unwind(Box::new("a task that fails"))
}

/// What a future waits for that is none of the pool's.
#[derive(Debug, Default)]
pub struct Door(shuttle::sync::Mutex<(bool, Option<Waker>)>);

impl Door {
    /// A shut one.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Lets the future through, now or later.
    pub fn open(&self) {
        let mut door = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        door.0 = true;
        let waker = door.1.take();
        drop(door);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Ready when it is open.
    pub async fn pass(self: Arc<Self>) {
        poll_fn(|cx| {
            let waker = cx.waker().clone();
            let mut door = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if door.0 {
                return Poll::Ready(());
            }
            let before = door.1.replace(waker);
            drop(door);
            drop(before);
            Poll::Pending
        })
        .await;
    }
}

struct Unparker(shuttle::thread::Thread);

impl Wake for Unparker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls the future to its end on this thread, which parks in between.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unparker(shuttle::thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(out) => return out,
            Poll::Pending => shuttle::thread::park(),
        }
    }
}

/// A second of a clock that the scenario moves.
pub const SECOND: Duration = Duration::from_secs(1);

/// Makes a pool of so many workers, and the clock that the pool goes by.
pub fn pool_with_clock(workers: usize) -> (Pool, ManualClock) {
    let clock = ManualClock::new();
    let pool = Pool::builder().workers(workers).clock(&clock);
    (pool.build().expect("shuttle starts any thread"), clock)
}
