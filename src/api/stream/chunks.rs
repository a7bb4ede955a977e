//! A *chunk* is the items that a puller of `Job::for_each` pulls at once. This module lets a puller give back items of its
//! chunk.
//!
//! A puller *holds* a chunk of several items until it has run all of them, or has given back the rest. A puller gives back the
//! rest if it must stop within its chunk. Other pullers pull these items before they pull the input. Items can be given back even
//! after the end of the input, as long as a puller holds a chunk. The number `held` counts the pullers that hold a chunk. Two
//! steps make sure that a puller pulls all items that are given back:
//!
//! - `chunk-1`: a puller that has run its chunk lowers `held`, the number of pullers with a chunk. Then this puller tries the
//!   lock of the input. If another puller has the lock, this puller lowers the number of running pullers, executes a full fence,
//!   and tries the lock again (`pull-1` to `pull-3` of module `stream`).
//! - `end-1`: a puller that finds the end of the input while another puller holds a chunk unlocks the input, lowers the number of
//!   running pullers, and executes a full fence. Then this puller reads `held`. If `held` is 0, the puller pulls again. If not,
//!   its task ends.
//!
//! No item that is given back is left over. Say that puller A has run its chunk, and puller B has found the end of the input.
//! Both execute a fence. So A gets the lock of the input (`chunk-1`), or B sees that `held` is 0, and pulls again (`end-1`).

use crate::api::stream::Feed;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard, full_fence};
use crate::unwind;
use std::any::Any;
use std::collections::VecDeque;

/// The items that the pullers of one input have given back, and the number of pullers that hold a chunk.
pub struct Chunks<T> {
    /// The items that pullers have given back, in the order in which pullers take them. No code of the user runs under this
    /// lock.
    returned: Mutex<VecDeque<T>>,
    /// The number of items in `returned`.
    given_back: AtomicUsize,
    /// The number of pullers that hold a chunk of more than one item, or that drop the input at its end.
    held: AtomicUsize,
    /// The number of items that a starting puller wants for its first chunk.
    size: AtomicUsize,
    /// The payload of the input's panic, until a puller takes it.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// The outcome of an attempt to pull a chunk.
pub enum Pulled {
    /// At least one item was put into the chunk.
    Chunk,
    /// The caller must pull no further item: the input is at its end, or the feed is finished.
    End,
    /// No chunk is left for the caller now: another puller pulls from the input, or other pullers have all remaining items in
    /// their chunks. The function has subtracted the caller from the running pullers, so the caller must end.
    Left,
    /// The input panicked. No item is left.
    Panicked(Box<dyn Any + Send>),
}

impl<T> Chunks<T> {
    /// Makes the state of a new input: no item was given back, and no puller holds a chunk.
    pub fn new() -> Self {
        Self {
            returned: Mutex::new(VecDeque::new()),
            given_back: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            size: AtomicUsize::new(1),
            panic: Mutex::new(None),
        }
    }

    /// Returns how many items a starting puller wants for its first chunk: 1, or the last size that a puller has stored by
    /// [`keep_size`](Self::keep_size).
    pub fn size(&self) -> usize {
        // Ordering: Relaxed; a hint.
        self.size.load(Ordering::Relaxed)
    }

    /// Stores the chunk size of a puller that stops. The first chunk of the next puller that starts gets this size.
    pub fn keep_size(&self, size: usize) {
        // Ordering: Relaxed; a hint.
        self.size.store(size, Ordering::Relaxed);
    }

    /// Pulls up to `most` items into `chunk`, which must be empty. `had` must be true if the last chunk of this puller had more
    /// than one item, and the puller has run all of them.
    ///
    /// Pulls only one item if the lower bound of the input's `size_hint` is 0. The `next` of such an input can block until an
    /// earlier item has been run. If that earlier item were in this puller's own chunk, the puller would block forever.
    pub fn pull<I: Iterator<Item = T>>(
        &self,
        feed: &Feed<I>,
        chunk: &mut Vec<T>,
        most: usize,
        had: bool,
    ) -> Pulled {
        if had {
            self.put_down(); // chunk-1
        }
        loop {
            let Some(mut source) = feed.come_to_source() else { return Pulled::Left };
            if feed.is_finished() {
                return Pulled::End;
            }
            // Ordering: Acquire; pairs with `put_down`. If no chunk is held, this puller sees all items that were given back.
            let others = self.held.load(Ordering::Acquire) > 0;
            self.pull_returned(chunk, most);
            let mut end = None;
            if chunk.is_empty() {
                end = pull_from(&mut source, chunk, most);
                feed.count_pulled(chunk.len() as u64);
            }
            if chunk.len() > 1 || end.is_some() {
                // Ordering: Relaxed; the lock of the input orders this change before the next load of `held` under the
                // same lock.
                self.held.fetch_add(1, Ordering::Relaxed);
            }
            drop(source);
            if let Some(end) = end {
                self.end(end);
                if chunk.len() <= 1 {
                    self.put_down(); // chunk-1
                }
                if chunk.is_empty() {
                    continue;
                }
            }
            if !chunk.is_empty() {
                return Pulled::Chunk;
            }
            if let Some(payload) = self.lock_panic().take() {
                return Pulled::Panicked(payload);
            }
            if !others {
                return Pulled::End;
            }
            feed.leave(); // end-1
            full_fence();
            // Ordering: Relaxed; the fence above orders this load.
            if self.held.load(Ordering::Relaxed) > 0 {
                return Pulled::Left;
            }
            feed.come_back();
        }
    }

    fn pull_returned(&self, chunk: &mut Vec<T>, most: usize) {
        // Ordering: Relaxed; a hint while a chunk is held. Otherwise the load of `held` in `pull` shows all changes.
        if self.given_back.load(Ordering::Relaxed) > 0 {
            let mut returned = self.lock_returned();
            let again = most.min(returned.len());
            chunk.extend(returned.drain(..again));
            // Ordering: Relaxed; written under the lock of `returned`, and read under the lock of the input.
            self.given_back.store(returned.len(), Ordering::Relaxed);
        }
    }

    /// Drops an input that is at its end. Stores the panic that ended the input or, if none did, the panic of the drop. The
    /// caller must have unlocked the input, because the input's destructor might wait.
    fn end<I>(&self, (input, panic): End<I>) {
        let dropped = unwind::halt(|| drop(input)).err();
        let (first, second) = if panic.is_some() { (panic, dropped) } else { (dropped, None) };
        *self.lock_panic() = first;
        unwind::drop_quietly(second);
    }

    /// Gives back the rest of a chunk, so that other pullers can run these items. The next chunk begins with these items, so
    /// that at a limit of 1 the order of the input stays. The chunk must have had more than one item. Afterwards the calling
    /// puller holds no chunk.
    pub fn give_back(&self, rest: impl Iterator<Item = T>) {
        let mut returned = self.lock_returned();
        let before = returned.len();
        returned.extend(rest);
        // The calling puller might have taken its chunk from the front of `returned`. So the rest of the chunk goes to the front
        // again.
        let rest = returned.len() - before;
        returned.rotate_right(rest);
        // Ordering: Relaxed; `put_down` publishes it.
        self.given_back.store(returned.len(), Ordering::Relaxed);
        drop(returned);
        self.put_down();
    }

    /// Lowers the number of pullers that hold a chunk, because the calling puller holds none any more.
    fn put_down(&self) {
        // Ordering: AcqRel; Release pairs with the load in `pull`. The fence of `pull-2` comes after this change.
        self.held.fetch_sub(1, Ordering::AcqRel);
    }

    fn lock_returned(&self) -> MutexGuard<'_, VecDeque<T>> {
        // Code under the lock of `returned` never panics, because it only moves items.
        self.returned.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn lock_panic(&self) -> MutexGuard<'_, Option<Box<dyn Any + Send>>> {
        self.panic.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl<T> Drop for Chunks<T> {
    fn drop(&mut self) {
        // The items are dropped one at a time: if a destructor panics, the panic is caught before the next item is dropped. Two
        // panics at once would abort the process.
        let returned = std::mem::take(&mut *self.lock_returned());
        returned.into_iter().for_each(unwind::drop_quietly);
    }
}

/// An input that is at its end, and the payload of its panic.
type End<I> = (Option<I>, Option<Box<dyn Any + Send>>);

/// Pulls as many items as the lower bound of the input's `size_hint` says, but at least 1 and at most `most`. An input that
/// yields fewer items or panics is at its end. In this case the function takes the input out of `source`, and returns the
/// input and the payload of its panic, if it panicked.
fn pull_from<I: Iterator>(
    source: &mut Option<I>,
    chunk: &mut Vec<I::Item>,
    most: usize,
) -> Option<End<I>> {
    let input = source.as_mut()?;
    let mut wanted = 0;
    let outcome = unwind::halt(|| {
        wanted = input.size_hint().0.clamp(1, most);
        if wanted == 1 {
            chunk.extend(input.next());
        } else {
            chunk.extend(input.by_ref().take(wanted));
        }
    });
    let ended = outcome.is_err() || chunk.len() < wanted;
    ended.then(|| (source.take(), outcome.err()))
}
