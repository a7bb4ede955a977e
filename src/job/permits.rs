//! The packed word of a job: how many of its tasks run, how many may, and what holds them back.
//!
//! [`Snapshot`] is plain arithmetic on one value of the word; [`Permits`] applies it atomically.
//! Nothing here has side effects: a transition returns what it found, and the caller acts on it.

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::fault;

#[cfg(any(test, fuzzing))]
#[path = "../../checking/sequential/permits.rs"]
pub mod sequential;

/// The largest value the counters hold; as a limit it means "no limit".
pub const MOST: u64 = (1 << 22) - 1;
/// The most ready tasks the word can count.
pub const MOST_READY: u64 = (1 << 11) - 1;
/// The widest window. Tasks that an outer gate refuses are ready again all at once, as many as were ready there:
/// the field has room for a window at each of sixteen gates.
pub const MOST_WINDOW: u64 = MOST_READY / 16;

const RUNNING: u64 = 1;
const LIMIT_SHIFT: u32 = 22;
const READY_SHIFT: u32 = 44;
const READY: u64 = 1 << READY_SHIFT;

/// One of the flags of a job's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Flag {
    /// It has, or had, children: their delegates may stand in its line.
    Parent = 1 << 55,
    /// No task may start until `resume`.
    Paused = 1 << 56,
    /// No task is accepted any more.
    Closed = 1 << 57,
    /// What has not started is dropped.
    Cancelled = 1 << 58,
    /// A task of this job waits at the parent's gate; the others wait behind it.
    Blocked = 1 << 59,
    /// A task that waited wants its permit back before anyone else gets one.
    Returning = 1 << 60,
    /// A worker that runs the job has put tasks where thieves find them, and whoever takes the
    /// last of them looks at the backlog first.
    Covered = 1 << 61,
    /// The job, or one below it, has futures, which keep a permit while no worker runs them: the limit
    /// may bind however many workers there are. Stays set.
    Futures = 1 << 62,
    /// Somebody waits until no more tasks run than the limit allows.
    Settling = 1 << 63,
}

/// One value of the word.
///
/// | bits   | field   | meaning                                              |
/// |--------|---------|------------------------------------------------------|
/// | 0..22  | running | permits now held                                     |
/// | 22..44 | limit   | most that may be held; all ones is no limit          |
/// | 44..55 | ready   | tasks let through to a deque that hold no permit yet |
/// | 55..64 | flags   | [`Flag`]                                             |
///
/// `limit` may drop below `running`; the excess drains as permits are given back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Snapshot(u64);

impl Snapshot {
    /// A word with nothing running and this limit.
    pub const fn new(limit: u64) -> Self {
        Self(limit << LIMIT_SHIFT)
    }

    /// Permits now held.
    pub const fn running(self) -> u64 {
        self.0 & MOST
    }

    /// The most that may be held.
    pub const fn limit(self) -> u64 {
        (self.0 >> LIMIT_SHIFT) & MOST
    }

    /// Tasks let through to a deque that hold no permit yet.
    pub const fn ready(self) -> u64 {
        (self.0 >> READY_SHIFT) & MOST_READY
    }

    /// Whether the flag is set.
    pub const fn has(self, flag: Flag) -> bool {
        self.0 & flag as u64 != 0
    }

    /// Nothing runs and nothing is ready; for models.
    #[cfg(any(tollgate_loom, tollgate_shuttle, test, fuzzing))]
    pub const fn at_rest(self) -> bool {
        self.running() == 0 && self.ready() == 0
    }

    /// Whether no task may be let through at all, room or not.
    pub const fn held_back(self) -> bool {
        const HELD: u64 = Flag::Paused as u64 | Flag::Blocked as u64 | Flag::Returning as u64;
        self.0 & HELD != 0
    }

    /// Whether one more task may be let through to a deque, `window` of them at most.
    pub const fn has_room(self, window: u64) -> bool {
        !self.held_back() && self.ready() < window && self.running() + self.ready() < self.limit()
    }

    /// Whether a ready task may turn into a running one.
    pub const fn may_start(self) -> bool {
        !self.has(Flag::Paused) && !self.has(Flag::Returning) && self.running() < self.limit()
    }

    /// Whether a worker may start a further task under the permit it holds.
    pub const fn may_go_on(self) -> bool {
        !self.held_back() && !self.has(Flag::Cancelled) && self.running() <= self.limit()
    }

    /// Whether a task that waited may take its permit back. A drain lets it go on in a held job, too.
    pub const fn may_return(self, draining: bool) -> bool {
        let limit = if draining && self.limit() == 0 { 1 } else { self.limit() };
        self.running() < limit && (draining || !self.has(Flag::Paused))
    }

    /// The word with one more ready task.
    pub const fn reserved(self) -> Self {
        Self(self.0 + READY)
    }

    /// The word with one ready task fewer.
    pub const fn unreserved(self) -> Self {
        Self(self.0 - READY)
    }

    /// The word after a ready task started.
    pub const fn started(self) -> Self {
        Self(self.0 - READY + RUNNING)
    }

    /// The word with one more permit held.
    pub const fn acquired(self) -> Self {
        Self(self.0 + RUNNING)
    }

    /// The word with one permit given back.
    pub const fn released(self) -> Self {
        Self(self.0 - RUNNING)
    }

    /// The word with another limit.
    pub const fn limited(self, limit: u64) -> Self {
        Self(self.0 & !(MOST << LIMIT_SHIFT) | limit << LIMIT_SHIFT)
    }

    /// The word with the flag clear.
    pub const fn without(self, flag: Flag) -> Self {
        Self(self.0 & !(flag as u64))
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("running", &self.running())
            .field("limit", &self.limit())
            .field("ready", &self.ready())
            .field("flags", &format_args!("{:#x}", self.0 >> 55))
            .finish()
    }
}

/// What asking for a permit, or for room in the deques, came to.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Granted; the word after it.
    Granted(Snapshot),
    /// Refused; the word that refused.
    Refused(Snapshot),
}

impl Asked {
    /// Whether it was granted.
    pub const fn granted(self) -> bool {
        matches!(self, Self::Granted(_))
    }
}

/// The word itself.
#[derive(Debug)]
pub struct Permits(AtomicU64);

impl Permits {
    /// A job with nothing running.
    pub fn new(limit: u64) -> Self {
        Self(AtomicU64::new(Snapshot::new(limit).0))
    }

    /// Reads the word.
    ///
    /// Ordering: Acquire, so that whoever sees a permit free also sees what its holder did. Where
    /// the value must not be older than a look elsewhere, the caller has a fence before it.
    #[inline]
    pub fn load(&self) -> Snapshot {
        Snapshot(self.0.load(Ordering::Acquire))
    }

    /// Applies `next` until it sticks, or returns the word for which it says `None`.
    ///
    /// Ordering: AcqRel; each permit's holder happens before the next one, and each caller's
    /// stores (a cell's contents) before whoever acts on the word.
    #[inline]
    fn update(&self, next: impl Fn(Snapshot) -> Option<Snapshot>) -> Asked {
        let mut seen = self.load();
        loop {
            let Some(new) = next(seen) else {
                return Asked::Refused(seen);
            };
            match self.0.compare_exchange_weak(seen.0, new.0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Asked::Granted(new),
                Err(now) => seen = Snapshot(now),
            }
        }
    }

    /// Lets one more task through to a deque.
    #[inline]
    pub fn reserve(&self, window: u64) -> Asked {
        self.update(|word| word.has_room(window).then(|| word.reserved()))
    }

    /// Takes back what `reserve` granted.
    #[inline]
    pub fn unreserve(&self) -> Snapshot {
        Snapshot(self.0.fetch_sub(READY, Ordering::AcqRel)).unreserved()
    }

    /// Turns a ready task into a running one.
    #[inline]
    pub fn start(&self) -> Asked {
        if fault("limit-load-then-add") {
            let word = self.load();
            if !word.may_start() {
                return Asked::Refused(word);
            }
            let before = Snapshot(self.0.fetch_add(RUNNING.wrapping_sub(READY), Ordering::AcqRel));
            return Asked::Granted(before.started());
        }
        let held = fault("start-in-a-paused-job");
        self.update(|word| {
            let seen = if held { word.without(Flag::Paused) } else { word };
            seen.may_start().then(|| word.started())
        })
    }

    /// Takes a permit for a task that was not counted as ready.
    #[inline]
    pub fn acquire(&self) -> Asked {
        self.update(|word| word.may_start().then(|| word.acquired()))
    }

    /// Takes a permit ahead of everyone, for a task that had one before it waited; see
    /// [`Snapshot::may_return`].
    pub fn reacquire(&self, draining: bool) -> Asked {
        self.update(|word| word.may_return(draining).then(|| word.acquired()))
    }

    /// Turns a running task back into a ready one.
    pub fn unstart(&self) -> Snapshot {
        // Wraps on purpose: plus one ready, minus one running.
        let change = READY.wrapping_sub(RUNNING);
        let before = self.0.fetch_add(change, Ordering::AcqRel);
        Snapshot(before.wrapping_add(change))
    }

    /// Gives a permit back.
    #[inline]
    pub fn release(&self) -> Snapshot {
        let ordering = if fault("relaxed-release") { Ordering::Relaxed } else { Ordering::AcqRel };
        Snapshot(self.0.fetch_sub(RUNNING, ordering)).released()
    }

    /// Sets the limit; returns the word before.
    pub fn set_limit(&self, limit: u64) -> Snapshot {
        let set = |word| Some(Snapshot(word).limited(limit).0);
        // Ordering: as in `update`.
        match self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, set) {
            Ok(before) | Err(before) => Snapshot(before),
        }
    }

    /// Sets a flag; returns the word before.
    pub fn set(&self, flag: Flag) -> Snapshot {
        Snapshot(self.0.fetch_or(flag as u64, Ordering::AcqRel))
    }

    /// Clears a flag; returns the word before.
    pub fn clear(&self, flag: Flag) -> Snapshot {
        Snapshot(self.0.fetch_and(!(flag as u64), Ordering::AcqRel))
    }
}
