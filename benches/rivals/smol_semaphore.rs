//! async-executor + an async-lock `Semaphore` per job, with a thread a worker that runs the executor.
//!
//! The executor is leaked to get its faster, static form, which keeps no list of its tasks behind a lock.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use async_executor::{Executor, StaticExecutor};
use async_lock::Semaphore;
use futures::FutureExt;
use futures::channel::oneshot;
use futures_lite::future::block_on;

use crate::contender::Contender;

pub(crate) struct SmolSemaphore {
    executor: &'static StaticExecutor,
    stop: Option<oneshot::Sender<()>>,
    workers: Vec<JoinHandle<()>>,
}

pub(crate) struct Job {
    executor: &'static StaticExecutor,
    permits: Arc<Semaphore>,
}

impl Contender for SmolSemaphore {
    const KEEPS_LIMITS: bool = true;
    type Job = Job;

    fn start(workers: usize) -> Self {
        let executor = Executor::new().leak();
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = stopped.map(|_| ()).shared();
        let work = |_| {
            let stopped = stopped.clone();
            thread::spawn(move || block_on(executor.run(stopped)))
        };
        SmolSemaphore { executor, stop: Some(stop), workers: (0..workers).map(work).collect() }
    }

    fn job(&self, limit: usize) -> Job {
        Job { executor: self.executor, permits: Arc::new(Semaphore::new(limit)) }
    }

    fn push<F: FnOnce() + Send + 'static>(job: &Job, task: F) {
        let permits = Arc::clone(&job.permits);
        let run = async move {
            let _permit = permits.acquire().await;
            task();
        };
        job.executor.spawn(run).detach();
    }
}

impl Drop for SmolSemaphore {
    fn drop(&mut self) {
        self.stop = None;
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}
