//! Jobs inside jobs: who is whose child, for the calls that reach down.
//!
//! A task passes its own gate and each ancestor's (`admission`); that needs only the way up. The way down
//! is needed for `cancel` and `wait` alone, and kept in a table of the pool, so that a job without
//! children has no field for it.

use crate::job::Job;
use crate::job::extra::Extra;
use crate::job::permits::Flag;
use crate::job::record::JobPtr;
use crate::job::{control, idle};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::time::Instant;
use crate::sync::{Mutex, MutexGuard};
use crate::task::rests::Resting;
use std::collections::{BTreeMap, BTreeSet};

const SHARDS: usize = crate::sync::shrunk(16, 1);

type Children = BTreeMap<JobPtr, BTreeSet<JobPtr>>;

/// The children of all jobs of a pool.
#[derive(Debug)]
pub struct Family {
    shards: [Mutex<Children>; SHARDS],
    /// How many children have left.
    left: AtomicU64,
}

impl Family {
    /// No job has children.
    pub fn new() -> Self {
        let shards = std::array::from_fn(|_| Mutex::new(BTreeMap::new()));
        Self { shards, left: AtomicU64::new(0) }
    }

    fn shard(&self, parent: JobPtr) -> MutexGuard<'_, Children> {
        let shard = &self.shards[parent.idle_key() / crate::task::cells::LARGE % SHARDS];
        shard.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Enters a child; it is alive.
    pub fn enter(&self, parent: JobPtr, child: JobPtr) {
        if !parent.permits.set(Flag::Parent).has(Flag::Parent) {
            // Whoever runs on under a permit of it took it for open.
            parent.pool().advance_epoch();
        }
        self.shard(parent).entry(parent).or_default().insert(child);
    }

    /// Takes a child out that nobody needs any more, before its record is freed.
    pub fn leave(&self, parent: JobPtr, child: JobPtr) {
        let mut shard = self.shard(parent);
        // Ordering: Release; under the lock that whoever misses the child has taken.
        self.left.fetch_add(1, Ordering::Release);
        if let Some(children) = shard.get_mut(&parent) {
            children.remove(&child);
            if children.is_empty() {
                shard.remove(&parent);
            }
        }
    }

    /// How many children have left so far.
    fn left(&self) -> u64 {
        // Ordering: Acquire; as in `leave`.
        self.left.load(Ordering::Acquire)
    }

    /// The children that somebody still needs, each with a handle.
    fn children(&self, parent: JobPtr) -> Vec<Job> {
        self.children_that(parent, |_| true)
    }

    /// Those of them that `which` picks.
    fn children_that(&self, parent: JobPtr, which: impl Fn(JobPtr) -> bool) -> Vec<Job> {
        let shard = self.shard(parent);
        let alive = |child: &&JobPtr| which(**child) && child.tokens.add_handle_if_needed();
        shard
            .get(&parent)
            .into_iter()
            .flatten()
            // In the table, the record is there, if only to be freed.
            .filter(alive)
            .map(|child| Job::from_handle(*child))
            .collect()
    }
}

/// The children of the job that have had children themselves, and that somebody still needs.
pub fn gates_in(parent: JobPtr) -> Vec<Job> {
    parent.pool().family.children_that(parent, |child| child.permits.load().has(Flag::Parent))
}

/// The children of the job that somebody still needs.
pub fn children_of(parent: JobPtr) -> Vec<Job> {
    parent.pool().family.children(parent)
}

/// Cancels the job and all jobs below it.
pub fn cancel(job: JobPtr) {
    job.pool().defer_end(|| cancel_with_all_below(job));
    job.pool().drop_late();
}

fn cancel_with_all_below(job: JobPtr) {
    // The handles in `below` keep the marked jobs alive until they are swept.
    let (mut below, mut marked) = (Vec::new(), Vec::new());
    let mut known = BTreeSet::new();
    if control::mark_cancelled(job) {
        marked.push(job);
    }
    // A child that was made meanwhile may have taken tasks before its parent was marked.
    loop {
        let mut found = Vec::new();
        add_below(job, &mut found);
        found.retain(|child| known.insert(child.ptr()));
        if found.is_empty() {
            break;
        }
        marked.extend(found.iter().map(Job::ptr).filter(|child| control::mark_cancelled(*child)));
        below.append(&mut found);
    }
    marked.into_iter().for_each(control::drop_waiting);
}

/// Adds the jobs below this one, each before those below it.
fn add_below(job: JobPtr, below: &mut Vec<Job>) {
    let mut next = below.len();
    below.append(&mut children_of(job));
    while let Some(child) = below.get(next).map(Job::ptr) {
        below.append(&mut children_of(child));
        next += 1;
    }
}

/// Two passes over a job and all below it, each of which found each of them idle at some time: if no task has ended from
/// one to the other, they were idle together. A child that leaves takes its count along, and another pass is due.
#[derive(Debug, Default)]
pub struct Passes(Option<Pass>);

/// What a pass has found.
#[derive(Debug)]
struct Pass {
    /// The children that had left when it began.
    left: u64,
    /// The tasks that had ended, of all jobs together.
    ended: u64,
}

impl Passes {
    /// Makes a pass by `pass`, which says how many tasks have ended, or `None` if it stops; whether it was the last.
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

/// Waits until the job and all below it have nothing queued or running, or another waiter has seen that meanwhile. False if
/// the time is over first.
pub fn wait(job: JobPtr, until: Option<Instant>) -> bool {
    let resting = Resting::enter(job.idle_key());
    let mut passes = Passes::default();
    loop {
        match passes.make(job, || wait_for_each(job, until, &resting)) {
            None => return resting.has_come(),
            Some(true) => {
                resting.note();
                return true;
            }
            Some(false) if resting.has_come() => return true,
            Some(false) => {}
        }
    }
}

/// Waits for the job and each below it in turn. Returns how many of their tasks have ended, or `None` if the time is over or
/// the rest has come.
fn wait_for_each(job: JobPtr, until: Option<Instant>, resting: &Resting) -> Option<u64> {
    let mut ended = wait_for_one(job, until, resting)?;
    let mut below = children_of(job);
    while let Some(child) = below.pop() {
        ended = ended.wrapping_add(wait_for_one(child.ptr(), until, resting)?);
        below.append(&mut children_of(child.ptr()));
    }
    Some(ended)
}

/// Waits for the job alone. Returns how many of its tasks have ended, or `None` as [`wait_for_each`] does.
fn wait_for_one(job: JobPtr, until: Option<Instant>, resting: &Resting) -> Option<u64> {
    while !idle::wait(job, until, || resting.has_come()) {
        // Busy again, or still: a parent's line runs empty between two tasks of its children.
        if resting.has_come() || until.is_some_and(|until| Instant::now() >= until) {
            return None;
        }
    }
    Some(job.tally.ended())
}

impl Job {
    /// Makes a child of this job. A task of the child needs a permit of the child and of each job above it.
    ///
    /// A task passes the limits from the inside out, and waits at the first job without a free permit. If the parent is
    /// full, its children take turns of 16 tasks or 100 µs, however long their queues are. A future that was pending ends
    /// its child's turn. Calls on a parent include all jobs below it: [`set_limit`](Self::set_limit) and
    /// [`pause`](Self::pause) hold back their tasks, [`close`](Self::close) and [`cancel`](Self::cancel) close them, and
    /// [`wait`](Self::wait) waits for them. Children may have children, to any depth.
    ///
    /// # Panics
    ///
    /// If this job has 67,108,864 handles and children already.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(8).build()?;
    /// let everything = pool.job(20);
    /// let host = everything.job(6); // at most 6 to this host
    /// let search = host.job(2); // of which at most 2 searches
    /// let pages = host.job(5);
    /// for _ in 0..50 {
    ///     search.execute(|| ());
    ///     pages.execute(|| ());
    /// }
    /// everything.wait();
    /// assert_eq!(search.stats().completed + pages.stats().completed, 100);
    /// assert!(search.stats().most_running <= 2);
    /// assert!(host.stats().most_running <= 6);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn job(&self, limit: usize) -> Self {
        make(self.ptr().pool_ptr(), Some(self.ptr()), limit, Extra::default())
    }
}

/// Makes a job, and enters it where the calls that reach down find it.
#[inline]
#[track_caller]
pub fn make(
    pool: crate::pool::shared::PoolPtr,
    parent: Option<JobPtr>,
    limit: usize,
    extra: Extra,
) -> Job {
    let job = JobPtr::make(pool, parent, control::limit_bits(limit));
    if !extra.is_empty() {
        job.set_extra(extra);
    }
    if let Some(parent) = parent {
        job.pool().family.enter(parent, job);
    }
    if limit == 0 {
        control::list_if_held(job);
    }
    Job::from_handle(job)
}
