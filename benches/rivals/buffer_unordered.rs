//! futures `buffer_unordered`: a job is a stream of tasks, driven by one future on a tokio runtime.
//!
//! The driver spawns each task, so that up to k of them run in parallel; under a limit of 1 there is nothing to run in
//! parallel, and it runs the task in place. A closure holds its thread, so that more spawned tasks than a few a worker gain
//! nothing and a driver with a million of them in hand crawls; so a limit stops there.

use futures::StreamExt;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::future::ready;
use tokio::runtime::{Builder, Runtime};

use crate::contender::Contender;

type Task = Box<dyn FnOnce() + Send>;

/// Spawned tasks of a job that are in flight for each worker, at most.
const IN_FLIGHT: usize = 16;

pub(crate) struct BufferUnordered {
    runtime: Runtime,
    workers: usize,
}

impl Contender for BufferUnordered {
    const KEEPS_LIMITS: bool = true;
    type Job = UnboundedSender<Task>;

    fn start(workers: usize) -> Self {
        let runtime =
            Builder::new_multi_thread().worker_threads(workers).build().expect("a runtime starts");
        BufferUnordered { runtime, workers }
    }

    fn job(&self, limit: usize) -> UnboundedSender<Task> {
        let (push, tasks) = unbounded::<Task>();
        if limit == 1 {
            let running = tasks.map(|task| async move { task() });
            self.runtime.spawn(running.buffer_unordered(1).for_each(|()| ready(())));
        } else {
            let running = tasks.map(|task| tokio::spawn(async move { task() }));
            self.runtime.spawn(
                running
                    .buffer_unordered(limit.min(IN_FLIGHT * self.workers))
                    .for_each(|_| ready(())),
            );
        }
        push
    }

    fn push<F: FnOnce() + Send + 'static>(job: &UnboundedSender<Task>, task: F) {
        job.unbounded_send(Box::new(task)).expect("the driver outlives the job");
    }
}
