//! A pool whose spare worker could not be started is freed when it is dropped; alone in its process, whose address space it limits
//! and whose allocations are counted.
#![cfg(target_os = "linux")]

#[path = "common/allocated.rs"]
mod allocated;
mod common;

use allocated::allocated;
use common::proc::mapped_bytes;
use common::{LONG, job_without_inline_tasks, panic_of, within};
use tollgate::Pool;

/// The stack of each worker, and of each spare worker.
const STACK: usize = 1 << 30;

/// How many pools are counted.
const POOLS: isize = 8;

/// Makes a pool, in which a join finds no thread for a spare worker, and drops the pool.
fn refuse_a_join() {
    let pool = Pool::builder().workers(1).stack_size(STACK).build().unwrap();
    limit_address_space(mapped_bytes() + STACK / 2);
    let (job, other) = (pool.job(1), job_without_inline_tasks(&pool));
    let waits = job.spawn(move || panic_of(|| other.spawn(|| ()).join()));
    let said = waits.join().unwrap();
    assert!(said.contains("no thread for a spare worker"), "{said}");
    drop((job, pool));
    limit_address_space(usize::MAX);
}

/// A pool of one worker takes about 8,000 bytes. The first pools pay for what the process allocates once. The test harness keeps
/// what each refused join prints, about 1,000 bytes.
#[test]
fn a_pool_is_freed_after_its_spare_worker_could_not_start() {
    within(LONG, || {
        (0..2).for_each(|_| refuse_a_join());
        let before = allocated();
        (0..POOLS).for_each(|_| refuse_a_join());
        let kept = allocated() - before;
        eprintln!("{kept} bytes more");
        assert!(kept < POOLS * 4_000, "{kept} bytes are kept");
    });
}

/// Limits the address space of this process to so many bytes.
fn limit_address_space(bytes: usize) {
    let room = libc::rlimit { rlim_cur: bytes as libc::rlim_t, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the pointer is to a live rlimit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const room) }, 0);
}
