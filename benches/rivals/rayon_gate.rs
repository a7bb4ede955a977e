//! rayon + a mutex gate per job.
//!
//! A push that finds a permit free goes to rayon as it is, with no second allocation; the rest wait in the gate. Whoever
//! holds a permit runs on from the gate's queue until it is empty, and gives the permit back under the same lock.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::contender::Contender;

type Task = Box<dyn FnOnce() + Send>;

pub(crate) struct RayonGate(Arc<ThreadPool>);

pub(crate) struct Gate {
    pool: Arc<ThreadPool>,
    limit: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: usize,
    backlog: VecDeque<Task>,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs what waits under the permit that the caller holds, then gives it back.
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
        Arc::new(Gate { pool: Arc::clone(&self.0), limit, state: Mutex::default() })
    }

    fn push<F: FnOnce() + Send + 'static>(gate: &Arc<Gate>, task: F) {
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
