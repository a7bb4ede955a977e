//! The future inside the `async-task`.

use crate::error::JoinError;
use crate::sync::atomic::Ordering;
use crate::task::Ran;
use crate::task::flights::flights;
use crate::task::handle::flight::{Flight, Stage, Visit};
use crate::task::handle::joint::Joint;
use std::pin::Pin;
use std::task::{self, Poll};

/// The future of the `async-task`: the cell's, once that is aloft.
pub(super) struct Body<F, T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    cell: *mut Joint<F, T>,
    flight: *const Flight,
}

// SAFETY: the future and its result are Send; the pointers are to what may be used on any thread by the
// one who has the runnable.
unsafe impl<F, T> Send for Body<F, T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
}

impl<F, T> Body<F, T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    pub(super) fn new(cell: *mut Joint<F, T>, flight: *const Flight) -> Self {
        Self { cell, flight }
    }

    fn flight(&self) -> &Flight {
        // SAFETY: it lies in one allocation with this.
        unsafe { &*self.flight }
    }

    fn visit(&self) -> Option<&Visit> {
        // Ordering: Relaxed; the one with the runnable has set it.
        let visit = self.flight().visit.load(Ordering::Relaxed);
        // SAFETY: it is on the stack of the one who runs this, below.
        unsafe { visit.as_ref() }
    }

    /// Ends the future, which was dropped just now.
    fn end(&self, outcome: Result<T, JoinError>) {
        let flight = self.flight();
        let job = flight.header.job;
        flight.set_stage(Stage::Ended);
        if let Some(task) = flights().take(job, self.cell.addr()) {
            task.detach();
        }
        // Ordering: Relaxed; the one with the runnable has it to itself.
        if flight.in_flight.load(Ordering::Relaxed) {
            job.pool().flight_ends();
        }
        let visit = self.visit();
        // SAFETY: it was claimed when it started, the slot is empty, and the queue's share is its.
        let ran = unsafe { Joint::end(self.cell, outcome) };
        if let Ran::Completed = ran {
            // Ordering: Relaxed; published by the permit that is given back.
            job.tally.completed.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(visit) = visit {
            visit.ended.set(true);
        }
    }
}

impl<F, T> Future for Body<F, T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        let flight = self.flight();
        if flight.stage() == Stage::First {
            return Poll::Pending;
        }
        // SAFETY: it is aloft, and this has the runnable.
        match unsafe { Joint::poll(self.cell, &flight.waits, cx) } {
            Poll::Pending => {
                let visit = self.visit().expect("a future is polled on a visit");
                visit.waits.set(flight.stay());
                Poll::Pending
            }
            Poll::Ready(outcome) => {
                self.end(outcome);
                Poll::Ready(())
            }
        }
    }
}

impl<F, T> Drop for Body<F, T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    fn drop(&mut self) {
        if self.flight().stage() == Stage::Ended {
            return;
        }
        // SAFETY: it is aloft, this has the runnable, and is the last to use the future.
        let outcome = unsafe { Joint::cancel_future(self.cell) };
        self.end(outcome);
    }
}
