//! The start of spare workers: threads that replace workers blocked inside a task.

use crate::pool::core::{Hooks, PoolPtr, Shared};
use crate::pool::spares::{Lent, NoSpare};
use crate::sync::thread::Builder;
use crate::unwind;
use crate::worker::context::Context;

/// Returns a thread builder for the spare with this index.
///
/// If the user's code panics or returns an invalid name, the spare gets its usual name. The task that needs the spare
/// must not fail because of a name.
fn spare_builder(shared: &Shared, index: usize) -> Builder {
    let name = |hooks: &Hooks| {
        let name = unwind::halt(|| Context::outside_of_tasks(|| (hooks.name)(index)));
        name.map_err(unwind::drop_quietly).ok().filter(|name| may_be_a_name(name))
    };
    let name = shared.hooks().as_deref().and_then(name);
    shared.threads.builder_named(name.unwrap_or_else(|| usual_name(index)))
}

/// Returns true if a thread can have this name.
pub fn may_be_a_name(name: &str) -> bool {
    !name.contains('\0')
}

/// Returns the default name of the thread with this index.
pub fn usual_name(index: usize) -> String {
    format!("tollgate-{index}")
}

/// Lends the seat with this index to a spare. On success the calling thread must not use the seat any more. A new spare is
/// made if there are fewer than `most`, and fewer than the pool's own greatest number.
///
/// # Errors
/// If no spare is idle and no further one can be made. The caller keeps the seat.
pub fn lend(pool: PoolPtr, seat: usize, most: usize) -> Result<(), NoSpare> {
    let shared = pool.shared();
    let made = match shared.spares.lend(seat, most)? {
        Lent::ToIdle => return Ok(()),
        Lent::Make(made) => made,
    };
    let index = shared.workers() + made;
    // Under no lock: the name comes from user code, which may ask the pool for its statistics.
    let builder = spare_builder(shared, index);
    shared.worker_comes(pool);
    let work = shared.threads.work;
    match builder.spawn(move || work(pool, index, seat)) {
        Ok(thread) => {
            // The pool counts its threads and waits for that count, so the handle is not needed.
            drop(thread);
            Ok(())
        }
        Err(error) => {
            shared.spares.give_up();
            shared.worker_left();
            pool.disown(1);
            Err(NoSpare::Refused(error))
        }
    }
}
