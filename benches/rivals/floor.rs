//! The floor: the same number of pointers through a bare `crossbeam_deque::Injector` to as many consumers.
//!
//! No task, no job, no allocation but the injector's own blocks. What is left is what any pool over this queue must pay. A
//! consumer takes one pointer at a time and yields when there is none: batches into a deque of its own, and spinning,
//! both came out slower, since hungry consumers then crowd the pusher out of the block that it writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam_deque::{Injector, Steal};

use crate::measure::clock::{Span, Stopwatch};
use crate::measure::count::{self, Tally};

static POINTEE: u64 = 7;

/// Pushes `pointers` from this thread to `consumers`, and says how long it took until all were counted.
pub(crate) fn run(consumers: usize, pointers: u64) -> Span {
    let injector = Arc::new(Injector::<&'static u64>::new());
    let stop = Arc::new(AtomicBool::new(false));
    let consume = |_| {
        let (injector, stop) = (Arc::clone(&injector), Arc::clone(&stop));
        thread::spawn(move || consume(&injector, &stop))
    };
    let threads: Vec<_> = (0..consumers).map(consume).collect();
    let mut span = Span::default();
    for pushed in [pointers.min(10_000), pointers] {
        let before = Tally::now();
        let stopwatch = Stopwatch::start();
        (0..pushed).for_each(|_| injector.push(&POINTEE));
        before.wait_for(pushed);
        span = stopwatch.stop();
        before.check(pushed, pushed * POINTEE);
    }
    // Ordering: Relaxed, the flag carries no data.
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().expect("a consumer does not panic"));
    span
}

fn consume(injector: &Injector<&'static u64>, stop: &AtomicBool) {
    // Ordering: Relaxed, as at the store.
    while !stop.load(Ordering::Relaxed) {
        match injector.steal() {
            Steal::Success(pointer) => count::done(*pointer),
            Steal::Empty | Steal::Retry => thread::yield_now(),
        }
    }
}
