//! loom's atomics and cells, with a check of freed memory: each access of an object must be ordered before its memory is freed.
//!
//! loom checks the accesses of one object against each other. A free is no such access. So a record or a cell could be freed
//! while the last access of another thread is not ordered before the free. Each access here notes the object's address.
//! `dealloc` (in `memory`) writes to each noted object in the memory that it frees, and loom fails a write that races with an
//! access.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Deref;

/// Writes to the object at an address. The object must be of the type that the function was made for.
type Write = unsafe fn(*const ());

thread_local! {
    /// The objects that were accessed, by address. One thread of the system runs all threads of a model.
    static SEEN: RefCell<BTreeMap<usize, Write>> = const { RefCell::new(BTreeMap::new()) };
}

fn note<T>(object: &T, write: Write) {
    let address = std::ptr::from_ref(object).addr();
    // After the end of the system's thread no access is noted.
    let _ = SEEN.try_with(|seen| seen.borrow_mut().insert(address, write));
}

/// Removes the notes of all objects in this memory, and returns them.
fn take(start: *mut u8, size: usize) -> Vec<(usize, Write)> {
    SEEN.try_with(|seen| {
        let mut seen = seen.borrow_mut();
        let within: Vec<_> = seen
            .range(start.addr()..start.addr() + size)
            .map(|(&at, &write)| (at, write))
            .collect();
        for (at, _) in &within {
            seen.remove(at);
        }
        within
    })
    .unwrap_or_default()
}

/// Notes that new memory begins here. Removes the notes of earlier objects at these addresses.
pub fn begin(start: *mut u8, size: usize) {
    take(start, size);
}

/// Checks memory that is about to be freed. Fails the model if an access of an object in it is not ordered before.
///
/// # Safety
/// The memory must still be allocated, and noted objects in it must not have been overwritten by other objects.
pub unsafe fn end(start: *mut u8, size: usize) {
    for (at, write) in take(start, size) {
        // SAFETY: by this function's contract the object is there, of the type that it was noted with.
        unsafe { write(start.with_addr(at).cast_const().cast()) };
    }
}

/// The cell of loom with the same name, whose accesses are noted.
#[derive(Debug)]
pub struct UnsafeCell<T>(loom::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    /// Makes a cell, as loom does.
    #[track_caller]
    pub fn new(value: T) -> Self {
        Self(loom::cell::UnsafeCell::new(value))
    }

    /// # Safety
    /// `at` must be the address of a cell of this type.
    unsafe fn write(at: *const ()) {
        // SAFETY: by this function's contract.
        unsafe { &*at.cast::<loom::cell::UnsafeCell<T>>() }.with_mut(|_| ());
    }
}

impl<T> Deref for UnsafeCell<T> {
    type Target = loom::cell::UnsafeCell<T>;

    fn deref(&self) -> &Self::Target {
        note(&self.0, Self::write);
        &self.0
    }
}

macro_rules! watched {
    ($($name:ident $(<$T:ident>)?: $value:ty, $check:expr;)*) => {$(
        /// The atomic of loom with the same name, whose accesses are noted.
        #[derive(Debug)]
        pub struct $name $(<$T>)? (loom::sync::atomic::$name $(<$T>)?);

        impl $(<$T>)? $name $(<$T>)? {
            /// Makes an atomic, as loom does.
            #[track_caller]
            pub fn new(value: $value) -> Self {
                Self(loom::sync::atomic::$name::new(value))
            }

            /// # Safety
            /// `at` must be the address of an atomic of this type, and no reference to it may be used meanwhile.
            unsafe fn write(at: *const ()) {
                // SAFETY: by this function's contract.
                let object = unsafe { &mut *at.cast_mut().cast::<loom::sync::atomic::$name $(<$T>)?>() };
                ($check)(object);
            }
        }

        impl $(<$T>)? Deref for $name $(<$T>)? {
            type Target = loom::sync::atomic::$name $(<$T>)?;

            fn deref(&self) -> &Self::Target {
                note(&self.0, Self::write);
                &self.0
            }
        }

        impl $(<$T>)? Default for $name $(<$T>)? {
            fn default() -> Self {
                Self(Default::default())
            }
        }
    )*};
}

watched! {
    // loom's `AtomicBool` has no such write. A load checks its stores, and not its loads.
    AtomicBool: bool, |object: &mut loom::sync::atomic::AtomicBool| {
        // SAFETY: by the caller's contract.
        unsafe { object.unsync_load() }
    };
    AtomicU32: u32, |object: &mut loom::sync::atomic::AtomicU32| object.with_mut(|_| ());
    AtomicU64: u64, |object: &mut loom::sync::atomic::AtomicU64| object.with_mut(|_| ());
    AtomicUsize: usize, |object: &mut loom::sync::atomic::AtomicUsize| object.with_mut(|_| ());
    AtomicPtr<T>: *mut T, |object: &mut loom::sync::atomic::AtomicPtr<T>| object.with_mut(|_| ());
}
