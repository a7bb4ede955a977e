//! Events that tests order by: a latch that opens once, and a gauge of how many tasks run.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::task::Wake;
use std::thread;

/// A waker that counts its wake-ups.
#[derive(Default)]
pub struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Wakes {
    pub fn woken(&self) -> usize {
        self.0.load(SeqCst)
    }
}

/// Opens once, for all who wait. Dropping it opens it too, so that a failed assertion leaves no task blocked behind it:
/// make it after the pool, and it goes before the pool.
pub struct Latch(Opening);

/// The side of a [`Latch`] that waits.
#[derive(Clone)]
pub struct Opening(Arc<(Mutex<bool>, Condvar)>);

impl Latch {
    pub fn new() -> Self {
        Self(Opening(Arc::default()))
    }

    pub fn opening(&self) -> Opening {
        self.0.clone()
    }

    pub fn open(&self) {
        let (open, changed) = &*self.0.0;
        *open.lock().unwrap() = true;
        changed.notify_all();
    }
}

impl Drop for Latch {
    fn drop(&mut self) {
        self.open();
    }
}

impl Opening {
    pub fn wait(&self) {
        let (open, changed) = &*self.0;
        drop(changed.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
    }
}

/// A capture whose drop opens a latch, and then waits.
pub struct WaitsInDrop {
    begun: Option<Latch>,
    end: Opening,
}

impl WaitsInDrop {
    /// Makes the capture. Its drop ends when `latch` is open. Returns also what is open as soon as the drop has begun.
    pub fn until(latch: &Latch) -> (Self, Opening) {
        let begun = Latch::new();
        let opening = begun.opening();
        (Self { begun: Some(begun), end: latch.opening() }, opening)
    }
}

impl Drop for WaitsInDrop {
    fn drop(&mut self) {
        drop(self.begun.take());
        self.end.wait();
    }
}

#[derive(Default)]
struct Counts {
    running: usize,
    most: usize,
    /// See [`Gauge::expect`].
    expected: Option<usize>,
    over: usize,
    started: usize,
    ended: usize,
}

/// Counts the tasks that are inside it. A task enters first and leaves last, so what the gauge says never exceeds the
/// permits that are held.
#[derive(Clone, Default)]
pub struct Gauge(Arc<(Mutex<Counts>, Condvar)>);

/// A task's stay inside a [`Gauge`]: ends when dropped, also by unwinding.
pub struct Running(Gauge);

impl Gauge {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn enter(&self) -> Running {
        let (counts, changed) = &*self.0;
        let mut counts = counts.lock().unwrap();
        counts.running += 1;
        counts.started += 1;
        counts.most = counts.most.max(counts.running);
        if counts.expected.is_some_and(|expected| counts.running > expected) {
            counts.over = counts.over.max(counts.running);
        }
        drop(counts);
        changed.notify_all();
        Running(self.clone())
    }

    pub fn running(&self) -> usize {
        self.0.0.lock().unwrap().running
    }

    /// The most that were ever inside at once.
    pub fn most(&self) -> usize {
        self.0.0.lock().unwrap().most
    }

    /// From now on no more than `count` should be inside; [`Gauge::over`] says what was.
    pub fn expect(&self, count: usize) {
        self.0.0.lock().unwrap().expected = Some(count);
    }

    /// The most that were inside when fewer were expected, or 0.
    pub fn over(&self) -> usize {
        self.0.0.lock().unwrap().over
    }

    pub fn started(&self) -> usize {
        self.0.0.lock().unwrap().started
    }

    pub fn until_running(&self, count: usize) {
        self.until(|counts| counts.running == count);
    }

    pub fn until_started(&self, count: usize) {
        self.until(|counts| counts.started >= count);
    }

    pub fn until_ended(&self, count: usize) {
        self.until(|counts| counts.ended >= count);
    }

    fn until(&self, reached: impl Fn(&Counts) -> bool) {
        let (counts, changed) = &*self.0;
        drop(changed.wait_while(counts.lock().unwrap(), |counts| !reached(counts)).unwrap());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let (counts, changed) = &*self.0.0;
        let mut counts = counts.lock().unwrap();
        counts.running -= 1;
        counts.ended += 1;
        drop(counts);
        changed.notify_all();
    }
}

/// A task that is inside the gauge for a moment, with room for others to come in.
pub fn pass_through(gauge: &Gauge) -> impl FnOnce() + Send + 'static {
    let gauge = gauge.clone();
    move || {
        let _running = gauge.enter();
        linger();
    }
}

/// Yields in one call out of eight of this thread, so that tasks overlap. On a busy machine a yield takes milliseconds, and tests
/// have many thousands of tasks.
pub fn linger() {
    thread_local!(static CALLS: Cell<u32> = const { Cell::new(0) });
    CALLS.set(CALLS.get() + 1);
    if CALLS.get().is_multiple_of(8) {
        thread::yield_now();
    }
}

/// A task that is inside the gauge until the latch opens.
pub fn stay(gauge: &Gauge, latch: &Latch) -> impl FnOnce() + Send + 'static {
    let (gauge, opening) = (gauge.clone(), latch.opening());
    move || {
        let _running = gauge.enter();
        opening.wait();
    }
}
