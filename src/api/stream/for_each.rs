//! `Job::for_each`: calls a closure with each item of an input, in tasks of the job.

use crate::api::job::Job;
use crate::api::scope::tasks::Tasks;
use crate::api::stream::chunks::{Chunks, Pulled};
use crate::api::stream::{Feed, Watch};
use crate::error::JoinError;
use crate::job::gate;
use crate::sync::atomic::Ordering;
use crate::sync::shrunk;
use crate::sync::time::Instant;
use crate::unwind;
use crate::worker::context::Context;
use std::mem::MaybeUninit;
use std::slice;
use std::time::Duration;

impl Job {
    /// Calls `f` with each item of `input`. As many items run at once as the limit allows. Blocks until all calls have ended.
    ///
    /// Tasks of the job pull the input lazily, one task at a time. The input and `f` can borrow values. Each call of `f` counts
    /// as a task in [`stats`](Self::stats). If the limit is 1 throughout and no call of `f` waits inside, as in a join, the order
    /// of the calls is the order of the input.
    ///
    /// The first task begins with one item. If pulling an item and calling `f` take less than 5 µs together, a task pulls several
    /// items at once. They are at most 2,048, at most as many as take about 10 µs, and at most as many as the lower bound of the
    /// input's [`size_hint`](Iterator::size_hint). So items that take long are pulled one at a time. So are the items of a
    /// channel, because that lower bound is 0. If items take longer than expected, the task gives back the items that it has not
    /// run, and other tasks pull them.
    ///
    /// Calls of `f` that take less than 5 ns are made in blocks of 256. A pause of this job, or the turn of another job, must
    /// wait for the end of a block.
    ///
    /// A call of `f` must not wait for the call with a later item, because one task can have pulled both items. Such a wait is
    /// allowed if the lower bound of the input's `size_hint` is 0, as that of [`std::iter::from_fn`] is.
    ///
    /// If the job has no limit, as many items run at once as the pool has workers.
    ///
    /// # Blocking
    ///
    /// Parks the calling thread until all calls of `f` have ended. Inside a task the call never deadlocks, like
    /// [`scope`](Self::scope). If the [`size_hint`](Iterator::size_hint) of the input says that the input is empty, the call
    /// returns at once. Any other input is pulled by tasks of the job, so the call blocks while the job is paused or has a
    /// limit of 0.
    ///
    /// # Cancellation
    ///
    /// After [`cancel`](Self::cancel) of the job, no further item is pulled, and `for_each` returns when all calls of `f` that
    /// have begun have ended. [`close`](Self::close) does not stop `for_each`, because the input was accepted before.
    ///
    /// # Panics
    ///
    /// After a panic of `f`, of the input or of the input's drop, no further item is pulled. When all calls of `f` that
    /// have begun have ended, the first panic is passed on.
    ///
    /// # Errors
    ///
    /// Returns [`JoinError::Cancelled`] if the job was closed before this call. Returns the same error if the job was
    /// cancelled, or its pool shut down, before the end of the input.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// let pool = tollgate::Pool::builder().workers(4).build()?;
    /// let job = pool.job(2); // at most 2 at once
    /// let total = AtomicUsize::new(0);
    ///
    /// let lines = "ten\nmillion\nlines".lines();
    /// job.for_each(lines, |line| {
    ///     total.fetch_add(line.len(), Ordering::Relaxed);
    /// })?;
    /// assert_eq!(total.load(Ordering::Relaxed), 15);
    ///
    /// job.for_each(0..1_000, |i| {
    ///     total.fetch_add(i, Ordering::Relaxed);
    /// })?;
    /// assert_eq!(total.into_inner(), 15 + 499_500);
    /// assert!(job.stats().most_running <= 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn for_each<I, F>(&self, input: I, f: F) -> Result<(), JoinError>
    where
        I: IntoIterator,
        I::IntoIter: Send,
        I::Item: Send,
        F: Fn(I::Item) + Sync,
    {
        self.for_each_while(input.into_iter(), |item| {
            f(item);
            true
        })
    }

    /// Does what [`for_each`](Self::for_each) does, until a call of `f` returns false. After that no further item is pulled. A
    /// false result is not an error.
    #[track_caller]
    pub(super) fn for_each_while<I, F>(&self, input: I, f: F) -> Result<(), JoinError>
    where
        I: Iterator + Send,
        I::Item: Send,
        F: Fn(I::Item) -> bool + Sync,
    {
        if !self.accepts() {
            return Err(JoinError::Cancelled);
        }
        let each = ForEach {
            feed: Feed::new(self.ptr(), input),
            chunks: Chunks::new(),
            f,
            pullers: Tasks::new(),
        };
        if let Err(payload) = each.pullers.enter(|| each.send_puller()) {
            // The drop of the remaining input can panic. `drop_quietly` catches this panic, because a second panic during the
            // unwind would abort the process.
            unwind::drop_quietly(each);
            unwind::pass_on(payload);
        }
        if each.feed.is_finished() { Ok(()) } else { Err(JoinError::Cancelled) }
    }
}

/// An input, the closure for its items, and the pullers.
struct ForEach<I: Iterator, F> {
    feed: Feed<I>,
    chunks: Chunks<I::Item>,
    f: F,
    pullers: Tasks,
}

/// The most items that a puller pulls at once.
const MOST: usize = shrunk(2_048, 4);
/// The number of items in a block. A puller runs a chunk of `MOST` items in blocks, and checks after each block whether it must
/// stop. In a smaller chunk the puller checks after each item.
const BLOCK: usize = shrunk(256, 2);
/// The time that a chunk should take, from its pull until all its items have run. With shorter chunks, the puller would spend
/// most of its time on the clock and on the lock of the input.
const CHUNK_TIME: Duration = Duration::from_micros(10);

/// A puller of `for_each` at work. Dropping this value adds the number of items that the puller has run to the job's
/// statistics.
struct Puller<'a, I: Iterator, F: Fn(I::Item) -> bool> {
    each: &'a ForEach<I, F>,
    completed: u64,
    unwinds: bool,
}

impl<I, F> ForEach<I, F>
where
    I: Iterator<Item: Send> + Send,
    F: Fn(I::Item) -> bool + Sync,
{
    /// Queues a new puller if one is *missing* (module `stream`). In most cases a puller is missing if none is queued and the
    /// input has not ended. Call this inside [`Tasks::enter`] of `pullers`, or inside a puller.
    fn send_puller(&self) {
        let job = self.feed.job();
        self.feed.send_puller(|| {
            // SAFETY: the puller borrows only `self`, which `Job::for_each` neither moves nor drops before `Tasks::enter`
            // returns.
            let puller = unsafe { self.pullers.make_puller(job, move || self.run()) };
            self.feed.queue(puller, |cell| gate::push(job, cell));
        });
    }

    /// Runs a puller from its start to its end. Stores a panic of the closure, for the caller of `for_each`.
    fn run(&self) {
        let mut puller = Puller { each: self, completed: 0, unwinds: true };
        self.feed.start();
        let work = || {
            Context::with(|context| {
                let context = context.expect("a task runs on a thread of its pool");
                puller.work(Watch::new(context, self.feed.job()));
            });
            puller.unwinds = false;
            drop(puller);
        };
        if let Err(payload) = unwind::halt(work) {
            self.feed.job().tally.count(false);
            self.pullers.note_panic(payload);
        }
    }
}

impl<I, F> Puller<'_, I, F>
where
    I: Iterator<Item: Send> + Send,
    F: Fn(I::Item) -> bool + Sync,
{
    fn work(&mut self, mut watch: Watch<'_>) {
        let ForEach { feed, chunks, .. } = self.each;
        let mut size = chunks.size();
        let (mut chunk, mut had) = (Vec::with_capacity(size), false);
        // The time at which the next pull begins. `None` if the last pull gave fewer items than wanted: then this puller neither
        // changes the size of its chunks nor reads the clock.
        let mut began = Some(Instant::now());
        loop {
            match chunks.pull(feed, &mut chunk, size, had) {
                Pulled::Chunk => {}
                Pulled::Left => return Context::forget_sample(),
                Pulled::End => {
                    Context::forget_sample();
                    feed.leave();
                    return feed.finish();
                }
                Pulled::Panicked(payload) => {
                    Context::forget_sample();
                    feed.leave();
                    self.each.pullers.note_panic(payload);
                    return feed.finish();
                }
            }
            self.each.send_puller();
            let pulled = chunk.len();
            let ran = self.run_chunk(&mut chunk, &mut watch, began);
            had = pulled > 1 && ran == Chunk::Done;
            match ran {
                Chunk::Done | Chunk::Slow => {}
                Chunk::Stopped => {
                    chunks.keep_size(size);
                    feed.leave();
                    return self.each.send_puller();
                }
                Chunk::Ended => {
                    feed.leave();
                    return feed.finish();
                }
            }
            let now = (pulled == size).then(Instant::now);
            if let (Some(began), Some(now)) = (began, now) {
                size = next_size(size, now.saturating_duration_since(began));
            }
            began = now;
        }
    }

    /// Calls the closure with the next `items` items of a chunk, until a call returns false. Returns false in that case, and
    /// otherwise true.
    #[inline]
    fn run_block(&mut self, rest: &mut Rest<'_, I::Item>, items: usize) -> bool {
        let (whole, slots) = (rest.0.len(), std::mem::take(&mut rest.0));
        let completed = &mut self.completed;
        let mut block = Block { rest, slots, whole, completed, unwinds: true };
        let mut go_on = true;
        for _ in 0..items {
            let Some(item) = next_item(&mut block.slots) else { break };
            go_on = (self.each.f)(item);
            if !go_on {
                break;
            }
        }
        block.unwinds = false;
        go_on
    }

    /// Runs the items of a chunk. If the puller must stop, or if the items take longer than expected, gives back the items
    /// that have not run.
    fn run_chunk(
        &mut self,
        chunk: &mut Vec<I::Item>,
        watch: &mut Watch<'_>,
        began: Option<Instant>,
    ) -> Chunk {
        let pulled = chunk.len();
        let mut rest = Rest::new(chunk);
        let block = if pulled < MOST { 1 } else { BLOCK };
        let mut checked = 0;
        loop {
            let go_on = self.run_block(&mut rest, block);
            let left = rest.0.len();
            // The end of the input finishes the feed only when no puller holds a chunk. If the feed is finished while this chunk
            // has items left, there is another reason: another puller's call of the closure has returned false or panicked.
            if !go_on || left > 0 && self.each.feed.is_finished() {
                if pulled > 1 {
                    self.each.chunks.give_back(&mut rest);
                }
                return Chunk::Ended;
            }
            let stop = watch.must_stop();
            if left == 0 && !stop {
                return Chunk::Done;
            }
            // To read the clock after each item would be slow. So the puller reads the clock after each quarter of the items that
            // it has pulled as one chunk. `run` is the number of these items that have run.
            let run = pulled - left;
            let reads = !stop && run >= checked + pulled / 4;
            if reads {
                checked = run;
            }
            let is_slow = reads && began.is_some_and(|began| began.elapsed() > 4 * CHUNK_TIME);
            if stop || is_slow {
                if pulled > 1 {
                    self.each.chunks.give_back(&mut rest);
                }
                return if stop { Chunk::Stopped } else { Chunk::Slow };
            }
        }
    }
}

/// A block of items that a puller runs. The drop of the block counts the calls of the closure that returned. It also puts the
/// items that were not run back into `rest`. Until then, the field `slots` has all items of the chunk that were not run. So the
/// compiler keeps the address of the next item in a register.
struct Block<'a, 'b, T> {
    rest: &'a mut Rest<'b, T>,
    slots: Slots<'b, T>,
    whole: usize,
    completed: &'a mut u64,
    unwinds: bool,
}

impl<T> Drop for Block<'_, '_, T> {
    #[inline]
    fn drop(&mut self) {
        let begun = self.whole - self.slots.len();
        *self.completed += (begun - usize::from(self.unwinds)) as u64;
        self.rest.0 = std::mem::take(&mut self.slots);
    }
}

/// The outcome of running a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    /// All items of the chunk were run.
    Done,
    /// A call of the closure has returned false or panicked. The items of the chunk that had not begun were given back, and
    /// no puller pulls them.
    Ended,
    /// The puller must stop. The items of the chunk that had not begun were given back, for other pullers.
    Stopped,
    /// The items take longer than expected. The items of the chunk that had not begun were given back, for other pullers.
    Slow,
}

/// Returns the number of items of a puller's next chunk, after a chunk of `size` items that took the time `took`.
fn next_size(size: usize, took: Duration) -> usize {
    if took < CHUNK_TIME / 2 {
        (2 * size).min(MOST)
    } else if took < 2 * CHUNK_TIME {
        size
    } else {
        let fitting = size as u128 * CHUNK_TIME.as_nanos() / took.as_nanos();
        (fitting as usize).max(1)
    }
}

/// Places in memory that each hold an item of a chunk.
type Slots<'a, T> = slice::IterMut<'a, MaybeUninit<T>>;

/// The items of a chunk that have not been run. Dropping this value drops the items, and catches the panic of each
/// item's drop.
struct Rest<'a, T>(Slots<'a, T>);

impl<'a, T> Rest<'a, T> {
    /// Takes all items out of a chunk, which is empty afterwards.
    fn new(chunk: &'a mut Vec<T>) -> Self {
        let pulled = chunk.len();
        // SAFETY: 0 is at most the capacity, and a vector without items has no item to drop.
        unsafe { chunk.set_len(0) };
        Self(chunk.spare_capacity_mut()[..pulled].iter_mut())
    }
}

/// Moves the next item out of its place in memory.
#[inline]
fn next_item<T>(slots: &mut Slots<'_, T>) -> Option<T> {
    let slot = slots.next()?;
    // SAFETY: `Rest::new` was given an item in each slot, and an iterator yields each slot once.
    Some(unsafe { slot.assume_init_read() })
}

impl<T> Iterator for Rest<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        next_item(&mut self.0)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<T> Drop for Rest<'_, T> {
    fn drop(&mut self) {
        self.for_each(unwind::drop_quietly);
    }
}

impl<I: Iterator, F: Fn(I::Item) -> bool> Drop for Puller<'_, I, F> {
    fn drop(&mut self) {
        // Ordering: Relaxed; the end of the puller's task publishes it.
        self.each.feed.job().tally.completed.fetch_add(self.completed, Ordering::Relaxed);
        if self.unwinds {
            self.each.feed.leave();
            self.each.feed.finish();
        }
    }
}
