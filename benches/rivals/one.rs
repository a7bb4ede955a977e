//! Step 1: one worker fed by a channel. It keeps a limit of 1 by having nobody else.
//!
//! Completion is counted as for everybody else, so the channel that would bring results back is left out.

use std::thread::{self, JoinHandle};

use crossbeam_channel::{Sender, unbounded};

use crate::contender::Contender;

type Task = Box<dyn FnOnce() + Send>;

pub(crate) struct One {
    tasks: Option<Sender<Task>>,
    worker: Option<JoinHandle<()>>,
}

impl Contender for One {
    const KEEPS_LIMITS: bool = true;
    type Job = Sender<Task>;

    fn start(_workers: usize) -> Self {
        let (tasks, queue) = unbounded::<Task>();
        let worker = thread::spawn(move || queue.into_iter().for_each(|task| task()));
        One { tasks: Some(tasks), worker: Some(worker) }
    }

    fn job(&self, _limit: usize) -> Sender<Task> {
        self.tasks.clone().expect("the pool is open until it is dropped")
    }

    fn push<F: FnOnce() + Send + 'static>(job: &Sender<Task>, task: F) {
        job.send(Box::new(task)).expect("the worker outlives the jobs");
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.tasks = None;
        self.worker.take().map(JoinHandle::join);
    }
}
