//! rayon + a mutex gate per job.
//!
//! A push that finds a permit free goes to rayon as it is, with no second allocation; the rest wait in the gate. The thread
//! that holds a permit runs on from the gate's queue until it is empty, and gives the permit back under the same lock.
//!
//! A child's task passes the gates from the inside out and waits at the first full one. The thread that has run it hands
//! on the permit of each gate to the first task that waits there, and runs the task that got the outermost one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::contender::Contender;

type Task = Box<dyn FnOnce() + Send>;

pub(crate) struct RayonGate(Arc<ThreadPool>);

pub(crate) struct Gate {
    pool: Arc<ThreadPool>,
    limit: usize,
    outer: Option<Arc<Gate>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: usize,
    backlog: VecDeque<Task>,
    /// The tasks of a gate inside another, and those of children.
    nested: VecDeque<Nested>,
}

/// A task, and the innermost of the gates that it passes.
struct Nested {
    task: Task,
    own: Arc<Gate>,
}

impl Gate {
    fn new(pool: &Arc<ThreadPool>, limit: usize, outer: Option<Arc<Gate>>) -> Arc<Gate> {
        Arc::new(Gate { pool: Arc::clone(pool), limit, outer, state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs what waits under the permit that the caller holds, then gives it back. For a gate that has no children.
    fn run_on(&self) {
        loop {
            let mut state = self.lock();
            let Some(task) = state.backlog.pop_front() else {
                state.running -= 1;
                return;
            };
            drop(state);
            task();
        }
    }

    /// Takes a permit for the task, or leaves the task here.
    fn enter(&self, nested: Nested) -> Option<Nested> {
        let mut state = self.lock();
        if state.running == self.limit {
            state.nested.push_back(nested);
            return None;
        }
        state.running += 1;
        Some(nested)
    }

    /// Gives a permit back, or to the first task that waits here.
    fn leave(&self) -> Option<Nested> {
        let mut state = self.lock();
        let next = state.nested.pop_front();
        state.running -= usize::from(next.is_none());
        next
    }
}

/// Takes the task through the gates from `gate` outwards, and to rayon.
fn pass(gate: &Arc<Gate>, nested: Nested) {
    let (mut gate, mut nested) = (gate, nested);
    loop {
        let Some(passed) = gate.enter(nested) else { return };
        nested = passed;
        match &gate.outer {
            Some(outer) => gate = outer,
            None => break,
        }
    }
    gate.pool.spawn(move || run_nested(nested));
}

/// Runs a task that holds a permit of each of its gates, and then those that get the outermost one after it.
fn run_nested(first: Nested) {
    let mut next = Some(first);
    while let Some(Nested { task, own }) = next {
        task();
        let mut gate = &own;
        while let Some(outer) = &gate.outer {
            if let Some(freed) = gate.leave() {
                pass(outer, freed);
            }
            gate = outer;
        }
        next = gate.leave();
    }
}

impl Contender for RayonGate {
    const KEEPS_LIMITS: bool = true;
    type Job = Arc<Gate>;

    fn start(workers: usize) -> Self {
        RayonGate(Arc::new(
            ThreadPoolBuilder::new().num_threads(workers).build().expect("a pool starts"),
        ))
    }

    fn job(&self, limit: usize) -> Arc<Gate> {
        Gate::new(&self.0, limit, None)
    }

    fn child(&self, parent: &Arc<Gate>, limit: usize) -> Arc<Gate> {
        Gate::new(&self.0, limit, Some(Arc::clone(parent)))
    }

    fn push<F: FnOnce() + Send + 'static>(gate: &Arc<Gate>, task: F) {
        if gate.outer.is_some() {
            pass(gate, Nested { task: Box::new(task), own: Arc::clone(gate) });
            return;
        }
        let mut state = gate.lock();
        if state.running == gate.limit {
            state.backlog.push_back(Box::new(task));
            return;
        }
        state.running += 1;
        drop(state);
        let gate_of_task = Arc::clone(gate);
        gate.pool.spawn(move || {
            task();
            gate_of_task.run_on();
        });
    }
}
