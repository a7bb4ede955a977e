//! A queue with two ends, as the injector and a list channel are.

use super::machine::{Core, Kind, Line, Machine};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// The most tasks that move at once.
pub const MOST_STOLEN: usize = 32;
/// Slots of 16 bytes in a line.
const SLOTS: usize = 4;

/// A queue with an end that pushes and an end that takes, each a compare-exchange on a line of its own: the
/// injector, and a list channel.
pub struct Fifo<T> {
    tail: Line,
    head: Line,
    slots: Vec<Line>,
    pushed: Cell<usize>,
    taken: Cell<usize>,
    items: RefCell<VecDeque<T>>,
}

/// As many slots as a block has.
const BLOCK: usize = 31;

impl<T> Fifo<T> {
    /// An empty one, of these kinds of lines.
    pub fn new(machine: &Machine, [tail, head, slots]: [Kind; 3]) -> Self {
        Self {
            tail: machine.line(tail),
            head: machine.line(head),
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
        core.rmw(self.tail).await;
        let index = self.pushed.replace(self.pushed.get() + 1);
        core.claim(self.slot(index)).await;
        self.items.borrow_mut().push_back(item);
    }

    /// Whether it looks empty.
    pub async fn is_empty(&self, core: &Core) -> bool {
        core.load(self.head).await;
        core.load(self.tail).await;
        self.items.borrow().is_empty()
    }

    /// Takes the first of them: half, `most` at most.
    pub async fn take(&self, core: &Core, most: usize) -> Vec<T> {
        if self.items.borrow().is_empty() {
            let _ = self.is_empty(core).await;
            return Vec::new();
        }
        core.fence().await;
        if self.items.borrow().len() < BLOCK {
            // In a block that is not full the end is looked up.
            core.load(self.tail).await;
        }
        core.rmw(self.head).await;
        let count = self.items.borrow().len().div_ceil(2).min(most);
        let taken: Vec<T> = self.items.borrow_mut().drain(..count).collect();
        let first = self.taken.replace(self.taken.get() + count);
        for index in (first..first + count).step_by(SLOTS) {
            core.claim(self.slot(index)).await;
        }
        taken
    }
}
