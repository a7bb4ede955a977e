//! Requests a lease of a gate, and waits if the gate is full.
//!
//! - `ask-1`: the thread takes its process's turn, so one connection asks for all threads.
//! - `ask-2`: the thread reads the clock, then sends the request (`own-1`).
//! - `ask-3`: if the gate is full, the store enters the process among the waiters in the same script. So a release after
//!   this instant finds the waiter.
//! - `ask-4`: the thread waits for its wake-up, for the end of the earliest lease, or for a second, and asks again. So if a
//!   wake-up is lost with a dead waiter, the next waiter loses a second at most.
//! - `ask-5`: a granted request wakes the next waiter if there is still room. So one wake-up is enough for many permits.
//! - `ask-6`: a thread that stops waiting removes its process from the waiters, and passes a wake-up on.
//! - `ask-7`: a request without an answer is repeated with the same id, or given up: then the id is released. The store may
//!   run a request after the release of its id; that lease ends by itself, after one lease.

use std::mem;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::book::Id;
use crate::error::GateError;
use crate::gate::Owner;
use crate::lease::Lease;
use crate::shared::Shared;
use crate::store::{Answer, Ask};
use crate::turn::Turn;

/// The longest pause between two requests of a waiter. The scripts forget a waiter that has not asked for three times as long.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// How long a call waits.
#[derive(Clone, Copy)]
pub(crate) enum Patience {
    None,
    Until(Instant),
    Endless,
}

impl Patience {
    fn left(self) -> Duration {
        match self {
            Self::None => Duration::ZERO,
            Self::Until(deadline) => deadline.saturating_duration_since(Instant::now()),
            Self::Endless => Duration::MAX,
        }
    }
}

/// A request for a lease. If the store may have granted it, dropping this value gives the request's id up.
struct Request<'a> {
    shared: &'a Shared,
    id: Id,
    in_doubt: bool,
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        if self.in_doubt {
            self.shared.give_up(self.id);
        }
    }
}

/// Requests a lease, and waits as long as `patience` says. Returns `None` if no lease was free in that time.
pub(crate) fn acquire(owner: &Arc<Owner>, patience: Patience) -> Result<Option<Lease>, GateError> {
    let shared = owner.shared();
    let (deadline, impatient) = match patience {
        Patience::None => (None, true),
        Patience::Until(deadline) => (Some(deadline), false),
        // A waiting thread checks once a second whether its task is cancelled.
        Patience::Endless => (Some(Instant::now() + LONGEST_WAIT), false),
    };
    let Some(mut turn) = shared.turns.take(deadline, impatient) else {
        // ask-1
        return if tollgate::is_cancelled() { Err(GateError::Cancelled) } else { Ok(None) };
    };
    let mut request = Request { shared, id: shared.next_id(), in_doubt: false };
    let mut waited = false;
    let granted = ask(shared, &mut turn, &mut request, patience, &mut waited);
    if waited && !matches!(granted, Ok(Some(_))) {
        // ask-6
        let left = turn.store.as_mut().map(|store| store.leave(&shared.waiter));
        if matches!(left, Some(Err(_))) {
            turn.store = None;
        }
    }
    drop(turn);
    Ok(granted?.map(|fence| Lease::new(Arc::clone(owner), request.id, fence)))
}

/// Repeats the request until the store grants it. Returns the fencing number.
fn ask(
    shared: &Shared,
    turn: &mut Turn<'_>,
    request: &mut Request<'_>,
    patience: Patience,
    waited: &mut bool,
) -> Result<Option<u64>, GateError> {
    let waits = !matches!(patience, Patience::None);
    let mut failures = 0;
    loop {
        let sent = shared.clock.now(); // ask-2
        let doubt = mem::replace(&mut request.in_doubt, true);
        let error = match attempt(shared, turn, request.id, waits) {
            Ok(Answer::Granted { fence }) => {
                request.in_doubt = false;
                turn.silent_since = None;
                if shared.granted(request.id, sent) {
                    return Ok(Some(fence));
                }
                // The answer took so long that the lease is lost already, and the book gives it back.
                request.id = shared.next_id();
                continue;
            }
            Ok(Answer::Full { next_end }) => {
                request.in_doubt = doubt; // an earlier attempt may still arrive
                *waited |= waits; // ask-3
                (turn.silent_since, failures) = (None, 0);
                let left = patience.left();
                if left.is_zero() {
                    return Ok(None);
                }
                let pause = LONGEST_WAIT.min(Duration::from_micros(next_end)).min(left);
                wait(shared, turn, pause).err()
            }
            Err(error) => Some(error),
        };
        if tollgate::is_cancelled() {
            return Err(GateError::Cancelled);
        }
        match error {
            None => {}
            Some(error @ GateError::Unreachable(_)) => {
                turn.store = None;
                failures += 1;
                let since = *turn.silent_since.get_or_insert(sent);
                let silent = shared.clock.now() - since >= shared.length;
                // The first failure may come from an old connection whose server has restarted.
                if failures > 1 && (silent || patience.left().is_zero()) {
                    return Err(error);
                }
                if failures > 1 {
                    thread::sleep(shared.patience().min(Duration::from_millis(100)));
                }
            }
            Some(error) => return Err(error),
        }
    }
}

/// Sends one request, on a new connection if there is none. Takes a connection that fails out of the turn.
fn attempt(shared: &Shared, turn: &mut Turn<'_>, id: Id, waits: bool) -> Result<Answer, GateError> {
    let store = match &mut turn.store {
        Some(store) => store,
        None => turn.store.insert(shared.backend.connect(shared.patience())?),
    };
    let waiter = waits.then_some(shared.waiter.as_str());
    store.acquire(&Ask { id, length: shared.length, holder: &shared.holder, waiter })
}

/// Waits until the store wakes this process (`ask-4`).
fn wait(shared: &Shared, turn: &mut Turn<'_>, pause: Duration) -> Result<(), GateError> {
    turn.set_waiting(true);
    let woken = turn.store.as_mut().map_or(Ok(()), |store| store.wait(&shared.waiter, pause));
    turn.set_waiting(false);
    woken
}
