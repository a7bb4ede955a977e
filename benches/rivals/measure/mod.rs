//! What all workloads measure with: the count of completed tasks, the clock, a latch, medians, the allocators.

pub(crate) mod allocator;
pub(crate) mod clock;
pub(crate) mod count;
pub(crate) mod latch;
pub(crate) mod limits;
pub(crate) mod memory;
pub(crate) mod neighbour;
pub(crate) mod stats;
