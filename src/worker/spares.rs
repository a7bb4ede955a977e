//! Starts spare workers: threads that replace workers blocked inside a task.

use crate::pool::core::{Hooks, PoolPtr, Shared};
use crate::pool::spares::{Lent, NoSpare};
use crate::sync::thread::Builder;
use crate::unwind;
use crate::worker::context::Context;

/// Returns a thread builder for the spare worker with the index `index`.
///
/// If the user's function for names panics or returns an invalid name, the spare worker gets its default name. A task that
/// needs a spare worker must not fail because of a name.
fn spare_builder(shared: &Shared, index: usize) -> Builder {
    let name = |hooks: &Hooks| {
        let name = unwind::halt(|| Context::outside_of_tasks(|| (hooks.name)(index)));
        name.map_err(unwind::drop_quietly).ok().filter(|name| may_be_a_name(name))
    };
    let name = shared.hooks().as_deref().and_then(name);
    shared.threads.builder_named(name.unwrap_or_else(|| usual_name(index)))
}

/// Returns true if a thread can have the name `name`.
pub fn may_be_a_name(name: &str) -> bool {
    !name.contains('\0')
}

/// Returns the default name of the thread with the index `index`.
pub fn usual_name(index: usize) -> String {
    format!("tollgate-{index}")
}

/// Lends the seat with the index `seat` to a spare worker. If no spare worker is idle, starts a new one, unless the pool already
/// has `most` spare workers, or its own greatest number of them. On success the calling thread must not use the seat any more.
///
/// # Errors
/// Returns an error if no spare worker is idle and no further one can be started. The caller then keeps the seat.
pub fn lend(pool: PoolPtr, seat: usize, most: usize) -> Result<(), NoSpare> {
    let shared = pool.shared();
    let made = match shared.spares.lend(seat, most)? {
        Lent::ToIdle => return Ok(()),
        Lent::Make(made) => made,
    };
    start(pool, made, seat).inspect_err(|_| shared.spares.give_up(None))
}

/// Lends the seat with the index `seat` to a new spare worker, even above the pool's greatest number of spare workers. If `seat`
/// is `None`, the new spare worker gets a seat that another thread has left. If no thread has left a seat, starts no spare
/// worker. On success the calling thread must not use its seat any more.
///
/// # Errors
/// Returns an error if the platform starts no thread. The caller then keeps the seat.
pub fn lend_beyond(pool: PoolPtr, seat: Option<usize>) -> Result<(), NoSpare> {
    let spares = &pool.shared().spares;
    let Some((made, taken)) = spares.lend_beyond(seat) else { return Ok(()) };
    let left = if seat.is_none() { Some(taken) } else { None };
    start(pool, made, taken).inspect_err(|_| spares.give_up(left))
}

/// Starts the spare worker with the number `made`, for the seat with the index `seat`.
fn start(pool: PoolPtr, made: usize, seat: usize) -> Result<(), NoSpare> {
    let shared = pool.shared();
    let index = shared.workers() + made;
    // This thread must hold no lock here: the name comes from user code, which can ask the pool for its statistics.
    let builder = spare_builder(shared, index);
    shared.worker_comes(pool);
    let work = shared.threads.work;
    match builder.spawn(move || work(pool, index, seat)) {
        Ok(thread) => {
            // The thread's handle is not needed: the pool counts its threads, and waits until the count is 0.
            drop(thread);
            Ok(())
        }
        Err(error) => {
            shared.worker_left();
            pool.disown(1);
            Err(NoSpare::Refused(error))
        }
    }
}
