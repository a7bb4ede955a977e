//! The leases that a process holds of one job, and the task that renews them, gives them back, and tells their loss.
//!
//! A delivery is a lease: the server counts it until it is acknowledged, or until the lease's length has passed since the delivery
//! or the last renewal. `tollgate-lease` argues why a client that counts from *before* its requests always gives up before
//! the server does. JetStream adds traps:
//!
//! - `js-1`: the server confirms each renewal and each acknowledgement, also of a lease that has ended. So a client must stop by
//!   its own clock: a lost lease is neither renewed nor acknowledged.
//! - `js-2`: a delivery may wait in a socket. So a lease counts from before the *pull*, never from the arrival.
//! - `js-3`: an acknowledgement that was sent in time may arrive late, and then ends the lease of the next delivery of the same
//!   message. It also removes the message. So each renewal of a repeated delivery looks whether the message is still there.
//! - `js-4`: a message whose lease has ended is handed out again whatever the limit is. If the limit was lowered meanwhile,
//!   a worker puts such a message back to the end of the queue. The server hands it out there within the limit.
//! - `js-5`: a server that is killed while it writes its consumer's state forgets all leases. A client that is connected to
//!   another server process asks for the number of the last delivery. If that is none, or less than the client knows, the
//!   client takes all leases for lost, and pulls nothing for the length of a lease.
//! - `js-6`: after such a kill the server may also count leases of messages that it does not store any more: their tasks were
//!   acknowledged. The message of a task that runs is stored, so no such lease is in use. A client that opens a job, or is
//!   connected to another server process, acknowledges these messages again, which frees their permits.
//! - `js-7`: a server that is killed while it removes the last message of a stream may forget the stream's numbers, and count
//!   from 1 again. Its consumer still remembers the last number that was handed out, and passes over all messages up to it. So
//!   a client that has stored a message at a new server process looks whether the message is stored although the consumer counts
//!   it as acknowledged. Then the client uses up the numbers in between with fillers, and stores the message again.
//!
//! A client notices a new server process by the name of the server to which it is connected. So `js-5` to `js-7` hold for clients
//! that are connected to the server that stores the job, not to another node of a cluster or to a leaf node.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::Subject;
use tokio::sync::Notify;
use tollgate::Job;
use tollgate_lease::{Book, Clock, Micros};

use crate::engine::{Engine, Numbers, Trouble};

/// The longest pause of the renewer. Time in which the machine is suspended does not count for a pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The name of a lease in this process. Never used twice.
pub(crate) type Id = u64;

/// What is known of one lease.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) reply: Subject,
    pub(crate) numbers: Numbers,
    /// The number of this attempt: 1 for the first.
    pub(crate) attempt: u64,
    pub(crate) since: Micros,
    lost: Arc<Notify>,
    job: Option<Job>,
    told: bool,
    /// The task has ended.
    ending: bool,
}

struct State {
    book: Book<Id>,
    rows: HashMap<Id, Row>,
    next: Id,
    /// The server process whose state has been checked (`js-5`).
    server: String,
    /// The greatest number of a delivery that is known.
    delivered: u64,
    /// No pull before this time.
    quiet_until: Micros,
    stop: bool,
}

pub(crate) struct Leases {
    pub(crate) engine: Engine,
    pub(crate) length: Duration,
    pub(crate) clock: Box<dyn Clock>,
    state: Mutex<State>,
    /// Tells the renewer that the book has changed.
    changed: Notify,
    /// Tells drains that a lease has ended.
    ended: Notify,
}

fn micros(time: Duration) -> Micros {
    time.as_micros() as Micros
}

impl Leases {
    pub(crate) fn new(
        engine: Engine,
        length: Duration,
        clock: Box<dyn Clock>,
        delivered: u64,
    ) -> Self {
        let state = State {
            book: Book::new(micros(length)),
            rows: HashMap::new(),
            next: 0,
            server: engine.server(),
            delivered,
            quiet_until: 0,
            stop: false,
        };
        Self {
            engine,
            length,
            clock,
            state: Mutex::new(state),
            changed: Notify::new(),
            ended: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the time for which a request waits for its answer: a twelfth of a lease.
    pub(crate) fn patience(&self) -> Duration {
        (self.length / 12).clamp(Duration::from_millis(50), Duration::from_secs(5))
    }

    /// Enters a delivery of a pull that was sent at `sent` (`js-2`). Returns `None` if its lease is lost already.
    pub(crate) fn enter(
        &self,
        reply: Subject,
        numbers: Numbers,
        attempt: u64,
        sent: Micros,
    ) -> Option<Id> {
        let now = self.clock.now();
        let mut state = self.state();
        state.delivered = state.delivered.max(numbers.delivery);
        let id = state.next;
        state.next += 1;
        if !state.book.granted(id, sent, now) {
            return None;
        }
        let lost = Arc::new(Notify::new());
        let row = Row {
            reply,
            numbers,
            attempt,
            since: now,
            lost,
            job: None,
            told: false,
            ending: false,
        };
        state.rows.insert(id, row);
        drop(state);
        self.changed.notify_one();
        Some(id)
    }

    pub(crate) fn row(&self, id: Id) -> Option<Row> {
        self.state().rows.get(&id).cloned()
    }

    pub(crate) fn is_lost(&self, id: Id) -> bool {
        self.state().book.is_lost(id, self.clock.now())
    }

    pub(crate) fn time_left(&self, id: Id) -> Duration {
        Duration::from_micros(self.state().book.time_left(id, self.clock.now()))
    }

    /// Waits until the lease is lost or has ended.
    pub(crate) async fn lost(&self, id: Id) {
        loop {
            let Some(row) = self.row(id) else { return };
            let told = row.lost.notified();
            if self.is_lost(id) {
                return;
            }
            tokio::select! {
                () = told => {}
                () = tokio::time::sleep(LONGEST_PAUSE) => {}
            }
        }
    }

    /// Cancels `job` when the lease is lost.
    pub(crate) fn cancel_on_loss(&self, id: Id, job: Job) {
        if let Some(row) = self.state().rows.get_mut(&id) {
            row.job = Some(job);
            row.told = false;
        }
        self.changed.notify_one();
    }

    /// Ends a lease whose task is done. It is acknowledged, unless it is lost (`js-1`).
    pub(crate) fn finish(&self, id: Id) {
        let now = self.clock.now();
        let mut state = self.state();
        state.book.finish(id, now);
        let mut ended = None;
        if !state.book.is_due_back(id) {
            ended = state.rows.remove(&id);
        } else if let Some(row) = state.rows.get_mut(&id) {
            row.ending = true;
            ended = Some(row.clone());
            row.job = None;
        }
        drop(state);
        drop(ended); // outside of the lock: it may have the job's last handle
        self.changed.notify_one();
        self.ended.notify_waiters();
    }

    /// Ends a lease without an acknowledgement. The server hands the task out again when the lease has ended there.
    pub(crate) fn leave(&self, id: Id) {
        self.state().book.refused(id);
        self.finish(id);
    }

    /// Returns the leases that are held and not lost, and the reading of the clock.
    pub(crate) fn held(&self) -> Vec<(Row, Duration, Duration)> {
        let now = self.clock.now();
        let mut state = self.state();
        let State { book, rows, .. } = &mut *state;
        let live = rows.iter().filter_map(|(id, row)| {
            let left = book.time_left(*id, now);
            let since = Duration::from_micros(now.saturating_sub(row.since));
            (left > 0).then(|| (row.clone(), since, Duration::from_micros(left)))
        });
        live.collect()
    }

    /// Waits until each lease has been acknowledged or left.
    pub(crate) async fn all_ended(&self) {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if self.state().rows.is_empty() {
                return;
            }
            ended.await;
        }
    }

    /// Lets the renewer end when nothing is left to acknowledge.
    pub(crate) fn stop(&self) {
        self.state().stop = true;
        self.changed.notify_one();
    }

    /// Wakes the renewer after a test has moved the clock.
    #[cfg(test)]
    pub(crate) fn look_again(&self) {
        self.changed.notify_one();
    }

    /// Returns true if the process may pull. Asks a server process that is new to this one for its last delivery (`js-5`).
    pub(crate) async fn may_pull(&self) -> Result<bool, Trouble> {
        let now = self.clock.now();
        let (known, delivered) = {
            let state = self.state();
            if now < state.quiet_until {
                return Ok(false);
            }
            (state.server.clone(), state.delivered)
        };
        let server = self.engine.server();
        if server == known {
            return Ok(true);
        }
        let overview = self.engine.overview().await?;
        self.engine.free_orphans().await?; // js-6
        if self.engine.server() != server {
            return Ok(false); // it changed again: ask again
        }
        let mut state = self.state();
        state.server = server;
        if overview.delivered > 0 && overview.delivered >= delivered {
            return Ok(true);
        }
        state.delivered = overview.delivered;
        state.quiet_until = self.clock.now() + micros(self.length);
        let State { book, rows, .. } = &mut *state;
        rows.keys().for_each(|id| book.refused(*id));
        drop(state);
        self.changed.notify_one();
        Ok(false)
    }

    /// Runs the renewer, until the job's handle and all leases are gone.
    pub(crate) async fn renew(self: Arc<Self>) {
        loop {
            let changed = self.changed.notified();
            let now = self.clock.now();
            let (due, lost, pause) = {
                let mut state = self.state();
                let State { book, rows, stop, .. } = &mut *state;
                let due = book.due(now);
                let mut lost = Vec::new();
                for (id, row) in rows.iter_mut() {
                    if !row.told && !row.ending && book.is_lost(*id, now) {
                        row.told = true;
                        row.lost.notify_waiters();
                        lost.extend(row.job.take());
                    }
                }
                // An acknowledgement that was not confirmed in time: the server hands the task out again.
                let before = rows.len();
                rows.retain(|id, row| !row.ending || book.is_due_back(*id));
                if rows.len() < before {
                    self.ended.notify_waiters();
                }
                if *stop && rows.is_empty() {
                    return;
                }
                let next = [book.next_due(), book.next_loss()].into_iter().flatten().min();
                let pause = next.map(|next| Duration::from_micros(next.saturating_sub(now).max(1)));
                (due, lost, pause.map(|pause| pause.min(LONGEST_PAUSE)))
            };
            for job in lost {
                // A cancel runs destructors of the task.
                tokio::task::spawn_blocking(move || job.cancel());
            }
            for id in due.renew {
                tokio::spawn(Arc::clone(&self).renew_one(id));
            }
            for id in due.release {
                tokio::spawn(Arc::clone(&self).release_one(id));
            }
            match pause {
                None => changed.await,
                Some(pause) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
            if pause.is_some() && self.engine.server() != self.state().server {
                let _asked_again_soon = self.may_pull().await;
            }
        }
    }

    async fn renew_one(self: Arc<Self>, id: Id) {
        let Some(row) = self.row(id) else { return };
        let sent = self.clock.now(); // own-1
        if self.is_lost(id) || !self.engine.confirm(&row.reply, "+WPI", self.patience()).await {
            return;
        }
        let mut there = Ok(true);
        if row.numbers.delivered > 1 {
            there = self.engine.is_stored(row.numbers.sequence).await; // js-3
        }
        let now = self.clock.now();
        let mut state = self.state();
        match there {
            Ok(true) => state.book.renewed(id, sent, now),
            Ok(false) => state.book.refused(id),
            Err(_) => return,
        }
        drop(state);
        self.changed.notify_one();
    }

    async fn release_one(self: Arc<Self>, id: Id) {
        let Some(row) = self.row(id) else { return };
        if !self.engine.confirm(&row.reply, "+ACK", self.patience()).await {
            return;
        }
        let mut state = self.state();
        state.book.released(id);
        let row = state.rows.remove(&id);
        drop(state);
        drop(row);
        self.ended.notify_waiters();
        self.changed.notify_one();
    }
}
