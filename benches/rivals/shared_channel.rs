//! Step 2: a pool of workers on one shared channel. It knows no jobs and keeps no limits.

use std::thread::{self, JoinHandle};

use crossbeam_channel::{Sender, unbounded};

use crate::contender::Contender;

type Task = Box<dyn FnOnce() + Send>;

pub(crate) struct SharedChannel {
    tasks: Option<Sender<Task>>,
    workers: Vec<JoinHandle<()>>,
}

impl Contender for SharedChannel {
    const KEEPS_LIMITS: bool = false;
    type Job = Sender<Task>;

    fn start(workers: usize) -> Self {
        let (tasks, queue) = unbounded::<Task>();
        let work = |_| {
            let queue = queue.clone();
            thread::spawn(move || queue.into_iter().for_each(|task| task()))
        };
        SharedChannel { tasks: Some(tasks), workers: (0..workers).map(work).collect() }
    }

    fn job(&self, _limit: usize) -> Sender<Task> {
        self.tasks.clone().expect("the pool is open until it is dropped")
    }

    fn push<F: FnOnce() + Send + 'static>(job: &Sender<Task>, task: F) {
        job.send(Box::new(task)).expect("the workers outlive the jobs");
    }
}

impl Drop for SharedChannel {
    fn drop(&mut self) {
        self.tasks = None;
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}
