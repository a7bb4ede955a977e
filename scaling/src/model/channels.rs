//! The channel of channels: each job's channel is submitted once for each permit to the workers' channel; a worker
//! stays with it until it is closed and empty.

use super::crew::{Bunks, Lock};
use super::fifo::Fifo;
use super::ledger::Ledger;
use super::machine::{Core, Kind, Line, Machine};
use super::{Player, Task};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Looks at an empty channel before a receiver parks, each after twice the pause of the one before.
const LOOKS: u32 = 7;
const PAUSE: u64 = 10;

struct Channel<T> {
    queue: Fifo<T>,
    senders: Cell<usize>,
    /// Whether somebody parks, and the list under a lock of those who do.
    waiting: Line,
    lock: Lock,
    parked: RefCell<Vec<usize>>,
}

impl<T> Channel<T> {
    fn new(machine: &Machine, senders: usize) -> Self {
        let kinds = [Kind::ChannelTail, Kind::ChannelHead, Kind::ChannelSlots];
        Self {
            queue: Fifo::new(machine, kinds),
            senders: Cell::new(senders),
            waiting: machine.line(Kind::Sleepers),
            lock: Lock::new(machine, Kind::SleepersLock),
            parked: RefCell::default(),
        }
    }

    async fn send(&self, core: &Core, bunks: &Bunks, item: T) {
        self.queue.push(core, item).await;
        core.fence().await;
        core.load(self.waiting).await;
        if !self.parked.borrow().is_empty() {
            self.lock.lock(core).await;
            let woken = self.parked.borrow_mut().pop();
            core.store(self.waiting).await;
            self.lock.unlock(core).await;
            if let Some(other) = woken {
                bunks.wake(core, other).await;
            }
        }
    }

    /// `None`: closed and empty.
    async fn receive(&self, core: &Core, bunks: &Bunks) -> Option<T> {
        loop {
            for look in 0..LOOKS {
                if let Some(item) = self.queue.take_one(core).await {
                    return Some(item);
                }
                if self.senders.get() == 0 && self.queue.is_empty(core).await {
                    return None;
                }
                core.work(PAUSE << look).await;
            }
            self.lock.lock(core).await;
            self.parked.borrow_mut().push(core.index);
            core.store(self.waiting).await;
            self.lock.unlock(core).await;
            let empty = self.queue.is_empty(core).await;
            if empty && self.senders.get() > 0 {
                bunks.park(core).await;
            }
            self.parked.borrow_mut().retain(|parked| *parked != core.index);
        }
    }

    async fn close(&self, core: &Core, bunks: &Bunks) {
        core.rmw(self.waiting).await;
        self.senders.set(self.senders.get() - 1);
        if self.senders.get() == 0 {
            let parked = self.parked.take();
            for other in parked {
                bunks.wake(core, other).await;
            }
        }
    }
}

/// The workers' channel and the jobs'.
pub struct Pool {
    ledger: Rc<Ledger>,
    workers: Channel<usize>,
    jobs: Vec<Channel<Task>>,
    submitted: Vec<Cell<bool>>,
    bunks: Bunks,
}

impl Pool {
    /// Nothing submitted.
    pub fn new(machine: &Rc<Machine>, ledger: Rc<Ledger>) -> Self {
        let shape = ledger.shape;
        let job = |job| Channel::new(machine, ledger.handles(job));
        Self {
            workers: Channel::new(machine, 1),
            jobs: (0..shape.jobs()).map(job).collect(),
            submitted: vec![Cell::new(false); shape.jobs()],
            bunks: Bunks::new(shape.cores),
            ledger,
        }
    }
}

impl Player for Pool {
    async fn push(&self, core: &Core, job: usize, below: usize) {
        if !self.submitted[job].replace(true) {
            for _ in 0..self.ledger.shape.limit() {
                self.workers.send(core, &self.bunks, job).await;
            }
        }
        self.ledger.note_push(core).await;
        // Memory costs nothing here.
        let task = Task { job, cell: core.machine().line(Kind::Cell), below, loose: false };
        core.store(task.cell).await;
        self.jobs[job].send(core, &self.bunks, task).await;
    }

    async fn drop_handle(&self, core: &Core, job: usize) {
        self.jobs[job].close(core, &self.bunks).await;
    }

    async fn work(&self, core: &Core) {
        while let Some(job) = self.workers.receive(core, &self.bunks).await {
            while let Some(task) = self.jobs[job].receive(core, &self.bunks).await {
                self.ledger.call(core, task).await;
                for below in self.ledger.children(task) {
                    self.push(core, job, below).await;
                }
                self.ledger.end(core, task);
            }
        }
    }
}
