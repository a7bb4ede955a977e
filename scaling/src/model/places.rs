//! A worker's place: its deques, and what it knows of them.

use super::Task;
use super::fifo::{MOST_STOLEN, Steal};
use super::machine::{Core, Kind, Line, Machine, Word};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// A deque: all of it on one line.
struct Deque {
    line: Line,
    /// The index of the end from which thieves take.
    front: Word,
    items: RefCell<VecDeque<Task>>,
}

impl Deque {
    fn new(machine: &Machine, kind: Kind) -> Self {
        let line = machine.line(kind);
        Self { line, front: Word::on(line), items: RefCell::default() }
    }

    /// Whether it looks empty.
    async fn is_empty(&self, core: &Core) -> bool {
        core.load(self.line).await;
        self.items.borrow().is_empty()
    }

    /// How many a thief takes of it.
    async fn most_stolen(&self, core: &Core) -> usize {
        core.load(self.line).await;
        self.items.borrow().len().div_ceil(2).min(MOST_STOLEN)
    }
}

/// One worker's place.
pub struct Place {
    /// Tasks pushed from inside, and what came from the injector: last in, first out.
    deque: Deque,
    /// What was taken from a backlog for the turn that goes on here: first in, first out.
    batch: Deque,
    /// The job that all of the batch is of.
    batch_of: Cell<usize>,
    /// If true, only workers with a permit of the batch's job may take from the batch.
    pub private: Cell<bool>,
    /// The job whose turn goes on here.
    running: Cell<Option<usize>>,
    /// A job, and how many tasks at the top of the deque are known to be its.
    top: Cell<(usize, usize)>,
    /// Those who have waited longest go first next time.
    pub others_first: Cell<bool>,
}

impl Place {
    /// An empty one.
    pub fn new(machine: &Machine) -> Self {
        Self {
            deque: Deque::new(machine, Kind::Deque),
            batch: Deque::new(machine, Kind::Batch),
            batch_of: Cell::new(0),
            private: Cell::new(false),
            running: Cell::new(None),
            top: Cell::new((0, 0)),
            others_first: Cell::new(false),
        }
    }

    /// Puts tasks into the deque, the last of them first.
    pub async fn push(&self, core: &Core, tasks: &[Task]) {
        core.store(self.deque.line).await;
        self.deque.items.borrow_mut().extend(tasks.iter().rev().copied());
    }

    /// Takes the newest task of the deque.
    pub async fn pop(&self, core: &Core) -> Option<Task> {
        if self.deque.is_empty(core).await {
            return None;
        }
        core.store(self.deque.line).await;
        core.fence().await;
        let last = self.deque.items.borrow().len() == 1;
        if last && !core.try_exchange(&self.deque.front).await {
            return None;
        }
        self.deque.items.borrow_mut().pop_back()
    }

    /// How many tasks are in the deque.
    pub fn len(&self) -> usize {
        self.deque.items.borrow().len()
    }

    /// A turn of this job begins; how many tasks at the top of the deque are its. What is left of another's batch goes
    /// to the deque.
    pub async fn begin(&self, core: &Core, job: usize) -> usize {
        if self.batch_of.replace(job) != job {
            while let Some(task) = self.pop_batch(core).await {
                self.push(core, &[task]).await;
            }
        }
        self.running.set(Some(job));
        let (top, count) = self.top.get();
        if top == job { count.min(self.len()) } else { 0 }
    }

    /// The turn is over, and so many tasks at the top of the deque are the job's.
    pub fn end(&self, job: usize, left: usize) {
        if left > 0 {
            self.top.set((job, left));
        }
        self.running.set(None);
    }

    /// Adds a task to the batch.
    pub async fn push_batch(&self, core: &Core, task: Task) {
        core.store(self.batch.line).await;
        self.batch.items.borrow_mut().push_back(task);
    }

    /// Takes the oldest task of the batch: a read-modify-write, and no fence.
    pub async fn pop_batch(&self, core: &Core) -> Option<Task> {
        if self.batch.is_empty(core).await {
            return None;
        }
        core.change(&self.batch.front).await;
        self.batch.items.borrow_mut().pop_front()
    }

    /// Whether the batch has run empty.
    pub async fn batch_is_empty(&self, core: &Core) -> bool {
        self.batch.is_empty(core).await
    }

    /// Whether there looks to be nothing to steal.
    pub async fn is_empty(&self, core: &Core) -> bool {
        self.deque.is_empty(core).await && (self.private.get() || self.batch.is_empty(core).await)
    }

    /// Takes a task out of another's place, and brings more along.
    pub async fn steal(&self, core: &Core, victim: &Self) -> Steal<Task> {
        if victim.private.get() {
            core.load(victim.batch.line).await;
            return self.steal_deque(core, victim).await;
        }
        match self.steal_batch(core, &victim.batch).await {
            Steal::Empty => self.steal_deque(core, victim).await,
            found => found,
        }
    }

    /// Steals tasks from another worker's batch: returns one, and moves the others into this worker's batch, which must be empty.
    pub async fn steal_batch_of(&self, core: &Core, victim: &Self) -> Steal<Task> {
        self.steal_batch(core, &victim.batch).await
    }

    async fn steal_batch(&self, core: &Core, victim: &Deque) -> Steal<Task> {
        let most = victim.most_stolen(core).await;
        if most == 0 {
            return Steal::Empty;
        }
        // One compare-exchange for all of them.
        if !core.try_exchange(&victim.front).await {
            return Steal::Retry;
        }
        let most = most.min(victim.items.borrow().len());
        let mut tasks: VecDeque<Task> = victim.items.borrow_mut().drain(..most).collect();
        let Some(first) = tasks.pop_front() else { return Steal::Empty };
        if !tasks.is_empty() {
            core.store(self.batch.line).await;
            self.batch.items.borrow_mut().append(&mut tasks);
        }
        self.batch_of.set(first.job);
        Steal::Success(first)
    }

    async fn steal_deque(&self, core: &Core, victim: &Self) -> Steal<Task> {
        let most = victim.deque.most_stolen(core).await;
        let (mut tasks, mut retry) = (Vec::new(), false);
        for _ in 0..most {
            // One compare-exchange a task.
            if !core.try_exchange(&victim.deque.front).await {
                retry = true;
                break;
            }
            let Some(task) = victim.deque.items.borrow_mut().pop_front() else { break };
            tasks.push(task);
        }
        let Some(task) = self.keep(core, &tasks).await else {
            return if retry { Steal::Retry } else { Steal::Empty };
        };
        if victim.running.get() == Some(task.job) {
            // Likely its children, all of them.
            self.top.set((task.job, usize::MAX));
        }
        Steal::Success(task)
    }

    /// Returns the first and puts the others into the deque.
    pub async fn keep(&self, core: &Core, tasks: &[Task]) -> Option<Task> {
        let (first, rest) = tasks.split_first()?;
        if !rest.is_empty() {
            self.push(core, rest).await;
        }
        Some(*first)
    }
}
