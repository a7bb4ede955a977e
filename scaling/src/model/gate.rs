//! A mutex a job, around its backlog and its count: a push that finds a permit free goes to the injector.

use super::crew::{Crew, Lock};
use super::ledger::Ledger;
use super::machine::{Core, Kind, Machine};
use super::{Player, Task};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

struct Gate {
    lock: Lock,
    running: Cell<usize>,
    backlog: RefCell<VecDeque<Task>>,
}

/// The pool and its gates.
pub struct Pool {
    ledger: Rc<Ledger>,
    crew: Crew,
    gates: Vec<Gate>,
}

impl Pool {
    /// All gates open.
    pub fn new(machine: &Rc<Machine>, ledger: Rc<Ledger>) -> Self {
        let shape = ledger.shape;
        let gate = |_| Gate {
            lock: Lock::new(machine, Kind::Mutex),
            running: Cell::new(0),
            backlog: RefCell::default(),
        };
        Self {
            crew: Crew::new(machine, &shape),
            gates: (0..shape.jobs()).map(gate).collect(),
            ledger,
        }
    }

    async fn push_task(&self, core: &Core, job: usize, below: usize, inside: bool) {
        self.ledger.note_push(core).await;
        // Memory costs nothing here.
        let task = Task { job, cell: core.machine().line(Kind::Cell), below, loose: false };
        core.store(task.cell).await;
        let gate = &self.gates[job];
        gate.lock.lock(core).await;
        let full = gate.running.get() == self.ledger.shape.limit();
        if full {
            gate.backlog.borrow_mut().push_back(task);
        } else {
            gate.running.set(gate.running.get() + 1);
        }
        gate.lock.unlock(core).await;
        if !full && inside {
            self.crew.place(core).push(core, &[task]).await;
            self.crew.notify(core).await;
        } else if !full {
            self.crew.inject(core, task).await;
        }
    }

    async fn run(&self, core: &Core, task: Task) {
        self.ledger.call(core, task).await;
        for below in self.ledger.children(task) {
            self.push_task(core, task.job, below, true).await;
        }
        self.ledger.end(core, task);
    }
}

impl Player for Pool {
    async fn push(&self, core: &Core, job: usize, below: usize) {
        self.push_task(core, job, below, false).await;
    }

    async fn drop_handle(&self, _: &Core, _: usize) {}

    async fn work(&self, core: &Core) {
        let mut searching = true;
        loop {
            let mut next = Some(self.crew.find(core, &mut searching).await);
            while let Some(task) = next {
                self.run(core, task).await;
                let gate = &self.gates[task.job];
                gate.lock.lock(core).await;
                next = gate.backlog.borrow_mut().pop_front();
                if next.is_none() {
                    gate.running.set(gate.running.get() - 1);
                }
                gate.lock.unlock(core).await;
            }
        }
    }
}
