//! The ids of leases. What a process knows of its leases is in `tollgate-lease`, which also argues why it is safe.

pub(crate) use tollgate_lease::Micros;

/// What one client knows of its leases.
pub(crate) type Book = tollgate_lease::Book<Id>;

/// The requests that are due.
pub(crate) type Due = tollgate_lease::Due<Id>;

/// The id of one request for a permit, and of the lease that the request gets. It is never used for a second request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id {
    /// A random number, one for each open gate.
    pub(crate) client: u128,
    /// The number of the client's request, from 1 on.
    pub(crate) number: u64,
}
