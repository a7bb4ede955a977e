//! tokio + a `Semaphore` per job: each task is spawned at once and acquires its permit when it is polled. A child's task
//! acquires a permit of each level, from the inside out.

use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Semaphore;

use crate::contender::Contender;

pub(crate) struct TokioSemaphore(Runtime);

pub(crate) struct Job {
    runtime: Handle,
    permits: Arc<Semaphore>,
    /// The semaphores of the jobs above it, from the inside out.
    outer: Vec<Arc<Semaphore>>,
}

impl Job {
    fn new(runtime: &Handle, limit: usize, outer: Vec<Arc<Semaphore>>) -> Job {
        let permits = Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
        Job { runtime: runtime.clone(), permits, outer }
    }
}

impl Contender for TokioSemaphore {
    const KEEPS_LIMITS: bool = true;
    type Job = Job;

    fn start(workers: usize) -> Self {
        TokioSemaphore(
            Builder::new_multi_thread().worker_threads(workers).build().expect("a runtime starts"),
        )
    }

    fn job(&self, limit: usize) -> Job {
        Job::new(self.0.handle(), limit, Vec::new())
    }

    fn child(&self, parent: &Job, limit: usize) -> Job {
        let outer = [&parent.permits].into_iter().chain(&parent.outer).cloned().collect();
        Job::new(self.0.handle(), limit, outer)
    }

    fn push<F: FnOnce() + Send + 'static>(job: &Job, task: F) {
        let permits = Arc::clone(&job.permits);
        // A future for each number of levels, so that no task pays for a level that its job has not.
        match &*job.outer {
            [] => drop(job.runtime.spawn(async move {
                let _permit = permits.acquire().await.expect(OPEN);
                task();
            })),
            [outer] => {
                let outer = Arc::clone(outer);
                drop(job.runtime.spawn(async move {
                    let _permit = permits.acquire().await.expect(OPEN);
                    let _outer = outer.acquire().await.expect(OPEN);
                    task();
                }));
            }
            [outer, outermost] => {
                let (outer, outermost) = (Arc::clone(outer), Arc::clone(outermost));
                drop(job.runtime.spawn(async move {
                    let _permit = permits.acquire().await.expect(OPEN);
                    let _outer = outer.acquire().await.expect(OPEN);
                    let _outermost = outermost.acquire().await.expect(OPEN);
                    task();
                }));
            }
            _ => unreachable!("no workload has more than three levels"),
        }
    }
}

const OPEN: &str = "no semaphore is closed";
