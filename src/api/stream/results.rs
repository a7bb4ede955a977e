//! The results of a stream that its iterator has not taken yet, and the number of pullers that can still add results.

use crate::api::stream::pause;
use crate::error::JoinError;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard, scaled};
use std::collections::VecDeque;
use std::fmt;

/// The result of one item, or the error that takes its place.
pub type Outcome<R> = Result<R, JoinError>;

/// How often an iterator checks for a result before it parks, and how often a puller checks for room before it ends. The thread
/// spins before each check.
const CHECKS: usize = scaled(4, 1, 0);

/// The results of a stream that its iterator has not taken yet.
pub struct Results<R> {
    state: Mutex<State<R>>,
    /// The number of ready results in `state`. Written under the lock, and read without the lock.
    ready: AtomicUsize,
    /// The room for results: the number of ready results at which pullers stop pulling.
    most: usize,
}

struct State<R> {
    order: Order<R>,
    /// The number of results that the iterator has taken.
    taken: u64,
    /// The panic of the input, and the number of results that the iterator takes before the panic.
    last: Option<(u64, Outcome<R>)>,
    /// The number of pullers that are queued or running.
    pullers: usize,
    /// True while the iterator waits in the parking lot, or is about to wait.
    waited: bool,
}

enum Order<R> {
    /// Results in the order of their items. `first` is the number of the item whose result is taken next, and the first
    /// element of `slots` is for that result.
    Input { first: u64, slots: VecDeque<Option<Outcome<R>>> },
    /// Results in the order of their completion.
    Completion(VecDeque<Outcome<R>>),
}

impl<R> Results<R> {
    /// Makes an empty store of results, which are taken in the order of the input. `most` is the number of ready results at
    /// which pullers stop pulling.
    pub fn new(most: usize) -> Self {
        let order = Order::Input { first: 0, slots: VecDeque::new() };
        let state = State { order, taken: 0, last: None, pullers: 0, waited: false };
        Self { state: Mutex::new(state), ready: AtomicUsize::new(0), most }
    }

    fn lock(&self) -> MutexGuard<'_, State<R>> {
        // Code under the lock never panics: it moves results, and never drops them.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Makes the iterator take results in the order in which the calls end, from now on.
    pub fn order_by_completion(&self) {
        let mut state = self.lock();
        if let Order::Input { slots, .. } = &mut state.order {
            let ready = std::mem::take(slots).into_iter().flatten().collect();
            state.order = Order::Completion(ready);
        }
    }

    /// Stores the result of the item with this number. Returns true if the caller must wake the iterator.
    #[must_use]
    pub fn put(&self, number: u64, outcome: Outcome<R>) -> bool {
        let mut state = self.lock();
        self.set_ready(self.ready() + 1);
        match &mut state.order {
            Order::Input { first, slots } => {
                let index = (number - *first) as usize;
                while slots.len() <= index {
                    slots.push_back(None);
                }
                slots[index] = Some(outcome);
            }
            Order::Completion(ready) => ready.push_back(outcome),
        }
        state.has_next() && std::mem::replace(&mut state.waited, false)
    }

    /// Stores the input's panic, which the iterator takes after `number` results. Returns true if the caller must wake the
    /// iterator.
    #[must_use]
    pub fn put_last(&self, number: u64, outcome: Outcome<R>) -> bool {
        let mut state = self.lock();
        state.last = Some((number, outcome));
        state.has_next() && std::mem::replace(&mut state.waited, false)
    }

    /// Takes the next result. Returns `None` if that result is not ready.
    pub fn take(&self) -> Option<Outcome<R>> {
        let mut state = self.lock();
        let outcome = match state.take_ready() {
            Some(outcome) => {
                self.set_ready(self.ready() - 1);
                outcome
            }
            None => {
                let taken = state.taken;
                state.last.take_if(|(number, _)| *number == taken)?.1
            }
        };
        state.taken += 1;
        Some(outcome)
    }

    /// Takes one of the ready results, in any order. Call this when the iterator takes no further result.
    pub fn take_any(&self) -> Option<Outcome<R>> {
        let mut state = self.lock();
        let outcome = match &mut state.order {
            Order::Input { slots, .. } => slots.iter_mut().find_map(Option::take),
            Order::Completion(ready) => ready.pop_front(),
        };
        outcome.or_else(|| Some(state.last.take()?.1))
    }

    /// Returns true if there is room for a further result, so that pullers may pull more items.
    pub fn have_room(&self) -> bool {
        self.ready() < self.most
    }

    /// Returns true if at most half of the room for results is used. Only then is a new puller pushed, so that the puller can
    /// store many results before it finds no room.
    pub fn have_ample_room(&self) -> bool {
        self.ready() <= self.most / 2
    }

    /// Returns the key under which the iterator waits in the parking lot.
    pub fn key(&self) -> usize {
        (&raw const *self).addr()
    }

    /// Returns true if the iterator must wait: the next result is not ready, and a puller is queued or running. In this
    /// case the call sets the flag `waited`, so that the next result or the end of the last puller wakes the iterator
    /// (`park-2`).
    pub fn set_waited(&self) -> bool {
        let mut state = self.lock();
        state.waited = !state.has_next() && state.pullers > 0;
        state.waited
    }

    /// Raises the number of pullers. Call this before a puller is queued.
    pub fn add_puller(&self) {
        self.lock().pullers += 1;
    }

    /// Lowers the number of pullers. Call this when a puller has ended or was dropped in the queue. Returns true if the
    /// caller must wake the iterator.
    #[must_use]
    pub fn drop_puller(&self) -> bool {
        let mut state = self.lock();
        state.pullers -= 1;
        state.pullers == 0 && std::mem::replace(&mut state.waited, false)
    }

    /// Returns true if no puller is queued or running.
    pub fn have_no_pullers(&self) -> bool {
        self.lock().pullers == 0
    }

    /// Returns the number of results that wait to be taken.
    pub fn ready(&self) -> usize {
        // Ordering: Relaxed; a caller that stops for lack of room, or sends a puller, executes a full fence before this
        // load.
        self.ready.load(Ordering::Relaxed)
    }

    /// Sets the number of ready results. The caller must hold the lock.
    fn set_ready(&self, ready: usize) {
        // Ordering: Relaxed; the iterator executes a full fence before it sends a puller.
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Spins for a few microseconds, or until the next result is ready. Returns true if the result is ready. If the calls of
    /// the closure are short, spinning takes less time than a wait in the parking lot.
    pub fn spin_for_next(&self) -> bool {
        spin_until(|| self.lock().has_next())
    }

    /// Spins for a few microseconds, or until there is ample room for results. Returns true if there is ample room. Spinning
    /// takes less time than ending this puller and pushing another one later.
    pub fn spin_for_room(&self) -> bool {
        spin_until(|| self.have_ample_room())
    }
}

/// Spins until `is_so` returns true, or until `CHECKS` checks have failed. Returns the result of the last check. Never
/// yields, because on a busy machine a thread that yields might not run again for a long time.
fn spin_until(is_so: impl Fn() -> bool) -> bool {
    for check in 0..CHECKS {
        pause(check);
        if is_so() {
            return true;
        }
    }
    false
}

impl<R> State<R> {
    fn has_next(&self) -> bool {
        let ready = match &self.order {
            Order::Input { slots, .. } => slots.front().is_some_and(Option::is_some),
            Order::Completion(ready) => !ready.is_empty(),
        };
        ready || self.last.as_ref().is_some_and(|(number, _)| *number == self.taken)
    }

    fn take_ready(&mut self) -> Option<Outcome<R>> {
        match &mut self.order {
            Order::Input { first, slots } => {
                let outcome = slots.front_mut()?.take()?;
                slots.pop_front();
                *first += 1;
                Some(outcome)
            }
            Order::Completion(ready) => ready.pop_front(),
        }
    }
}

impl<R> fmt::Debug for Results<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Results").field("ready", &self.ready()).finish_non_exhaustive()
    }
}
