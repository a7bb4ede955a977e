//! The counting arm: `std`'s atomics, whose read-modify-writes and fences are counted per thread.
//!
//! It is for the tests that hold the cost of each path to a written figure; timings wander, counts do
//! not. What crossbeam's deques do inside is not counted.

use std::cell::Cell;
use std::ops::Deref;
use std::sync::atomic::Ordering;

thread_local! {
    static COUNTS: Cell<Counts> = const { Cell::new(Counts { rmws: 0, fences: 0 }) };
}

/// What a thread has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Read-modify-writes.
    pub rmws: u64,
    /// Fences that are instructions of their own.
    pub fences: u64,
}

/// What the calling thread has done so far.
pub fn counts() -> Counts {
    COUNTS.with(Cell::get)
}

fn rmw() {
    // After the thread-local's end nothing is counted.
    let _ = COUNTS.try_with(|counts| {
        let Counts { rmws, fences } = counts.get();
        counts.set(Counts { rmws: rmws + 1, fences });
    });
}

/// Counts a fence.
pub fn count_fence() {
    let _ = COUNTS.try_with(|counts| {
        let Counts { rmws, fences } = counts.get();
        counts.set(Counts { rmws, fences: fences + 1 });
    });
}

/// Each method of the list counts, then does what `std`'s does; all others are `std`'s own.
macro_rules! counted {
    ($name:ident $(<$T:ident>)?, $value:ty: $($method:ident),*) => {
        /// As `std`'s, with its read-modify-writes counted.
        #[derive(Debug)]
        pub struct $name $(<$T>)? (std::sync::atomic::$name $(<$T>)?);

        impl $(<$T>)? $name $(<$T>)? {
            /// As `std`'s.
            pub const fn new(value: $value) -> Self {
                Self(std::sync::atomic::$name::new(value))
            }

            /// As `std`'s.
            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                rmw();
                self.0.compare_exchange(current, new, success, failure)
            }

            /// As `std`'s.
            pub fn compare_exchange_weak(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                rmw();
                self.0.compare_exchange_weak(current, new, success, failure)
            }

            /// As `std`'s.
            pub fn fetch_update(
                &self,
                set: Ordering,
                fetch: Ordering,
                f: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                rmw();
                self.0.fetch_update(set, fetch, f)
            }

            $(
                /// As `std`'s.
                pub fn $method(&self, value: $value, ordering: Ordering) -> $value {
                    rmw();
                    self.0.$method(value, ordering)
                }
            )*
        }

        impl $(<$T>)? Default for $name $(<$T>)? {
            fn default() -> Self {
                Self(Default::default())
            }
        }

        impl $(<$T>)? Deref for $name $(<$T>)? {
            type Target = std::sync::atomic::$name $(<$T>)?;

            fn deref(&self) -> &Self::Target {
                &self.0
            }
        }
    };
}

counted!(AtomicBool, bool: swap, fetch_or, fetch_and);
counted!(AtomicU32, u32: swap, fetch_add, fetch_sub, fetch_or, fetch_and, fetch_xor, fetch_max);
counted!(AtomicU64, u64: swap, fetch_add, fetch_sub, fetch_or, fetch_and, fetch_xor, fetch_max);
counted!(AtomicUsize, usize: swap, fetch_add, fetch_sub, fetch_or, fetch_and, fetch_xor, fetch_max);
counted!(AtomicPtr<T>, *mut T: swap);
