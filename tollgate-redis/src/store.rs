//! The interface of a store of leases. Redis is one store, and the tests have another one in memory.

use std::time::Duration;

use crate::book::{Due, Id, Micros};
use crate::error::GateError;

/// A connection to a store. After an error the caller must drop the connection and make another one.
pub(crate) trait Store: Send {
    /// Requests a lease. A repeated request with the same id gets the same lease.
    fn acquire(&mut self, ask: &Ask<'_>) -> Result<Answer, GateError>;

    /// Waits until the store has room for this waiter, or `pause` has passed. May return early.
    fn wait(&mut self, waiter: &str, pause: Duration) -> Result<(), GateError>;

    /// Removes a waiter that waits no longer.
    fn leave(&mut self, waiter: &str) -> Result<(), GateError>;

    /// Sends releases and renewals. Returns for each renewal whether the lease was live.
    fn settle(&mut self, due: &Due, length: Micros) -> Result<Vec<bool>, GateError>;

    /// Sets the limit if the gate's revision is still `revision`. Returns false if it is not.
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
    /// A name of the client that people can read.
    pub(crate) holder: &'a str,
    /// The name under which the client waits if the gate is full. `None`: the client does not wait.
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
