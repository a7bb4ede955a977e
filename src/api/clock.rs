//! The clock of a pool, its timer, and the timer's thread.
//!
//! Each held-off job, delayed task and deadline has an entry in the pool's `Timer`. When the time of an entry has come, the
//! timer's thread or [`ManualClock::advance`] *fires* the entry: it calls the entry's action. The action can drop a task's
//! captures, whose destructors are the user's code. If such a destructor waits, the timer's thread first hands the timer to a
//! new thread.
//!
//! - `fire-1`: the thread that fires entries counts itself as outstanding, so that a drain does not end meanwhile. If another
//!   thread checks at that moment whether the drain ends, the firing thread waits until the check is over.
//! - `fire-2`: the firing thread removes the entry from the timer, and calls the entry's action. An action can put tasks into
//!   the injector.
//! - `fire-3`: the firing thread stops counting itself as outstanding. During a drain it then checks whether the drain ends.
//!
//! A drain of the pool waits until the timer has no entry on which a task depends. A drain also waits for a thread that fires
//! entries (`fire-1` to `fire-3`). So the drain does not miss a task whose entry was removed and that is in no queue yet.

use crate::base::timer::{self, Key, NotArmed};
use crate::job::events;
use crate::pool::core::{PoolPtr, Shared};
use crate::pool::due::{Due, Hands};
use crate::rate::FAR;
use crate::sync::time::Instant;
use crate::sync::{Arc, CHECKED, Mutex, thread};
use std::fmt;
use std::time::Duration;

impl Shared {
    /// Returns the present time of the pool's clock.
    pub fn now(&self) -> Instant {
        self.hands.as_ref().map_or_else(Instant::now, |hands| hands.now())
    }

    /// Returns the time that is `duration` later than now on the pool's clock.
    pub fn after(&self, duration: Duration) -> Instant {
        let now = self.now();
        let far = now.checked_add(duration.min(FAR));
        far.unwrap_or(now)
    }

    /// Fires each entry of the timer whose time has come: removes the entry, and calls its action.
    pub fn fire_due(&self) {
        // `defer_end` counts this thread as outstanding while it fires entries (`fire-1`, `fire-3`).
        self.defer_end(|| {
            let now = self.now();
            while let Some((key, due)) = self.timer.take_due(now) {
                (due.act.fire)(due, key); // fire-2
                events::no_cause(self);
            }
        });
    }

    /// Closes the timer, and fires all its entries, even those whose time has not come.
    pub fn close_timer(&self) {
        self.defer_end(|| {
            for (key, due) in self.timer.close() {
                (due.act.fire)(due, key);
            }
        });
    }

    /// Returns true if the pool's timer has an entry on which a task depends.
    pub fn waits_for_the_clock(&self) -> bool {
        self.timer.any(|due| (due.act.is_waited_for)(due))
    }
}

impl PoolPtr {
    /// Adds an entry for the time `when` to the pool's timer. Starts the timer's thread if it does not run, unless the pool
    /// has a [`ManualClock`].
    ///
    /// # Errors
    /// As [`Timer::arm`](crate::base::timer::Timer::arm).
    pub fn arm(self, when: Instant, due: Due) -> Result<Key, NotArmed> {
        let key = self.shared().timer.key(when);
        self.arm_as(key, due)?;
        Ok(key)
    }

    /// Adds an entry to the pool's timer as [`arm`](Self::arm) does, under a key that the caller has made. The key contains the
    /// entry's time.
    ///
    /// # Errors
    /// As [`arm`](Self::arm).
    pub fn arm_as(self, key: Key, due: Due) -> Result<(), NotArmed> {
        let shared = self.shared();
        let needs_thread = !CHECKED && shared.hands.is_none();
        shared.timer.arm(key, due, needs_thread.then_some(|| self.start_timer()))
    }

    fn start_timer(self) -> std::io::Result<thread::JoinHandle<()>> {
        // The thread's name is fixed: the user's closure for names takes the index of a worker, and this thread has none.
        let builder = self.shared().threads.builder_named("tollgate-timer".to_owned());
        self.own();
        let started = builder.spawn(move || self.run_timer());
        if started.is_err() {
            self.disown(1);
        }
        started
    }

    /// Serves the timer on this thread. Returns when this thread has handed the timer to another thread, or when the timer
    /// needs no thread.
    fn run_timer(self) {
        timer::begin_service(move || self.shared().timer.change_thread(|| self.start_timer()));
        #[cfg(not(any(tollgate_loom, tollgate_shuttle)))]
        while timer::is_in_service() && self.shared().timer.wait_until_due(|| self.shared().now()) {
            self.shared().fire_due();
        }
        self.disown(1);
    }
}

/// A clock that moves only by [`advance`](Self::advance). For tests of code that waits for times.
///
/// In a pool that was [built with this clock](crate::PoolBuilder::clock), time passes only in calls of `advance`. Only such a
/// call ends a delay or a hold-off, lets a deadline come, or frees a token of a rate. Such a pool has no thread for its timer.
/// All clones of a clock are the same clock, and one clock can serve several pools. Waits with a time-out, such as
/// [`Job::wait_timeout`](crate::Job::wait_timeout), still use the real time.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tollgate::{ManualClock, Pool};
///
/// let clock = ManualClock::new();
/// let pool = Pool::builder().workers(2).clock(&clock).build()?;
/// let host = pool.job(2);
/// host.hold_off(Duration::from_secs(3600));
/// let task = host.spawn(|| "an hour later");
/// clock.advance(Duration::from_secs(3599));
/// assert!(!task.is_finished());
/// clock.advance(Duration::from_secs(1));
/// assert_eq!(task.join().unwrap(), "an hour later");
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[derive(Clone)]
pub struct ManualClock(Arc<Inner>);

struct Inner {
    hands: Arc<Hands>,
    /// The pools that use this clock and have not ended. The list owns one owner count of each of these pools, which keeps the
    /// pool's memory.
    pools: Mutex<Vec<PoolPtr>>,
}

impl ManualClock {
    /// Makes a clock that shows the present real time, and then stands still.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    ///
    /// let before = Instant::now();
    /// let clock = tollgate::ManualClock::new();
    /// assert!(before <= clock.now() && clock.now() <= Instant::now());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Inner { hands: Arc::new(Hands::new()), pools: Mutex::new(Vec::new()) }))
    }

    /// Returns the shared state of the clock, from which its pools read the time.
    pub(crate) fn hands(&self) -> Arc<Hands> {
        self.0.hands.clone()
    }

    fn pools(&self) -> crate::sync::MutexGuard<'_, Vec<PoolPtr>> {
        self.0.pools.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Returns the present time of this clock.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let clock = tollgate::ManualClock::new();
    /// let before = clock.now();
    /// clock.advance(Duration::from_secs(60));
    /// assert_eq!(clock.now() - before, Duration::from_secs(60));
    /// ```
    #[cfg(not(any(tollgate_loom, tollgate_shuttle)))]
    #[must_use]
    pub fn now(&self) -> Instant {
        self.0.hands.now()
    }

    /// Moves the clock forward by `by`. Then each delay, hold-off, rate interval and deadline whose time has come ends.
    ///
    /// When `advance` returns, each delayed task whose time has come has been pushed, and each hold-off whose end has come is
    /// over. `advance` does not wait until the tasks run.
    ///
    /// A delay or a hold-off that another thread begins during `advance` can count from the time before the move. Such a delay
    /// or hold-off then ends only in a later call of `advance`, even if its time has already come. So a test of a
    /// [retried](crate::Job::spawn_retry) task should move the clock only when the task counts as
    /// [delayed](crate::JobStats::delayed).
    ///
    /// # Panics
    ///
    /// Panics if the new time is later than the platform can represent.
    ///
    /// # Examples
    ///
    /// As with [`ManualClock`].
    #[track_caller]
    pub fn advance(&self, by: Duration) {
        self.0.hands.advance(by);
        let pools: Vec<PoolPtr> = {
            let pools = self.pools();
            pools.iter().for_each(|pool| pool.own());
            pools.clone()
        };
        for pool in pools {
            pool.shared().fire_due();
            self.leave_if_ended(pool);
            pool.disown(1);
        }
    }

    /// Adds `pool` to the list of this clock's pools, so that later calls of `advance` fire the entries of the pool's timer.
    pub(crate) fn enter(&self, pool: PoolPtr) {
        pool.own();
        self.pools().push(pool);
    }

    /// Removes `pool` from the list of this clock's pools if the pool's last worker has ended. Otherwise does nothing,
    /// because the pool's drain might still wait for times of this clock, even after the `Pool` was dropped.
    pub(crate) fn leave_if_ended(&self, pool: PoolPtr) {
        if !pool.shared().has_ended() {
            return;
        }
        let place = {
            let mut pools = self.pools();
            let place = pools.iter().position(|other| *other == pool);
            place.map(|place| pools.swap_remove(place))
        };
        if place.is_some() {
            pool.disown(1);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let pools = self.pools.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        pools.drain(..).for_each(|pool| pool.disown(1));
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock").field("now", &self.0.hands.now()).finish_non_exhaustive()
    }
}
