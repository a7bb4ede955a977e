//! Completion counting, the same for every contender.
//!
//! Each thread that runs tasks adds to a padded stripe of its own with a plain load and store: one to two nanoseconds and no
//! line shared between workers, so that the count does not drown what is measured. The pusher sums the stripes until
//! all tasks are there. Beside the count a stripe sums up what the tasks captured, so that [`Tally::check`] sees a task that ran
//! twice while another was lost.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than any workload takes on a slow machine; after it the contender has stranded tasks.
const STRANDED_AFTER: Duration = Duration::from_secs(60);

/// A thread's own share of the counts; 128 bytes, since lines are fetched in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Stripe {
    tasks: AtomicU64,
    captures: AtomicU64,
}

#[derive(Default)]
struct Stripes {
    all: Vec<&'static Stripe>,
    free: Vec<&'static Stripe>,
}

static STRIPES: Mutex<Stripes> = Mutex::new(Stripes { all: Vec::new(), free: Vec::new() });

/// Hands the stripe on to a later thread when this one ends.
struct Claim(&'static Stripe);

impl Drop for Claim {
    fn drop(&mut self) {
        STRIPES.lock().unwrap_or_else(PoisonError::into_inner).free.push(self.0);
    }
}

thread_local! {
    static MINE: Cell<Option<&'static Stripe>> = const { Cell::new(None) };
    static CLAIM: RefCell<Option<Claim>> = const { RefCell::new(None) };
}

#[cold]
fn claim() -> &'static Stripe {
    let mut stripes = STRIPES.lock().unwrap_or_else(PoisonError::into_inner);
    let stripe = stripes.free.pop().unwrap_or_else(|| {
        let stripe = Box::leak(Box::default());
        stripes.all.push(stripe);
        stripe
    });
    drop(stripes);
    CLAIM.set(Some(Claim(stripe)));
    MINE.set(Some(stripe));
    stripe
}

/// Counts one task complete, with the sum of what it captured.
#[inline]
pub(crate) fn done(captures: u64) {
    let stripe = MINE.get().unwrap_or_else(claim);
    // Ordering: only this thread writes the stripe, so a load and a store are enough; Release publishes what the task
    // did to the Acquire in `Tally::now`.
    let sum = stripe.captures.load(Ordering::Relaxed).wrapping_add(captures);
    stripe.captures.store(sum, Ordering::Relaxed);
    stripe.tasks.store(stripe.tasks.load(Ordering::Relaxed) + 1, Ordering::Release);
}

/// The task of most workloads: empty but for the count, with 24 bytes of captures.
#[inline]
pub(crate) fn task(job: u64, index: u64, salt: u64) -> impl FnOnce() + Send + 'static {
    move || done(job ^ index ^ salt)
}

/// The counts at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tally {
    tasks: u64,
    captures: u64,
}

impl Tally {
    pub(crate) fn now() -> Tally {
        let stripes = STRIPES.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = Tally { tasks: 0, captures: 0 };
        for stripe in &stripes.all {
            // Ordering: Acquire pairs with the Release in `done`.
            sum.tasks += stripe.tasks.load(Ordering::Acquire);
            sum.captures = sum.captures.wrapping_add(stripe.captures.load(Ordering::Relaxed));
        }
        sum
    }

    /// The sum of what the tasks captured that were counted since then.
    pub(crate) fn captures_since(&self) -> u64 {
        Tally::now().captures.wrapping_sub(self.captures)
    }

    /// Tasks counted since then.
    pub(crate) fn tasks_since(&self) -> u64 {
        Tally::now().tasks - self.tasks
    }

    /// Waits until `tasks` more are counted. It sleeps a twentieth of what has passed between looks, at most 200 µs, so
    /// that looking takes no core from the workers.
    pub(crate) fn wait_for(&self, tasks: u64) {
        let start = Instant::now();
        loop {
            let seen = self.tasks_since();
            if seen >= tasks {
                return;
            }
            let passed = start.elapsed();
            assert!(passed < STRANDED_AFTER, "only {seen} of {tasks} tasks ran");
            thread::sleep(
                (passed / 20).clamp(Duration::from_micros(5), Duration::from_micros(200)),
            );
        }
    }

    /// Checks that exactly `tasks` ran since then and that their captures add up to `captures`.
    pub(crate) fn check(&self, tasks: u64, captures: u64) {
        let now = Tally::now();
        assert_eq!(now.tasks - self.tasks, tasks, "tasks that ran");
        assert_eq!(
            now.captures.wrapping_sub(self.captures),
            captures,
            "sum of what the tasks captured"
        );
    }
}
