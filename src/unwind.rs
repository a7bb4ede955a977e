//! Where a panic of somebody else's code stops.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `f` and stops a panic in it.
///
/// The closure is given up either way, and the caller shows the panic on: what the closure has left
/// half done is as visible as after a panic in a thread of its own.
#[inline]
pub fn halt<T>(f: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(f))
}

/// Drops `value`; a panic in its drop ends here.
pub fn drop_quietly<T>(value: T) {
    if let Err(payload) = halt(|| drop(value)) {
        // A payload whose own drop panics is the last straw: it is leaked.
        if let Err(again) = halt(|| drop(payload)) {
            std::mem::forget(again);
        }
    }
}
