//! The deque's stand-in: contents under a mutex, emptiness on a relaxed atomic of its own, so that
//! looking at it synchronises no more than the real one does. The first thief that comes while another
//! thread is inside is sent away with `Retry`, as the real one may be; later ones wait, for each
//! `Retry` doubles what there is to check.

use super::atomic::{AtomicUsize, Ordering};
use super::{Arc, Mutex, MutexGuard};
use std::collections::VecDeque;

/// The most that one steal moves to the thief's deque, its result included.
const MOST_STOLEN: usize = crate::sync::shrunk(32, 2);

/// What a steal came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Steal<T> {
    /// Nothing was there.
    Empty,
    /// The oldest element.
    Success(T),
    /// Another thread was faster; try again.
    Retry,
}

impl<T> Steal<T> {
    /// Whether nothing was there.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }
}

#[derive(Debug)]
struct Queue<T> {
    items: Mutex<VecDeque<T>>,
    len: AtomicUsize,
    /// Whether the owner takes the oldest, too.
    fifo: bool,
    /// No part of the model: all of its threads run on one thread of the system.
    sent_away: std::sync::atomic::AtomicBool,
}

impl<T> Queue<T> {
    fn new(fifo: bool) -> Self {
        Self {
            items: Mutex::new(VecDeque::new()),
            len: AtomicUsize::new(0),
            fifo,
            sent_away: Default::default(),
        }
    }

    /// Changes the contents; `len` follows if they did change.
    fn change<R>(&self, items: &mut VecDeque<T>, f: impl FnOnce(&mut VecDeque<T>) -> R) -> R {
        let before = items.len();
        let out = f(items);
        if items.len() != before {
            // Ordering: Relaxed on purpose; the fences of the callers must carry it.
            self.len.store(items.len(), Ordering::Relaxed);
        }
        out
    }

    /// All threads run on one thread of the system: a task that unwinds meanwhile poisons nothing.
    fn lock(&self) -> MutexGuard<'_, VecDeque<T>> {
        self.items.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn with<R>(&self, f: impl FnOnce(&mut VecDeque<T>) -> R) -> R {
        self.change(&mut self.lock(), f)
    }

    fn len(&self) -> usize {
        // Ordering: as in `change`.
        self.len.load(Ordering::Relaxed)
    }

    /// Takes up to `most` of the oldest, or up to half of them rounded up.
    fn steal_some(&self, most: usize, half: bool) -> Steal<VecDeque<T>> {
        let mut items = if self.sent_away.load(Ordering::Relaxed) {
            self.lock()
        } else if let Ok(items) = self.items.try_lock() {
            items
        } else {
            self.sent_away.store(true, Ordering::Relaxed);
            return Steal::Retry;
        };
        let share = if half { items.len().div_ceil(2) } else { items.len() };
        let count = share.min(most);
        if count == 0 {
            return Steal::Empty;
        }
        Steal::Success(self.change(&mut items, |items| items.drain(..count).collect()))
    }

    fn steal(&self) -> Steal<T> {
        match self.steal_some(1, false) {
            Steal::Success(mut one) => Steal::Success(one.pop_front().expect("one was taken")),
            Steal::Empty => Steal::Empty,
            Steal::Retry => Steal::Retry,
        }
    }

    /// Takes a batch, moves it but for one to the thief's deque, and returns that one: the first in turn, or the
    /// `last` of a batch that is moved one by one to where the last is the first in turn.
    fn steal_batch_and_pop(&self, to: &Worker<T>, one_by_one: bool) -> Steal<T> {
        let mut batch = match self.steal_some(MOST_STOLEN, true) {
            Steal::Success(batch) => batch,
            Steal::Empty => return Steal::Empty,
            Steal::Retry => return Steal::Retry,
        };
        if !to.0.fifo && !one_by_one {
            batch.make_contiguous().reverse();
        }
        let one = if to.0.fifo { batch.pop_front() } else { batch.pop_back() };
        let one = one.expect("one was taken at least");
        if !batch.is_empty() {
            to.0.with(|items| items.extend(batch));
        }
        Steal::Success(one)
    }
}

/// The owner's end.
#[derive(Debug)]
pub struct Worker<T>(Arc<Queue<T>>);

impl<T> Worker<T> {
    /// A last-in first-out deque.
    pub fn new_lifo() -> Self {
        Self(Arc::new(Queue::new(false)))
    }

    /// A first-in first-out deque.
    pub fn new_fifo() -> Self {
        Self(Arc::new(Queue::new(true)))
    }

    /// A thief's end.
    pub fn stealer(&self) -> Stealer<T> {
        Stealer(self.0.clone())
    }

    /// Adds an element.
    pub fn push(&self, item: T) {
        self.0.with(|items| items.push_back(item));
    }

    /// Takes the newest element, or the oldest.
    pub fn pop(&self) -> Option<T> {
        self.0.with(if self.0.fifo { VecDeque::pop_front } else { VecDeque::pop_back })
    }

    /// Whether it looked empty.
    pub fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    /// How many elements it seemed to hold.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// A thief's end.
#[derive(Debug)]
pub struct Stealer<T>(Arc<Queue<T>>);

impl<T> Stealer<T> {
    /// Whether it looked empty.
    pub fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    /// Takes the oldest element.
    pub fn steal(&self) -> Steal<T> {
        self.0.steal()
    }

    /// Takes some of the oldest elements one by one; returns the last, or what is first in turn, and moves the
    /// others over.
    pub fn steal_batch_and_pop(&self, to: &Worker<T>) -> Steal<T> {
        self.0.steal_batch_and_pop(to, true)
    }
}

/// A queue that many threads push to and steal from.
#[derive(Debug)]
pub struct Injector<T>(Queue<T>);

impl<T> Injector<T> {
    /// An empty queue.
    pub fn new() -> Self {
        Self(Queue::new(true))
    }

    /// Adds an element.
    pub fn push(&self, item: T) {
        self.0.with(|items| items.push_back(item));
    }

    /// Takes the oldest element.
    pub fn steal(&self) -> Steal<T> {
        self.0.steal()
    }

    /// Takes the oldest element, and moves more of the oldest to the thief's deque.
    pub fn steal_batch_and_pop(&self, to: &Worker<T>) -> Steal<T> {
        self.0.steal_batch_and_pop(to, false)
    }

    /// Whether it looked empty.
    pub fn is_empty(&self) -> bool {
        self.0.len() == 0
    }
}
