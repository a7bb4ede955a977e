//! What became of each task of a job, kept by its tasks themselves: how many run, against the largest limit in force, and
//! that each ran or was dropped without running, once.
#![allow(dead_code, reason = "the soak and the operations each use their own part of this")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use tollgate::JobStats;

/// The books of one job.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The books of the job above it, whose limit holds for its tasks, too.
    parent: Option<Arc<Ledger>>,
    /// A task that waits inside keeps its permit of this job.
    keeps: bool,
    running: AtomicUsize,
    /// The largest limit that may be in force.
    ceiling: AtomicUsize,
    /// The most that ran when fewer should have.
    over: AtomicUsize,
    tickets: AtomicUsize,
    ran: AtomicUsize,
    panicked: AtomicUsize,
    dropped: AtomicUsize,
    given_back: AtomicUsize,
    cancelled_by_handle: AtomicUsize,
    /// Tasks with a deadline that were dropped without running.
    expired: AtomicUsize,
    /// Futures may have been cancelled in flight. A stream that ends early cancels futures that this does not count. A
    /// future that its handle or its job cancels during its last poll ends, and counts as cancelled.
    cut: AtomicBool,
}

impl Ledger {
    pub fn new(limit: usize, parent: Option<&Arc<Ledger>>) -> Arc<Self> {
        Self::of(limit, false, parent)
    }

    /// Makes the books of a job with this limit. If `keeps`, the limit bounds the tasks that have begun.
    pub fn of(limit: usize, keeps: bool, parent: Option<&Arc<Ledger>>) -> Arc<Self> {
        Arc::new(Self {
            parent: parent.cloned(),
            keeps,
            ceiling: AtomicUsize::new(limit),
            ..Self::default()
        })
    }

    /// The limit is about to become this.
    pub fn may_become(&self, limit: usize) {
        self.ceiling.fetch_max(limit, SeqCst);
    }

    /// The job was idle a moment ago, and this is its limit since: nothing that started under an older one runs.
    pub fn is_from_idle(&self, limit: usize) {
        self.ceiling.store(limit, SeqCst);
    }

    pub fn ticket(self: &Arc<Self>) -> Ticket {
        self.tickets.fetch_add(1, SeqCst);
        Ticket { ledger: Arc::clone(self), state: Arc::default() }
    }

    /// `try_spawn` or `try_execute` gave a closure back.
    pub fn count_given_back(&self) {
        self.given_back.fetch_add(1, SeqCst);
    }

    /// A handle's `cancel` said true.
    pub fn count_cancelled_by_handle(&self) {
        self.cancelled_by_handle.fetch_add(1, SeqCst);
    }

    /// A task with a deadline was dropped without running.
    pub fn count_expired(&self) {
        self.expired.fetch_add(1, SeqCst);
    }

    /// Futures of it may be cancelled in flight.
    pub fn may_be_cut(&self) {
        self.cut.store(true, SeqCst);
    }

    pub fn is_cut(&self) -> bool {
        self.cut.load(SeqCst)
    }

    /// The drop of a future that has been polled is about to panic: it counts as a task that panicked.
    pub fn will_panic_in_drop(&self, started: &Started) {
        if !started.0.swap(true, SeqCst) {
            self.ran.fetch_add(1, SeqCst);
        }
        self.panicked.fetch_add(1, SeqCst);
    }

    /// All tasks have ended or been dropped.
    pub fn is_settled(&self) -> bool {
        self.dropped.load(SeqCst) == self.tickets.load(SeqCst)
    }

    pub fn tickets(&self) -> usize {
        self.tickets.load(SeqCst)
    }

    fn not_run(&self) -> usize {
        self.tickets() - self.ran.load(SeqCst)
    }

    /// The job is idle: nothing may be out of order.
    pub fn check(&self) {
        assert_eq!(self.over.load(SeqCst), 0, "more ran than the limit allowed: {self:?}");
        assert!(self.is_settled(), "a closure leaked: {self:?}");
        assert_eq!(self.running.load(SeqCst), 0, "a job is idle and a task of it runs: {self:?}");
    }

    /// The job is idle, and what it says of itself must be what its tasks say.
    pub fn check_against(&self, stats: JobStats) {
        self.check();
        let counted = (stats.completed + stats.panicked, stats.panicked, stats.cancelled);
        let (ran, panicked) = (self.ran.load(SeqCst) as u64, self.panicked.load(SeqCst) as u64);
        let cancelled = (self.not_run() - self.given_back.load(SeqCst)) as u64;
        if self.is_cut() {
            assert!(counted.0 <= ran && counted.1 <= panicked, "{stats:?} {self:?}");
            assert_eq!(counted.0 + counted.2, ran + cancelled, "{stats:?} {self:?}");
        } else {
            assert_eq!(counted, (ran, panicked, cancelled), "{stats:?} {self:?}");
        }
        let unended = (stats.running, stats.ready, stats.backlog, stats.delayed);
        assert_eq!(unended, (0, 0, 0, 0), "{stats:?}");
    }

    /// The job was let go without a cancel, and drained: all ran but what its handles cancelled or it gave back.
    pub fn check_ran(&self) {
        self.check();
        let kept = self.cancelled_by_handle.load(SeqCst)
            + self.given_back.load(SeqCst)
            + self.expired.load(SeqCst);
        assert!(self.is_cut() || self.not_run() == kept, "a task was lost: {self:?}");
    }

    fn enter(&self) {
        self.enter_each(&|_| true);
    }

    fn leave(&self) {
        self.leave_each(&|_| true);
    }

    /// Adds a running task to these books and those above, if `counts` accepts them.
    fn enter_each(&self, counts: &dyn Fn(&Self) -> bool) {
        if counts(self) {
            self.enter_one();
        }
        if let Some(parent) = &self.parent {
            parent.enter_each(counts);
        }
    }

    /// Subtracts a running task from these books and those above, if `counts` accepts them.
    fn leave_each(&self, counts: &dyn Fn(&Self) -> bool) {
        if let Some(parent) = &self.parent {
            parent.leave_each(counts);
        }
        if counts(self) {
            self.running.fetch_sub(1, SeqCst);
        }
    }

    fn enter_one(&self) {
        let with_me = self.running.fetch_add(1, SeqCst) + 1;
        if with_me > self.ceiling.load(SeqCst) {
            self.over.fetch_max(with_me, SeqCst);
        }
    }
}

/// One task's entry: goes into its closure, and is dropped with it.
pub struct Ticket {
    ledger: Arc<Ledger>,
    state: Arc<AtomicBool>,
}

/// Whether a task has started.
#[derive(Clone)]
pub struct Started(Arc<AtomicBool>);

impl Started {
    pub fn get(&self) -> bool {
        self.0.load(SeqCst)
    }
}

/// A task that runs; ends when dropped, also by unwinding.
pub struct Entry(Ticket);

impl Ticket {
    pub fn started(&self) -> Started {
        Started(Arc::clone(&self.state))
    }

    /// The task has started.
    pub fn enter(self) -> Entry {
        self.start();
        Entry(self)
    }

    /// The task is a future, and is polled for the first time.
    pub fn board(self) -> Flight {
        self.start();
        Flight { ticket: self, away: false, landed: false }
    }

    fn start(&self) {
        assert!(!self.state.swap(true, SeqCst), "a task started twice");
        self.ledger.ran.fetch_add(1, SeqCst);
        self.ledger.enter();
    }
}

impl Entry {
    /// The task is about to wait for another: until `wait` returns, it holds no permit but those that are kept.
    pub fn while_waiting<R>(&self, wait: impl FnOnce() -> R) -> R {
        struct Back<'a>(&'a Ledger);
        impl Drop for Back<'_> {
            fn drop(&mut self) {
                self.0.enter_each(&|ledger| !ledger.keeps);
            }
        }
        self.0.ledger.leave_each(&|ledger| !ledger.keeps);
        let _back = Back(&self.0.ledger);
        wait()
    }

    pub fn will_panic(&self) {
        self.0.ledger.panicked.fetch_add(1, SeqCst);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.0.ledger.leave();
    }
}

/// A future that has been polled. Dropped before it has landed, it is one that was cancelled, and has not run.
pub struct Flight {
    ticket: Ticket,
    /// It awaits a task, and holds no permit.
    away: bool,
    landed: bool,
}

impl Flight {
    /// The future awaits something of the pool's: it holds no permit until that is ready, and has it back then.
    pub async fn while_awaiting<T>(&mut self, awaited: impl Future<Output = T>) -> T {
        self.ticket.ledger.leave();
        self.away = true;
        let value = awaited.await;
        self.away = false;
        self.ticket.ledger.enter();
        value
    }

    /// The task has no permit from now on, until it [comes back](Self::comes_back).
    pub fn goes_away(&mut self) {
        self.ticket.ledger.leave();
        self.away = true;
    }

    /// The task has a permit again.
    pub fn comes_back(&mut self) {
        self.away = false;
        self.ticket.ledger.enter();
    }

    /// The future is about to be ready, or to panic.
    pub fn land(&mut self, panics: bool) {
        self.landed = true;
        self.ticket.ledger.panicked.fetch_add(usize::from(panics), SeqCst);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.landed {
            self.ticket.ledger.ran.fetch_sub(1, SeqCst);
            self.ticket.state.store(false, SeqCst);
        }
        if !self.away {
            self.ticket.ledger.leave();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.ledger.dropped.fetch_add(1, SeqCst);
    }
}
