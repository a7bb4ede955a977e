//! Catches panics of user code, and reports misuse of this crate at the line of the caller.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs `f` and returns its result, or the payload of its panic.
///
/// `f` need not be unwind safe: `halt` consumes `f`, and the caller of `halt` reports the panic, as the join of a `std` thread
/// does.
#[inline]
pub fn halt<T>(f: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(f))
}

/// Drops `value` and ignores a panic of its destructor.
pub fn drop_quietly<T>(value: T) {
    if let Err(payload) = halt(|| drop(value)) {
        // If the destructor of the payload panics, too, the payload of that second panic is leaked.
        if let Err(again) = halt(|| drop(payload)) {
            std::mem::forget(again);
        }
    }
}

/// The message that [`refuse`] passes to [`at_caller`] by an unwind, for the caller of the public function. The panic hook
/// never sees this value.
struct Refusal(String);

/// Unwinds to [`at_caller`], which panics with `message` at the line of the caller. Each public function that can call `refuse`
/// must run its code inside `at_caller`.
#[cold]
pub fn refuse(message: String) -> ! {
    resume_unwind(Box::new(Refusal(message)))
}

/// Runs `f`. If `f` calls [`refuse`], panics with the message of `refuse` at the line of the caller.
#[inline]
#[track_caller]
pub fn at_caller<T>(f: impl FnOnce() -> T) -> T {
    match halt(f) {
        Ok(value) => value,
        Err(payload) => pass_on(payload),
    }
}

/// Continues the unwind of a caught panic. If the panic comes from [`refuse`], panics with the message of `refuse` at the line
/// of the caller instead.
#[cold]
#[track_caller]
pub fn pass_on(payload: Box<dyn Any + Send>) -> ! {
    match payload.downcast::<Refusal>() {
        Ok(refusal) => panic!("{}", refusal.0),
        Err(payload) => resume_unwind(payload),
    }
}
