//! What a worker says of the job it runs, to those who count that job's tasks from outside.
//!
//! A job's tokens count its ready and running tasks, and some beyond those: a worker takes several at a time, and keeps
//! what it needs no more until the end of its turn. Whoever counts tasks subtracts what is to spare, and must not take
//! tokens for tasks that came between its looks:
//!
//! - D1: the worker shows what will be to spare; D2: it notes the grant; D3: it adds to the job's tokens.
//! - L1: the reader reads the grants; L2: what is to spare; L3: the job's tokens; L4: the grants again.
//!
//! If L3 sees D3 and L2 did not see D1, then L1 did not see D2, and L4 does: the reader knows that it has seen too much. What
//! becomes less is shown late: if L2 sees that, L3 sees the tokens given back, and nothing is missing but tasks.

use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// One worker's. Written by the thread that sits in the place.
#[derive(Debug, Default)]
pub struct Desk {
    /// The job that runs, by its record's address.
    job: AtomicUsize,
    /// The tokens of it in hand beyond those of its tasks: so many the job's count is above the truth.
    spare: AtomicU64,
    /// Twice as often as tokens were added to a job's; odd while a grant is noted.
    grants: AtomicU64,
    /// The job of the last grant, by its record's address.
    granted: AtomicUsize,
}

/// What a desk's grants were at one time.
#[derive(Clone, Copy, Debug)]
pub struct Grants(u64);

impl Desk {
    /// Says which job runs here, by its record's address, and how many tokens of it are to spare.
    #[inline]
    pub fn publish(&self, job: usize, spare: u64) {
        // Ordering: Relaxed; this thread's own.
        if self.job.load(Ordering::Relaxed) != job {
            // Ordering: Release all; tokens were given back before, and tasks taken out of the backlog.
            self.spare.store(0, Ordering::Release);
            self.job.store(job, Ordering::Release);
        }
        self.spare.store(spare, Ordering::Release);
    }

    /// D1 and D2: tokens are about to be added to this job's, and so many will be to spare then.
    #[inline]
    pub fn note_grant(&self, job: usize, spare: u64) {
        self.publish(job, spare);
        // Ordering: Relaxed; this thread's own.
        let noted = self.grants.load(Ordering::Relaxed);
        // Ordering: Release all; who sees one of them sees those before, and D1.
        self.grants.store(noted + 1, Ordering::Release);
        self.granted.store(job, Ordering::Release);
        self.grants.store(noted + 2, Ordering::Release);
    }

    /// L1.
    pub fn grants(&self) -> Grants {
        // Ordering: Acquire; as in `note_grant`.
        Grants(self.grants.load(Ordering::Acquire))
    }

    /// L2: the tokens of the job with this address that are to spare here.
    pub fn spare_tokens(&self, job: usize) -> u64 {
        // Ordering: Acquire both; as in `publish`.
        let spare = self.spare.load(Ordering::Acquire);
        if self.job.load(Ordering::Acquire) == job { spare } else { 0 }
    }

    /// L4: how many grants of which L2 saw nothing may have been to a job that `is_theirs` picks.
    pub fn grants_since(&self, before: Grants, is_theirs: impl Fn(usize) -> bool) -> u64 {
        let now = self.grants();
        // One that was half noted in L1 had been shown in L2; one that is half noted now has come later than L3.
        let grants = (now.0 / 2).saturating_sub(before.0.div_ceil(2));
        if grants == 1 && now.0.is_multiple_of(2) {
            // Ordering: Acquire; if it is that of a newer one, the next look finds the note begun.
            let others = !is_theirs(self.granted.load(Ordering::Acquire));
            if others && self.grants().0 == now.0 {
                return 0;
            }
        }
        grants
    }

    /// The job that runs here, by its record's address; 0 if none has yet.
    pub fn running_job(&self) -> usize {
        // Ordering: Relaxed; a guess.
        self.job.load(Ordering::Relaxed)
    }
}
