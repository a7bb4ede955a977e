//! The name of a task, which the task's cell stores as the task's [`Owner`].

use crate::task::closure::Owner;
use std::ptr::NonNull;

/// The name of a task. The task's cell owns the memory, and frees it when the cell is freed.
#[derive(Clone, Copy, Debug)]
pub struct Named(NonNull<str>);

// SAFETY: the text never changes, and is freed once, by `freed`.
unsafe impl Send for Named {}

impl Named {
    /// Makes the name of one task. The returned value must be stored only in the cell of that task.
    pub fn new(name: String) -> Self {
        Self(NonNull::from(Box::leak(name.into_boxed_str())))
    }
}

impl Owner for Named {
    const NAME: Option<fn(Self) -> NonNull<str>> = Some(|name| name.0);

    fn freed(self) {
        // SAFETY: the text came from `Box::leak`. The cell was freed just now, and no other cell had this pointer.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}
