//! The store's side of the protocol as plain code: what the scripts do in Redis. All times are the store's own, in microseconds.
//!
//! - `store-1`: each request first drops the leases whose end has come.
//! - `store-2`: a request for a permit is granted only if fewer than `limit` leases are left.
//! - `store-3`: a repeated request with the id of a live lease gets the same lease, and counts once.
//! - `store-4`: a renewal moves the end of a live lease only. A lease that has ended is never revived.
//! - `store-5`: a release removes the lease with this id, or nothing.
//! - `store-6`: each grant takes the next fencing number.

use std::collections::BTreeMap;

use crate::book::{Id, Micros};

/// A seeded mistake of the store. The model must catch each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mistake {
    /// Removes `store-4`: a late renewal revives its lease.
    RenewsAfterExpiry,
    /// Removes `store-5`: a release removes any one lease.
    ReleasesByCount,
    /// Removes `store-5` for a second release of the same id only.
    ReleasesTwice,
    /// Removes `store-2`: grants one lease more than the limit.
    GrantsOneMore,
}

/// A lease at the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    pub(crate) end: Micros,
    pub(crate) fence: u64,
}

/// One gate at the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Table {
    pub(crate) limit: usize,
    pub(crate) fence: u64,
    pub(crate) rows: BTreeMap<Id, Row>,
    pub(crate) mistake: Option<Mistake>,
}

impl Table {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, fence: 0, rows: BTreeMap::new(), mistake: None }
    }

    /// `store-1`
    pub(crate) fn expire(&mut self, now: Micros) {
        self.rows.retain(|_, row| row.end > now);
    }

    /// Counts the leases that have not ended.
    pub(crate) fn live(&self, now: Micros) -> usize {
        self.rows.values().filter(|row| row.end > now).count()
    }

    /// Returns the fencing number, or the time until the earliest lease ends.
    pub(crate) fn acquire(&mut self, id: Id, length: Micros, now: Micros) -> Result<u64, Micros> {
        self.expire(now);
        if let Some(row) = self.rows.get_mut(&id) {
            row.end = now + length; // store-3
            return Ok(row.fence);
        }
        let spare = usize::from(self.mistake == Some(Mistake::GrantsOneMore));
        if self.live(now) >= self.limit + spare {
            return Err(self.rows.values().map(|row| row.end - now).min().unwrap_or(0));
        }
        self.fence += 1; // store-6
        self.rows.insert(id, Row { end: now + length, fence: self.fence });
        Ok(self.fence)
    }

    /// Returns true if the lease was live, and moves its end.
    pub(crate) fn renew(&mut self, id: Id, length: Micros, now: Micros) -> bool {
        self.expire(now);
        if self.mistake == Some(Mistake::RenewsAfterExpiry) {
            let fence = self.fence;
            self.rows.entry(id).or_insert(Row { end: 0, fence }).end = now + length;
            return true;
        }
        self.rows.get_mut(&id).map(|row| row.end = now + length).is_some()
    }

    /// Returns true if the lease was live, and removes it.
    pub(crate) fn release(&mut self, id: Id, now: Micros) -> bool {
        self.expire(now);
        let found = self.rows.contains_key(&id);
        let any = match self.mistake {
            Some(Mistake::ReleasesByCount) => true,
            Some(Mistake::ReleasesTwice) => !found,
            _ => false,
        };
        if any {
            return self.rows.pop_first().is_some();
        }
        self.rows.remove(&id).is_some()
    }
}
