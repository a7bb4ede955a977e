//! *keys_are_free*: what an idle key takes; alone in its process, whose allocations are counted.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};
use std::thread::sleep;
use std::time::Duration;

use common::{LONG, pool, within};

/// Counts the bytes that are allocated.
struct Counting;

static BYTES: AtomicIsize = AtomicIsize::new(0);

// SAFETY: all calls go on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size() as isize, Relaxed);
        // SAFETY: by this function's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size() as isize, Relaxed);
        // SAFETY: by this function's contract.
        unsafe { System.dealloc(memory, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The figure at its worst, just after maps have grown, counts. What the keys took is given back: a little that the pool and its
/// threads keep may stay.
#[test]
fn an_idle_key_of_16_bytes_takes_at_most_200_bytes_and_leaves_nothing() {
    const KEYS: usize = 50_000;
    within(LONG, || {
        let pool = pool(1);
        let jobs = pool.job_builder().keyed::<[u8; 16]>(|_, builder| builder.limit(1));
        // The handles keep the keys, and are not counted.
        let mut handles = Vec::with_capacity(KEYS);
        let (before, mut most) = (BYTES.load(Relaxed), 0);
        for number in 1..=KEYS {
            handles.push(jobs.job(&(number as u128).to_ne_bytes()));
            if number >= KEYS / 10 {
                most = most.max((BYTES.load(Relaxed) - before) / number as isize);
            }
        }
        let last = (BYTES.load(Relaxed) - before) / KEYS as isize;
        eprintln!("{most} bytes for a key at most, {last} at last");
        assert!(most <= 200, "{most} bytes for a key");

        handles.clear();
        assert_eq!(jobs.evict_idle(), KEYS);
        // A worker that finds nothing to do gives slabs back, and then parks.
        while BYTES.load(Relaxed) - before > 4 << 20 {
            pool.job(1).spawn(|| ()).join().unwrap();
            while pool.stats().parked == 0 {
                sleep(Duration::from_millis(1));
            }
        }
    });
}
