//! Walks over the children of a job, and over all jobs below it.

use crate::base::task::OpaqueJob;
use crate::job::lifetime::Kept;
use crate::job::permits::Flag;
use crate::job::record::JobPtr;
use crate::pool::children::{Ended, Family};
use crate::pool::core::Shared;
use crate::sync::thread;

impl Family {
    /// Returns the children of the job, each with a handle, and the counts of the children that have left. Both belong to one
    /// moment.
    fn children_and_left(&self, parent: JobPtr) -> (Vec<Kept>, Ended) {
        loop {
            let shard = self.shard(parent.opaque());
            let Some(below) = shard.get(&parent.opaque()) else { return Default::default() };
            let children = below.children.iter().map(|child| JobPtr::of(*child));
            let alive = children.map_while(|child| {
                child.busy.add_handle_if_needed().then(|| Kept::from_handle(child))
            });
            let alive: Vec<_> = alive.collect();
            let (all, left) = (alive.len() == below.children.len(), below.left);
            drop(shard);
            if all {
                return (alive, left);
            }
            // A thread that frees a child is about to add the child's counts, so this thread tries again.
            thread::yield_now();
        }
    }

    /// Returns handles of the children, except of those that are about to be freed.
    fn children(&self, parent: JobPtr) -> Vec<Kept> {
        self.children_that(parent, |_| true)
    }

    /// Does what [`children`](Self::children) does, for the children that `which` accepts.
    fn children_that(&self, parent: JobPtr, which: impl Fn(JobPtr) -> bool) -> Vec<Kept> {
        let shard = self.shard(parent.opaque());
        let alive = |child: &JobPtr| which(*child) && child.busy.add_handle_if_needed();
        shard
            .get(&parent.opaque())
            .into_iter()
            .flat_map(|below| &below.children)
            .map(|child| JobPtr::of(*child))
            // A child in the table has a record, although the record may be about to be freed.
            .filter(alive)
            .map(Kept::from_handle)
            .collect()
    }
}

/// Returns handles of the children that have had children themselves, except of those that are about to be freed.
pub fn gates_in(parent: JobPtr) -> Vec<Kept> {
    parent.pool().family.children_that(parent, |child| child.permits.load().has(Flag::Parent))
}

/// Returns handles of the children of the job, except of those that are about to be freed.
pub fn children_of(parent: JobPtr) -> Vec<Kept> {
    parent.pool().family.children(parent)
}

/// Returns handles of the children of the job. Leaves out children that are about to be freed, and the jobs of keys.
///
/// The jobs of keys must be left out: the table of a keyed job drops the job of a key only if the table has the only handle. A
/// further handle would prevent that.
pub fn children_without_keys(parent: JobPtr) -> Vec<Kept> {
    parent.pool().family.children_that(parent, |child| !child.tally.is_of_key())
}

/// Returns handles of the jobs that the pool can find, each once: jobs with a name, a parent or a child, and held jobs. Leaves
/// out the jobs of keys, and jobs that are about to be freed.
pub fn known_jobs(pool: &Shared) -> Vec<Kept> {
    let mut jobs = Vec::new();
    // While the lock of the list or the table is held, no record in it is freed (root-2).
    let mut add = |job: &OpaqueJob| {
        let job = JobPtr::of(*job);
        if !job.tally.is_of_key() && job.busy.add_handle_if_needed() {
            jobs.push(Kept::from_handle(job));
        }
    };
    pool.named.lock().iter().for_each(&mut add);
    pool.held().iter().for_each(&mut add);
    for shard in pool.family.shards() {
        for (parent, below) in shard.iter().filter(|(_, below)| !below.children.is_empty()) {
            // A child in the table has a handle of its parent.
            add(parent);
            below.children.iter().for_each(&mut add);
        }
    }
    jobs.sort_by_key(Kept::ptr);
    jobs.dedup_by_key(|job| job.ptr());
    jobs
}

/// Calls `see` for the job and each job below it. Returns how the tasks of these jobs and of freed jobs below have ended.
pub fn see_all(job: JobPtr, mut see: impl FnMut(JobPtr)) -> Ended {
    let family = &job.pool().family;
    let mut ended = Ended::default();
    let mut add = |job: JobPtr| {
        see(job);
        let (children, left) = family.children_and_left(job);
        ended += Ended::of(job);
        ended += left;
        children
    };
    let mut below = add(job);
    while let Some(child) = below.pop() {
        below.append(&mut add(child.ptr()));
    }
    ended
}

/// Adds all jobs below this one to `below`, each before the jobs below it.
pub fn add_below(job: JobPtr, below: &mut Vec<Kept>) {
    let mut next = below.len();
    below.append(&mut children_of(job));
    while let Some(child) = below.get(next).map(Kept::ptr) {
        below.append(&mut children_of(child));
        next += 1;
    }
}

/// Finds out whether a job and all jobs below it are idle at one moment. A pass finds each job idle at some moment. If no task
/// has ended between two passes, all jobs were idle at one moment. If a child has left the table between the passes, the
/// child's count is missing, and a further pass must follow.
#[derive(Debug, Default)]
pub struct Passes(Option<Pass>);

/// The result of one pass over a job and all jobs below it.
#[derive(Debug)]
struct Pass {
    /// The number of children that had left the table when the pass began.
    left: u64,
    /// The number of tasks of all these jobs that had ended at the pass.
    ended: u64,
}

impl Passes {
    /// Calls `pass`, which returns the number of ended tasks. Returns true if all jobs were idle at one moment, and false if a
    /// further pass must follow. Returns `None` if `pass` returns `None`.
    pub fn make(&mut self, job: JobPtr, pass: impl FnOnce() -> Option<u64>) -> Option<bool> {
        let family = &job.pool().family;
        let left = family.left();
        let ended = pass()?;
        let before = self.0.replace(Pass { left, ended });
        let idle_together =
            before.is_some_and(|before| before.ended == ended && before.left == family.left());
        Some(idle_together)
    }
}
