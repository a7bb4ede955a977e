//! How many tasks of a job have not started, for those who ask from outside while workers move them.
//!
//! A task is in its job's backlog, or has a token and lies in a deque. The backlog counts what comes and what goes; of the
//! tokens those do not count that belong to a task that runs or waits inside, or that a worker has to spare (L1 to L4 of
//! `worker::place::desk`). The order of the looks is such that nothing counts twice.

use crate::job::Job;
use crate::job::permits::{Flag, Snapshot};
use crate::job::record::JobPtr;
use crate::sync::shrunk;
use crate::worker::context::GRANT_MOST;
use crate::worker::place::Place;
use crossbeam_utils::CachePadded;
use std::collections::BTreeSet;

/// How many tasks of these jobs have not started; exact when nothing moves, and too few rather than too many when
/// something does. Of the jobs `below` delegates may stand in the lines of the others.
pub fn not_started(jobs: &[JobPtr], below: &[Job]) -> usize {
    const AGAIN: usize = shrunk(8, 0);
    let Some(pool) = jobs.first().map(|job| job.pool()) else { return 0 };
    let keys: BTreeSet<_> = jobs.iter().map(|job| job.idle_key()).collect();
    let mut again = AGAIN;
    loop {
        let before: Vec<_> = pool.places.iter().map(|place| place.desk.grants()).collect(); // L1
        let count = queued(jobs, below);
        let since = |(place, before): (&CachePadded<Place>, _)| {
            place.desk.grants_since(before, |job| keys.contains(&job))
        };
        let grants: u64 = pool.places.iter().zip(before).map(since).sum(); // L4
        if grants == 0 || again == 0 {
            return count.saturating_sub((grants * GRANT_MOST) as usize);
        }
        again -= 1;
    }
}

/// `not_started`, but for tokens that came meanwhile.
fn queued(jobs: &[JobPtr], below: &[Job]) -> usize {
    // A task counts with those that wait if it was pushed before the looks at the deques and taken after them. So one that
    // goes from the line to a deque meanwhile, or back, is not counted twice. One that goes back and is let through again
    // has two tokens for a moment, but was taken then before it was counted as pushed.
    let pushed: Vec<_> = jobs.iter().map(|job| job.backlog().pushed()).collect();
    let ready: usize = jobs.iter().map(|job| ready_at_most(*job)).sum();
    // A delegate waits in the line of a job further out, and is counted as its own job's.
    let is_blocked = |child: &&Job| child.ptr().permits.load().has(Flag::Blocked);
    let delegates = below.iter().filter(is_blocked).count();
    let waiting: i64 =
        jobs.iter().zip(pushed).map(|(job, pushed)| job.backlog().left_of(pushed)).sum();
    (ready as i64 + waiting - delegates as i64).max(0) as usize
}

/// `ready` of a job that moves: no task that runs, or has ended, is among them.
fn ready_at_most(job: JobPtr) -> usize {
    // A task that waits has given its permit back later than it was entered, and takes it back before it leaves.
    let waiting = job.pool().waiting.count(job.idle_key());
    ready_beside(job, job.permits.load(), waiting)
}

/// How many tasks of the job lie in deques; exact when nothing moves.
pub fn ready(job: JobPtr, word: Snapshot) -> usize {
    ready_beside(job, word, 0)
}

/// `ready` if so many tasks at least wait for others.
fn ready_beside(job: JobPtr, word: Snapshot, waiting: u64) -> usize {
    let spare = |place: &CachePadded<Place>| place.desk.spare_tokens(job.idle_key()); // L2
    let spare: u64 = job.pool().places.iter().map(spare).sum();
    let waiting = job.pool().waiting.count(job.idle_key()).max(waiting);
    // L3, the last: what was held with a permit, or to spare, is still among them or has been given back.
    job.tokens.load().tasks().saturating_sub(word.running() + spare + waiting) as usize
}
