//! A job of this design: its two lines, what lies on them, and what is done to them in one go.

use super::Task;
use super::machine::{Core, Kind, Line, Machine, Retry, Word};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

/// A task in a backlog.
pub struct Waiting {
    /// Which.
    pub task: Task,
    /// Whether its push is whole.
    pub linked: Rc<Cell<bool>>,
}

/// A job.
pub struct Job {
    /// The line of the arrivals, the word and the tokens.
    pub tail: Line,
    /// The line of the departures and the tally.
    pub head: Line,
    /// The core of the worker that filled a batch of this job last.
    pub holder: Cell<Option<usize>>,
    /// What waits for a permit.
    pub backlog: RefCell<VecDeque<Waiting>>,
    /// Whether somebody has the consumer right, and is asked to look again.
    pub held: Cell<bool>,
    look_again: Cell<bool>,
    /// The word: permits held, ready tasks and the flag.
    pub word: Word,
    pub running: Cell<usize>,
    pub ready: Cell<usize>,
    pub covered: Cell<bool>,
    /// Who needs the record.
    pub tokens: Cell<usize>,
    pub handles: Cell<usize>,
}

impl Job {
    /// An empty one with so many handles.
    pub fn new(machine: &Machine, handles: usize) -> Self {
        let tail = machine.line(Kind::Tail);
        Self {
            tail,
            word: Word::on(tail),
            head: machine.line(Kind::Head),
            holder: Cell::new(None),
            backlog: RefCell::default(),
            held: Cell::new(false),
            look_again: Cell::new(false),
            running: Cell::new(0),
            ready: Cell::new(0),
            covered: Cell::new(false),
            tokens: Cell::new(0),
            handles: Cell::new(handles),
        }
    }

    /// A change of the word, if it is allowed.
    pub async fn change(&self, core: &Core, may: impl Fn() -> bool) -> bool {
        core.exchange_if(&self.word, Retry::AtOnce, may).await
    }

    /// Tries for the consumer right; leaves word if another has it.
    pub async fn try_consume(&self, core: &Core) -> bool {
        core.rmw(self.head).await;
        if !self.held.replace(true) {
            return true;
        }
        core.rmw(self.head).await;
        if !self.held.replace(true) {
            return true;
        }
        self.look_again.set(true);
        false
    }

    /// Tries for the consumer right without leaving word.
    pub async fn try_quietly(&self, core: &Core) -> bool {
        core.rmw(self.head).await;
        !self.held.replace(true)
    }

    /// Lets go of the consumer right; false: somebody has left word, and the right is still held.
    pub async fn let_go(&self, core: &Core) -> bool {
        core.rmw(self.head).await;
        let again = self.look_again.replace(false);
        self.held.set(again);
        !again
    }

    /// Whether the oldest task can be reached.
    pub fn has_head(&self) -> bool {
        self.backlog.borrow().front().is_some_and(|waiting| waiting.linked.get())
    }

    /// Whether `pop` would find a task.
    pub fn can_pop(&self) -> bool {
        let backlog = self.backlog.borrow();
        self.has_head() && backlog.get(1).is_none_or(|next| next.linked.get())
    }

    /// The oldest task, for who has the consumer right.
    pub async fn pop(&self, core: &Core) -> Option<Task> {
        core.load(self.head).await;
        let first = match self.backlog.borrow().front() {
            Some(waiting) if waiting.linked.get() => waiting.task,
            Some(_) | None => return None,
        };
        // The way to the next leads through its cell.
        core.claim(first.cell).await;
        core.store(self.head).await;
        if self.backlog.borrow().len() == 1 {
            core.rmw(self.tail).await;
        }
        if !self.can_pop() {
            return None;
        }
        self.backlog.borrow_mut().pop_front().map(|waiting| waiting.task)
    }
}
