//! Ours: a `tollgate::Pool`; `execute` is the way in without a handle, which is what the rivals offer too.

use crate::contender::Contender;

pub(crate) struct Ours(tollgate::Pool);

impl Contender for Ours {
    const KEEPS_LIMITS: bool = true;
    type Job = tollgate::Job;

    fn start(workers: usize) -> Self {
        Ours(tollgate::Pool::builder().workers(workers).build().expect("a pool starts"))
    }

    fn job(&self, limit: usize) -> tollgate::Job {
        self.0.job(limit)
    }

    fn push<F: FnOnce() + Send + 'static>(job: &tollgate::Job, task: F) {
        job.execute(task);
    }
}
