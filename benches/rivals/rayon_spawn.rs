//! `rayon::spawn` without any limit: what a work-stealing pool costs that knows no jobs.

use std::sync::Arc;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::contender::Contender;

pub(crate) struct RayonSpawn(Arc<ThreadPool>);

impl Contender for RayonSpawn {
    const KEEPS_LIMITS: bool = false;
    type Job = Arc<ThreadPool>;

    fn start(workers: usize) -> Self {
        RayonSpawn(Arc::new(
            ThreadPoolBuilder::new().num_threads(workers).build().expect("a pool starts"),
        ))
    }

    fn job(&self, _limit: usize) -> Arc<ThreadPool> {
        Arc::clone(&self.0)
    }

    fn push<F: FnOnce() + Send + 'static>(job: &Arc<ThreadPool>, task: F) {
        job.spawn(task);
    }
}
