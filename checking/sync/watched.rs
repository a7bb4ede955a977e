//! loom's atomics and cells, watched: where memory is freed, every access of what lay in it must have come before.
//!
//! loom checks the accesses of one object against each other. A free is none of them, so a record or a cell could be freed
//! while another thread's last access is not ordered before that. Each access here notes the object's address. `dealloc`
//! (in `memory`) writes to each object noted in the memory that it frees, and loom fails a write that an access races with.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Deref;

/// Writes to the object at this address, of the type that the function was made for.
type Write = unsafe fn(*const ());

thread_local! {
    /// The objects that were accessed, by address. One thread of the system runs all of a model's threads.
    static SEEN: RefCell<BTreeMap<usize, Write>> = const { RefCell::new(BTreeMap::new()) };
}

fn note<T>(object: &T, write: Write) {
    let address = std::ptr::from_ref(object).addr();
    // At the end of the thread of the system nothing is noted.
    let _ = SEEN.try_with(|seen| seen.borrow_mut().insert(address, write));
}

/// Forgets what was noted in this memory, and returns it.
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

/// New memory begins here: what was noted at these addresses is gone.
pub fn begin(start: *mut u8, size: usize) {
    take(start, size);
}

/// The memory is about to be freed. Fails the model if an access of what lies in it is not ordered before.
///
/// # Safety
/// The memory is still allocated, and what was accessed in it has not been overwritten by anything else.
pub unsafe fn end(start: *mut u8, size: usize) {
    for (at, write) in take(start, size) {
        // SAFETY: by this function's contract the object is there, of the type that it was noted with.
        unsafe { write(start.with_addr(at).cast_const().cast()) };
    }
}

/// As loom's cell of the same name.
#[derive(Debug)]
pub struct UnsafeCell<T>(loom::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    /// As loom's.
    #[track_caller]
    pub fn new(value: T) -> Self {
        Self(loom::cell::UnsafeCell::new(value))
    }

    /// # Safety
    /// A cell of this type is at `at`.
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
        /// As loom's atomic of the same name.
        #[derive(Debug)]
        pub struct $name $(<$T>)? (loom::sync::atomic::$name $(<$T>)?);

        impl $(<$T>)? $name $(<$T>)? {
            /// As loom's.
            #[track_caller]
            pub fn new(value: $value) -> Self {
                Self(loom::sync::atomic::$name::new(value))
            }

            /// # Safety
            /// An atomic of this type is at `at`, and no reference to it is used meanwhile.
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
    // loom has no write to it. A load checks its stores, and not its loads.
    AtomicBool: bool, |object: &mut loom::sync::atomic::AtomicBool| {
        // SAFETY: by the caller's contract.
        unsafe { object.unsync_load() }
    };
    AtomicU32: u32, |object: &mut loom::sync::atomic::AtomicU32| object.with_mut(|_| ());
    AtomicU64: u64, |object: &mut loom::sync::atomic::AtomicU64| object.with_mut(|_| ());
    AtomicUsize: usize, |object: &mut loom::sync::atomic::AtomicUsize| object.with_mut(|_| ());
    AtomicPtr<T>: *mut T, |object: &mut loom::sync::atomic::AtomicPtr<T>| object.with_mut(|_| ());
}
