//! A queue with two ends, as the injector and a list channel are.

use super::machine::{Core, Kind, Line, Machine, Retry, Word};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// The most tasks that move at once.
pub const MOST_STOLEN: usize = 32;
/// Slots of 16 bytes in a line.
const SLOTS: usize = 4;

/// A queue with an end that pushes and an end that takes, each a compare-exchange on a line of its own: the
/// injector, and a list channel.
pub struct Fifo<T> {
    tail_line: Line,
    tail: Word,
    head_line: Line,
    head: Word,
    slots: Vec<Line>,
    pushed: Cell<usize>,
    taken: Cell<usize>,
    items: RefCell<VecDeque<T>>,
}

/// As many slots as a block has.
const BLOCK: usize = 31;

/// The result of a steal.
pub enum Steal<T> {
    /// The stolen tasks.
    Success(T),
    /// The queue was empty.
    Empty,
    /// Another core took tasks meanwhile, so the steal failed.
    Retry,
}

impl<T> Fifo<T> {
    /// An empty one, of these kinds of lines.
    pub fn new(machine: &Machine, [tail, head, slots]: [Kind; 3]) -> Self {
        let (tail, head) = (machine.line(tail), machine.line(head));
        Self {
            tail_line: tail,
            tail: Word::on(tail),
            head_line: head,
            head: Word::on(head),
            slots: (0..MOST_STOLEN).map(|_| machine.line(slots)).collect(),
            pushed: Cell::new(0),
            taken: Cell::new(0),
            items: RefCell::default(),
        }
    }

    fn slot(&self, index: usize) -> Line {
        self.slots[index / SLOTS % self.slots.len()]
    }

    /// Adds one at the end.
    pub async fn push(&self, core: &Core, item: T) {
        core.exchange(&self.tail, Retry::BackOff).await;
        let index = self.pushed.replace(self.pushed.get() + 1);
        core.claim(self.slot(index)).await;
        self.items.borrow_mut().push_back(item);
    }

    /// Whether it looks empty.
    pub async fn is_empty(&self, core: &Core) -> bool {
        core.load(self.head_line).await;
        core.load(self.tail_line).await;
        self.items.borrow().is_empty()
    }

    /// Takes the first of them: half, `most` at most. Fails if another core takes some meanwhile.
    pub async fn take(&self, core: &Core, most: usize) -> Steal<Vec<T>> {
        if self.items.borrow().is_empty() {
            let _ = self.is_empty(core).await;
            return Steal::Empty;
        }
        core.fence().await;
        if self.items.borrow().len() < BLOCK {
            // In a block that is not full the end is looked up.
            core.load(self.tail_line).await;
        }
        if !core.try_exchange(&self.head).await {
            return Steal::Retry;
        }
        let count = self.items.borrow().len().div_ceil(2).min(most);
        let taken: Vec<T> = self.items.borrow_mut().drain(..count).collect();
        let first = self.taken.replace(self.taken.get() + count);
        for index in (first..first + count).step_by(SLOTS) {
            core.claim(self.slot(index)).await;
        }
        if taken.is_empty() { Steal::Empty } else { Steal::Success(taken) }
    }

    /// Takes the first item, or returns `None` if the queue is empty. Tries again after each failure, with a pause that doubles.
    pub async fn take_one(&self, core: &Core) -> Option<T> {
        let mut failed = 0;
        loop {
            match self.take(core, 1).await {
                Steal::Success(mut taken) => return taken.pop(),
                Steal::Empty => return None,
                Steal::Retry => core.back_off(failed).await,
            }
            failed += 1;
        }
    }
}
