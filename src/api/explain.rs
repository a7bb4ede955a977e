//! `Job::explain`: tells why a task does not run now, from the present state of its gates.
//!
//! An explanation costs only the thread that calls `explain`, because tasks record nothing for explanations. The calling thread
//! reads the words of several jobs one after the other, while the workers continue. So these words can belong to different
//! moments.

mod reason;

pub use reason::{Explanation, Reason};

use crate::api::job::Job;
use crate::base::task::CellPtr;
use crate::job::control;
use crate::job::gate::{self, hold};
#[cfg(feature = "futures")]
use crate::job::pending::pending;
use crate::job::permits::Flag;
use crate::job::queue::Consumer;
use crate::job::record::JobPtr;
use crate::sync::thread;
use crate::task::handle::{Stage, TaskHandle};

/// How many times a thread tries to get a queue's lock before it gives up.
const TRIES: usize = 100;

impl Job {
    /// Tells why the next task of the job does not run. See [`Reason`] for the answers.
    ///
    /// `explain` only reads the state of the job and its ancestors, and costs the tasks nothing. If a task of the job waits to
    /// start, the call walks through the queues of the ancestors, too.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let search = pool.job_builder().name("search").limit(1).build();
    /// let (go, wait_for_go) = mpsc::channel::<()>();
    /// let (begin, wait_for_begin) = mpsc::channel();
    /// search.execute(move || {
    ///     begin.send(()).unwrap();
    ///     wait_for_go.recv().unwrap();
    /// });
    /// search.execute(|| ());
    /// wait_for_begin.recv().unwrap();
    /// assert_eq!(search.explain().to_string(), "job \"search\" runs 1 task of at most 1");
    /// go.send(()).unwrap();
    /// search.wait();
    /// assert_eq!(search.explain().to_string(), "there is no task");
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn explain(&self) -> Explanation {
        // The timer is read before the counts. So a task that leaves the timer between the two reads is in the counts.
        let first_delayed = self.ptr().first_delayed();
        let stats = self.stats();
        // The number of the job's futures that wait without a permit. `stats.ready` includes these futures: it is the number of
        // busy counts of the job whose tasks hold no permit.
        let futures = futures_without_permit(self.ptr());
        if stats.backlog + stats.ready > futures {
            // If a task of the job waits in the queue of an ancestor, `ahead` is the number of tasks that go before that task.
            // Otherwise `ahead` is 0.
            let ahead = place_above(self.ptr()).unwrap_or(0);
            return Explanation::of_job(waiting(self.ptr(), ahead));
        }
        let mut reasons = waits_of(self.ptr(), futures);
        // `stats.running` includes the tasks that wait inside and keep their permits. These tasks are already in `reasons`, so
        // their number is subtracted here.
        let keeps = self.ptr().keeps_permits();
        let waiting = if keeps { self.ptr().pool().waits.count(self.ptr().opaque()) } else { 0 };
        let running = stats.running.saturating_sub(waiting as usize);
        if running > 0 {
            reasons.insert(0, Reason::Running { running });
        }
        if reasons.is_empty() {
            reasons.push(match first_delayed.or_else(|| self.ptr().first_delayed()) {
                Some(until) => Reason::Delayed { until },
                None if self.is_closed() => Reason::Closed { job: self.clone() },
                None => Reason::Idle,
            });
        }
        Explanation::of_job(reasons)
    }

    /// Tells why a task of this job does not run. See [`Reason`] for the answers. If the task has a name, the text of the
    /// answer begins with that name.
    ///
    /// `explain_task` is a method of the job, because a [`TaskHandle`] does not keep the task's job: the job may be gone when
    /// the task has ended. Each push would have to pay for a handle that keeps the job.
    ///
    /// If the task waits to start, `explain_task` walks through the job's queue up to the task, and through the queues of the
    /// ancestors. While the call walks through a queue, no task leaves that queue. Pushers and workers do not wait for the
    /// call.
    ///
    /// # Panics
    ///
    /// Panics if the task belongs to another job and has not ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use tollgate::Reason;
    ///
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(0);
    /// let tasks: Vec<_> = (0..3).map(|i| job.spawn(move || i)).collect();
    /// let why = job.explain_task(&tasks[2]);
    /// assert_eq!(why.reasons()[1], Reason::Behind { ahead: 2 });
    /// assert_eq!(why.to_string(), "a job without a name has a limit of 0, and 2 tasks go first");
    /// job.set_limit(1);
    /// job.wait();
    /// assert_eq!(job.explain_task(&tasks[2]).first(), &Reason::Ended);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn explain_task<T>(&self, task: &TaskHandle<T>) -> Explanation {
        let (stage, job, cell) = task.look();
        if stage == Stage::Ended {
            return Explanation::of_task(task, vec![Reason::Ended]);
        }
        // `==` compares the addresses of records. A task that has not ended keeps its job's record, so equal addresses mean the
        // same job.
        assert!(
            job == self.ptr(),
            "a task{} is explained by another job: ask its own job",
            job.of_its_name()
        );
        let reasons = match stage {
            Stage::Ended | Stage::Running => vec![of_started(job, cell)],
            Stage::Pending => vec![Reason::Pending],
            Stage::Woken => match ahead_of(job, cell) {
                Some(ahead) => waiting(job, ahead),
                None => vec![worker(job)],
            },
            Stage::Delayed => match cancelled(job) {
                Some(cancelled) => vec![cancelled],
                None => match job.delayed_until(cell) {
                    Some(until) => vec![Reason::Delayed { until }],
                    // The task has just left the timer, and is about to enter the queue.
                    None => waiting(job, 0),
                },
            },
            Stage::Waiting if self.hands_over() => match ahead_of(job, cell) {
                Some(ahead) => waiting(job, ahead),
                // The task is in no queue: it was handed over with its permits, and lies in an injector.
                None => handed_over(job),
            },
            Stage::Waiting => waiting(job, ahead_of(job, cell).unwrap_or(0)),
        };
        Explanation::of_task(task, reasons)
    }
}

/// Returns why a task that already has its permits has not started: a gate is held or cancelled, or no worker is free.
fn handed_over(job: JobPtr) -> Vec<Reason> {
    let stopped = |gate: JobPtr| gate.permits.load().is_stopped();
    if gate::is_dropped(job) || job.gates().any(stopped) {
        waiting(job, 0)
    } else {
        vec![worker(job)]
    }
}

/// Returns how many of the job's futures have given back their permit because they await a task or a job.
#[cfg(feature = "futures")]
fn futures_without_permit(job: JobPtr) -> usize {
    pending().without_permit(job)
}

#[cfg(not(feature = "futures"))]
fn futures_without_permit(_: JobPtr) -> usize {
    0
}

/// Returns why tasks of the job wait inside: one reason for each job in whose [`Job::wait`] they wait, and one for all other
/// waits. `futures` is the number of the job's futures that wait without a permit.
fn waits_of(job: JobPtr, futures: usize) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = Vec::new();
    if futures > 0 {
        reasons.push(Reason::Waiting { tasks: futures, awaited: None });
    }
    job.pool().waits.each(job.opaque(), |wait| {
        let awaited = wait.awaited.map(|job| Job::of(JobPtr::of(job)));
        let same = |reason: &&mut Reason| matches!(reason, Reason::Waiting { awaited: other, .. } if *other == awaited);
        match reasons.iter_mut().find(same) {
            Some(Reason::Waiting { tasks, .. }) => *tasks += 1,
            _ => reasons.push(Reason::Waiting { tasks: 1, awaited }),
        }
    });
    reasons
}

/// Returns [`Reason::Waiting`] if the started task in `cell` waits for another task or job. Otherwise returns
/// [`Reason::Running`]. The task must have a handle.
fn of_started(job: JobPtr, cell: CellPtr) -> Reason {
    let mut reason = Reason::Running { running: 1 };
    job.pool().waits.each(job.opaque(), |wait| {
        if wait.task == Some(cell) {
            reason = Reason::Waiting {
                tasks: 1,
                awaited: wait.awaited.map(|job| Job::of(JobPtr::of(job))),
            };
        }
    });
    reason
}

/// Returns the reasons why a task of `job` has not started. `ahead` is the number of tasks that go before that task.
fn waiting(job: JobPtr, ahead: usize) -> Vec<Reason> {
    if let Some(cancelled) = cancelled(job) {
        return vec![cancelled];
    }
    let mut reasons = Vec::new();
    let paused = job.gates().filter(|gate| gate.permits.load().has(Flag::Paused));
    reasons.extend(paused.map(|gate| Reason::Paused { job: Job::of(gate) }));
    let clock = job.gates().filter_map(held_off).chain(job.gates().filter_map(paced));
    let weights = job.gates().filter_map(|gate| weight(gate, job));
    let mut closed: Vec<_> = job.gates().filter_map(limit).chain(weights).chain(clock).collect();
    // Sorts the reasons so that the one that lasts longest comes first. A limit of 0 lasts until the user changes it. A
    // hold-off or a rate lasts until a known time. Any other limit lasts until a task ends.
    closed.sort_by_key(|reason| match reason {
        Reason::Limit { limit: 0, .. } => 0,
        Reason::HeldOff { .. } | Reason::Rate { .. } => 1,
        _ => 2,
    });
    reasons.append(&mut closed);
    if ahead > 0 {
        reasons.push(Reason::Behind { ahead });
    }
    if reasons.is_empty() {
        reasons.push(worker(job));
    }
    reasons
}

/// Returns [`Reason::Cancelled`] if the job, one of its ancestors or its pool was cancelled.
fn cancelled(job: JobPtr) -> Option<Reason> {
    let gate = job.gates().find(|gate| gate.permits.load().has(Flag::Cancelled));
    let cancelled = gate.or_else(|| job.pool().drops().then_some(job))?;
    Some(Reason::Cancelled { job: Job::of(cancelled) })
}

/// Returns [`Reason::HeldOff`] if the job `gate` is held off.
fn held_off(gate: JobPtr) -> Option<Reason> {
    let until = hold::held_until(gate)?;
    Some(Reason::HeldOff { job: Job::of(gate), until })
}

/// Returns [`Reason::Rate`] if the rates of the job `gate` allow no start now.
fn paced(gate: JobPtr) -> Option<Reason> {
    let until = hold::paced_until(gate)?;
    Some(Reason::Rate { job: Job::of(gate), until })
}

/// Returns [`Reason::Weight`] if `gate` counts weights, some of its permits are free, and the first task in its queue takes
/// more permits than are free. If the queue is empty, takes a task of `job` as the first: such a task can be on its way to the
/// queue, or be ready and about to be refused.
fn weight(gate: JobPtr, job: JobPtr) -> Option<Reason> {
    if !gate.counts_weights() {
        return None;
    }
    let first = look_into(gate, |queue| queue.first().map(|cell| cell.job().weight()))?;
    let needs = first.unwrap_or_else(|| job.weight());
    let word = gate.permits.load();
    let free = word.limit().saturating_sub(word.running()) as usize;
    let reserves = free > 0 && !word.fits(needs);
    reserves.then(|| Reason::Weight { job: Job::of(gate), needs: needs as usize, free })
}

/// Returns [`Reason::Limit`] if as many tasks of the job `gate` run as its limit allows.
fn limit(gate: JobPtr) -> Option<Reason> {
    let word = gate.permits.load();
    let full = word.running() >= word.limit();
    full.then(|| Reason::Limit {
        job: Job::of(gate),
        running: word.running() as usize,
        limit: control::limit_of(word),
    })
}

/// Returns why a task of `job` has not started although no gate keeps the task from starting: all workers are busy, or a worker
/// is about to take the task.
fn worker(job: JobPtr) -> Reason {
    let workers = job.pool().workers();
    let busy = workers.saturating_sub(job.pool().sleep.idle());
    if busy == workers { Reason::NoWorker { busy, workers } } else { Reason::Ready }
}

/// Returns how many queued tasks go before the task in `cell`. Returns `None` if the task in `cell` is in no queue.
fn ahead_of(job: JobPtr, cell: CellPtr) -> Option<usize> {
    let stands = |gate| Some((gate, place(gate, |queued| queued == cell)?));
    let (gate, ahead) = job.gates().find_map(stands)?;
    Some(ahead + ahead_above(gate))
}

/// Looks for the first task of `job`, or of a job below it, in the queues of the ancestors. Returns how many queued tasks go
/// before that task, or `None` if there is no such task.
fn place_above(job: JobPtr) -> Option<usize> {
    let stands = |gate| Some((gate, place(gate, |cell| is_below(cell, job))?));
    // If several ancestors have tasks of the job in their queues, the task in the queue of the outermost ancestor goes first.
    let (gate, ahead) = job.gates().skip(1).filter_map(stands).last()?;
    Some(ahead + ahead_above(gate))
}

/// Returns how many tasks in the queues of ancestors go before the tasks in the queue of `job`.
fn ahead_above(job: JobPtr) -> usize {
    let inner_and_outer = job.gates().zip(job.gates().skip(1));
    let ahead = inner_and_outer.filter_map(|(inner, outer)| {
        // If a task of `inner` is in the queue of `outer`, it goes before all tasks in the queue of `inner`. `+ 1` counts that
        // task.
        Some(place(outer, |cell| is_below(cell, inner))? + 1)
    });
    ahead.sum()
}

/// Returns true if the task in `cell` is of `job` or of a job below it.
fn is_below(cell: CellPtr, job: JobPtr) -> bool {
    cell.job().gates().any(|gate| gate == job)
}

/// Searches the queue of the job `queue` for the first task for which `is_it` returns true. Returns how many tasks go before
/// that task. Returns `None` if there is no such task, or if [`look_into`] fails to get the queue lock.
fn place(queue: JobPtr, is_it: impl Fn(CellPtr) -> bool) -> Option<usize> {
    look_into(queue, |consumer| {
        let (mut ahead, mut found) = (0, false);
        let _whole = consumer.look_through(|cell| {
            found |= is_it(cell);
            ahead += usize::from(!found && !cell.is_gone());
        });
        found.then_some(ahead)
    })?
}

/// Locks the queue of the job `queue`, and calls `look` with the queue's consumer. Returns `None` if other threads own the
/// queue lock at each of [`TRIES`] tries.
fn look_into<T>(queue: JobPtr, look: impl FnOnce(&Consumer<'_>) -> T) -> Option<T> {
    for _ in 0..TRIES {
        let Some(consumer) = queue.queue().try_lock_quietly() else {
            thread::yield_now();
            continue;
        };
        let seen = look(&consumer);
        gate::unlock(queue, consumer);
        return Some(seen);
    }
    None
}
