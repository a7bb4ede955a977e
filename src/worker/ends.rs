//! Ends a turn when its time has passed.
//!
//! - `time-1`: A worker that begins a turn of a job with a turn time reads the clock. From then on the worker checks after each
//!   task whether the turn ends, and not only after each 16 tasks.
//! - `time-2`: At each of these checks the worker reads the clock again. If the turn's time has passed and another task waits,
//!   the turn ends.

use crate::job::gate::is_waited_for;
use crate::worker::context::Context;

impl Context {
    /// Returns true if the time of the turn has passed, or if the turn has no start time. Call this only in a turn with a
    /// turn time.
    pub fn is_out_of_time(&self) -> bool {
        let (began, most) = (self.lease().began.get(), self.lease().turns.get().time);
        // If a turn with a child job begins with a woken future, the turn has no start time. The turn's time counts as passed,
        // because the future had a turn before it was pending (time-2).
        let Some((began, most)) = began.zip(most) else { return true };
        self.pool().now().saturating_duration_since(began) >= most
    }

    /// Returns true if tasks of other jobs wait for this worker, or tasks of siblings wait in the queue of an ancestor.
    pub fn is_turn_wanted(&self) -> bool {
        self.others_wait() || self.lease().parent.get().is_some_and(is_waited_for)
    }
}
