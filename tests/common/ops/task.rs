//! The tasks of the operations: each keeps a record of what became of it.

use std::any::Any;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use tollgate::{Job, JoinError};

use super::ledger::{Entry, Ledger, Ticket};

/// The order in which tasks start, over all jobs.
static STARTS: AtomicUsize = AtomicUsize::new(1);

/// What became of one task.
#[derive(Default)]
pub struct Record {
    /// Which job it is of.
    pub job: usize,
    /// It was pushed: by whom a nested one is to be, runs.
    pushed: AtomicBool,
    /// Its place in the order of starts; 0 until it starts.
    start: AtomicUsize,
    ended: AtomicBool,
    /// It waits for another task and is not running.
    waits: AtomicBool,
    /// It panicked, and was not to: a check inside it failed.
    failed: AtomicBool,
    /// It runs until it is let go.
    holds: bool,
    gone: Mutex<bool>,
    let_go: Condvar,
}

impl Record {
    pub fn new(job: usize, holds: bool) -> Arc<Self> {
        Arc::new(Self { job, holds, ..Self::default() })
    }

    pub fn is_pushed(&self) -> bool {
        self.pushed.load(SeqCst)
    }

    pub fn will_be_pushed(&self) {
        self.pushed.store(true, SeqCst);
    }

    pub fn start(&self) -> Option<usize> {
        Some(self.start.load(SeqCst)).filter(|start| *start > 0)
    }

    /// It is a permit, which was acquired just now.
    pub fn has_started(&self) {
        self.will_be_pushed();
        self.start.store(STARTS.fetch_add(1, SeqCst), SeqCst);
    }

    /// It is a permit, which is given back.
    pub fn will_end(&self) {
        self.ended.store(true, SeqCst);
    }

    pub fn has_ended(&self) -> bool {
        self.ended.load(SeqCst)
    }

    /// It has started, has not ended, and does not wait for another.
    pub fn runs(&self) -> bool {
        self.start().is_some() && !self.has_ended() && !self.waits.load(SeqCst)
    }

    pub fn waits_inside(&self) -> bool {
        self.waits.load(SeqCst) && !self.has_ended()
    }

    pub fn has_failed(&self) -> bool {
        self.failed.load(SeqCst)
    }

    /// It runs until it is let go, and has not been.
    pub fn holds(&self) -> bool {
        self.holds && !*self.gone.lock().unwrap()
    }

    pub fn let_go(&self) {
        *self.gone.lock().unwrap() = true;
        self.let_go.notify_all();
    }
}

/// What a task is to do, with all that it needs for it.
pub enum Body {
    Nothing,
    Holds,
    Panics,
    Pushes(Vec<Nested>),
    Joins(Nested),
}

/// A task that another one pushes.
pub struct Nested {
    pub job: Job,
    pub ledger: Arc<Ledger>,
    pub record: Arc<Record>,
}

/// The payload of the tasks that panic.
pub struct Thrown(pub usize);

impl Body {
    /// The closure of a task; its value is the place in the order of starts.
    pub fn closure(
        self,
        record: &Arc<Record>,
        ticket: Ticket,
    ) -> impl FnOnce() -> usize + Send + 'static {
        let record = Arc::clone(record);
        move || {
            let start = STARTS.fetch_add(1, SeqCst);
            assert_eq!(record.start.swap(start, SeqCst), 0, "a task started twice");
            // Dropped in this order: out of the books, then ended.
            let ended = Ended { may_panic: matches!(self, Body::Panics), record };
            let entry = ticket.enter();
            self.run(&ended.record, &entry, start);
            drop(entry);
            drop(ended);
            start
        }
    }

    fn run(self, record: &Record, entry: &Entry, start: usize) {
        match self {
            Body::Nothing => {}
            Body::Holds => {
                let gone = record.gone.lock().unwrap();
                drop(record.let_go.wait_while(gone, |gone| !*gone).unwrap());
            }
            Body::Panics => {
                entry.will_panic();
                resume_unwind(Box::new(Thrown(start)));
            }
            Body::Pushes(nested) => {
                for Nested { job, ledger, record } in nested {
                    record.will_be_pushed();
                    job.execute({
                        let closure = Body::Nothing.closure(&record, ledger.ticket());
                        || _ = closure()
                    });
                }
            }
            Body::Joins(Nested { job, ledger, record: awaited }) => {
                awaited.will_be_pushed();
                let handle = job.spawn(Body::Nothing.closure(&awaited, ledger.ticket()));
                record.waits.store(true, SeqCst);
                let result = entry.while_waiting(|| handle.join());
                record.waits.store(false, SeqCst);
                check_result(&result, &awaited);
            }
        }
    }
}

struct Ended {
    may_panic: bool,
    record: Arc<Record>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.record.failed.store(thread::panicking() && !self.may_panic, SeqCst);
        self.record.ended.store(true, SeqCst);
    }
}

/// A handle's answer is that of its task.
pub fn check_result(result: &Result<usize, JoinError>, record: &Record) {
    let start = match result {
        Ok(start) => Some(*start),
        Err(JoinError::Panicked(payload)) => {
            Some(payload.downcast_ref::<Thrown>().expect("a panic that no task here has").0)
        }
        Err(_) => None,
    };
    assert_eq!(start, record.start(), "a handle and its task disagree: {result:?}");
}

fn thrown(payload: &(dyn Any + Send)) -> usize {
    payload.downcast_ref::<Thrown>().expect("a panic that no task here has").0
}
