//! A pool whose timer's thread could not be started is freed when it is dropped; alone in its process, whose address space it limits
//! and whose allocations are counted.
#![cfg(target_os = "linux")]

#[path = "common/allocated.rs"]
mod allocated;
mod common;

use allocated::allocated;
use common::proc::mapped_bytes;
use common::{LONG, SECOND, panic_of, within};
use tollgate::Pool;

/// The stack of each worker. The timer's thread would have a stack of the same size.
const STACK: usize = 1 << 30;

/// How many pools are counted.
const POOLS: isize = 8;

/// Makes a pool, in which a delayed task finds no thread for the timer, and drops the pool.
fn refuse_a_delay() {
    let pool = Pool::builder().workers(2).stack_size(STACK).build().unwrap();
    limit_address_space(mapped_bytes() + STACK / 2);
    let job = pool.job(1);
    let said = panic_of(|| job.spawn_after(SECOND, || ()));
    assert!(said.contains("no thread for the pool's timer"), "{said}");
    drop((job, pool));
    limit_address_space(usize::MAX);
}

/// A pool of two workers takes about 10,000 bytes. The first pools pay for what the process allocates once.
#[test]
fn a_pool_is_freed_after_its_timers_thread_could_not_start() {
    within(LONG, || {
        (0..2).for_each(|_| refuse_a_delay());
        let before = allocated();
        (0..POOLS).for_each(|_| refuse_a_delay());
        let kept = allocated() - before;
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
