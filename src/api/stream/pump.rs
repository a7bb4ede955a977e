//! The pullers of `Job::map`, and the iterator's wait for a result.
//!
//! The iterator of `Job::map` waits for a result, or for the end of all pullers. One lock in [`Results`] guards the results and
//! the number of pullers.
//!
//! No room for a result stays unused. A puller that finds no room lowers the number of running pullers, executes a full fence,
//! and checks for room again. If there is still no room, the puller ends. A thread that has taken a result executes a full fence.
//! If at least half of the room is free, this thread then sends a puller if one is *missing* (module `stream`). Because of the
//! two fences, the puller that ends sees the room, or the other thread sees that the puller has ended (`pull-1` to `send-3` of
//! module `stream`).

use crate::api::job::Job;
use crate::api::scope::tasks::Tasks;
use crate::api::stream::results::{Outcome, Results};
use crate::api::stream::{Feed, Pulled, Watch};
use crate::base::parking::parking_lot;
use crate::base::task::CellPtr;
use crate::error::JoinError;
use crate::job::gate;
use crate::job::record::JobPtr;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Arc, full_fence, shrunk};
use crate::task::closure::Owner;
use crate::task::scoped::ScopedTask;
use crate::unwind;
use crate::worker::blocking;
use crate::worker::context::Context;
use crate::worker::keeping::refuse_if_hopeless;
use std::fmt::DebugStruct;
use std::ptr::NonNull;

/// Pullers stop pulling when a stream has this many ready results for each worker of the pool.
const READY_MOST: usize = shrunk(64, 2);

/// Makes a stream: the state of one call of `map`. `keeper` makes the stream's pullers, which are tasks of `job`.
///
/// # Safety
/// Input, closure and results must either borrow nothing, or borrow only values that last as [`Keeper::make`] demands.
pub unsafe fn make<'a, I, F, R, K>(job: Job, input: I, f: F, keeper: K) -> Box<dyn Pump<R> + 'a>
where
    I: Iterator + Send + 'a,
    F: Fn(I::Item) -> R + Send + Sync + 'a,
    R: Send + 'a,
    K: Keeper + 'a,
{
    let stream = Arc::new(Stream {
        feed: Feed::new(job.ptr(), input),
        f: Some(f),
        results: Results::new(READY_MOST * job.ptr().pool().workers()),
        abandoned: AtomicBool::new(false),
        keeper,
    });
    Box::new(Handle { stream, job })
}

/// The outcome of a call of the iterator's `next`.
pub enum Next<R> {
    /// The next result of the stream.
    Result(Outcome<R>),
    /// No result is left, and the job was cancelled or its pool shut down before the end of the input. The iterator must yield
    /// an error before it ends.
    Cancelled,
    /// No result is left, and the iterator ends without an error.
    End,
}

/// What an iterator does with its stream. This trait hides the types of the input and the closure.
pub trait Pump<R>: Send + Sync {
    /// Waits for the next result. `taken` is the number of results that the iterator has taken so far.
    fn next(&self, taken: u64) -> Next<R>;
    /// Makes the iterator yield results in the order in which the calls end, from now on.
    fn order_by_completion(&self);
    /// Ends the stream: no more items are pulled. Call this when the iterator is dropped.
    fn stop(&self);
    /// Adds the stream's fields to a debug output.
    fn describe<'a, 'b, 'c>(&self, f: &'c mut DebugStruct<'a, 'b>) -> &'c mut DebugStruct<'a, 'b>;
}

/// The state that the pullers and the iterator of one stream share.
struct Stream<I, F, R, K> {
    feed: Feed<I>,
    /// The closure. `None` only while the stream is dropped.
    f: Option<F>,
    results: Results<R>,
    /// True if the iterator was dropped.
    abandoned: AtomicBool,
    keeper: K,
}

struct Handle<I, F, R, K> {
    stream: Arc<Stream<I, F, R, K>>,
    job: Job,
}

impl<I, F, R, K> Stream<I, F, R, K> {
    /// Drops the results one at a time, and catches each panic: two panics at once would abort the process.
    fn drop_results(&self) {
        while let Some(result) = self.results.take_any() {
            unwind::drop_quietly(result);
        }
    }
}

impl<I, F, R, K> Drop for Stream<I, F, R, K> {
    fn drop(&mut self) {
        // If the iterator was dropped while a puller had the lock of the input, the input is still in the feed, and is dropped
        // here. This function ignores a panic of a drop. Otherwise the panic would reach the puller's scope, or the code that
        // drops the iterator.
        unwind::drop_quietly(self.feed.take_input());
        unwind::drop_quietly(self.f.take());
        self.drop_results();
    }
}

/// A puller that is queued or running. The drop of a stream's last puller wakes the iterator.
struct Puller<I, F, R, K>(Arc<Stream<I, F, R, K>>);

impl<I, F, R, K> Puller<I, F, R, K> {
    fn new(stream: &Arc<Stream<I, F, R, K>>) -> Self {
        stream.results.add_puller();
        Self(stream.clone())
    }
}

impl<I, F, R, K> Puller<I, F, R, K>
where
    I: Iterator + Send,
    F: Fn(I::Item) -> R + Send + Sync,
    R: Send,
    K: Keeper,
{
    /// Runs the puller from its start to its end.
    fn run(self) {
        let stream = &self.0;
        stream.feed.start();
        Context::with(|context| {
            let context = context.expect("a task runs on a thread of its pool");
            Stream::work(stream, Turn::While(Watch::new(context, stream.feed.job())));
        });
    }
}

impl<I, F, R, K> Drop for Puller<I, F, R, K> {
    fn drop(&mut self) {
        if self.0.results.drop_puller() {
            parking_lot().wake(self.0.results.key());
        }
    }
}

/// Makes the tasks of a stream's pullers. With the keeper `OfScope` a scope waits for the end of these tasks. With `Nothing` no
/// call waits for them.
pub trait Keeper: Copy + Send + Sync {
    /// Makes the task of a puller. No statistics count the task.
    ///
    /// # Safety
    /// Either `run` borrows nothing, or the values that it borrows last until the keeper's scope ends. In the second case only
    /// the closure or a task of that scope may make this call.
    unsafe fn make(self, job: JobPtr, run: impl FnOnce() + Send) -> ScopedTask;
}

/// The [`Keeper`] of a stream that borrows nothing. No call waits for the end of the pullers.
#[derive(Clone, Copy)]
pub struct Nothing;

impl Owner for Nothing {
    const COUNTED: bool = false;
}

impl Keeper for Nothing {
    unsafe fn make(self, job: JobPtr, run: impl FnOnce() + Send) -> ScopedTask {
        // SAFETY: by this function's contract; this keeper has no scope, so `run` borrows nothing.
        unsafe { ScopedTask::make(job, false, self, run) }
    }
}

/// The [`Keeper`] of a stream whose input and closure can borrow. It makes the pullers as tasks of the scope that this value
/// points to, and the scope waits for their end.
#[derive(Clone, Copy)]
pub struct OfScope(pub NonNull<Tasks>);

// SAFETY: the fields of `Tasks` are atomics, and locks of values that are Send.
unsafe impl Send for OfScope {}
// SAFETY: as for Send; a shared reference gives only a copy of the pointer.
unsafe impl Sync for OfScope {}

impl Keeper for OfScope {
    unsafe fn make(self, job: JobPtr, run: impl FnOnce() + Send) -> ScopedTask {
        // SAFETY: by this function's contract the scope has not ended.
        let tasks = unsafe { self.0.as_ref() };
        // SAFETY: by this function's contract.
        unsafe { tasks.make_puller(job, run) }
    }
}

/// The condition under which a puller stops.
enum Turn<'a> {
    /// The puller stops when [`Watch::must_stop`] returns true.
    While(Watch<'a>),
    /// The puller stops after one item.
    Once,
}

impl<I, F, R, K> Stream<I, F, R, K>
where
    I: Iterator + Send,
    F: Fn(I::Item) -> R + Send + Sync,
    R: Send,
    K: Keeper,
{
    fn call(&self, item: I::Item) -> R {
        self.f.as_ref().expect("the closure is there until the stream is dropped")(item)
    }

    fn send_puller(stream: &Arc<Self>) {
        Self::send_puller_by(stream, |turn| gate::push(stream.feed.job(), turn));
    }

    /// If there is ample room for results and a puller is *missing* (module `stream`), makes a puller, and calls `push` with its
    /// cell (`send-2`, `send-3`). In most cases a puller is missing if none is queued and the input has not ended.
    fn send_puller_by(stream: &Arc<Self>, push: impl FnOnce(CellPtr)) {
        full_fence();
        if !stream.results.have_ample_room() {
            return;
        }
        stream.feed.send_puller(|| {
            let puller = Puller::new(stream);
            // SAFETY: by the contract of this module's `make`. Only the stream's iterator and its pullers call this
            // function.
            let puller = unsafe { stream.keeper.make(stream.feed.job(), move || puller.run()) };
            stream.feed.queue(puller, push);
        });
    }

    /// Pulls items and runs `f` with each of them. Stops when no item is left, when there is no room for a result, or when `turn`
    /// says so. The caller must have raised the number of running pullers.
    fn work(stream: &Arc<Self>, mut turn: Turn<'_>) {
        let feed = &stream.feed;
        loop {
            if !stream.results.have_room() && !stream.results.spin_for_room() {
                feed.leave();
                full_fence();
                if !stream.results.have_room() {
                    return Context::forget_sample();
                }
                feed.come_back();
            }
            match feed.pull_item() {
                Pulled::Item(number, item) => {
                    if stream.is_abandoned() {
                        Context::forget_sample();
                        unwind::drop_quietly(item);
                        feed.leave();
                        return stream.drop_input();
                    }
                    Self::send_puller(stream);
                    let outcome = unwind::halt(|| stream.call(item));
                    feed.job().tally.count(outcome.is_ok());
                    stream.put(number, outcome.map_err(JoinError::panicked));
                }
                Pulled::Panicked(number, payload) => {
                    Context::forget_sample();
                    feed.leave();
                    let wakes = stream.results.put_last(number, Err(JoinError::panicked(payload)));
                    stream.tell(wakes);
                    return feed.finish();
                }
                Pulled::End => {
                    Context::forget_sample();
                    feed.leave();
                    return feed.finish();
                }
                Pulled::Left => return Context::forget_sample(),
            }
            let stop = match &mut turn {
                Turn::While(watch) => watch.must_stop(),
                Turn::Once => true,
            };
            if stop {
                feed.leave();
                return Self::send_puller(stream);
            }
        }
    }

    fn put(&self, number: u64, outcome: Outcome<R>) {
        let wakes = self.results.put(number, outcome);
        self.tell(wakes);
    }

    /// Wakes the iterator if `wakes` is true. Call this after a result was stored.
    fn tell(&self, wakes: bool) {
        if wakes {
            parking_lot().wake(self.results.key());
        }
        // The iterator might have been dropped before this thread stored the result. This thread and `stop` both take the lock of
        // the results. So this thread sees here that the iterator was dropped, and drops the result. Or `stop` finds the stored
        // result, and drops it.
        if self.is_abandoned() {
            self.drop_results();
        }
    }

    fn is_abandoned(&self) -> bool {
        // Ordering: Acquire; pairs with `stop`.
        self.abandoned.load(Ordering::Acquire)
    }

    fn drop_input(&self) {
        if let Some(input) = self.feed.take_input() {
            unwind::drop_quietly(input);
        }
    }

    /// Pulls one item and runs `f` with it inline, under the permit of the task that calls `next`. Returns true if `next` must
    /// check again for a result.
    ///
    /// Does nothing and returns false if the caller may not run a task of the stream's job inline. Does the same if the iterator
    /// has not taken the results of all pulled items, because the result of a further item would not come next.
    fn work_here(stream: &Arc<Self>, taken: u64) -> bool {
        Context::with(|context| {
            let Some(context) = context else { return false };
            if taken != stream.feed.pulled() || !context.may_run_inside(stream.feed.job()) {
                return false;
            }
            context.depth.set(context.depth.get() + 1);
            stream.feed.come_back();
            Self::work(stream, Turn::Once);
            context.depth.set(context.depth.get() - 1);
            taken != stream.feed.pulled() || stream.feed.is_finished()
        })
    }
}

impl<I, F, R, K> Pump<R> for Handle<I, F, R, K>
where
    I: Iterator + Send,
    F: Fn(I::Item) -> R + Send + Sync,
    R: Send,
    K: Keeper,
{
    fn next(&self, taken: u64) -> Next<R> {
        let Stream { feed, results, .. } = &*self.stream;
        loop {
            if let Some(result) = results.take() {
                self.send_puller();
                return Next::Result(result);
            }
            // A puller stores its results before it ends. So this thread must read whether pullers remain, and whether the feed
            // is finished, before it calls `take` once more.
            let idle = results.have_no_pullers();
            let finished = feed.is_finished();
            if let Some(result) = results.take() {
                self.send_puller();
                return Next::Result(result);
            }
            if finished && taken == feed.pulled() {
                return Next::End;
            }
            if idle && !finished && feed.is_puller_queued() {
                // The queued puller was dropped, so no puller will store a further result.
                return Next::Cancelled;
            }
            if !finished {
                self.send_puller();
                if Stream::work_here(&self.stream, taken) {
                    continue;
                }
            }
            if results.spin_for_next() {
                continue;
            }
            if !finished {
                refuse_if_hopeless(feed.job().opaque());
            }
            blocking::wait(results.key(), None, || results.set_waited());
        }
    }

    fn order_by_completion(&self) {
        self.stream.results.order_by_completion();
    }

    fn stop(&self) {
        // Ordering: Release; pairs with `is_abandoned`. A puller that sees the end of the feed must also see this flag.
        self.stream.abandoned.store(true, Ordering::Release);
        self.stream.feed.finish();
        self.stream.drop_input();
        self.stream.drop_results();
    }

    fn describe<'a, 'b, 'c>(&self, f: &'c mut DebugStruct<'a, 'b>) -> &'c mut DebugStruct<'a, 'b> {
        let Stream { feed, results, .. } = &*self.stream;
        f.field("job", &self.job).field("pulled", &feed.pulled()).field("ready", &results.ready())
    }
}

impl<I, F, R, K> Handle<I, F, R, K>
where
    I: Iterator + Send,
    F: Fn(I::Item) -> R + Send + Sync,
    R: Send,
    K: Keeper,
{
    fn send_puller(&self) {
        Stream::send_puller_by(&self.stream, |turn| {
            if self.job.pool_takes() {
                gate::push(self.job.ptr(), turn);
            } else {
                turn.cancel();
            }
        });
    }
}
