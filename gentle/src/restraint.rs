//! Back-off: sends nothing to a server for a time after the server has refused.
//!
//! After the time one request goes first. If it is answered, the others follow; if it is refused, the time is doubled.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// The first time without requests, and the longest that is not the server's own wish.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// The longest wish of a server that is followed.
const LONGEST_WISH: Duration = Duration::from_secs(60 * 60);

/// After so many refusals in a row nothing more is sent to a server.
const MOST_REFUSALS: u32 = 10;

/// The same for a server that has never answered.
const MOST_REFUSALS_EVER: u32 = 4;

/// What keeps requests from one server.
#[derive(Debug, Default)]
pub(crate) struct Restraint {
    /// Whether requests may have to wait. The state says whether they do.
    holds: AtomicBool,
    /// How often requests were held off.
    count: AtomicU64,
    /// Whether the server has ever answered.
    has_answered: AtomicBool,
    state: Mutex<State>,
    /// Tells waiting requests that the state has changed.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Until when nothing is sent; past that, until one request was answered.
    until: Option<Instant>,
    /// Whether the request that goes first is on its way.
    trying: bool,
    refusals_in_row: u32,
}

/// A request that may be sent.
#[must_use]
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    restraint: &'a Restraint,
    /// How many holds came before.
    holds: u64,
    /// Whether the request goes first, and the others wait for it.
    is_first: bool,
}

/// How a server took a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It answered.
    Well,
    /// It refused, and may have said for how long.
    Refused(Option<Duration>),
    /// There was no whole answer.
    Lost,
}

impl Restraint {
    /// Waits until a request may be sent. `None` if the server refused so often that nothing more is sent to it.
    pub(crate) async fn pass(&self) -> Option<Pass<'_>> {
        // Ordering: Acquire, with the Release of `hold`; a request that misses a hold was on its way when the hold began.
        if !self.holds.load(Ordering::Acquire) {
            return Some(self.pass_now(false));
        }
        loop {
            let changed = self.changed.notified();
            let wait = {
                let mut state = self.state();
                let now = Instant::now();
                if self.is_given_up(&state) {
                    return None;
                }
                match state.until {
                    None => return Some(self.pass_now(false)),
                    Some(until) if until > now => Some(until - now),
                    Some(_) if state.trying => None,
                    Some(_) => {
                        state.trying = true;
                        return Some(self.pass_now(true));
                    }
                }
            };
            let wait = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = changed => {}
                () = wait => {}
            }
        }
    }

    fn pass_now(&self, is_first: bool) -> Pass<'_> {
        Pass { restraint: self, holds: self.holds(), is_first }
    }

    /// How often requests were held off.
    pub(crate) fn holds(&self) -> u64 {
        // Ordering: Relaxed; a pass that misses a hold counts as one from before it.
        self.count.load(Ordering::Relaxed)
    }

    fn is_given_up(&self, state: &State) -> bool {
        // Ordering: Relaxed; the flag says nothing of other memory.
        let has_answered = self.has_answered.load(Ordering::Relaxed);
        let most = if has_answered { MOST_REFUSALS } else { MOST_REFUSALS_EVER };
        state.refusals_in_row >= most
    }

    fn note_answer(&self) {
        // Ordering: Relaxed; see `is_given_up`. A flag that is set is not written, so that threads share its line.
        if !self.has_answered.load(Ordering::Relaxed) {
            self.has_answered.store(true, Ordering::Relaxed);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }
}

impl Pass<'_> {
    /// Says how the server took the request.
    pub(crate) fn end(mut self, taken: Taken) {
        if taken == Taken::Well {
            self.restraint.note_answer();
            if !self.is_first {
                return;
            }
        }
        let mut state = self.restraint.state();
        match taken {
            Taken::Well => {
                state.until = None;
                state.refusals_in_row = 0;
                // Ordering: Release, with the Acquire of `pass`.
                self.restraint.holds.store(false, Ordering::Release);
            }
            Taken::Lost if !self.is_first => {}
            // A request that was on its way when the hold began says nothing new, unless the server has a longer wish.
            Taken::Refused(None) if self.holds < self.restraint.holds() => {}
            Taken::Lost | Taken::Refused(None) => {
                state.refusals_in_row += 1;
                let doubled = FIRST.saturating_mul(1 << (state.refusals_in_row - 1).min(10));
                let wait = doubled.min(LONGEST).mul_f64(1.0 + random_share() / 4.0);
                self.restraint.hold(&mut state, wait);
            }
            Taken::Refused(Some(wish)) => {
                self.restraint.note_answer();
                self.restraint.hold(&mut state, wish.min(LONGEST_WISH));
            }
        }
        if self.is_first {
            state.trying = false;
            self.is_first = false;
        }
        drop(state);
        self.restraint.changed.notify_waiters();
    }
}

impl Restraint {
    fn hold(&self, state: &mut State, wait: Duration) {
        let until = Instant::now() + wait;
        state.until = Some(state.until.map_or(until, |earlier| earlier.max(until)));
        // Ordering: Relaxed; see `holds`.
        self.count.fetch_add(1, Ordering::Relaxed);
        // Ordering: Release, with the Acquire of `pass`.
        self.holds.store(true, Ordering::Release);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.is_first {
            // The request was not sent: another one goes first.
            self.restraint.state().trying = false;
            self.restraint.changed.notify_waiters();
        }
    }
}

/// A random number from 0 to 1.
fn random_share() -> f64 {
    RandomState::new().hash_one(()) as f64 / u64::MAX as f64
}
