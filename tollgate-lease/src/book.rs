//! What one client knows of its leases: when to renew each lease, when each is lost, and which to give back.
//!
//! The book is plain data, with arithmetic on times that the caller passes. The renewers, the simulation and the models
//! use the same code. All times are microseconds of the client's own monotonic clock.
//!
//! # Why at most `limit` tasks run under a lease
//!
//! - `own-1`: the client reads its clock *before* it sends a request for a lease or a renewal.
//! - `own-2`: the store grants or renews after `own-1`, so the lease ends no earlier than one length after `own-1`.
//! - `own-3`: an answer moves the client's count to its own request's `own-1`, never to the answer's arrival.
//! - `own-4`: when two thirds of a lease have passed since `own-1`, the client calls the lease lost. This is final: a later
//!   answer does not revive the lease.
//! - `own-5`: the client neither renews nor gives back a lost lease.
//!
//! By `own-4` and `own-2`, a lease that is not lost has a third of its length left at the store. So the store counts the lease
//! of each task that stops in time, and the store counts at most `limit` leases. That third covers the time in which the task
//! stops, and a clock of the client that is slow by up to a third.
//!
//! The store's side is in the crate of each store.

use std::collections::BTreeMap;

/// Microseconds of a monotonic clock.
pub type Micros = u64;

/// The leases of one client, by their ids. An id is never used for a second lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Book<I> {
    /// The length of a lease.
    length: Micros,
    held: BTreeMap<I, Held>,
    /// The ids to release. Each has the instant from which the store cannot hold its lease any more.
    back: BTreeMap<I, Back>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Held {
    /// The client's clock when it sent the last request that succeeded (`own-1`).
    from: Micros,
    /// The earliest instant at which the lease must be renewed.
    next: Micros,
    lost: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Back {
    next: Micros,
    until: Micros,
}

/// The requests that are due. Each is marked as sent, and is due again after a pause unless an answer comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due<I> {
    /// The leases to renew.
    pub renew: Vec<I>,
    /// The leases to give back.
    pub release: Vec<I>,
}

impl<I> Due<I> {
    /// Returns true if no request is due.
    pub fn is_empty(&self) -> bool {
        self.renew.is_empty() && self.release.is_empty()
    }
}

impl<I: Copy + Ord> Book<I> {
    /// Makes the book of a client whose leases last `length` at the store.
    pub fn new(length: Micros) -> Self {
        Self { length, held: BTreeMap::new(), back: BTreeMap::new() }
    }

    /// Returns the time after which a lease is lost, if no renewal succeeds.
    fn heed(&self) -> Micros {
        self.length / 3 * 2
    }

    /// Returns the pause after a request without an answer.
    fn pause(&self) -> Micros {
        (self.length / 24).clamp(1, 500_000)
    }

    /// Enters a lease that was requested at `sent`. Returns false, and enters nothing, if the lease is lost already.
    #[must_use]
    pub fn granted(&mut self, id: I, sent: Micros, now: Micros) -> bool {
        if now >= sent + self.heed() {
            return false;
        }
        self.held.insert(id, Held { from: sent, next: sent + self.length / 3, lost: false });
        true
    }

    /// Gives back an id of which the client does not know whether the store granted it.
    pub fn give_up(&mut self, id: I, now: Micros) {
        self.back.insert(id, Back { next: now, until: now + self.length });
    }

    /// Returns true if the client has lost the lease, or does not hold it (`own-4`).
    pub fn is_lost(&mut self, id: I, now: Micros) -> bool {
        let heed = self.heed();
        self.held.get_mut(&id).is_none_or(|held| {
            held.lost |= now >= held.from + heed;
            held.lost
        })
    }

    /// Returns the time until the lease is lost, if no renewal succeeds.
    pub fn time_left(&mut self, id: I, now: Micros) -> Micros {
        if self.is_lost(id, now) { 0 } else { self.held[&id].from + self.heed() - now }
    }

    /// Ends a lease whose task has ended. The lease is given back, unless it is or becomes lost (`own-5`).
    pub fn finish(&mut self, id: I, now: Micros) {
        let lost = self.is_lost(id, now);
        if let Some(held) = self.held.remove(&id)
            && !lost
        {
            self.back.insert(id, Back { next: now, until: held.from + self.heed() });
        }
    }

    /// Takes the requests that are due. Forgets ids whose lease has ended at the store by itself.
    pub fn due(&mut self, now: Micros) -> Due<I> {
        let mut due = Due { renew: Vec::new(), release: Vec::new() };
        let (heed, pause) = (self.heed(), self.pause());
        for (id, held) in &mut self.held {
            held.lost |= now >= held.from + heed;
            if !held.lost && now >= held.next {
                held.next = now + pause;
                due.renew.push(*id);
            }
        }
        self.back.retain(|_, back| now < back.until);
        for (id, back) in &mut self.back {
            if now >= back.next {
                back.next = now + pause;
                due.release.push(*id);
            }
        }
        due
    }

    /// Returns the earliest instant at which [`due`](Self::due) may return a request.
    pub fn next_due(&self) -> Option<Micros> {
        let renewals = self.held.values().filter(|held| !held.lost).map(|held| held.next);
        renewals.chain(self.back.values().map(|back| back.next)).min()
    }

    /// Returns the earliest instant at which a lease is lost, if no renewal succeeds.
    pub fn next_loss(&self) -> Option<Micros> {
        self.held.values().filter(|held| !held.lost).map(|held| held.from + self.heed()).min()
    }

    /// Records a renewal that was requested at `sent` and succeeded. A lost lease stays lost (`own-4`).
    pub fn renewed(&mut self, id: I, sent: Micros, now: Micros) {
        let third = self.length / 3;
        if self.is_lost(id, now) {
            return;
        }
        if let Some(held) = self.held.get_mut(&id)
            && held.from < sent
        {
            held.from = sent; // own-3
            held.next = sent + third;
        }
    }

    /// Records that the store does not hold the lease any more.
    pub fn refused(&mut self, id: I) {
        if let Some(held) = self.held.get_mut(&id) {
            held.lost = true;
        }
    }

    /// Returns true if the client must still give the id back: the store has not confirmed the release.
    pub fn is_due_back(&self, id: I) -> bool {
        self.back.contains_key(&id)
    }

    /// Records that the store has released the id, or does not hold it.
    pub fn released(&mut self, id: I) {
        self.back.remove(&id);
    }
}
