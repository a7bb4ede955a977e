//! Finds the children of a job, and all jobs below a job.

use crate::base::task::OpaqueJob;
use crate::job::lifetime::Kept;
use crate::job::permits::Flag;
use crate::job::record::JobPtr;
use crate::pool::children::{Ended, Family};
use crate::pool::core::Shared;
use crate::sync::thread;

impl Family {
    /// Returns a handle of each child of `parent` in the table of children. Also returns the counts of ended tasks of those
    /// children that were removed from the table. Each child of `parent` is in exactly one of the two results.
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
            // Another thread is about to free a child of `parent`. That thread removes the child from the table and adds the
            // child's counts to `left`. So this thread tries again.
            thread::yield_now();
        }
    }

    /// Returns a handle of each child of `parent`. Leaves out children that are about to be freed.
    fn children(&self, parent: JobPtr) -> Vec<Kept> {
        self.children_that(parent, |_| true)
    }

    /// Returns a handle of each child of `parent` for which `which` returns true. Leaves out children that are about to be
    /// freed.
    fn children_that(&self, parent: JobPtr, which: impl Fn(JobPtr) -> bool) -> Vec<Kept> {
        let shard = self.shard(parent.opaque());
        let alive = |child: &JobPtr| which(*child) && child.busy.add_handle_if_needed();
        shard
            .get(&parent.opaque())
            .into_iter()
            .flat_map(|below| &below.children)
            .map(|child| JobPtr::of(*child))
            // A thread removes a child from the table before it frees the child's record. So while this thread holds the lock
            // of `shard`, the record is not freed, and `alive` can use it.
            .filter(alive)
            .map(Kept::from_handle)
            .collect()
    }
}

/// Returns a handle of each child of `parent` that has, or once had, children of its own. Leaves out children that are about to
/// be freed.
pub fn gates_in(parent: JobPtr) -> Vec<Kept> {
    parent.pool().family.children_that(parent, |child| child.permits.load().has(Flag::Parent))
}

/// Returns a handle of each child of `parent`. Leaves out children that are about to be freed.
pub fn children_of(parent: JobPtr) -> Vec<Kept> {
    parent.pool().family.children(parent)
}

/// Returns a handle of each child of `parent` that is not the job of a key. Leaves out children that are about to be freed.
///
/// The jobs of keys are left out, because a handle from this function would prevent their eviction. A keyed job evicts the job
/// of a key only if the keyed job has the only handle of that job.
pub fn children_without_keys(parent: JobPtr) -> Vec<Kept> {
    parent.pool().family.children_that(parent, |child| !child.tally.is_of_key())
}

/// Returns one handle of each job that the pool can find: each job with a name, a parent or a child, and each held job. Leaves
/// out the jobs of keys, and jobs that are about to be freed.
pub fn known_jobs(pool: &Shared) -> Vec<Kept> {
    let mut jobs = Vec::new();
    // Call `add` under the lock of the list or table in which the job was found. Under that lock the job's record is not freed,
    // so `add` can use it (root-2).
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
            // A child in the table has a handle of its parent, so the parent's record is not freed.
            add(parent);
            below.children.iter().for_each(&mut add);
        }
    }
    jobs.sort_by_key(Kept::ptr);
    jobs.dedup_by_key(|job| job.ptr());
    jobs
}

/// Calls `see` for `job` and for each job below `job`. Returns how many tasks of all these jobs have ended, together with the
/// ended tasks of freed jobs below `job`.
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

/// Adds a handle of each job below `job` to the end of `below`. A parent comes before its children.
pub fn add_below(job: JobPtr, below: &mut Vec<Kept>) {
    let mut next = below.len();
    below.append(&mut children_of(job));
    while let Some(child) = below.get(next).map(Kept::ptr) {
        below.append(&mut children_of(child));
        next += 1;
    }
}

/// Finds out whether a job and all jobs below it were idle at one moment.
///
/// A *pass* visits the job and each job below it, one after the other, and finds each of them idle at the visit. A pass also
/// counts the ended tasks of all these jobs. If two passes in a row count the same number, no task has ended between the two
/// counts. So all these jobs were idle at one moment between the two passes.
///
/// If a child was removed from the table of children while the two passes ran, the passes might not have counted the tasks of
/// that child. In this case a further pass must follow.
#[derive(Debug, Default)]
pub struct Passes(Option<Pass>);

/// The result of one pass over a job and all jobs below it.
#[derive(Debug)]
struct Pass {
    /// The number of children that had been removed from the pool's table of children when the pass began.
    left: u64,
    /// The number of ended tasks that the pass counted, over all jobs that it visited.
    ended: u64,
}

impl Passes {
    /// Calls `pass`, which must check that `job` and all jobs below it are idle, and return the number of their ended tasks.
    /// Returns true if all these jobs were idle at one moment, and false if a further pass must follow. Returns `None` if
    /// `pass` returns `None`.
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
