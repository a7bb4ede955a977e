//! Runs operations from one thread against a real pool, and holds what it sees against a sequential model: what every
//! interleaving of the workers allows, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use tollgate::{Job, JoinError, ManualClock, Pool, TaskHandle};

use super::known::{KnownJob, KnownTask};
use super::ledger::Ledger;
use super::task::{Body, Nested, Record, check_result};
use super::{Aside, Does, Limit, Op, Shutdown, Way, aside};
use crate::watch::{PAUSE, Watch};

/// Watches for what is sure to happen. Once it did not, shrinking need not be so patient.
pub fn surely() -> Watch {
    match FAILED.load(Relaxed) {
        true => Watch::new(Duration::from_secs(1)).impatient(),
        false => Watch::new(Duration::from_secs(20)),
    }
}

/// Waits for what must become idle.
pub fn surely_idle(job: &Job) -> bool {
    let mut watch = surely();
    while !job.wait_timeout(PAUSE) {
        if watch.hangs().is_some() {
            return false;
        }
    }
    true
}

/// Joins what must end.
pub fn surely_ends<T>(mut handle: TaskHandle<T>) -> Result<Result<T, JoinError>, TaskHandle<T>> {
    let mut watch = surely();
    loop {
        handle = match handle.join_timeout(PAUSE) {
            Ok(result) => return Ok(result),
            Err(handle) if watch.hangs().is_some() => return Err(handle),
            Err(handle) => handle,
        }
    }
}

static FAILED: AtomicBool = AtomicBool::new(false);

/// Runs the operations against a pool of so many workers, ends the pool, and accounts for every task.
///
/// # Panics
/// If anything is seen that must not be.
pub fn run(workers: usize, ops: &[Op]) {
    // The pool drops its hooks when its last worker has left.
    let alive = Arc::new(());
    let (hook, ended) = (Arc::clone(&alive), Arc::downgrade(&alive));
    drop(alive);
    let clock = ManualClock::new();
    let builder = Pool::builder().workers(workers).clock(&clock);
    let builder = builder.on_worker_stop(move |_| _ = &hook);
    let pool = builder.build().expect("a pool of a few workers starts");
    let mut user = User {
        workers,
        pool: Some(pool),
        clock,
        jobs: Vec::new(),
        adapts: aside::Adapts::default(),
        weighs: aside::Weighs::default(),
        hands_over: aside::HandsOver::default(),
        tasks: Vec::new(),
        over: false,
        left: false,
    };
    for op in ops {
        user.does(*op);
    }
    user.does(Op::Shutdown { how: Shutdown::Drain });
    user.accounts();
    let mut watch = surely();
    while ended.strong_count() > 0 {
        assert!(watch.hangs().is_none(), "a worker of a pool that was shut down does not leave");
        thread::yield_now();
    }
}

/// The user, and all that a user knows.
pub struct User {
    pub workers: usize,
    pool: Option<Pool>,
    pub clock: ManualClock,
    pub jobs: Vec<KnownJob>,
    adapts: aside::Adapts,
    weighs: aside::Weighs,
    pub hands_over: aside::HandsOver,
    pub tasks: Vec<KnownTask>,
    /// The pool has been shut down.
    pub over: bool,
    /// Its workers were left to drop what had not started.
    pub left: bool,
}

impl User {
    fn does(&mut self, op: Op) {
        match op {
            Op::Job { limit } => self.makes_job(None, limit),
            Op::Child { parent, limit } => {
                if let Some(parent) = self.job(parent) {
                    self.makes_job(Some(parent), limit);
                }
            }
            Op::Push { job, way, does } => self.pushes(job, way, does),
            Op::SetLimit { job, limit } => {
                self.with_job(job, |user, id| user.sets_limit(id, limit))
            }
            Op::Pause { job } => self.with_job(job, |user, id| {
                user.jobs[id].paused = true;
                user.api(id).pause();
            }),
            Op::Resume { job } => self.with_job(job, |user, id| {
                user.jobs[id].paused = false;
                user.api(id).resume();
            }),
            Op::HoldOff { job, seconds } => {
                self.with_job(job, |user, id| user.holds_off(id, seconds))
            }
            Op::SetRate { job, seconds, burst } => {
                self.with_job(job, |user, id| user.sets_rate(id, seconds, burst))
            }
            Op::Advance { seconds } => self.advances(seconds),
            Op::Close { job } => self.with_job(job, |user, id| {
                user.api(id).close();
                user.below(id).into_iter().for_each(|below| user.jobs[below].closed = true);
                assert!(user.api(id).is_closed());
            }),
            Op::Cancel { job } => self.with_job(job, Self::cancels),
            Op::Clear { job } => self.with_job(job, Self::clears),
            Op::DropJob { job } => self.with_job(job, |user, id| drop(user.jobs[id].job.take())),
            Op::Wait { job } => self.with_job(job, Self::waits),
            Op::Join { handle } => self.joins(handle),
            Op::Acquire { job, leaves } => self.with_job(job, |user, id| user.acquires(id, leaves)),
            Op::CancelTask { handle } => self.cancels_task(handle),
            Op::DropHandle { handle } => {
                drop(self.handle(handle).map(|id| self.tasks[id].handle.take()))
            }
            Op::LetGo { count } => self.lets_go(count as usize),
            Op::Settle => self.settles(),
            Op::Aside { job, what } => self.calls_aside(job, what),
            Op::Shutdown { how } => self.shuts_down(how),
        }
    }

    fn calls_aside(&self, job: u8, what: Aside) {
        let Some(pool) = self.pool.as_ref().filter(|_| !self.over) else { return };
        // A task that holds may keep any worker.
        let open = |task: &KnownTask| task.record.holds() && !task.never;
        match what {
            Aside::EmptyInput => {
                if let Some(job) = self.job(job) {
                    aside::empty_input(self.api(job));
                }
            }
            Aside::Bomb { ready } => {
                #[cfg(feature = "futures")]
                if !self.tasks.iter().any(open) {
                    aside::future_whose_drop_panics(pool, ready);
                }
                _ = ready;
            }
            Aside::Circle { tasks } => {
                if !self.tasks.iter().any(open) {
                    aside::joins_in_a_circle(pool, tasks);
                }
            }
            Aside::Keys => {
                if let Some(job) = self.job(job) {
                    aside::keys(self.api(job));
                }
            }
            Aside::Adapts(number) => self.adapts.call(pool, number),
            Aside::Weighs(number) => self.weighs.call(pool, number, job.into()),
            Aside::HandsOver(number) => self.hands_over.call(pool, number, job.into()),
            Aside::Cancels => aside::cancels_behind_a_capacity(pool, 1 + job as usize % 8),
            Aside::Input { next_panics, drop_panics } => {
                if !self.tasks.iter().any(open) {
                    aside::input_that_panics(pool, next_panics, drop_panics);
                }
            }
        }
    }

    /// The job of this number, if its handle is still there.
    pub fn job(&self, number: u8) -> Option<usize> {
        let id = (number as usize).checked_rem(self.jobs.len())?;
        self.jobs[id].job.is_some().then_some(id)
    }

    pub fn with_job(&mut self, number: u8, call: impl FnOnce(&mut Self, usize)) {
        if let Some(id) = self.job(number) {
            call(self, id);
        }
    }

    pub fn handle(&self, number: u8) -> Option<usize> {
        let id = (number as usize).checked_rem(self.tasks.len())?;
        self.tasks[id].handle.is_some().then_some(id)
    }

    pub fn api(&self, id: usize) -> &Job {
        self.jobs[id].job.as_ref().expect("the handle is there")
    }

    pub fn above(&self, id: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(id), |id| self.jobs[*id].parent)
    }

    /// Returns true if a task of the job keeps a permit while it waits.
    pub fn keeps_a_permit(&self, id: usize) -> bool {
        self.above(id).any(|above| self.jobs[above].keeps)
    }

    /// Returns true if a task has a permit of the job with this number: it runs, or it waits and keeps the permit.
    pub fn has_permit_of(&self, record: &Record, id: usize) -> bool {
        (record.runs() || self.jobs[id].keeps && record.waits_inside())
            && self.above(record.job).any(|above| above == id)
    }

    /// The job and all below it.
    pub fn below(&self, id: usize) -> Vec<usize> {
        (0..self.jobs.len()).filter(|below| self.above(*below).any(|above| above == id)).collect()
    }

    fn makes_job(&mut self, parent: Option<usize>, asked: Limit) {
        if self.jobs.len() == 12 {
            return;
        }
        let builder = match (parent, &self.pool) {
            (Some(parent), _) => self.api(parent).job_builder(),
            (None, Some(pool)) => pool.job_builder(),
            (None, None) => return,
        };
        let timed = self.jobs.len() % 3 == 1;
        let builder = if timed { builder.timed() } else { builder };
        let named = self.jobs.len() % 3 < 2;
        let builder = if named { builder.name("named") } else { builder };
        let limit = asked.get();
        let job = asked.with_more(builder).limit(limit).build();
        assert_eq!(job.limit(), limit);
        let listed = self.pool.as_ref().map(Pool::jobs);
        assert!(!named || listed.is_none_or(|jobs| jobs.contains(&job)), "a job is not listed");
        let above = parent.map(|parent| &self.jobs[parent]);
        self.jobs.push(KnownJob {
            job: Some(job),
            ledger: Ledger::of(limit, asked.keeps(), above.map(|above| &above.ledger)),
            limit,
            paused: false,
            keeps: asked.keeps(),
            held_until: None,
            started: None,
            rate: None,
            closed: above.is_some_and(|above| above.closed),
            serial: limit == 1,
            cancels: false,
            parent,
        });
    }

    fn pushes(&mut self, number: u8, way: Way, does: Does) {
        let Some(id) = self.job(number) else { return };
        let number = self.tasks.len();
        let mut tasks = vec![Record::new(id, does == Does::Holds)];
        // Tasks that keep permits and wait for tasks that need kept permits may wait for each other.
        let may_join = |job: u8| {
            !self.keeps_a_permit(id) || self.job(job).is_none_or(|job| !self.keeps_a_permit(job))
        };
        let mut nested = |job: u8, count: u8| -> Vec<Nested> {
            let Some(job) = self.job(job) else { return Vec::new() };
            let nested = (0..count).map(|_| Nested {
                job: self.api(job).clone(),
                ledger: Arc::clone(&self.jobs[job].ledger),
                record: Record::new(job, false),
            });
            let nested: Vec<_> = nested.collect();
            tasks.extend(nested.iter().map(|nested| Arc::clone(&nested.record)));
            nested
        };
        let body = match does {
            Does::Nothing => Body::Nothing,
            Does::Holds => Body::Holds,
            Does::Panics => Body::Panics,
            Does::Pushes { job, count } => Body::Pushes(nested(job, count % 4)),
            Does::Joins { job } if !may_join(job) => Body::Nothing,
            Does::Joins { job } => nested(job, 1).pop().map_or(Body::Nothing, Body::Joins),
        };
        let (record, ledger) = (Arc::clone(&tasks[0]), Arc::clone(&self.jobs[id].ledger));
        record.will_be_pushed();
        let closure = body.closure(&record, ledger.ticket());
        let refused = self.over || self.jobs[id].closed;
        let job = self.api(id);
        let mut handle = None;
        let time = |seconds: u8| Duration::from_secs(u64::from(seconds % 8));
        match way {
            Way::Spawn if number.is_multiple_of(2) => {
                handle = Some(job.spawn_named("named", closure))
            }
            Way::Spawn => handle = Some(job.spawn(closure)),
            Way::Execute => job.execute(|| _ = closure()),
            Way::TrySpawn => match job.try_spawn(closure) {
                Ok(accepted) => handle = Some(accepted),
                Err(_) => ledger.count_given_back(),
            },
            Way::After(seconds) => handle = Some(job.spawn_after(time(seconds), closure)),
            Way::Within(seconds) => handle = Some(job.spawn_within(time(seconds), closure)),
            Way::TryExecute => {
                if job.try_execute(|| _ = closure()).is_err() {
                    ledger.count_given_back();
                }
            }
        }
        if way == Way::TrySpawn {
            assert_eq!(handle.is_none(), refused, "try_spawn accepts when it must not, or refuses");
        }
        if refused && let Some(handle) = &handle {
            assert!(handle.is_finished(), "a refused task is not over");
        }
        let now = self.clock.now();
        let (not_before, deadline) = match way {
            Way::After(seconds) if !time(seconds).is_zero() => (Some(now + time(seconds)), None),
            Way::Within(seconds) => (None, Some(now + time(seconds))),
            _ => (None, None),
        };
        let too_late = deadline.is_some_and(|deadline| deadline <= now);
        if too_late && let Some(handle) = &handle {
            assert!(handle.is_finished(), "a task that is too late is not over");
        }
        let joined_inside = matches!(does, Does::Joins { .. });
        for (i, record) in tasks.into_iter().enumerate() {
            self.tasks.push(KnownTask {
                record,
                handle: handle.take(),
                never: (refused || too_late) && i == 0,
                joined_inside: joined_inside && i > 0,
                pushed_by: (i > 0).then_some(number),
                permit: None,
                not_before: not_before.filter(|_| !refused && i == 0),
                was_delayed: not_before.is_some() && i == 0,
                deadline: deadline.filter(|_| !too_late && i == 0),
                may_be_dropped: false,
            });
        }
    }

    fn sets_limit(&mut self, id: usize, limit: Limit) {
        let limit = limit.get();
        let job = &mut self.jobs[id];
        job.ledger.may_become(limit);
        job.limit = limit;
        job.serial &= limit == 1;
        self.api(id).set_limit(limit);
        assert_eq!(self.api(id).limit(), limit);
    }

    fn cancels(&mut self, id: usize) {
        let below = self.below(id);
        let at_rest = self.is_at_rest(id) && !self.more_may_come(&below);
        let waiting = |task: &&mut KnownTask| {
            below.contains(&task.record.job)
                && task.record.is_pushed()
                && task.record.start().is_none()
        };
        let job = self.jobs[id].job.clone().expect("the handle is there");
        for task in self.tasks.iter_mut().filter(waiting) {
            // What nobody can have begun to start will not start. Of a job cancelled before nobody has looked whether.
            task.never |= at_rest && !self.jobs[task.record.job].cancels;
        }
        job.cancel();
        for below in below {
            self.jobs[below].closed = true;
            self.jobs[below].cancels = true;
        }
    }

    fn clears(&mut self, id: usize) {
        let below = self.below(id);
        let waits =
            |task: &KnownTask| below.contains(&task.record.job) && task.record.start().is_none();
        for task in &mut self.tasks {
            if waits(task) && task.record.is_pushed() {
                // Its time has not come, for only the user moves the clock.
                task.never |= task.not_before.take().is_some();
                task.may_be_dropped = true;
            }
        }
        self.api(id).clear();
        for i in 0..self.tasks.len() {
            // A task that runs meanwhile may push before the clear looks, and the clear drops what it pushed.
            let pushes = |pusher: usize| self.tasks[pusher].record.start().is_some();
            if waits(&self.tasks[i]) && self.tasks[i].pushed_by.is_some_and(pushes) {
                self.tasks[i].may_be_dropped = true;
            }
        }
        if self.all_ends() && !self.more_may_come(&below) {
            assert!(surely_idle(self.api(id)), "a job that was cleared does not become idle");
        }
    }

    fn waits(&mut self, id: usize) {
        let (sure, below) = (self.all_ends(), self.below(id));
        // A task that runs may push into the job when it has been idle and is looked at.
        let more_may_come = self.more_may_come(&below);
        let job = self.api(id);
        let idle = if sure { surely_idle(job) } else { job.wait_timeout(Duration::ZERO) };
        assert!(idle || !sure, "a job that must become idle does not: {}", self.says());
        if idle && !more_may_come {
            for task in &self.tasks {
                if below.contains(&task.record.job) && task.record.start().is_some() {
                    assert!(task.record.has_ended(), "a job is idle while a task of it runs");
                }
            }
            if sure {
                for below in below {
                    let known = &self.jobs[below];
                    known.ledger.is_from_idle(known.limit);
                    if let Some(job) = &known.job {
                        known.ledger.check_against(job.stats());
                    }
                }
            }
        }
    }

    fn joins(&mut self, handle: u8) {
        let Some(id) = self.handle(handle) else { return };
        let sure = self.all_ends();
        let handle = self.tasks[id].handle.take().expect("the handle is there");
        let over = handle.is_finished();
        let joined =
            if sure || over { surely_ends(handle) } else { handle.join_timeout(Duration::ZERO) };
        match joined {
            Ok(result) => check_result(&result, &self.tasks[id].record),
            Err(handle) => {
                assert!(!sure && !over, "a task that must end does not: {}", self.says());
                self.tasks[id].handle = Some(handle);
            }
        }
    }

    /// Whether a task that has not ended may push into one of these jobs.
    fn more_may_come(&self, jobs: &[usize]) -> bool {
        let may_push = |pusher: &KnownTask| !pusher.never && !pusher.record.has_ended();
        self.tasks.iter().any(|task| {
            jobs.contains(&task.record.job)
                && task.pushed_by.is_some_and(|pusher| may_push(&self.tasks[pusher]))
        })
    }

    fn cancels_task(&mut self, handle: u8) {
        let Some(id) = self.handle(handle) else { return };
        let task = &mut self.tasks[id];
        let handle = task.handle.as_ref().expect("the handle is there");
        if handle.cancel() {
            assert!(handle.is_finished(), "cancelled and not finished");
            assert_eq!(task.record.start(), None, "cancelled and run");
            task.never = true;
            self.jobs[task.record.job].cancels = true;
        }
    }

    fn lets_go(&mut self, count: usize) {
        let runs = |task: &&mut KnownTask| task.record.runs() && task.record.holds();
        self.tasks.iter_mut().filter(runs).take(count).for_each(KnownTask::let_go);
    }

    fn shuts_down(&mut self, how: Shutdown) {
        let Some(pool) = self.pool.take() else { return };
        self.tasks.iter_mut().for_each(KnownTask::let_go);
        self.adapts.give_back();
        self.weighs.give_back();
        self.hands_over.give_back();
        if matches!(how, Shutdown::Drain | Shutdown::Drop) {
            // The drain would wait for it.
            (0..2).for_each(|_| self.advances(7));
        }
        self.keeps_rates();
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            // A drain waits for the tasks that wait for a rate, and a job may have no handle to lift its rate by.
            if self.jobs.iter().any(|known| known.rate.is_some()) {
                scope.spawn(|| {
                    while !ended.load(Relaxed) {
                        self.clock.advance(Duration::from_secs(1));
                        thread::yield_now();
                    }
                });
            }
            match how {
                Shutdown::Drain => {
                    pool.shutdown();
                    self.pool = Some(pool);
                }
                Shutdown::Drop => drop(pool),
                Shutdown::Now => {
                    pool.shutdown_now();
                    self.pool = Some(pool);
                }
                Shutdown::Timeout => self.left = pool.shutdown_timeout(Duration::ZERO).is_err(),
            }
            ended.store(true, Relaxed);
        });
        // The clock may have come to any time.
        for known in &mut self.jobs {
            (known.rate, known.held_until, known.started) = (None, None, None);
        }
        for task in &mut self.tasks {
            task.not_before = None;
            task.may_be_dropped |= task.deadline.take().is_some();
        }
        let mut watch = surely();
        let tasks = || self.tasks.iter().map(|task| &task.record);
        while tasks().any(|record| record.start().is_some() && !record.has_ended()) {
            assert!(
                how == Shutdown::Timeout && watch.hangs().is_none(),
                "a task runs in a pool that ended"
            );
            thread::yield_now();
        }
        // From here on nothing starts.
        let drained = !self.over && matches!(how, Shutdown::Drain | Shutdown::Drop);
        let held = |id: usize| self.jobs[id].paused || self.jobs[id].limit == 0;
        let fate = |task: &KnownTask| {
            let free = self
                .above(task.record.job)
                .all(|id| !held(id) && !self.jobs[id].cancels && !self.jobs[id].closed);
            if drained && free && task.record.is_pushed() && !task.never && !task.may_be_dropped {
                assert!(task.record.start().is_some(), "a drain left a task out: {}", self.says());
            }
            // A worker that was left may have one in hand.
            task.record.start().is_none() && !self.left
        };
        let never: Vec<bool> = self.tasks.iter().map(fate).collect();
        self.tasks.iter_mut().zip(never).for_each(|(task, never)| task.never |= never);
        self.over = true;
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.tasks.iter().for_each(|task| task.record.let_go());
        if thread::panicking() {
            FAILED.store(true, Relaxed);
            // Its drop would wait for what is known not to end.
            std::mem::forget(self.pool.take());
        }
    }
}
