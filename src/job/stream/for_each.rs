//! `Job::for_each`.

use crate::error::JoinError;
use crate::job::Job;
use crate::job::scope::Scope;
use crate::job::stream::cut::{self, Share};
use crate::job::stream::{Feed, Pulled, Watch};
use crate::sync::atomic::Ordering;
use crate::sync::shrunk;
use crate::sync::time::Instant;
use crate::task::Ran;
use crate::unwind;
use crate::worker::context::Context;
use std::panic::resume_unwind;
use std::time::Duration;

impl Job {
    /// Calls `f` with each item of `input`, as many at once as the limit allows, and waits until that is
    /// done.
    ///
    /// The input is pulled lazily: an item is pulled when there is a permit to run `f` with it, so
    /// that no more items are in memory than run. One thread at a time pulls. Input and closure may
    /// borrow. Each call of `f` counts as a task in [`stats`](Self::stats).
    ///
    /// A range of integers is split in runs that shrink towards the end, for as many workers as the limit
    /// allows; nothing is counted or locked for a single item. Calls that take a few nanoseconds are made in
    /// blocks of 256, each of which is a task as far as a pause and other jobs' turns are concerned.
    ///
    /// Without a limit, as many items run at once as the pool has workers.
    ///
    /// # Blocking
    ///
    /// Parks the calling thread until all is done. Inside a task it never deadlocks, as with
    /// [`scope`](Self::scope). Returns at once if the [`size_hint`](Iterator::size_hint) of the input says that it is
    /// empty. Any other input is pulled by tasks, so a job that is paused or has a limit of 0 blocks the call.
    ///
    /// # Cancellation
    ///
    /// After [`cancel`](Self::cancel) nothing more is pulled, and the call returns when what runs has
    /// ended. [`close`](Self::close) does not stop it: the input was accepted before.
    ///
    /// # Panics
    ///
    /// Passes on the first panic, of `f`, of the input or of the input's drop, once what runs has ended; nothing more
    /// is pulled after it.
    ///
    /// # Errors
    ///
    /// [`JoinError::Cancelled`] if the job was closed before the call, or if it was cancelled, or its pool
    /// shut down, before the end of the input was reached.
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
    pub fn for_each<I, F>(&self, input: I, f: F) -> Result<(), JoinError>
    where
        I: IntoIterator,
        I::IntoIter: Send,
        F: Fn(I::Item) + Sync,
    {
        if !self.accepts() {
            return Err(JoinError::Cancelled);
        }
        let each = ForEach { feed: Feed::new(self.ptr(), input.into_iter()), f };
        let run = || Scope::enter(self.clone(), false, |scope| each.send_puller(scope));
        if let Err(payload) = unwind::halt(run) {
            // A second panic, of what is left of the input, would abort the process.
            unwind::drop_quietly(each);
            resume_unwind(payload);
        }
        if each.feed.is_finished() { Ok(()) } else { Err(JoinError::Cancelled) }
    }
}

/// An input, and what is done with its items.
struct ForEach<I, F> {
    feed: Feed<I>,
    f: F,
}

/// Items of a range that take less than this are run in blocks.
const QUICK: Duration = Duration::from_nanos(25);
/// Items by which that is found out.
const PROBE: u32 = shrunk(16, 1) as u32;
/// Items in a block, between which nothing is looked at.
const BLOCK: u64 = shrunk(256, 2) as u64;
/// Blocks after which it is found out again.
const BLOCKS: u32 = shrunk(16, 1) as u32;

/// A puller at work. However it ends, what it did is counted.
struct Puller<'scope, 'env, I: Iterator, F: Fn(I::Item)> {
    each: &'scope ForEach<I, F>,
    scope: &'scope Scope<'scope, 'env>,
    completed: u64,
    unwinds: bool,
}

impl<I, F> ForEach<I, F>
where
    I: Iterator + Send,
    F: Fn(I::Item) + Sync,
{
    fn send_puller<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        self.feed.send_puller(|| {
            scope.push_last(move || {
                self.run(scope);
                Ran::Counted
            });
            if self.feed.is_finished() {
                scope.shared().cancel_unstarted();
            }
        });
    }

    /// A puller's life.
    fn run<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        let mut puller = Puller { each: self, scope, completed: 0, unwinds: true };
        self.feed.start();
        Context::with(|context| {
            let context = context.expect("a task runs on a thread of its pool");
            puller.work(Watch::new(context, self.feed.job()));
        });
        puller.unwinds = false;
    }

    fn finish(&self, scope: &Scope<'_, '_>) {
        self.feed.finish();
        scope.shared().cancel_unstarted();
    }
}

impl<I, F> Puller<'_, '_, I, F>
where
    I: Iterator + Send,
    F: Fn(I::Item) + Sync,
{
    fn work(&mut self, mut watch: Watch<'_>) {
        let ForEach { feed, f } = self.each;
        let mut done = false;
        loop {
            let stop = match feed.pull_run(done) {
                Pulled::Item(_, item) => {
                    self.each.send_puller(self.scope);
                    f(item);
                    self.completed += 1;
                    watch.must_stop()
                }
                Pulled::Run(run) => {
                    self.each.send_puller(self.scope);
                    done = self.work_run(run, &mut watch);
                    !done
                }
                Pulled::Left => return,
                Pulled::End => {
                    feed.leave();
                    self.each.finish(self.scope);
                    return;
                }
                Pulled::Panicked(_, payload) => {
                    feed.leave();
                    self.scope.shared().note_panic(payload);
                    self.each.finish(self.scope);
                    return;
                }
            };
            if stop {
                feed.leave();
                self.each.send_puller(self.scope);
                return;
            }
        }
    }

    /// Runs through a run of items; false if it had to stop in between, and has given the rest back.
    ///
    /// Between two items it looks whether to stop. That would be most of the time where items take a
    /// nanosecond, so those that are [`QUICK`] are run in blocks.
    fn work_run(&mut self, mut run: I, watch: &mut Watch<'_>) -> bool {
        loop {
            let began = Instant::now();
            for _ in 0..PROBE {
                let Some(item) = run.next() else { return true };
                (self.each.f)(item);
                self.completed += 1;
                if watch.must_stop() {
                    self.each.feed.give_back(run);
                    return false;
                }
            }
            let mut quick = began.elapsed() < QUICK * PROBE;
            while quick {
                let began = Instant::now();
                for _ in 0..BLOCKS {
                    let Some(block) = cut::front(&mut run, Share::Items(BLOCK)) else {
                        return true;
                    };
                    self.work_block(block);
                    if watch.is_held_back() || watch.is_others_turn() {
                        self.each.feed.give_back(run);
                        return false;
                    }
                }
                quick = began.elapsed() < QUICK * BLOCKS * BLOCK as u32;
            }
        }
    }

    #[inline]
    fn work_block(&mut self, items: I) {
        let whole = items.size_hint().0;
        let mut block = Block { items, whole, completed: &mut self.completed, unwinds: true };
        for item in block.items.by_ref() {
            (self.each.f)(item);
        }
        block.unwinds = false;
    }
}

/// A block at work. However it ends, what it did is counted.
struct Block<'a, I: Iterator> {
    items: I,
    whole: usize,
    completed: &'a mut u64,
    unwinds: bool,
}

impl<I: Iterator> Drop for Block<'_, I> {
    fn drop(&mut self) {
        let begun = self.whole - self.items.size_hint().0;
        *self.completed += (begun - usize::from(self.unwinds)) as u64;
    }
}

impl<I: Iterator, F: Fn(I::Item)> Drop for Puller<'_, '_, I, F> {
    fn drop(&mut self) {
        // Ordering: Relaxed; published by the end of the part.
        self.each.feed.job().tally.completed.fetch_add(self.completed, Ordering::Relaxed);
        if self.unwinds {
            self.each.feed.leave();
            self.each.feed.finish();
            self.scope.shared().cancel_unstarted();
        }
    }
}
