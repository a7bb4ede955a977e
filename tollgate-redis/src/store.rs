//! What the protocol needs from a store. Redis is one; the tests have one in memory.

use std::time::Duration;

use crate::book::{Due, Id, Micros};
use crate::error::GateError;

/// A connection to a store. After an error the caller drops it and makes another one.
pub(crate) trait Store: Send {
    /// Requests a lease. A repeated request with the same id gets the same lease.
    fn acquire(&mut self, ask: &Ask<'_>) -> Result<Answer, GateError>;

    /// Waits until the store has room for this waiter, or `pause` has passed. May return early.
    fn wait(&mut self, waiter: &str, pause: Duration) -> Result<(), GateError>;

    /// Removes a waiter that does not wait any more.
    fn leave(&mut self, waiter: &str) -> Result<(), GateError>;

    /// Releases and renews. Returns for each renewal whether the lease was live.
    fn settle(&mut self, due: &Due, length: Micros) -> Result<Vec<bool>, GateError>;

    /// Sets the limit if the revision has not changed. Returns false if it has.
    fn set_limit(&mut self, limit: u32, revision: u64) -> Result<bool, GateError>;

    /// Reads the state of the gate.
    fn explain(&mut self) -> Result<Overview, GateError>;
}

/// Makes connections to a store.
pub(crate) trait Backend: Send + Sync {
    fn connect(&self, timeout: Duration) -> Result<Box<dyn Store>, GateError>;
}

/// A request for a lease.
pub(crate) struct Ask<'a> {
    pub(crate) id: Id,
    pub(crate) length: Micros,
    /// A name of the client, for people.
    pub(crate) holder: &'a str,
    /// The name under which the client waits if the gate is full.
    pub(crate) waiter: Option<&'a str>,
}

/// The answer to a request for a lease.
pub(crate) enum Answer {
    Granted {
        fence: u64,
    },
    Full {
        /// The time until the earliest lease ends, in microseconds.
        next_end: Micros,
    },
}

/// The state of a gate at the store.
pub(crate) struct Overview {
    pub(crate) limit: u32,
    pub(crate) revision: u64,
    pub(crate) waiting: usize,
    pub(crate) held: Vec<HeldRow>,
}

/// One lease at the store. Times are relative to the store's clock at the answer.
pub(crate) struct HeldRow {
    pub(crate) id: String,
    pub(crate) fence: u64,
    pub(crate) holder: String,
    pub(crate) since: Duration,
    pub(crate) left: Duration,
}
