//! The packed word of a job: the number of held permits, the limit, the number of ready tasks, and the flags.
//!
//! A [`Snapshot`] is one value of the word, with plain arithmetic. [`Permits`] applies that arithmetic atomically. A method of
//! [`Permits`] that changes the word changes nothing else. It returns the word, and the caller must act on the flags in it.

use crate::pool::core::MOST_READY_CAP;
use crate::sync::atomic::{AtomicU64, Ordering};

#[cfg(any(test, fuzzing))]
#[path = "../../checking/sequential/permits.rs"]
pub mod sequential;

/// The greatest value of the fields `running` and `limit` of a job's word. As a limit it means "unlimited".
pub const MOST: u64 = (1 << 21) - 1;
/// The greatest value of the field `ready` of a job's word.
pub const MOST_READY: u64 = (1 << 11) - 1;
// If an ancestor of a job refuses several tasks that have a permit of the job, all of them become ready tasks of the job again.
// So a job can have more ready tasks than its ready cap. The field `ready` can hold sixteen times the greatest ready cap.
const _: () = assert!(MOST_READY_CAP <= MOST_READY / 16);

const RUNNING: u64 = 1;
const LIMIT_SHIFT: u32 = 21;
const READY_SHIFT: u32 = 42;
const READY: u64 = 1 << READY_SHIFT;

/// A flag in a job's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Flag {
    /// The job is held off: no task of the job can start before the time of the job's entry in the pool's timer. A task that
    /// has begun can continue.
    HeldOff = 1 << 53,
    /// The job has a rate, counts weights, or has an adaptive limit. While this flag is set, at most one task of the job is
    /// ready, each start goes through the code for rates, and no worker has a batch of the job's tasks.
    Rated = 1 << 54,
    /// The job has, or once had, children, whose tasks can lie in the job's queue. The flag is never cleared.
    Parent = 1 << 55,
    /// The job is paused: no task of the job can start until `resume`.
    Paused = 1 << 56,
    /// The job is closed: a push is refused.
    Closed = 1 << 57,
    /// The job is cancelled: a task that has not started must be dropped.
    Cancelled = 1 << 58,
    /// One task of this job, or of a job below, waits in the parent's queue. The job's other tasks wait until the parent has
    /// admitted that task.
    Blocked = 1 << 59,
    /// A task that has waited for another task or a job waits now to re-acquire its permit. Until it has one, no other task can
    /// start.
    Reclaiming = 1 << 60,
    /// A worker has put tasks of this job into its batch, where other workers can steal them. That worker re-checks the queue
    /// when the batch is empty, so pushers need not check the queue.
    BatchOut = 1 << 61,
    /// The job never counts as unlimited. The flag is set when the job or a job below gets its first future or its first
    /// permit without a task. Both hold permits without a worker, so they can reach even a limit above the number of workers.
    /// The flag is also set for each job of the class `High` or `Low`, whose tasks must lie in no deque. The flag is never
    /// cleared.
    Futures = 1 << 62,
    /// A thread or future waits until at most as many tasks of the job run as its limit allows.
    Settling = 1 << 63,
}

/// The flags each of which keeps the job's tasks from starting.
const NO_START: u64 = Flag::Paused as u64 | Flag::Reclaiming as u64 | Flag::HeldOff as u64;
/// The flags each of which keeps the job's tasks from being admitted.
const HELD_BACK: u64 = NO_START | Flag::Blocked as u64;
/// The flags each of which gives a further duty to the thread that releases a permit.
const AT_RELEASE: u64 = Flag::Reclaiming as u64 | Flag::Rated as u64;

/// One value of a job's packed word.
///
/// | bits   | field   | meaning                                           |
/// |--------|---------|---------------------------------------------------|
/// | 0..21  | running | permits held now                                  |
/// | 21..42 | limit   | most permits that may be held; all ones: no limit |
/// | 42..53 | ready   | tasks admitted to a deque that hold no permit yet |
/// | 53..64 | flags   | [`Flag`]                                          |
///
/// The number of held permits (`running`) can exceed the limit after the limit was lowered, until enough tasks have released
/// their permits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Snapshot(u64);

impl Snapshot {
    /// Returns true if the job is held: it is paused or has a limit of 0. No task of the job starts until the user resumes the
    /// job or raises its limit.
    pub const fn is_held(self) -> bool {
        self.has(Flag::Paused) || self.limit() == 0
    }

    /// Returns true if the job is paused, has a limit of 0, or is held off. No task of the job can start now.
    pub const fn is_stopped(self) -> bool {
        self.is_held() || self.has(Flag::HeldOff)
    }

    /// Makes the word of a new job with the limit `limit`: no permit held, no task ready, no flag set.
    pub const fn new(limit: u64) -> Self {
        Self(limit << LIMIT_SHIFT)
    }

    /// Returns the number of permits that are held.
    pub const fn running(self) -> u64 {
        self.0 & MOST
    }

    /// Returns the limit: how many permits can be held at once.
    pub const fn limit(self) -> u64 {
        (self.0 >> LIMIT_SHIFT) & MOST
    }

    /// Returns the number of reservations: tasks that are admitted to a deque or an injector and hold no permit yet.
    pub const fn ready(self) -> u64 {
        (self.0 >> READY_SHIFT) & MOST_READY
    }

    /// Returns true if the flag is set.
    pub const fn has(self, flag: Flag) -> bool {
        self.0 & flag as u64 != 0
    }

    /// Returns true if no task is running and none is ready. Only models and tests call it.
    #[cfg(any(tollgate_loom, tollgate_shuttle, test, fuzzing))]
    pub const fn at_rest(self) -> bool {
        self.running() == 0 && self.ready() == 0
    }

    /// Returns true if any flag in the bit mask `flags` is set.
    const fn has_any(self, flags: u64) -> bool {
        self.0 & flags != 0
    }

    /// Returns true if a flag keeps tasks from being admitted, whatever the limit and the counts are.
    pub const fn held_back(self) -> bool {
        self.has_any(HELD_BACK)
    }

    /// Returns true if the job has room for one more ready task. At most `ready_cap` tasks are ready at once.
    pub const fn has_room(self, ready_cap: u64) -> bool {
        // The flags of `HELD_BACK` and `Rated` are tested together, so that a job without `Rated` needs no further instruction
        // for rates.
        if self.has_any(HELD_BACK | Flag::Rated as u64) {
            return self.has_room_at_a_rate(ready_cap);
        }
        self.ready() < ready_cap && self.running() + self.ready() < self.limit()
    }

    /// Does what [`has_room`](Self::has_room) does if the word has the flag `Rated`, or a flag that holds the job back. A job
    /// with the flag `Rated` has room for one ready task only.
    #[cold]
    const fn has_room_at_a_rate(self, ready_cap: u64) -> bool {
        !self.held_back() && ready_cap > 0 && self.ready() == 0 && self.running() < self.limit()
    }

    /// Returns true if a ready task can start now. Returns false for a job with the flag `Rated`:
    /// [`may_start_at_a_rate`](Self::may_start_at_a_rate) checks its tasks.
    pub const fn may_start(self) -> bool {
        !self.has_any(NO_START | Flag::Rated as u64) && self.running() < self.limit()
    }

    /// Returns true if a task that takes `weight` permits fits within the limit now. A task that takes more permits than the
    /// limit fits if no permit is held and the limit is not 0.
    pub const fn fits(self, weight: u64) -> bool {
        self.running() + weight <= self.limit() || (self.running() == 0 && self.limit() > 0)
    }

    /// Returns true if a ready task that takes `weight` permits can start now. If the job has a rate, the task also needs a
    /// token, which this function does not check.
    pub const fn may_start_at_a_rate(self, weight: u64) -> bool {
        !self.has_any(NO_START) && self.fits(weight)
    }

    /// Returns true if a task waits to re-acquire its permits, or if the job might count weights. Then the thread that
    /// releases a permit must call `weigh::release_rest`.
    pub const fn acts_at_release(self) -> bool {
        self.has_any(AT_RELEASE)
    }

    /// Returns true if at most as many permits are held as the limit allows. The limit of a paused job counts as 0 here.
    pub const fn is_settled(self) -> bool {
        let most = if self.has(Flag::Paused) { 0 } else { self.limit() };
        self.running() <= most
    }

    /// Returns true if a worker can start a further task under a permit that the worker already holds. Returns false for a job
    /// with the flag `Rated`.
    pub const fn may_go_on(self) -> bool {
        const ENDS: u64 = HELD_BACK | Flag::Cancelled as u64 | Flag::Rated as u64;
        !self.has_any(ENDS) && self.running() <= self.limit()
    }

    /// Returns true if the order of the job's tasks allows a worker to start a task from the job's queue under a permit that it
    /// already holds. Returns false if the limit is 1 and a task is ready: the ready task has left the queue earlier, so it
    /// must start first.
    pub const fn keeps_order(self) -> bool {
        self.limit() != 1 || self.ready() == 0
    }

    /// Returns true if a worker can start a further task under a permit that the worker already holds. This function does not
    /// check the token of the job's rate, which the further task also needs.
    pub const fn may_go_on_at_a_rate(self) -> bool {
        !self.has_any(HELD_BACK | Flag::Cancelled as u64) && self.running() <= self.limit()
    }

    /// Returns true if a task that has waited inside can re-acquire its `weight` permits now. `draining` must be true if the
    /// pool is draining: then the task can do so even if the job is held.
    pub const fn may_reclaim(self, draining: bool, weight: u64) -> bool {
        let word = if draining && self.limit() == 0 { self.limited(1) } else { self };
        word.fits(weight) && (draining || !self.has(Flag::Paused))
    }

    /// Returns the word with one more reservation.
    pub const fn reserved(self) -> Self {
        Self(self.0 + READY)
    }

    /// Returns the word with one reservation fewer.
    pub const fn unreserved(self) -> Self {
        Self(self.0 - READY)
    }

    /// Returns the word with one reservation fewer and one more permit held.
    pub const fn started(self) -> Self {
        Self(self.0 - READY + RUNNING)
    }

    /// Returns the word with one more permit held.
    pub const fn acquired(self) -> Self {
        Self(self.0 + RUNNING)
    }

    /// Returns the word with `count` more permits held.
    pub const fn acquired_more(self, count: u64) -> Self {
        Self(self.0 + count * RUNNING)
    }

    /// Returns the word with one held permit fewer.
    pub const fn released(self) -> Self {
        Self(self.0 - RUNNING)
    }

    /// Returns the word with the limit `limit`.
    pub const fn limited(self, limit: u64) -> Self {
        Self(self.0 & !(MOST << LIMIT_SHIFT) | limit << LIMIT_SHIFT)
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("running", &self.running())
            .field("limit", &self.limit())
            .field("ready", &self.ready())
            .field("flags", &format_args!("{:#x}", self.0 >> 53))
            .finish()
    }
}

/// The result of a request for a permit or for a reservation, or of another change of the word that can be refused.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The request was granted. Holds the word after the change.
    Granted(Snapshot),
    /// The request was refused, and the word was not changed. Holds the word that did not allow the request.
    Refused(Snapshot),
}

impl Asked {
    /// Returns true if the request was granted.
    pub const fn granted(self) -> bool {
        matches!(self, Self::Granted(_))
    }
}

/// The packed word of a job, which all threads share.
#[derive(Debug)]
pub struct Permits(AtomicU64);

impl Permits {
    /// Makes the word of a new job with the limit `limit`.
    pub fn new(limit: u64) -> Self {
        Self(AtomicU64::new(Snapshot::new(limit).0))
    }

    /// Reads the word.
    ///
    /// The returned word can be older than this thread's last access to another variable. If the caller needs a word that is
    /// newer than that access, it must execute a full fence between the access and this call.
    ///
    /// Ordering: Acquire; pairs with the Release in each change of the word: a free permit shows what its last holder did.
    #[inline]
    pub fn load(&self) -> Snapshot {
        Snapshot(self.0.load(Ordering::Acquire))
    }

    /// Reads the word of a job that no other thread uses.
    pub fn load_alone(&self) -> Snapshot {
        // Ordering: Relaxed; no other thread uses the word.
        Snapshot(self.0.load(Ordering::Relaxed))
    }

    /// Atomically replaces the word by the word that `next` returns for it. If `next` returns `None`, changes nothing and
    /// returns `Refused`.
    ///
    /// Ordering: AcqRel; pairs with each change and load: what a permit's holder did happens before what the next one does.
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

    /// Makes a reservation if the job has room. At most `ready_cap` tasks can be ready at once.
    #[inline]
    pub fn reserve(&self, ready_cap: u64) -> Asked {
        self.update(|word| word.has_room(ready_cap).then(|| word.reserved()))
    }

    /// Cancels a reservation. Returns the word after the change.
    #[inline]
    pub fn unreserve(&self) -> Snapshot {
        Snapshot(self.0.fetch_sub(READY, Ordering::AcqRel)).unreserved()
    }

    /// Exchanges a reservation for a permit, if a ready task can start now.
    #[inline]
    pub fn start(&self) -> Asked {
        self.update(|word| word.may_start().then(|| word.started()))
    }

    /// Exchanges a reservation for `weight` permits, if a ready task with this weight can start now. If the job has a rate, the
    /// caller must then take a token of the rate.
    pub fn start_at_a_rate(&self, weight: u64) -> Asked {
        self.update(|word| {
            word.may_start_at_a_rate(weight).then(|| word.unreserved().acquired_more(weight))
        })
    }

    /// Acquires a permit for a task that has no reservation, if such a task can start now. Ready tasks of the job do not
    /// prevent this.
    #[inline]
    pub fn acquire(&self) -> Asked {
        self.update(|word| word.may_start().then(|| word.acquired()))
    }

    /// Acquires a permit without a reservation, if the job has room for one more ready task. Refuses if permits and
    /// reservations together reach the limit, if `ready_cap` tasks are ready, or if a flag keeps tasks from being admitted.
    #[inline]
    pub fn acquire_in_room(&self, ready_cap: u64) -> Asked {
        self.update(|word| word.has_room(ready_cap).then(|| word.acquired()))
    }

    /// Acquires the remaining permits of a task that takes `weight` permits and has one of them already. Refuses if the weight
    /// does not fit, or if a flag keeps tasks from starting.
    pub fn acquire_rest(&self, weight: u64) -> Asked {
        let may = |word: Snapshot| word.released().may_start_at_a_rate(weight);
        self.update(|word| may(word).then(|| word.acquired_more(weight - 1)))
    }

    /// Re-acquires the `weight` permits of a task that has waited inside, if [`Snapshot::may_reclaim`] returns true. `draining`
    /// must be true if the pool is draining.
    pub fn reacquire(&self, draining: bool, weight: u64) -> Asked {
        self.update(|word| word.may_reclaim(draining, weight).then(|| word.acquired_more(weight)))
    }

    /// Exchanges `weight` permits for a reservation. Returns the word after the change.
    pub fn unstart(&self, weight: u64) -> Snapshot {
        // The subtraction wraps on purpose: adding `change` to the word adds one reservation and subtracts `weight` permits.
        let change = READY.wrapping_sub(weight * RUNNING);
        let before = self.0.fetch_add(change, Ordering::AcqRel);
        Snapshot(before.wrapping_add(change))
    }

    /// Releases a permit. Returns the word after the change.
    #[inline]
    pub fn release(&self) -> Snapshot {
        Snapshot(self.0.fetch_sub(RUNNING, Ordering::AcqRel)).released()
    }

    /// Releases `count` permits. Returns the word after the change.
    pub fn release_more(&self, count: u64) -> Snapshot {
        let before = self.0.fetch_sub(count * RUNNING, Ordering::AcqRel);
        Snapshot(before - count * RUNNING)
    }

    /// Sets the limit. Returns the word before the change.
    pub fn set_limit(&self, limit: u64) -> Snapshot {
        let set = |word| Some(Snapshot(word).limited(limit).0);
        // Ordering: as in `update`.
        match self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, set) {
            Ok(before) | Err(before) => Snapshot(before),
        }
    }

    /// Changes the limit from `from` to `to`. Refuses if the limit is not `from`.
    pub fn replace_limit(&self, from: u64, to: u64) -> Asked {
        self.update(|word| (word.limit() == from).then(|| word.limited(to)))
    }

    /// Sets a flag. Returns the word before the change.
    pub fn set(&self, flag: Flag) -> Snapshot {
        Snapshot(self.0.fetch_or(flag as u64, Ordering::AcqRel))
    }

    /// Clears a flag. Returns the word before the change.
    pub fn clear(&self, flag: Flag) -> Snapshot {
        Snapshot(self.0.fetch_and(!(flag as u64), Ordering::AcqRel))
    }
}
