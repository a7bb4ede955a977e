//! A stand-in for crossbeam's deque. The elements lie under a mutex, and a relaxed atomic says whether there are any. So a
//! check for emptiness synchronises no more than that of the real deque. A first thief that comes while another thread is
//! inside gets `Retry`, as the real deque may answer. Later thieves wait, because each `Retry` doubles the number of
//! interleavings.

use super::atomic::{AtomicUsize, Ordering};
use super::{Arc, Mutex, MutexGuard};
use std::collections::VecDeque;

/// The greatest number of elements that one steal takes, the returned one included.
const MOST_STOLEN: usize = crate::sync::shrunk(32, 2);

/// The result of a steal.
#[derive(Debug, PartialEq, Eq)]
pub enum Steal<T> {
    /// The deque was empty.
    Empty,
    /// The oldest element.
    Success(T),
    /// Another thread was faster: the caller may try again.
    Retry,
}

impl<T> Steal<T> {
    /// Returns true if the deque was empty.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }
}

#[derive(Debug)]
struct Queue<T> {
    items: Mutex<VecDeque<T>>,
    len: AtomicUsize,
    /// True if the owner also takes the oldest element first.
    fifo: bool,
    /// True if a thief has got `Retry`. Not part of the model: all threads of a model run on one thread of the system.
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

    /// Changes the elements by `f`, and then updates the length.
    fn change<R>(&self, items: &mut VecDeque<T>, f: impl FnOnce(&mut VecDeque<T>) -> R) -> R {
        let before = items.len();
        let out = f(items);
        if items.len() != before {
            // Ordering: Relaxed on purpose; the fences of the callers must carry it.
            self.len.store(items.len(), Ordering::Relaxed);
        }
        out
    }

    /// Locks the elements. Ignores poison: a model's thread that unwinds leaves them whole.
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

    /// Takes up to `most` of the oldest elements. If `half`, takes at most half of all elements, rounded up.
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

    /// Takes a batch, moves all elements but one to the thief's deque, and returns the one. `one_by_one` says that elements are
    /// moved one at a time, so that the last one is returned if the thief's deque is last in, first out.
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

/// The owner's end of a deque.
#[derive(Debug)]
pub struct Worker<T>(Arc<Queue<T>>);

impl<T> Worker<T> {
    /// Makes a deque whose owner pops the newest element.
    pub fn new_lifo() -> Self {
        Self(Arc::new(Queue::new(false)))
    }

    /// Makes a deque whose owner pops the oldest element.
    pub fn new_fifo() -> Self {
        Self(Arc::new(Queue::new(true)))
    }

    /// Returns an end for thieves.
    pub fn stealer(&self) -> Stealer<T> {
        Stealer(self.0.clone())
    }

    /// Adds an element.
    pub fn push(&self, item: T) {
        self.0.with(|items| items.push_back(item));
    }

    /// Takes the newest element, or the oldest one of a first-in, first-out deque.
    pub fn pop(&self) -> Option<T> {
        self.0.with(if self.0.fifo { VecDeque::pop_front } else { VecDeque::pop_back })
    }

    /// Returns true if the deque seems to be empty.
    pub fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    /// Returns the number of elements that the deque seems to have.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// A thief's end of a deque.
#[derive(Debug)]
pub struct Stealer<T>(Arc<Queue<T>>);

impl<T> Stealer<T> {
    /// Returns true if the deque seems to be empty.
    pub fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    /// Takes the oldest element.
    pub fn steal(&self) -> Steal<T> {
        self.0.steal()
    }

    /// Takes some of the oldest elements one by one. Returns one, and moves the others to the thief's deque.
    pub fn steal_batch_and_pop(&self, to: &Worker<T>) -> Steal<T> {
        self.0.steal_batch_and_pop(to, true)
    }
}

/// A queue that any thread may push to and steal from.
#[derive(Debug)]
pub struct Injector<T>(Queue<T>);

impl<T> Injector<T> {
    /// Makes an empty queue.
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

    /// Takes the oldest element, and moves further old elements to the thief's deque.
    pub fn steal_batch_and_pop(&self, to: &Worker<T>) -> Steal<T> {
        self.0.steal_batch_and_pop(to, false)
    }

    /// Returns true if the queue seems to be empty.
    pub fn is_empty(&self) -> bool {
        self.0.len() == 0
    }
}
