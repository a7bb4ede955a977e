//! The counting arm: the atomics of `std`, with a count of each thread's read-modify-writes and fences.
//!
//! Tests compare these counts with written figures, because times vary and counts do not. Atomics inside crossbeam's deques are
//! not counted.

use std::cell::Cell;
use std::ops::Deref;
use std::sync::atomic::Ordering;

thread_local! {
    static COUNTS: Cell<Counts> = const { Cell::new(Counts { rmws: 0, fences: 0 }) };
}

/// The operations that one thread has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The number of read-modify-writes.
    pub rmws: u64,
    /// The number of fences that are instructions of their own.
    pub fences: u64,
}

/// Returns the counts of the calling thread.
pub fn counts() -> Counts {
    COUNTS.with(Cell::get)
}

fn rmw() {
    // After the end of the thread-local, operations are not counted.
    let _ = COUNTS.try_with(|counts| {
        let Counts { rmws, fences } = counts.get();
        counts.set(Counts { rmws: rmws + 1, fences });
    });
}

/// Adds one to the calling thread's count of fences.
pub fn count_fence() {
    let _ = COUNTS.try_with(|counts| {
        let Counts { rmws, fences } = counts.get();
        counts.set(Counts { rmws, fences: fences + 1 });
    });
}

/// Declares an atomic. Its listed methods count, and then do what the methods of `std` do. All other methods are those of
/// `std`.
macro_rules! counted {
    ($name:ident $(<$T:ident>)?, $value:ty: $($method:ident),*) => {
        /// The atomic of `std` with this name. Its read-modify-writes are counted.
        #[derive(Debug)]
        pub struct $name $(<$T>)? (std::sync::atomic::$name $(<$T>)?);

        impl $(<$T>)? $name $(<$T>)? {
            /// Makes an atomic, as `std` does.
            pub const fn new(value: $value) -> Self {
                Self(std::sync::atomic::$name::new(value))
            }

            /// Counts a read-modify-write, and does it as `std` does.
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

            /// Counts a read-modify-write, and does it as `std` does.
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

            /// Counts a read-modify-write, and does it as `std` does.
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
                /// Counts a read-modify-write, and does it as `std` does.
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
