//! Stops panics of user code.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `f` and returns its result, or the payload of its panic.
///
/// `f` need not be unwind safe. It is consumed here, and the caller reports the panic, as a join of a thread does.
#[inline]
pub fn halt<T>(f: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(f))
}

/// Drops `value` and ignores a panic of its destructor.
pub fn drop_quietly<T>(value: T) {
    if let Err(payload) = halt(|| drop(value)) {
        // If the destructor of the payload panics, too, the second payload is leaked.
        if let Err(again) = halt(|| drop(payload)) {
            std::mem::forget(again);
        }
    }
}
