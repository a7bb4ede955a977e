//! tokio + a `Semaphore` per job: each task is spawned at once and acquires its permit when it is polled.

use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Semaphore;

use crate::contender::Contender;

pub(crate) struct TokioSemaphore(Runtime);

pub(crate) struct Job {
    runtime: Handle,
    permits: Arc<Semaphore>,
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
        let permits = Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
        Job { runtime: self.0.handle().clone(), permits }
    }

    fn push<F: FnOnce() + Send + 'static>(job: &Job, task: F) {
        let permits = Arc::clone(&job.permits);
        job.runtime.spawn(async move {
            let _permit = permits.acquire().await.expect("nobody closes the semaphore");
            task();
        });
    }
}
