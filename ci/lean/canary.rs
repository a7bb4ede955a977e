//! Does wrong on purpose what its argument says: a tool that does not report it sees nothing else, either.

use std::alloc::{Layout, alloc};
use std::cell::UnsafeCell;
use std::hint::black_box;
use std::mem::forget;
use std::thread;

struct Shared(UnsafeCell<u64>);

// SAFETY: none; this is the race.
unsafe impl Sync for Shared {}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("race") => {
            static SHARED: Shared = Shared(UnsafeCell::new(0));
            // SAFETY: none; the two threads race.
            let write = |value| unsafe { SHARED.0.get().write_volatile(value) };
            let other = thread::spawn(move || write(1));
            write(2);
            other.join().unwrap();
        }
        Some("use-after-free") => {
            let freed = Box::into_raw(Box::new(black_box(1_u64)));
            // SAFETY: it came from a box.
            drop(unsafe { Box::from_raw(freed) });
            // SAFETY: none; it is free.
            black_box(unsafe { freed.read_volatile() });
        }
        Some("leak") => {
            // On a thread of its own, whose stack is gone when leaks are looked for.
            thread::spawn(|| (0..100).for_each(|i| forget(black_box(Box::new(i))))).join().unwrap();
        }
        Some("uninitialised") => {
            // SAFETY: the layout is not of size zero; what is read was never written.
            let value = unsafe { alloc(Layout::new::<u64>()).cast::<u64>().read_volatile() };
            if value == 1 {
                println!("one");
            }
        }
        _ => panic!("say race, use-after-free, leak or uninitialised"),
    }
}
