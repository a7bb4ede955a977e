//! Runs the fences of production builds on the processor at hand. Loom and shuttle replace these fences, so no model runs them.

use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{fence_after_rmw, full_fence};
use crossbeam_utils::CachePadded;
use std::thread;

/// The number of rounds. Without a fence, both loads missed the stores in 45 to 700 of 30,000 rounds, on two cores of an
/// Intel Xeon.
const ROUNDS: u32 = 50_000;
/// The number of cache lines that both threads write first in each round. A processor makes its stores visible in their order,
/// so these stores delay the one that the test is about.
const DELAYS: usize = 24;
/// The number of checks after which a thread that waits for the other one yields the processor.
const SPINS: u32 = 100;

/// One test at a time: each keeps two cores busy at once.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// One thread's variable, and the number of rounds that this thread has begun.
#[derive(Default)]
struct Side {
    written: CachePadded<AtomicU32>,
    begun: CachePadded<AtomicU32>,
}

type Delays = [CachePadded<AtomicU32>; DELAYS];

/// In each round calls `write` with this thread's own variable and the number of the round, and then loads the other thread's
/// variable. Returns the loaded values.
fn rounds(own: &Side, other: &Side, delays: &Delays, write: fn(&AtomicU32, u32)) -> Vec<u32> {
    let round = |round| {
        own.begun.store(round, Ordering::Release);
        let mut spins = 0;
        while other.begun.load(Ordering::Acquire) < round {
            spins += 1;
            if spins % SPINS == 0 { thread::yield_now() } else { std::hint::spin_loop() }
        }
        delays.iter().for_each(|line| line.store(round, Ordering::Relaxed));
        write(&own.written, round);
        other.written.load(Ordering::Relaxed)
    };
    (1..=ROUNDS).map(round).collect()
}

/// In each round at least one of two threads must see what the other one has written before its fence.
fn one_sees_the_other(write: fn(&AtomicU32, u32)) {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let sides = [Side::default(), Side::default()];
    let delays: Delays = std::array::from_fn(|_| CachePadded::default());
    let (first, second) = thread::scope(|scope| {
        let first = scope.spawn(|| rounds(&sides[0], &sides[1], &delays, write));
        (rounds(&sides[1], &sides[0], &delays, write), first.join().unwrap())
    });
    let missed = (1..)
        .zip(first.iter().zip(&second))
        .filter(|(round, (a, b))| *a < round && *b < round)
        .count();
    assert_eq!(missed, 0, "neither thread saw the other's write");
}

#[test]
fn a_full_fence_orders_a_store_before_a_later_load() {
    one_sees_the_other(|own, round| {
        own.store(round, Ordering::Relaxed);
        full_fence();
    });
}

/// On x86-64 the read-modify-write is a fence itself. So there this test fails only if the compiler moves the load.
#[test]
fn a_fence_after_a_read_modify_write_orders_it_before_a_later_load() {
    one_sees_the_other(|own, round| {
        own.fetch_max(round, Ordering::AcqRel);
        fence_after_rmw();
    });
}
