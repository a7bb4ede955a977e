//! Permits without tasks: acquired, held for a moment, given back or never waited for.

use std::pin::pin;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll, Waker};
use std::thread;

use tollgate::Permit;

use crate::common::rng::Rng;
use crate::ledger::Ticket;
use crate::world::{PERMITS, Slot, World};

/// Acquires a permit of the job in one of three ways.
pub fn acquire(world: &World, slot: &Slot, rng: &mut Rng) {
    match rng.below(3) {
        0 => without_a_wait(slot, rng),
        1 => as_a_future(slot, rng),
        _ => blocking(world, rng),
    }
}

/// The books count a permit that is held as a task that runs.
fn hold(permit: Permit, ticket: Ticket, rng: &mut Rng) {
    let entry = ticket.enter();
    (0..rng.below(4)).for_each(|_| thread::yield_now());
    drop(entry);
    drop(permit);
}

fn without_a_wait(slot: &Slot, rng: &mut Rng) {
    if let Ok(permit) = slot.job.try_acquire() {
        hold(permit, slot.ledger.ticket(), rng);
    }
}

/// Polls a few times, and then leaves the queue.
fn as_a_future(slot: &Slot, rng: &mut Rng) {
    let mut cx = Context::from_waker(Waker::noop());
    let mut acquire = pin!(slot.job.acquire());
    let mut ticket = None;
    for _ in 0..1 + rng.below(20) {
        match acquire.as_mut().poll(&mut cx) {
            Poll::Pending => {
                // It stands in the queue. If it leaves or is refused, it counts as cancelled, as its ticket does.
                ticket.get_or_insert_with(|| slot.ledger.ticket());
                thread::yield_now();
            }
            Poll::Ready(Ok(permit)) => {
                let ticket = ticket.unwrap_or_else(|| slot.ledger.ticket());
                return hold(permit, ticket, rng);
            }
            Poll::Ready(Err(_)) => return,
        }
    }
    slot.ledger.count_cancelled_by_handle();
}

/// Waits for a permit of a job that nothing holds but permits.
fn blocking(world: &World, rng: &mut Rng) {
    // The pool may have ended.
    let Ok(permit) = world.permits.acquire_blocking() else { return };
    let held = world.held.fetch_add(1, SeqCst) + 1;
    assert!(held <= PERMITS, "{held} permits of {PERMITS}");
    (0..rng.below(4)).for_each(|_| thread::yield_now());
    world.held.fetch_sub(1, SeqCst);
    drop(permit);
}
