//! `Job::map`: results as an iterator.
//!
//! Whoever iterates waits under the key of the pullers' `Shared`, for a result or for the end of all pullers.
//! Results are put and taken under one lock, and room for more of them is looked for as the input is
//! (L1 to T3 of the module above): a puller that finds no room leaves, fences, looks again; whoever takes a
//! result fences and sends a puller if one is missing.

use crate::error::JoinError;
use crate::job::stream::results::{Outcome, Results};
use crate::job::stream::{Feed, Pulled, Watch};
use crate::job::{Job, admission};
use crate::sync::atomic::{AtomicBool, Ordering, fence};
use crate::sync::{Arc, shrunk};
use crate::task::room::room;
use crate::task::scoped::Shared;
use crate::task::{CellPtr, Ran};
use crate::unwind;
use crate::worker::context::Context;
use crate::worker::waiting;
use std::fmt::{self, DebugStruct};
use std::iter::FusedIterator;

/// Ready results per worker that leave no room for more.
const READY_MOST: usize = shrunk(16, 2);

impl Job {
    /// Calls `f` with each item of `input`, as many at once as the limit allows, and iterates over the
    /// results, in the order of the input.
    ///
    /// Nothing happens before the first [`next`](Iterator::next). From then on the input is pulled lazily, by
    /// the job's tasks: an item is pulled when there is a permit to run `f` with it. So no more items
    /// are in memory than run. Results wait to be taken, and once a few per worker do, no more is pulled
    /// until the iterator is read on. Each call of `f` counts as a task in [`stats`](Self::stats).
    ///
    /// Each result is a `Result`, as that of [`spawn`](Self::spawn) is: a call of `f` that panics gives an
    /// error, and the others go on. [`as_completed`](Map::as_completed) gives results as they come instead of in
    /// order.
    ///
    /// # Blocking
    ///
    /// `next` parks the calling thread until a result is there. Inside a task it never deadlocks: in a task
    /// of the same job, it runs `f` itself if the item it needs has not been pulled; otherwise it waits as
    /// [`TaskHandle::join`](crate::TaskHandle::join) does.
    ///
    /// # Cancellation
    ///
    /// Dropping the iterator cancels the rest: nothing more is pulled, and what runs ends by itself, without anybody
    /// waiting for it. After [`cancel`](Self::cancel), results that are there or under way still come, and
    /// then one [`JoinError::Cancelled`] as the last item, unless the input was at its end.
    /// [`close`](Self::close) does not stop it: the input was accepted before.
    ///
    /// # Errors
    ///
    /// An item is [`JoinError::Panicked`] if its call of `f` panicked. The last item is also that if the input
    /// panicked; it is [`JoinError::Cancelled`] if the job was closed before `map`, or was cancelled, or its
    /// pool shut down before the end of the input was reached.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(4).build()?;
    /// let job = pool.job(2); // at most 2 at once
    /// let urls = (0..1_000).map(|i| format!("/page/{i}")); // made one by one, when there is a permit
    /// let lengths = job.map(urls, |url| url.len());
    /// let total: usize = lengths.map(|length| length.unwrap()).sum();
    /// assert_eq!(total, 10 * 7 + 90 * 8 + 900 * 9);
    /// assert!(job.stats().most_running <= 2);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn map<I, F, R>(&self, input: I, f: F) -> Map<R>
    where
        I: IntoIterator,
        I::IntoIter: Send + 'static,
        F: Fn(I::Item) -> R + Send + Sync + 'static,
        R: Send + 'static,
    {
        let stream = Arc::new(Stream {
            feed: Feed::new(self.ptr(), input.into_iter()),
            f,
            results: Results::new(READY_MOST * self.ptr().pool().workers()),
            shared: Arc::new(Shared::new(self.ptr(), false)),
            abandoned: AtomicBool::new(false),
        });
        let stage = if self.accepts() { Stage::Going } else { Stage::Refused };
        Map { pump: Box::new(Handle { stream, job: self.clone() }), taken: 0, stage }
    }
}

/// An iterator over results, in the order of the input; from [`Job::map`].
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let mut squares = pool.job(2).map(1.., |i: u64| i * i); // without an end
/// assert_eq!(squares.next().unwrap().unwrap(), 1);
/// assert_eq!(squares.next().unwrap().unwrap(), 4);
/// drop(squares); // cancels the rest
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[must_use = "nothing happens before the first `next`, and dropping it cancels the rest"]
pub struct Map<R> {
    pump: Box<dyn Pump<R>>,
    /// Results taken.
    taken: u64,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Going,
    /// The job was closed: all there is to say is that it is cancelled.
    Refused,
    Over,
}

impl<R> Map<R> {
    /// Gives results as they come instead of in the order of the input.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use std::sync::Mutex;
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let (go, wait_for_go) = mpsc::channel::<()>();
    /// let wait_for_go = Mutex::new(wait_for_go);
    /// let mut results = pool
    ///     .job(2)
    ///     .map(["slow", "quick"], move |name| {
    ///         if name == "slow" {
    ///             wait_for_go.lock().unwrap().recv().unwrap();
    ///         }
    ///         name
    ///     })
    ///     .as_completed();
    /// assert_eq!(results.next().unwrap().unwrap(), "quick");
    /// go.send(()).unwrap();
    /// assert_eq!(results.next().unwrap().unwrap(), "slow");
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn as_completed(self) -> AsCompleted<R> {
        self.pump.order_by_completion();
        AsCompleted(self)
    }
}

impl<R> Iterator for Map<R> {
    type Item = Result<R, JoinError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = match self.stage {
            Stage::Going => self.pump.next(self.taken),
            Stage::Refused => Next::Cancelled,
            Stage::Over => Next::End,
        };
        match next {
            Next::Result(result) => {
                self.taken += 1;
                Some(result)
            }
            Next::Cancelled => {
                self.stage = Stage::Over;
                Some(Err(JoinError::Cancelled))
            }
            Next::End => {
                self.stage = Stage::Over;
                None
            }
        }
    }
}

impl<R> FusedIterator for Map<R> {}

impl<R> Drop for Map<R> {
    fn drop(&mut self) {
        self.pump.stop();
    }
}

impl<R> fmt::Debug for Map<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pump.describe(f.debug_struct("Map").field("taken", &self.taken)).finish()
    }
}

/// An iterator over results as they come; from [`Map::as_completed`].
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let results = pool.job(2).map(0..10, |i| i * i).as_completed();
/// assert_eq!(results.map(|square| square.unwrap()).sum::<i32>(), 285);
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[must_use = "nothing happens before the first `next`, and dropping it cancels the rest"]
pub struct AsCompleted<R>(Map<R>);

impl<R> Iterator for AsCompleted<R> {
    type Item = Result<R, JoinError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl<R> FusedIterator for AsCompleted<R> {}

impl<R> fmt::Debug for AsCompleted<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Map { pump, taken, .. } = &self.0;
        pump.describe(f.debug_struct("AsCompleted").field("taken", taken)).finish()
    }
}

/// What the iterator finds next.
enum Next<R> {
    Result(Outcome<R>),
    Cancelled,
    End,
}

/// A stream's iterating side, whatever its input and closure.
trait Pump<R>: Send + Sync {
    fn next(&self, taken: u64) -> Next<R>;
    fn order_by_completion(&self);
    fn stop(&self);
    fn describe<'a, 'b, 'c>(&self, f: &'c mut DebugStruct<'a, 'b>) -> &'c mut DebugStruct<'a, 'b>;
}

/// What pullers and the iterator share.
struct Stream<I, F, R> {
    feed: Feed<I>,
    f: F,
    results: Results<R>,
    shared: Arc<Shared>,
    /// The iterator was dropped.
    abandoned: AtomicBool,
}

struct Handle<I, F, R> {
    stream: Arc<Stream<I, F, R>>,
    job: Job,
}

/// How long a puller goes on.
enum Turn<'a> {
    /// Until it must stop.
    While(Watch<'a>),
    /// For one item.
    Once,
}

impl<I, F, R> Stream<I, F, R>
where
    I: Iterator + Send + 'static,
    F: Fn(I::Item) -> R + Send + Sync + 'static,
    R: Send + 'static,
{
    fn send_puller(stream: &Arc<Self>) {
        Self::send_puller_by(stream, |turn| admission::push(stream.feed.job(), turn));
    }

    /// T2 and T3, also for room.
    fn send_puller_by(stream: &Arc<Self>, push: impl FnOnce(CellPtr)) {
        fence(Ordering::SeqCst);
        if !stream.results.have_ample_room() {
            return;
        }
        stream.feed.send_puller(|| {
            let puller = stream.clone();
            push(Shared::enter_owned(&stream.shared, move || {
                puller.feed.start();
                Context::with(|context| {
                    let context = context.expect("a task runs on a thread of its pool");
                    Self::work(&puller, Turn::While(Watch::new(context, puller.feed.job())));
                });
                Ran::Counted
            }));
            if stream.feed.is_finished() {
                stream.shared.cancel_unstarted();
            }
        });
    }

    /// A puller's life from where it counts as one.
    fn work(stream: &Arc<Self>, mut turn: Turn<'_>) {
        let feed = &stream.feed;
        loop {
            if !stream.results.have_room() {
                feed.leave();
                fence(Ordering::SeqCst);
                if !stream.results.have_room() {
                    return;
                }
                feed.come_back();
            }
            match feed.pull_item() {
                Pulled::Item(number, item) => {
                    if stream.is_abandoned() {
                        unwind::drop_quietly(item);
                        feed.leave();
                        return stream.drop_input();
                    }
                    Self::send_puller(stream);
                    let outcome = unwind::halt(|| (stream.f)(item));
                    stream.shared.count(outcome.is_ok());
                    stream.put(number, outcome.map_err(JoinError::Panicked));
                }
                Pulled::Panicked(number, payload) => {
                    feed.leave();
                    stream.put(number, Err(JoinError::Panicked(payload)));
                    return stream.finish();
                }
                Pulled::End => {
                    feed.leave();
                    return stream.finish();
                }
                Pulled::Run(_) => unreachable!("only single items were asked for"),
                Pulled::Left => return,
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
        if self.results.put(number, outcome) {
            room().wake(self.shared.key());
        }
    }

    fn finish(&self) {
        self.feed.finish();
        self.shared.cancel_unstarted();
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

    /// Inside a task of the same job, and if nothing is under way: pulls one item and runs `f` with it,
    /// under that task's permit. That item is the one whose result is waited for.
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

impl<I, F, R> Pump<R> for Handle<I, F, R>
where
    I: Iterator + Send + 'static,
    F: Fn(I::Item) -> R + Send + Sync + 'static,
    R: Send + 'static,
{
    fn next(&self, taken: u64) -> Next<R> {
        let Stream { feed, results, shared, .. } = &*self.stream;
        loop {
            // In this order: who has ended has put its result before.
            let idle = shared.is_done();
            let finished = feed.is_finished();
            if let Some(result) = results.take() {
                self.send_puller();
                return Next::Result(result);
            }
            if finished && taken == feed.pulled() {
                return Next::End;
            }
            if idle && !finished && feed.is_in_line() {
                // The puller in line was dropped.
                return Next::Cancelled;
            }
            if !finished {
                self.send_puller();
                if Stream::work_here(&self.stream, taken) {
                    continue;
                }
            }
            waiting::wait(shared.key(), None, || {
                let going = shared.set_waited();
                results.set_waited() && going
            });
        }
    }

    fn order_by_completion(&self) {
        self.stream.results.order_by_completion();
    }

    fn stop(&self) {
        // Ordering: Release; before the pullers see the end.
        self.stream.abandoned.store(true, Ordering::Release);
        self.stream.finish();
        self.stream.drop_input();
        while let Some(result) = self.stream.results.take() {
            unwind::drop_quietly(result);
        }
    }

    fn describe<'a, 'b, 'c>(&self, f: &'c mut DebugStruct<'a, 'b>) -> &'c mut DebugStruct<'a, 'b> {
        let Stream { feed, results, .. } = &*self.stream;
        f.field("job", &self.job).field("pulled", &feed.pulled()).field("ready", &results.ready())
    }
}

impl<I, F, R> Handle<I, F, R>
where
    I: Iterator + Send + 'static,
    F: Fn(I::Item) -> R + Send + Sync + 'static,
    R: Send + 'static,
{
    fn send_puller(&self) {
        Stream::send_puller_by(&self.stream, |turn| {
            if self.job.pool_takes() {
                admission::push(self.job.ptr(), turn);
            } else {
                self.job.ptr().count_cancelled();
                turn.cancel();
            }
        });
    }
}
