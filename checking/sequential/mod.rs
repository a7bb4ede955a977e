//! The job's word and its backlog, held to what they are when one thing is done after the other: plain integers, and
//! a deque. For the fuzz targets and the tests here; not part of the library.

pub use crate::job::permits::sequential as permits;
pub use crate::job::queue::sequential as queue;

#[cfg(all(test, not(tollgate_loom)))]
mod replay;
#[cfg(all(test, not(tollgate_loom)))]
mod tests;
