//! Ours: a `tollgate::Pool`; `execute` is the way in without a handle, which is what the rivals offer too. And the same
//! without nesting, to show what a parent costs.

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

    fn child(&self, parent: &tollgate::Job, limit: usize) -> tollgate::Job {
        parent.job(limit)
    }

    fn push<F: FnOnce() + Send + 'static>(job: &tollgate::Job, task: F) {
        job.execute(task);
    }
}

/// Ours, with every job made at the top: the limits of parents do not hold.
pub(crate) struct Flat(Ours);

impl Contender for Flat {
    const KEEPS_LIMITS: bool = true;
    type Job = tollgate::Job;

    fn start(workers: usize) -> Self {
        Flat(Ours::start(workers))
    }

    fn job(&self, limit: usize) -> tollgate::Job {
        self.0.job(limit)
    }

    fn push<F: FnOnce() + Send + 'static>(job: &tollgate::Job, task: F) {
        job.execute(task);
    }
}
