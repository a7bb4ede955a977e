//! The server's side as plain code: what JetStream's pull consumer does on a stream with the retention *work queue*.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_lease::Micros;

/// A lease at the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pending {
    pub(crate) end: Micros,
    pub(crate) delivered: u64,
}

/// One consumer and its stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Consumer {
    pub(crate) limit: usize,
    /// The messages of the stream, each with the task that it holds.
    pub(crate) stored: BTreeMap<u64, u64>,
    /// The messages that were never handed out.
    pub(crate) queue: BTreeSet<u64>,
    pub(crate) pending: BTreeMap<u64, Pending>,
    /// The messages of which a copy was stored.
    copied: BTreeSet<u64>,
    /// The number of the last delivery.
    pub(crate) deliveries: u64,
    /// A seeded mistake: hands out one message more than the limit.
    pub(crate) grants_one_more: bool,
}

impl Consumer {
    pub(crate) fn new(limit: usize, tasks: u64) -> Self {
        Self {
            limit,
            stored: (1..=tasks).map(|task| (task, task)).collect(),
            queue: (1..=tasks).collect(),
            pending: BTreeMap::new(),
            copied: BTreeSet::new(),
            deliveries: 0,
            grants_one_more: false,
        }
    }

    /// Hands out a message whose lease has ended, whatever the limit is. Otherwise a new one, within the limit.
    pub(crate) fn deliver(&mut self, length: Micros, now: Micros) -> Option<(u64, u64)> {
        let ended = self.pending.iter().find(|(_, lease)| lease.end <= now).map(|(n, _)| *n);
        let room = self.pending.len() < self.limit + usize::from(self.grants_one_more);
        let sequence = match ended {
            Some(sequence) => sequence,
            None if room => self.queue.pop_first()?,
            None => return None,
        };
        self.deliveries += 1;
        let lease = self.pending.entry(sequence).or_insert(Pending { end: 0, delivered: 0 });
        *lease = Pending { end: now + length, delivered: lease.delivered + 1 };
        Some((sequence, lease.delivered))
    }

    /// Moves the end of any lease of the message, also of one that has ended. The server confirms it in each case.
    pub(crate) fn renew(&mut self, sequence: u64, length: Micros, now: Micros) {
        if let Some(lease) = self.pending.get_mut(&sequence) {
            lease.end = now + length;
        }
    }

    /// Removes the message, even if another client has its lease.
    pub(crate) fn acknowledge(&mut self, sequence: u64) {
        self.pending.remove(&sequence);
        self.queue.remove(&sequence);
        self.stored.remove(&sequence);
    }

    /// Stores a copy at the end of the queue, once for each message.
    pub(crate) fn copy(&mut self, sequence: u64, task: u64) {
        if self.copied.insert(sequence) {
            let next = self.stored.keys().chain(&self.copied).max().unwrap_or(&0) + 1;
            self.stored.insert(next, task);
            self.queue.insert(next);
        }
    }

    /// Forgets all leases, as a server that was killed while it wrote them does.
    pub(crate) fn forget(&mut self) {
        self.pending.clear();
        self.queue = self.stored.keys().copied().collect();
        self.deliveries = 0;
    }
}
