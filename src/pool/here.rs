//! The place of a worker's thread in its pool: the pool, the thread's seat, and the number of records that the thread has
//! freed.

use crate::base::queues::Seat;
use crate::pool::core::{PoolPtr, Shared};
use crate::sync::atomic::Ordering;
use crate::sync::{fence_after_rmw, thread_static};
use std::cell::Cell;
use std::ptr;

thread_static! {
    static HERE: Cell<*const Here> = Cell::new(ptr::null());
}

/// What one thread of a pool knows about itself: its pool, and the seat that it has now.
#[derive(Debug)]
pub struct Here {
    pool: PoolPtr,
    seat: Cell<*const Seat>,
    /// The number of job records that this thread has freed. The thread subtracts this number from the pool's owners when the
    /// thread ends.
    freed_records: Cell<u64>,
}

impl Here {
    /// Makes the place of a thread of `pool` that has no seat yet.
    pub fn new(pool: PoolPtr) -> Self {
        Self { pool, seat: Cell::new(ptr::null()), freed_records: Cell::new(0) }
    }

    /// Runs `f` while this value is the calling thread's place.
    pub fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        HERE.with(|here| here.set(self));
        let out = f();
        HERE.with(|here| here.set(ptr::null()));
        out
    }

    /// Runs `f` with the calling thread's place in its pool, or with `None` if the thread belongs to no pool.
    #[inline]
    pub fn with<R>(f: impl FnOnce(Option<&Self>) -> R) -> R {
        let here = HERE.try_with(Cell::get).unwrap_or(ptr::null());
        // SAFETY: `enter` keeps the place alive while the pointer is set, on this thread.
        f(unsafe { here.as_ref() })
    }

    /// Runs `f` with the calling thread's place and returns true, if the thread belongs to `pool`. Otherwise only returns
    /// false.
    #[inline]
    pub fn of_pool(pool: PoolPtr, f: impl FnOnce(&Self)) -> bool {
        Self::with(|here| match here {
            Some(here) if here.pool == pool => {
                f(here);
                true
            }
            _ => false,
        })
    }

    /// Returns the state that all threads of the pool share.
    #[inline]
    pub fn pool(&self) -> &Shared {
        self.pool.shared()
    }

    /// Returns the pointer to this thread's pool.
    #[inline]
    pub fn pool_ptr(&self) -> PoolPtr {
        self.pool
    }

    /// Returns the thread's seat, or `None` if the thread has no seat, for instance because it has lent its seat.
    #[inline]
    pub fn seat(&self) -> Option<&Seat> {
        // SAFETY: seats live as long as their pool, and the thread is an owner of the pool.
        unsafe { self.seat.get().as_ref() }
    }

    /// Notes which seat the thread uses from now on. `None` means that the thread has lent or left its seat.
    pub fn sit(&self, seat: Option<&Seat>) {
        self.seat.set(seat.map_or(ptr::null(), ptr::from_ref));
    }

    /// Returns how many owners the thread must subtract from the pool's owners when it ends: one for itself, and one for each
    /// job record that it has freed.
    pub fn owners(&self) -> u64 {
        self.freed_records.replace(0) + 1
    }
}

impl PoolPtr {
    /// Subtracts one owner of the pool. Call it when a job record of the pool was freed. On a thread of this pool, only counts
    /// this owner: the thread subtracts all counted owners when it ends.
    #[inline]
    pub fn record_freed(self) {
        if !Here::of_pool(self, |here| here.freed_records.set(here.freed_records.get() + 1)) {
            self.disown(1);
        }
    }
}

impl Shared {
    /// Counts a flight, for which a drain waits: a pending future, or a permit without a task.
    pub fn flight_starts(&self) {
        self.add_flights(1);
    }

    /// Subtracts a flight: a pending future that has ended, or a permit without a task that was given back. If a drain waits
    /// for nothing else, the drain ends.
    pub fn flight_ends(&self) {
        self.add_flights(1_u64.wrapping_neg());
    }

    fn add_flights(&self, change: u64) {
        let here = Here::with(|here| {
            let seat = here.filter(|here| std::ptr::eq(here.pool(), self))?.seat()?;
            seat.add_flights(change);
            Some(())
        });
        if here.is_none() {
            // Ordering: AcqRel; read under the sleepers' lock.
            self.flights.fetch_add(change, Ordering::AcqRel);
            // Because of the fence, this thread sees that the pool is draining, or the draining thread sees the changed number
            // of flights.
            fence_after_rmw();
            if self.draining() {
                self.sleep.reconsider_drain(|| self.is_busy());
            }
        }
    }
}
