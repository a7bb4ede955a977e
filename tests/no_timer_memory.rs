//! A pool whose timer's thread could not be started is freed when it is dropped; alone in its process, whose address space it limits
//! and whose allocations are counted.
#![cfg(target_os = "linux")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};
use std::time::Duration;

use common::proc::mapped_bytes;
use common::{LONG, panic_of, within};
use tollgate::Pool;

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

/// The stack of each worker. The timer's thread would have a stack of the same size.
const STACK: usize = 1 << 30;

/// How many pools are counted.
const POOLS: isize = 8;

/// Makes a pool, in which a delayed task finds no thread for the timer, and drops the pool.
fn refuse_a_delay() {
    let pool = Pool::builder().workers(2).stack_size(STACK).build().unwrap();
    limit_address_space(mapped_bytes() + STACK / 2);
    let job = pool.job(1);
    let said = panic_of(|| job.spawn_after(Duration::from_secs(3_600), || ()));
    assert!(said.contains("no thread for the pool's timer"), "{said}");
    drop((job, pool));
    limit_address_space(usize::MAX);
}

/// A pool of two workers takes about 10,000 bytes. The first pools pay for what the process allocates once.
#[test]
fn a_pool_is_freed_after_its_timers_thread_could_not_start() {
    within(LONG, || {
        (0..2).for_each(|_| refuse_a_delay());
        let before = BYTES.load(Relaxed);
        (0..POOLS).for_each(|_| refuse_a_delay());
        let kept = BYTES.load(Relaxed) - before;
        eprintln!("{kept} bytes more");
        assert!(kept < POOLS * 5_000, "{kept} bytes are kept");
    });
}

/// Limits the address space of this process to so many bytes.
fn limit_address_space(bytes: usize) {
    let room = libc::rlimit { rlim_cur: bytes as libc::rlim_t, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the pointer is to a live rlimit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const room) }, 0);
}
