//! Tasks that are tried again: one cell from the push to the end of the last attempt.
//!
//! For each attempt the task waits in the queue, and needs a permit of each gate. Between two attempts the task's cell is in
//! the pool's timer, like the cell of a [delayed](super::delay) task. So the wait between attempts takes no permit and no
//! allocation.
//!
//! A worker that has made an attempt, after which another attempt must follow:
//! - `retry-1`: The worker writes the key of the next timer entry into the cell. Then the worker gives up its claim of the
//!   closure. If the handle has asked the task to end, the worker ends the task instead.
//! - `retry-2`: The worker arms the timer, and then checks whether another thread has claimed the closure meanwhile. If so, the
//!   worker takes the entry out of the timer, and injects the task, so that a worker drops the task.
//!
//! A thread that cancels a retried task by its handle:
//! - `stop-1`: The thread claims the closure. If a worker has claimed the closure, the thread asks the task to end instead. The
//!   claim and the request are changes of one word, the state word. So this thread claims the closure after the worker has
//!   given up its claim, or the worker finds the request (`retry-1`).
//! - `stop-2`: After the claim the thread takes the entry out of the timer. If the entry is not armed yet, the worker arms it
//!   later under the timer's lock, and then sees the claim (`retry-2`).

use crate::base::task::{CellPtr, Header, Ran, VTable};
use crate::error::JoinError;
use crate::job::cancels::note_gone;
use crate::job::events;
use crate::job::gate::is_dropped;
use crate::job::record::JobPtr;
use crate::pool::core::PoolPtr;
use crate::retry::{Attempts, Retried, Retry};
use crate::sync::time::Instant;
use crate::task::closure::{Face, HandleTable, Joint, Owner, is_claimed, is_empty};
use crate::task::delay::{Delay, give_back_busy_count};
use crate::task::handle::TaskHandle;
use crate::task::pointer::TaskPtr;
use crate::task::state::{CLAIMED, Claim, Reference, State};
use crate::unwind;
use crate::worker::context::Context;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// A closure that can be called again, and the number of its calls so far.
#[derive(Debug)]
pub struct Tried<F> {
    task: F,
    attempts: Attempts,
    /// The timer entry of the last wait between two attempts. `None` before the first such wait.
    delay: Option<Delay>,
}

/// The pool of a retried task. The task's cell is an owner of the pool, because a handle can use the timer after the job was
/// freed.
#[derive(Clone, Copy, Debug)]
pub struct OfPool(PoolPtr);

impl Owner for OfPool {
    fn freed(self) {
        self.0.disown(1);
    }
}

/// Makes the cell and the handle of a closure that is tried again while it fails.
pub fn retried<F, T, E>(job: JobPtr, policy: Retry, task: F) -> (CellPtr, TaskHandle<Retried<T, E>>)
where
    F: FnMut() -> Result<T, E> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    job.pool_ptr().own();
    let header = Header::new(&Again::<F, T, E>::AGAIN, job.opaque());
    let tried = Tried { task, attempts: Attempts::new(policy), delay: None };
    let cell = Again::<F, T, E>::make(header, State::of_closure(), OfPool(job.pool_ptr()), tried);
    let handle = TaskHandle::new(TaskPtr { cell, table: &Again::<F, T, E>::AGAIN_HANDLE });
    (CellPtr::new(cell.cast()), handle)
}

/// The cell of a closure that is called again while it fails.
type Again<F, T, E> = Joint<Tried<F>, Retried<T, E>, OfPool>;

/// What a worker must do after an attempt.
enum Then<T, E> {
    /// The worker must end the task with this outcome.
    End(Result<Retried<T, E>, JoinError>),
    /// The attempt has failed with this result. The worker must arm the next attempt for this time.
    Again(Instant, Retried<T, E>),
}

impl<F, T, E> Again<F, T, E>
where
    F: FnMut() -> Result<T, E> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    const AGAIN: VTable = VTable {
        is_gone: is_empty,
        is_claimed,
        free: Self::free,
        ..VTable::of::<Self>(Self::run_attempt, Self::cancel_attempt)
    };
    const AGAIN_HANDLE: HandleTable = HandleTable {
        // A retried task never runs inline: after a failed inline attempt the timer would have the cell although a queue still
        // has it.
        run: None,
        cancel: Self::cancel_by_handle_between,
        outcome: Self::outcome,
        is_future: false,
        is_delayed: false,
    };

    /// Runs one attempt of the task on a worker.
    ///
    /// # Safety
    /// The cell must be of the type `Self`, and the caller must have taken it from its queue.
    unsafe fn run_attempt(cell: CellPtr) -> Ran {
        let whole = cell.cast::<Self>();
        // SAFETY: the caller took the cell from its queue, and the queue's reference keeps it alive.
        let this = unsafe { whole.as_ref() };
        if this.state.claim(false) != Claim::Granted {
            cell.job().count_cancelled();
            // SAFETY: the caller has the queue's reference. The thread that claimed the closure drops the closure.
            unsafe { Face::release(cell.cast(), Reference::Queue) };
            return Ran::Cancelled;
        }
        // SAFETY: this thread claimed the closure just now.
        let then = unsafe { this.attempt(cell) };
        let outcome = match then {
            Then::End(outcome) => outcome,
            // SAFETY: this thread has the claim and the queue's reference.
            Then::Again(when, failed) => match unsafe { Self::wait_again(cell, when) } {
                true => {
                    unwind::drop_quietly(failed);
                    return Ran::Counted;
                }
                false => Ok(failed),
            },
        };
        // SAFETY: this thread has the claim, and the closure is not used again.
        unsafe { this.drop_task() };
        let job = this.header.job();
        job.tally.count(outcome.is_ok());
        if outcome.is_err() {
            events::panicked(job);
        }
        // SAFETY: this thread has the claim and the queue's reference, and the closure was dropped just now.
        unsafe { Self::finish(whole, outcome, Some(Reference::Queue)) };
        Ran::Counted
    }

    /// Calls the closure once. Returns whether the task has ended or needs another attempt.
    ///
    /// # Safety
    /// The closure must be in the cell's field `slot`, and the caller must have claimed the closure.
    unsafe fn attempt(&self, cell: CellPtr) -> Then<T, E> {
        let job = self.header.job();
        self.slot.with_mut(|slot| {
            // SAFETY: the caller claimed the closure, so it owns the closure in the slot.
            let tried = unsafe { &mut *(*slot).task };
            let attempts = tried.attempts.count();
            let mut call = || unwind::halt(|| (tried.task)());
            let result = Context::with(|context| match context {
                Some(context) => context.as_task(cell.as_ptr().addr(), Some(cell), call),
                None => call(),
            });
            let result = match result {
                Ok(result) => result,
                Err(payload) => return Then::End(Err(JoinError::panicked(payload))),
            };
            let retried = Retried { result, attempts };
            if retried.result.is_ok() || is_dropped(job) {
                return Then::End(Ok(retried));
            }
            match tried.attempts.next_delay() {
                Some(delay) => Then::Again(job.pool().after(delay), retried),
                None => Then::End(Ok(retried)),
            }
        })
    }

    /// Puts the task into the timer until its next attempt, and returns true: the caller must not use the cell afterwards. If
    /// the handle has asked the task to end, returns false: the caller must end the task.
    ///
    /// # Safety
    /// The cell must be of the type `Self`. The closure must be in the cell's field `slot`. The caller must have claimed the
    /// closure, and must have the queue's reference.
    unsafe fn wait_again(cell: CellPtr, when: Instant) -> bool {
        // SAFETY: the cell is of the type `Self`, and the reference that is added below keeps it alive.
        let this = unsafe { cell.cast::<Self>().as_ref() };
        let delay = Delay::again(this.owner().0, when);
        this.slot.with_mut(|slot| {
            // SAFETY: the caller claimed the closure, so it owns the closure in the slot.
            unsafe { &mut *(*slot).task }.delay = Some(delay);
        });
        this.state.add(Reference::Waker);
        let goes_on = this.state.again(); // retry-1
        if goes_on {
            // The result needs no check: if the timer's thread cannot be started, `arm` drops the task itself.
            let _ = delay.arm(cell);
            // A thread that cancels the task by its handle might have claimed the closure before the timer was armed (`retry-2`).
            // That thread found no entry, so this thread takes the entry out.
            if this.state.load().has(CLAIMED) {
                delay.take_back();
            }
        }
        // SAFETY: the reference was added above. If it is the last, the task has ended, and its outcome was taken or dropped.
        unsafe { Face::release(cell.cast(), Reference::Waker) };
        goes_on
    }

    /// Drops the task without a further attempt, and reports it as cancelled.
    ///
    /// # Safety
    /// The cell must be of the type `Self`, and the caller must have taken it from its queue.
    unsafe fn cancel_attempt(cell: CellPtr) {
        let whole = cell.cast::<Self>();
        cell.job().count_cancelled();
        // SAFETY: the caller took the cell from its queue, and the queue's reference keeps it alive.
        if unsafe { whole.as_ref() }.state.claim(false) == Claim::Granted {
            // SAFETY: this thread has claimed the closure, and has the queue's reference.
            unsafe { Self::drop_claimed(whole, JoinError::Cancelled, Some(Reference::Queue)) };
        } else {
            // SAFETY: the caller has the queue's reference. The thread that claimed the closure drops the closure.
            unsafe { Face::release(cell.cast(), Reference::Queue) };
        }
    }

    /// Cancels the task if no attempt is running, and returns true. If an attempt is running, makes it the last attempt, and
    /// returns false. [`TaskHandle::cancel`] calls this function.
    ///
    /// # Safety
    /// The cell must be of the type `Self`, and the caller must have the handle's reference.
    unsafe fn cancel_by_handle_between(cell: NonNull<Face>) -> bool {
        let whole = cell.cast::<Self>();
        // SAFETY: the cell is of the type `Self`, and the handle's reference keeps it alive.
        let this = unsafe { whole.as_ref() };
        while this.state.claim(false) != Claim::Granted {
            if this.state.ask() {
                return false; // stop-1
            }
        }
        let job = this.header.job();
        let delay = this.slot.with_mut(|slot| {
            // SAFETY: this thread claimed the closure just now, so it owns the closure in the slot.
            unsafe { &mut *(*slot).task }.delay.take()
        });
        if delay.is_some_and(Delay::take_out) {
            // This thread has taken the entry, and so owns the queue's reference and a busy count (stop-2).
            job.count_cancelled();
            // SAFETY: this thread has claimed the closure, and owns the entry's reference since it took the entry out.
            unsafe { Self::drop_claimed(whole, JoinError::Cancelled, Some(Reference::Queue)) };
            give_back_busy_count(job);
        } else {
            // SAFETY: this thread has claimed the closure, and the handle has a reference.
            unsafe { Self::drop_claimed(whole, JoinError::Cancelled, None) };
            note_gone(job);
        }
        true
    }

    /// Drops the closure, and ignores a panic of its destructor.
    ///
    /// # Safety
    /// The closure must still be in the field `slot`, and the caller must have claimed the closure. No thread may use the closure
    /// again.
    unsafe fn drop_task(&self) {
        let tried = self.slot.with_mut(|slot| {
            // SAFETY: the caller claimed the closure, so the slot holds the closure. The slot is not used again.
            unsafe { ManuallyDrop::take(&mut (*slot).task) }
        });
        unwind::drop_quietly(tried);
    }
}
