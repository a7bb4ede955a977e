//! For models: a worker's part, played by a model's own thread for as long as it finds tasks.

use crate::pool::shared::PoolPtr;
use crate::worker::Worker;
use crate::worker::context::Context;
use std::cell::Cell;

/// Takes the place with this index, serves up to `most` tasks that a search finds, and leaves.
/// Sleep is not part of it: the sleepers go on counting the place's worker as searching.
pub fn play(pool: PoolPtr, index: usize, most: usize) -> usize {
    let context = Context::new(pool);
    let worker = Worker {
        context: &context,
        searching: Cell::new(true),
        stash: Cell::new(None),
        last: Cell::new(None),
    };
    context.sit(Some(&pool.shared().places[index]));
    let mut served = 0;
    context.enter(|| {
        while served < most {
            let Some(cell) = worker.stash.take().or_else(|| worker.search()) else { break };
            worker.serve(cell);
            served += 1;
        }
        if let Some(cell) = worker.stash.take() {
            worker.place().deque.push(cell);
        }
    });
    let freed = context.owners() - 1;
    if freed > 0 {
        pool.disown(freed);
    }
    served
}
