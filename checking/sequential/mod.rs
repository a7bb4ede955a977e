//! Compares the job's word and the job's queue with plain integers and a plain deque, one operation at a time. For the fuzz
//! targets and the tests of this project. Module `fences` tests the fences of production builds. Not part of the published
//! library.

pub use crate::job::permits::sequential as permits;
pub use crate::job::queue::sequential as queue;

#[cfg(all(test, not(any(tollgate_loom, tollgate_shuttle))))]
mod fences;
#[cfg(all(test, not(tollgate_loom)))]
mod replay;
#[cfg(all(test, not(tollgate_loom)))]
mod tests;
