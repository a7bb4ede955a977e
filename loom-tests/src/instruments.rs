//! Instruments that tasks of a model carry: what they may see, and what they leave behind; and how a model ends.

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Condvar, Mutex};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use tollgate::model::sync::thread::{Thread, current, park};
use tollgate::model::{CellPtr, Stage, handle, record_of};
use tollgate::{Job, TaskHandle};

/// Fails when more than `limit` tasks are inside at once.
#[derive(Debug)]
pub struct Gauge {
    limit: usize,
    inside: AtomicUsize,
    ran: std::sync::atomic::AtomicUsize,
}

impl Gauge {
    /// For tasks of a job with this limit.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, inside: AtomicUsize::new(0), ran: Default::default() })
    }

    /// What a task does: goes in, looks round, comes out.
    pub fn visit(&self) {
        // Relaxed: the gauge is to see tasks meet, not to order them.
        let before = self.inside.fetch_add(1, Ordering::Relaxed);
        assert!(before < self.limit, "{} tasks at once, limit {}", before + 1, self.limit);
        self.inside.fetch_sub(1, Ordering::Relaxed);
        self.ran.fetch_add(1, Ordering::Relaxed);
    }

    /// A task that visits.
    pub fn task(self: &Arc<Self>) -> impl FnOnce() + Send + use<> {
        let gauge = self.clone();
        move || gauge.visit()
    }

    /// How many have been inside.
    pub fn ran(&self) -> usize {
        self.ran.load(Ordering::Relaxed)
    }
}

/// Counts the tasks that come late: those that start after the model has called [`Late::begin`].
#[derive(Clone, Debug, Default)]
pub struct Late(Arc<LateState>);

#[derive(Debug, Default)]
struct LateState {
    begun: AtomicBool,
    count: std::sync::atomic::AtomicUsize,
}

impl Late {
    /// A count of tasks none of which is late yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a task does: it counts itself if it comes late.
    pub fn visit(&self) {
        // A read-modify-write sees the newest value.
        if self.0.begun.fetch_or(false, Ordering::AcqRel) {
            self.0.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A task that visits.
    pub fn task(&self) -> impl FnOnce() + Send + use<> {
        let late = self.clone();
        move || late.visit()
    }

    /// From now on tasks are late.
    pub fn begin(&self) {
        self.0.begun.fetch_or(true, Ordering::AcqRel);
    }

    /// The number of late tasks.
    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::Relaxed)
    }
}

/// Memory that the tasks of a job with a limit of 1 write without any synchronisation of their own.
#[derive(Debug)]
pub struct Ledger(loom::cell::UnsafeCell<Vec<usize>>);

// SAFETY: whether this is sound is what the models find out: loom fails an access that is not
// ordered with the one before.
unsafe impl Sync for Ledger {}
// SAFETY: a vector is Send.
unsafe impl Send for Ledger {}

impl Ledger {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        Arc::new(Self(loom::cell::UnsafeCell::new(Vec::new())))
    }

    /// Writes a line.
    pub fn write(&self, line: usize) {
        self.0.with_mut(|lines| {
            // SAFETY: loom has just checked that nobody else accesses it.
            unsafe { (*lines).push(line) }
        });
    }

    /// The lines, in order.
    pub fn read(&self) -> Vec<usize> {
        self.0.with(|lines| {
            // SAFETY: as in `write`.
            unsafe { (*lines).clone() }
        })
    }
}

/// Counts how often a value was dropped: one payload each, dropped once.
#[derive(Clone, Debug, Default)]
pub struct Drops(Arc<std::sync::atomic::AtomicUsize>);

/// Says when it is dropped.
#[derive(Debug)]
pub struct Payload {
    drops: Drops,
    // loom fails a model that leaks it.
    _tracked: loom::alloc::Track<()>,
}

impl Drops {
    /// A payload that is counted here.
    pub fn payload(&self) -> Payload {
        Payload { drops: self.clone(), _tracked: loom::alloc::Track::new(()) }
    }

    /// How many payloads were dropped.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        self.drops.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Pushes `count` tasks, each of which visits the gauge and drops a payload.
pub fn push_gauged(job: &Job, count: usize, gauge: &Arc<Gauge>, drops: &Drops) {
    for _ in 0..count {
        let (gauge, payload) = (gauge.clone(), drops.payload());
        job.execute(move || {
            gauge.visit();
            drop(payload);
        });
    }
}

/// A task of `job` that returns a payload, not in any queue.
pub fn payload_task(job: &Job, drops: &Drops) -> (CellPtr, TaskHandle<Payload>) {
    let payload = drops.payload();
    handle::joint(record_of(job), move || payload)
}

/// Runs a model of one payload with a job of limit 1, and checks that the payload is dropped once.
pub fn with_payload(model: impl Fn(&Job, &Drops)) {
    let (stage, drops) = (Stage::new(1), Drops::default());
    let job = stage.job(1);
    model(&job, &drops);
    assert_eq!(drops.count(), 1, "the payload is dropped once");
    drop(job);
    stage.end();
}

/// At rest: nothing is stranded. Then runs what is still in the deques, and ends the pool.
pub fn rest(stage: Stage, job: Job) {
    stage.assert_none_stranded(&job);
    while stage.play(0, usize::MAX) > 0 {}
    stage.assert_none_stranded(&job);
    assert_eq!(job.stats().backlog, 0, "a task was left behind");
    drop(job);
    stage.end();
}

/// What a task that stays waits for. A task that nothing lets go is a deadlock, which loom reports.
#[derive(Debug)]
pub struct Door {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Door {
    /// Makes a door that is shut.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { open: Mutex::new(false), opened: Condvar::new() })
    }

    /// Lets all through, now and later.
    pub fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    /// Waits until the door is open.
    pub fn pass(&self) {
        let mut open = self.open.lock().unwrap();
        while !*open {
            open = self.opened.wait(open).unwrap();
        }
    }
}

/// Wakes the thread that made it.
#[derive(Debug)]
pub struct Bell {
    rung: AtomicBool,
    thread: Thread,
}

impl Bell {
    /// Makes a bell that wakes the calling thread.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { rung: AtomicBool::new(false), thread: current() })
    }

    /// Whether it was rung since its thread has last heard it.
    pub fn is_rung(&self) -> bool {
        self.rung.load(Ordering::Acquire)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // A swap, for loom lets a later swap overlook a plain store.
        self.rung.swap(true, Ordering::AcqRel);
        self.thread.unpark();
    }
}

/// Polls until ready; a wake-up that is lost is a deadlock, which loom reports.
pub fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    let bell = Bell::new();
    let waker = Waker::from(bell.clone());
    loop {
        if let Poll::Ready(out) = Pin::new(&mut future).poll(&mut Context::from_waker(&waker)) {
            return out;
        }
        while !bell.rung.swap(false, Ordering::Acquire) {
            park();
        }
    }
}
