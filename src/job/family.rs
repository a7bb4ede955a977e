//! The children of jobs: making them, and the calls that include all jobs below.
//!
//! A task needs only the way from a job to its parent, which the record has. The way down is needed by `cancel` and `wait`. A
//! table of the pool has it, so that a job without children needs no field for it.

use crate::api::job::Job;
use crate::base::rests::Resting;
use crate::job::extra::Extra;
use crate::job::permits::Flag;
use crate::job::record::JobPtr;
use crate::job::{control, idle};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::time::Instant;
use crate::sync::{Mutex, MutexGuard, thread};
use std::collections::{BTreeMap, BTreeSet};

const SHARDS: usize = crate::sync::shrunk(16, 1);

type Children = BTreeMap<JobPtr, Below>;

/// The children of all jobs of a pool.
#[derive(Debug)]
pub struct Family {
    shards: [Mutex<Children>; SHARDS],
    /// The number of children that have left the table.
    left: AtomicU64,
}

/// The children of one job, from its first child on until the job is freed.
#[derive(Debug, Default)]
struct Below {
    /// The children whose records are not freed.
    children: BTreeSet<JobPtr>,
    /// How the tasks ended of the children that have left, and of all jobs below those.
    left: Ended,
}

/// How many tasks have ended, by the way they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Tasks that returned.
    pub completed: u64,
    /// Tasks that panicked.
    pub panicked: u64,
    /// Tasks that were dropped.
    pub cancelled: u64,
}

impl Ended {
    /// Returns the counts of one job, without the jobs below it.
    pub fn of(job: JobPtr) -> Self {
        let tally = &job.tally;
        // Ordering: Relaxed all; figures. A wait for the job orders them before the waiter reads them.
        Self {
            completed: tally.completed.load(Ordering::Relaxed),
            panicked: tally.panicked.load(Ordering::Relaxed),
            cancelled: tally.cancelled.load(Ordering::Relaxed),
        }
    }
}

impl std::ops::AddAssign for Ended {
    fn add_assign(&mut self, more: Self) {
        self.completed += more.completed;
        self.panicked += more.panicked;
        self.cancelled += more.cancelled;
    }
}

impl Family {
    /// Makes an empty table.
    pub fn new() -> Self {
        let shards = std::array::from_fn(|_| Mutex::new(BTreeMap::new()));
        Self { shards, left: AtomicU64::new(0) }
    }

    fn shard(&self, parent: JobPtr) -> MutexGuard<'_, Children> {
        let shard = &self.shards[parent.idle_key() / crate::base::cache::LARGE % SHARDS];
        shard.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Adds a child. The caller must keep the child.
    pub fn enter(&self, parent: JobPtr, child: JobPtr) {
        if !parent.permits.set(Flag::Parent).has(Flag::Parent) {
            // A worker with a lease of the parent may have taken the parent for unlimited. It must check again.
            parent.pool().advance_epoch();
        }
        self.shard(parent).entry(parent).or_default().children.insert(child);
    }

    /// Removes a child whose record is about to be freed. Adds its counts to its parent's.
    pub fn leave(&self, parent: JobPtr, child: JobPtr) {
        let mut ended = Ended::of(child);
        ended += self.forget(child);
        let mut shard = self.shard(parent);
        // Ordering: Release; a thread that does not find the child takes the same lock later.
        self.left.fetch_add(1, Ordering::Release);
        // Only a model's child, which never was in the table, finds no entry.
        if let Some(below) = shard.get_mut(&parent) {
            below.children.remove(&child);
            below.left += ended;
        }
    }

    /// Removes the entry of a job that is about to be freed, if it had children. Returns the counts of the jobs below it.
    #[cold]
    pub fn forget(&self, job: JobPtr) -> Ended {
        if !job.permits.load_alone().has(Flag::Parent) {
            return Ended::default();
        }
        self.shard(job).remove(&job).map(|below| below.left).unwrap_or_default()
    }

    /// Returns the children of the job, each with a handle, and the counts of those that have left, both of one moment.
    fn children_and_left(&self, parent: JobPtr) -> (Vec<Job>, Ended) {
        loop {
            let shard = self.shard(parent);
            let Some(below) = shard.get(&parent) else { return Default::default() };
            let children = below.children.iter();
            let alive = children.map_while(|child| {
                child.tokens.add_handle_if_needed().then(|| Job::from_handle(*child))
            });
            let alive: Vec<_> = alive.collect();
            let (all, left) = (alive.len() == below.children.len(), below.left);
            drop(shard);
            if all {
                return (alive, left);
            }
            // A thread that frees a child is about to add the child's counts.
            thread::yield_now();
        }
    }

    /// Returns the number of children that have left the table.
    fn left(&self) -> u64 {
        // Ordering: Acquire; as in `leave`.
        self.left.load(Ordering::Acquire)
    }

    /// Returns handles of the children, except of those that are about to be freed.
    fn children(&self, parent: JobPtr) -> Vec<Job> {
        self.children_that(parent, |_| true)
    }

    /// Does what [`children`](Self::children) does, for the children that `which` accepts.
    fn children_that(&self, parent: JobPtr, which: impl Fn(JobPtr) -> bool) -> Vec<Job> {
        let shard = self.shard(parent);
        let alive = |child: &&JobPtr| which(**child) && child.tokens.add_handle_if_needed();
        shard
            .get(&parent)
            .into_iter()
            .flat_map(|below| &below.children)
            // A child in the table has a record, although the record may be about to be freed.
            .filter(alive)
            .map(|child| Job::from_handle(*child))
            .collect()
    }
}

/// Returns handles of the children that have had children themselves, except of those that are about to be freed.
pub fn gates_in(parent: JobPtr) -> Vec<Job> {
    parent.pool().family.children_that(parent, |child| child.permits.load().has(Flag::Parent))
}

/// Returns handles of the children of the job, except of those that are about to be freed.
pub fn children_of(parent: JobPtr) -> Vec<Job> {
    parent.pool().family.children(parent)
}

/// Calls `see` for the job and each job below it. Returns how their tasks have ended, those of freed jobs included.
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
    // A child that is made meanwhile may accept tasks before its parent is marked. So passes follow until one finds none.
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

/// Adds the jobs below this one to `below`, each before the jobs below it.
fn add_below(job: JobPtr, below: &mut Vec<Job>) {
    let mut next = below.len();
    below.append(&mut children_of(job));
    while let Some(child) = below.get(next).map(Job::ptr) {
        below.append(&mut children_of(child));
        next += 1;
    }
}

/// Passes over a job and all jobs below it, each of which finds each job idle at some moment. If no task has ended between two
/// passes, all jobs were idle at one moment. A child that leaves between them takes its count with it, so a further pass must
/// follow.
#[derive(Debug, Default)]
pub struct Passes(Option<Pass>);

/// What a pass has found.
#[derive(Debug)]
struct Pass {
    /// The number of children that had left the table when the pass began.
    left: u64,
    /// The number of tasks of all these jobs that had ended.
    ended: u64,
}

impl Passes {
    /// Calls `pass`, which returns the number of tasks that have ended. Returns true if all jobs were idle at one moment, and
    /// `None` if `pass` does.
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

/// Waits until the job and all jobs below it have no task queued or running, or until another waiter has seen that. Returns
/// false if the time is over first.
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

/// Waits for the job and each job below it, one after the other. Returns the number of their tasks that have ended. Returns
/// `None` if the time is over, or if another waiter has seen all idle.
fn wait_for_each(job: JobPtr, until: Option<Instant>, resting: &Resting) -> Option<u64> {
    let mut ended = wait_for_one(job, until, resting)?;
    let mut below = children_of(job);
    while let Some(child) = below.pop() {
        ended = ended.wrapping_add(wait_for_one(child.ptr(), until, resting)?);
        below.append(&mut children_of(child.ptr()));
    }
    Some(ended)
}

/// Does what [`wait_for_each`] does, for the job alone.
fn wait_for_one(job: JobPtr, until: Option<Instant>, resting: &Resting) -> Option<u64> {
    while !idle::wait(job, until, || resting.has_come()) {
        // The job is busy again, or still: a parent is idle for a moment between two tasks of its children.
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
    /// Panics if this job has 67,108,864 handles and children already.
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
        make(self.ptr().pool_ptr(), Some(self.ptr()), limit, None)
    }
}

/// Makes a job. Most jobs have no `extra`. Adds a child to the table, and a held job to the pool's list.
#[inline]
#[track_caller]
pub fn make(
    pool: crate::pool::core::PoolPtr,
    parent: Option<JobPtr>,
    limit: usize,
    extra: Option<Extra>,
) -> Job {
    let job = JobPtr::make(pool, parent, control::limit_bits(limit));
    if let Some(extra) = extra {
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
