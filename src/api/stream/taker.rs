//! The common part of the iterators of `Job::map` and `Scope::map`.

use crate::api::job::Job;
use crate::api::stream::pump::{self, Keeper, Next, Pump};
use crate::error::JoinError;
use crate::unwind;
use std::fmt::{self, DebugStruct};

/// Takes the results of a stream. Dropping this value ends the stream.
pub struct Taker<'a, R> {
    pub pump: Box<dyn Pump<R> + 'a>,
    /// The number of results that the iterator has taken.
    taken: u64,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The iterator can yield further results.
    Going,
    /// The job was closed before the iterator was made. The iterator yields one item, the error `Cancelled`.
    Refused,
    /// The iterator has yielded all items.
    Over,
}

impl<'a, R> Taker<'a, R> {
    /// Makes a stream, and the value that takes the stream's results. `keeper` makes the stream's pullers, which are
    /// tasks of `job`.
    ///
    /// # Safety
    /// The caller must meet the conditions of [`pump::make`].
    pub unsafe fn new<I, F, K>(job: &Job, input: I, f: F, keeper: K) -> Self
    where
        I: Iterator + Send + 'a,
        F: Fn(I::Item) -> R + Send + Sync + 'a,
        R: Send + 'a,
        K: Keeper + 'a,
    {
        let stage = if job.accepts() { Stage::Going } else { Stage::Refused };
        // SAFETY: by this function's contract.
        let pump = unsafe { pump::make(job.clone(), input, f, keeper) };
        Self { pump, taken: 0, stage }
    }

    /// Waits for the next result. Returns `None` after the last one.
    #[track_caller]
    pub fn next(&mut self) -> Option<Result<R, JoinError>> {
        let next = match self.stage {
            Stage::Going => unwind::at_caller(|| self.pump.next(self.taken)),
            Stage::Refused => Next::Cancelled,
            Stage::Over => Next::End,
        };
        match next {
            Next::Result(result) => {
                self.taken += 1;
                Some(result)
            }
            Next::Cancelled => {
                self.stage = Stage::Over;
                Some(Err(JoinError::Cancelled))
            }
            Next::End => {
                self.stage = Stage::Over;
                None
            }
        }
    }

    /// Writes the debug output of an iterator.
    pub fn describe(&self, f: &mut DebugStruct<'_, '_>) -> fmt::Result {
        self.pump.describe(f.field("taken", &self.taken)).finish()
    }
}

impl<R> Drop for Taker<'_, R> {
    fn drop(&mut self) {
        self.pump.stop();
    }
}
