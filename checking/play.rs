//! Parts of a worker's loop, which the threads of a model call to play a worker.

use crate::base::sleep::Woken;
use crate::job::record::JobPtr;
use crate::pool::core::PoolPtr;
use crate::worker::context::Context;
use crate::worker::core::Worker;
use std::cell::Cell;

/// Takes the seat with this index, serves up to `most` tasks that a search finds, and leaves the seat. Returns the number of
/// tasks. The worker never parks: it counts as searching before and after the call.
pub fn play(pool: PoolPtr, index: usize, most: usize) -> usize {
    let served = Cell::new(0);
    play_as(pool, index, None, |worker| {
        while served.get() < most {
            let Some(cell) = worker.context.next_task.take().or_else(|| worker.search()) else {
                break;
            };
            worker.serve(cell);
            served.set(served.get() + 1);
            if worker.context.seat().is_none() {
                // The task has waited, and left this seat or that of another played worker.
                let shared = worker.pool();
                shared.sleep.arrive(|| shared.is_busy());
                let seat = shared.spares.wait_for_seat().expect("a seat was left");
                worker.context.sit(Some(&shared.seats[seat]));
            }
        }
    });
    served.get()
}

/// Serves one task as a worker that does not count as searching, and has just ended a turn of `last` because other tasks wait.
pub fn serve_others(pool: PoolPtr, index: usize, last: JobPtr) {
    play_as(pool, index, Some(last), |worker| {
        worker.seat().others_first.set(true);
        worker.seat().classes.set_last(last.turns().priority, last.opaque());
        let cell = worker.find_near().expect("others wait");
        worker.serve(cell);
    });
}

/// Parks as a worker that has searched in vain, and serves one task after it was woken.
pub fn sleep_and_serve(pool: PoolPtr, index: usize) {
    play_as(pool, index, None, |worker| {
        let (shared, sleep) = (worker.pool(), &worker.pool().sleep);
        sleep.sit_down(index);
        let (look, busy) = (|| shared.has_ready(), || shared.is_busy());
        match sleep.park(index, look, busy) {
            Woken::Search => worker.serve(worker.find().expect("no drain has begun")),
            Woken::Leave => unreachable!("no drain has begun"),
        }
    });
}

fn play_as(pool: PoolPtr, index: usize, last: Option<JobPtr>, part: impl FnOnce(&Worker)) {
    let context = Context::new(pool);
    let worker =
        Worker { context: &context, searching: Cell::new(last.is_none()), last: Cell::new(last) };
    context.sit(Some(&pool.shared().seats[index]));
    context.enter(|| {
        part(&worker);
        if let Some(cell) = worker.context.next_task.take() {
            worker.seat().deque.push(cell);
        }
    });
    let freed = context.owners() - 1;
    if freed > 0 {
        pool.disown(freed);
    }
}
