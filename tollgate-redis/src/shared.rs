//! The state that the threads of one open gate share, and the two threads that serve the gate.
//!
//! The renewing thread sends the requests that are due by the book. The watching thread cancels tasks with lost leases. Two
//! threads are needed, because a request may block for longer than a lease, for instance while a name is resolved.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tollgate::Job;

use crate::book::{Book, Due, Id, Micros};
use crate::error::GateError;
use crate::store::{Backend, Store};
use crate::turn::Turns;
use tollgate_lease::Clock;

/// The longest pause of a thread that must watch leases. Time in which the machine is suspended does not count for the pause,
/// so a thread may be late by this much afterwards.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

pub(crate) struct Shared {
    pub(crate) name: String,
    /// A name of this process that people can read.
    pub(crate) holder: String,
    /// The name of this open gate among the waiters at the store.
    pub(crate) waiter: String,
    pub(crate) client: u128,
    /// The length of a lease.
    pub(crate) length: Micros,
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) turns: Turns,
    /// The connection for calls that concern the gate and no lease.
    pub(crate) desk: Mutex<Option<Box<dyn Store>>>,
    state: Mutex<State>,
    /// Tells the renewing thread that the book or `stop` has changed.
    due: Condvar,
    /// Tells the watching thread that the book or `stop` has changed.
    watch: Condvar,
}

pub(crate) struct State {
    pub(crate) book: Book,
    /// The jobs that are cancelled when their lease is lost.
    tasks: HashMap<Id, Job>,
    requests: u64,
    stop: bool,
}

impl Shared {
    pub(crate) fn new(
        name: String,
        holder: String,
        client: u128,
        length: Micros,
        backend: Box<dyn Backend>,
        clock: Box<dyn Clock>,
    ) -> Self {
        let state =
            State { book: Book::new(length), tasks: HashMap::new(), requests: 0, stop: false };
        Self {
            name,
            holder,
            waiter: format!("{client:032x}"),
            client,
            length,
            backend,
            clock,
            turns: Turns::new(),
            desk: Mutex::new(None),
            state: Mutex::new(state),
            due: Condvar::new(),
            watch: Condvar::new(),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The longest time that one request may take: a twelfth of a lease, so that four attempts fit between the first
    /// renewal and the loss.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_micros(self.length / 12)
            .clamp(Duration::from_millis(20), Duration::from_secs(5))
    }

    /// Returns an id that no request has had.
    pub(crate) fn next_id(&self) -> Id {
        let mut state = self.state();
        state.requests += 1;
        Id { client: self.client, number: state.requests }
    }

    /// Enters a lease that was requested at `sent`. Returns false if the lease is lost already: the gate then gives it back.
    #[must_use]
    pub(crate) fn granted(&self, id: Id, sent: Micros) -> bool {
        let now = self.clock.now();
        let mut state = self.state();
        let granted = state.book.granted(id, sent, now);
        if !granted {
            state.book.give_up(id, now);
        }
        drop(state);
        self.due.notify_one();
        granted
    }

    /// Releases an id of which the client does not know whether the store granted it.
    pub(crate) fn give_up(&self, id: Id) {
        self.state().book.give_up(id, self.clock.now());
        self.due.notify_one();
    }

    /// Ends a lease whose task has ended.
    pub(crate) fn finish(&self, id: Id) {
        let mut state = self.state();
        state.book.finish(id, self.clock.now());
        let job = state.tasks.remove(&id);
        drop(state);
        drop(job); // outside of the lock: it may be the job's last handle
        self.due.notify_one();
    }

    pub(crate) fn is_lost(&self, id: Id) -> bool {
        self.state().book.is_lost(id, self.clock.now())
    }

    pub(crate) fn time_left(&self, id: Id) -> Micros {
        self.state().book.time_left(id, self.clock.now())
    }

    /// Cancels `job` when the lease is lost.
    pub(crate) fn cancel_on_loss(&self, id: Id, job: Job) {
        self.state().tasks.insert(id, job);
        self.watch.notify_one();
    }

    /// Tells both threads to end. The renewing thread first sends the releases that are due, once.
    pub(crate) fn stop(&self) {
        self.state().stop = true;
        self.due.notify_one();
        self.watch.notify_one();
    }

    /// Wakes both threads after a test has moved the clock.
    #[cfg(test)]
    pub(crate) fn look_again(&self) {
        self.due.notify_one();
        self.watch.notify_one();
    }

    /// Waits until the other fields change, or until the time `until` of the gate's clock.
    fn pause<'a>(
        &self,
        state: MutexGuard<'a, State>,
        changed: &Condvar,
        until: Option<Micros>,
    ) -> MutexGuard<'a, State> {
        match until {
            None => changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(until) => {
                let left = Duration::from_micros(until.saturating_sub(self.clock.now()).max(1));
                changed
                    .wait_timeout(state, left.min(LONGEST_PAUSE))
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        }
    }

    /// Runs the renewing thread: sends the requests that are due, until the gate stops.
    pub(crate) fn renew(&self) {
        let mut store = None;
        let mut state = self.state();
        loop {
            let due = state.book.due(self.clock.now());
            if due.is_empty() {
                if state.stop {
                    return;
                }
                let until = state.book.next_due();
                state = self.pause(state, &self.due, until);
                continue;
            }
            drop(state);
            let sent = self.clock.now(); // own-1
            let answer = self.settle(&mut store, &due);
            state = self.state();
            let Ok(renewed) = answer else {
                store = None;
                if state.stop {
                    return;
                }
                continue;
            };
            let now = self.clock.now();
            let mut refused = false;
            for (id, live) in due.renew.into_iter().zip(renewed) {
                if live {
                    state.book.renewed(id, sent, now)
                } else {
                    state.book.refused(id)
                }
                refused |= !live;
            }
            due.release.into_iter().for_each(|id| state.book.released(id));
            if refused {
                self.watch.notify_one();
            }
        }
    }

    fn settle(
        &self,
        store: &mut Option<Box<dyn Store>>,
        due: &Due,
    ) -> Result<Vec<bool>, GateError> {
        let store = match store {
            Some(store) => store,
            None => store.insert(self.backend.connect(self.patience())?),
        };
        store.settle(due, self.length)
    }

    /// Runs the watching thread: cancels tasks with lost leases, until the gate stops.
    pub(crate) fn watch(&self) {
        let mut state = self.state();
        while !state.stop {
            let now = self.clock.now();
            let State { book, tasks, .. } = &mut *state;
            let lost: Vec<Id> =
                tasks.keys().filter(|id| book.is_lost(**id, now)).copied().collect();
            let jobs: Vec<Job> = lost.iter().filter_map(|id| tasks.remove(id)).collect();
            if jobs.is_empty() {
                let until = if state.tasks.is_empty() { None } else { state.book.next_loss() };
                state = self.pause(state, &self.watch, until);
            } else {
                drop(state);
                jobs.iter().for_each(Job::cancel);
                drop(jobs);
                state = self.state();
            }
        }
    }
}
