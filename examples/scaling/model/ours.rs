//! This design: a push into a full job touches the job's tail line alone, workers take from its head line, by
//! batches where the limit does not bind them; what was let through goes by the injector.

use super::cells::Cells;
use super::crew::Crew;
use super::job::{Job, Waiting};
use super::ledger::Ledger;
use super::machine::{Core, Machine, Time};
use super::{Path, Player, Task};
use std::cell::Cell;
use std::rc::Rc;

/// Tasks of one job after which others go first, and the most that a batch takes.
const BUDGET: usize = 16;
/// The most ready tasks that the word counts.
const MOST_READY: usize = 254;
/// Looks at a backlog that has run empty, and the time before each.
const LOOKS: usize = 8;
const LOOK: Time = 150;
/// What a spin-loop hint takes, and tries for the consumer right.
const HINT: Time = 20;
const TRIES: usize = 32;

/// What a worker knows of the job whose permit it holds.
#[derive(Default)]
struct Hold {
    tokens: usize,
    left: usize,
    turn: usize,
    covered: bool,
    /// A task of another job that came out of the deque.
    stash: Option<Task>,
}

/// The pool.
pub struct Pool {
    ledger: Rc<Ledger>,
    cells: Cells,
    crew: Crew,
    jobs: Vec<Job>,
}

impl Pool {
    /// With empty backlogs.
    pub fn new(machine: &Rc<Machine>, ledger: Rc<Ledger>) -> Self {
        let shape = ledger.shape;
        let job = |job| Job::new(machine, ledger.handles(job));
        Self {
            cells: Cells::new(machine, shape.cores),
            crew: Crew::new(machine, shape.pushers(), shape.workers(), shape.seed),
            jobs: (0..shape.jobs()).map(job).collect(),
            ledger,
        }
    }

    fn is_open(&self) -> bool {
        self.ledger.shape.limit() >= self.crew.workers().max(2)
    }

    fn has_room(&self, job: &Job, window: usize) -> bool {
        let limit = self.ledger.shape.limit();
        job.ready.get() < window && job.running.get() + job.ready.get() < limit
    }

    fn window(&self) -> usize {
        self.crew.workers().clamp(2, MOST_READY)
    }

    fn wants_promotion(&self, job: &Job) -> bool {
        if self.is_open() {
            self.has_room(job, 1) && !(job.covered.get() && job.running.get() > 0)
        } else {
            self.has_room(job, self.window())
        }
    }

    /// Lets one more task through to a deque, if there is room.
    async fn reserve(&self, core: &Core, job: &Job, window: usize) -> bool {
        let may = || self.has_room(job, window);
        let granted = job.change(core, may).await;
        if granted {
            job.ready.set(job.ready.get() + 1);
        }
        granted
    }

    /// P1 to P4.
    async fn push_task(&self, core: &Core, task: Task) {
        let job = &self.jobs[task.job];
        let others_wait = !job.backlog.borrow().is_empty();
        if !others_wait && self.reserve(core, job, self.window()).await {
            core.rmw(job.tail).await;
            job.tokens.set(job.tokens.get() + 1);
            self.crew.inject(core, task).await;
            return;
        }
        core.rmw(job.tail).await;
        let linked = Rc::new(Cell::new(false));
        let before = job.backlog.borrow().back().map(|waiting| waiting.task.cell);
        job.backlog.borrow_mut().push_back(Waiting { task, linked: Rc::clone(&linked) });
        core.store(before.unwrap_or(job.head)).await;
        linked.set(true);
        core.rmw(job.tail).await;
        self.look(core, job).await;
    }

    /// P4, R3.
    async fn look(&self, core: &Core, job: &Job) {
        core.load(job.tail).await;
        if !job.backlog.borrow().is_empty() && self.wants_promotion(job) {
            self.serve_line(core, job).await;
        }
    }

    async fn serve_line(&self, core: &Core, job: &Job) {
        if !job.try_consume(core).await {
            return;
        }
        loop {
            while job.can_pop() {
                core.load(job.tail).await;
                let window = if self.is_open() { 1 } else { self.window() };
                if !self.wants_promotion(job) || !self.reserve(core, job, window).await {
                    break;
                }
                let Some(task) = job.pop(core).await else {
                    core.rmw(job.tail).await;
                    job.ready.set(job.ready.get() - 1);
                    continue;
                };
                core.rmw(job.tail).await;
                job.tokens.set(job.tokens.get() + 1);
                self.crew.inject(core, task).await;
            }
            if job.let_go(core).await {
                return;
            }
        }
    }

    /// Lets go of the consumer right, and looks again if somebody asked for it.
    async fn let_go_and_look(&self, core: &Core, job: &Job) {
        if !job.let_go(core).await {
            job.held.set(false);
            self.look(core, job).await;
        }
    }

    /// A task of the tree pushes another of its job: into its worker's own deque, if the job is open.
    async fn push_inside(&self, core: &Core, hold: &mut Hold, task: Task) {
        let job = &self.jobs[task.job];
        core.load(job.tail).await;
        if !self.is_open() {
            return self.push_task(core, task).await;
        }
        spend_tokens(core, job, hold, 1, BUDGET).await;
        self.crew.push_own(core, &[Task { loose: true, ..task }]).await;
        hold.left += 1;
        self.crew.notify(core).await;
    }

    async fn run(&self, core: &Core, hold: &mut Hold, task: Task) {
        let job = &self.jobs[task.job];
        let cloned = self.ledger.shape.path == Path::Cloned;
        self.ledger.call(core, task).await;
        for below in self.ledger.children(task) {
            self.ledger.note_push(core).await;
            if cloned {
                core.rmw(job.tail).await;
            }
            let cell = self.cells.make(core).await;
            let child = Task { job: task.job, cell, below, loose: false };
            self.push_inside(core, hold, child).await;
        }
        if cloned {
            core.rmw(job.tail).await;
        }
        self.ledger.end(core, task);
        self.cells.free(core, task.cell).await;
    }

    /// Runs a task from a deque, and goes on with its job's tasks while it may.
    async fn serve(&self, core: &Core, hold: &mut Hold, task: Task) {
        let job = &self.jobs[task.job];
        let open = self.is_open();
        *hold = Hold { tokens: 1, ..Hold::default() };
        // Its permit: a ready task's room turns into it.
        assert!(job.change(core, || true).await, "a permit is free for what was let through");
        job.running.set(job.running.get() + 1);
        if !task.loose {
            job.ready.set(job.ready.get() - 1);
        }
        if !open {
            self.look(core, job).await;
        }
        let mut next = Some(task);
        while let Some(task) = next {
            if open {
                self.cover(core, job, hold).await;
            }
            self.run(core, hold, task).await;
            next = self.next_under_permit(core, job, hold).await;
        }
        self.close(core, job, hold).await;
    }

    /// Before a task runs: while it does, the job's next tasks must be where others find them.
    async fn cover(&self, core: &Core, job: &Job, hold: &mut Hold) {
        if hold.left > 0 {
            return;
        }
        core.load(job.head).await;
        if !job.can_pop() {
            core.load(job.tail).await;
            if job.backlog.borrow().is_empty() && !job.covered.get() {
                return;
            }
        }
        let _ = self.refill(core, job, hold, 0).await;
        if hold.left == 0 {
            hold.covered = false;
            core.rmw(job.tail).await;
            job.covered.set(false);
            self.look(core, job).await;
        }
    }

    /// Takes a batch from the backlog into the deque; the first `kept` is returned.
    async fn refill(&self, core: &Core, job: &Job, hold: &mut Hold, kept: usize) -> Option<Task> {
        if !self.worth_a_try(core, job).await || !job.try_consume(core).await {
            return None;
        }
        let mut batch = Vec::new();
        while batch.len() < BUDGET - hold.turn % BUDGET {
            let Some(task) = job.pop(core).await else { break };
            batch.push(Task { loose: true, ..task });
        }
        let rest = batch.split_off(kept.min(batch.len()));
        if !rest.is_empty() {
            spend_tokens(core, job, hold, rest.len(), 0).await;
            self.crew.push_own(core, &rest).await;
            hold.left += rest.len();
            if !hold.covered {
                hold.covered = true;
                core.load(job.tail).await;
                if !job.covered.get() {
                    core.rmw(job.tail).await;
                    job.covered.set(true);
                }
            }
        }
        self.let_go_and_look(core, job).await;
        if !rest.is_empty() {
            self.crew.notify(core).await;
        }
        batch.pop()
    }

    async fn next_under_permit(&self, core: &Core, job: &Job, hold: &mut Hold) -> Option<Task> {
        hold.turn += 1;
        if hold.turn.is_multiple_of(BUDGET) {
            let none_injected = self.crew.nothing_injected(core).await;
            if !none_injected || self.crew.own_len(core) > hold.left {
                self.crew.prefer_injector(core);
                return None;
            }
        }
        if let Some(task) = self.next_at_hand(core, job, hold).await {
            return Some(task);
        }
        self.linger(core, job, hold).await
    }

    async fn next_at_hand(&self, core: &Core, job: &Job, hold: &mut Hold) -> Option<Task> {
        if self.is_open() {
            if hold.left == 0
                && let Some(task) = self.refill(core, job, hold, 1).await
            {
                return Some(task);
            }
            return match self.crew.pop_own(core).await {
                Some(task) => self.run_on_with(core, job, hold, task).await,
                None => self.refill(core, job, hold, 1).await,
            };
        }
        for _ in 0..TRIES {
            if !self.worth_a_try(core, job).await {
                core.work(HINT).await;
                continue;
            }
            core.rmw(job.head).await;
            if !job.held.replace(true) {
                let task = job.pop(core).await;
                self.let_go_and_look(core, job).await;
                if task.is_some() {
                    return task;
                }
                break;
            }
        }
        let task = self.crew.pop_own(core).await?;
        self.run_on_with(core, job, hold, task).await
    }

    /// Whether to try for the consumer right; looks only if that is what is played.
    async fn worth_a_try(&self, core: &Core, job: &Job) -> bool {
        if !self.ledger.shape.look_first {
            return true;
        }
        core.load(job.head).await;
        !job.held.get() && job.can_pop()
    }

    /// Goes on with a task from the deque, if it is the job's.
    async fn run_on_with(
        &self,
        core: &Core,
        job: &Job,
        hold: &mut Hold,
        task: Task,
    ) -> Option<Task> {
        if !std::ptr::eq(job, &raw const self.jobs[task.job]) {
            hold.stash = Some(task);
            return None;
        }
        if task.loose {
            hold.left = hold.left.saturating_sub(1);
        } else {
            core.rmw(job.tail).await;
            job.ready.set(job.ready.get() - 1);
            self.look(core, job).await;
        }
        hold.tokens += 1;
        Some(task)
    }

    /// Stays for a moment with a job whose backlog has run empty.
    async fn linger(&self, core: &Core, job: &Job, hold: &mut Hold) -> Option<Task> {
        if hold.stash.is_some() || job.handles.get() == 0 {
            return None;
        }
        for _ in 0..LOOKS {
            core.work(LOOK).await;
            if !self.crew.nothing_injected(core).await {
                return None;
            }
            core.load(job.tail).await;
            if !job.backlog.borrow().is_empty() {
                return self.next_at_hand(core, job, hold).await;
            }
        }
        None
    }

    /// R1 to R3: gives the permit back and hands it on.
    async fn close(&self, core: &Core, job: &Job, hold: &mut Hold) {
        core.load(job.tail).await;
        let nobody = job.handles.get() == 0 && job.tokens.get() == hold.tokens;
        if nobody && job.backlog.borrow().is_empty() {
            return;
        }
        core.rmw(job.head).await;
        core.rmw(job.tail).await;
        job.running.set(job.running.get() - 1);
        self.look(core, job).await;
        core.rmw(job.tail).await;
        job.tokens.set(job.tokens.get() - hold.tokens);
    }
}

impl Player for Pool {
    async fn push(&self, core: &Core, job: usize, below: usize) {
        self.ledger.note_push(core).await;
        let cell = self.cells.make(core).await;
        self.push_task(core, Task { job, cell, below, loose: false }).await;
    }

    async fn drop_handle(&self, core: &Core, job: usize) {
        core.rmw(self.jobs[job].tail).await;
        self.jobs[job].handles.set(self.jobs[job].handles.get() - 1);
    }

    async fn work(&self, core: &Core) {
        let mut searching = true;
        let mut hold = Hold::default();
        loop {
            let task = match hold.stash.take() {
                Some(task) => task,
                None => self.crew.find(core, &mut searching).await,
            };
            self.serve(core, &mut hold, task).await;
        }
    }
}

/// Takes tokens out of the hold; if there are too few, gets those that are missing, and some on credit.
async fn spend_tokens(core: &Core, job: &Job, hold: &mut Hold, count: usize, credit: usize) {
    if hold.tokens <= count {
        let missing = count + 1 - hold.tokens + credit;
        core.rmw(job.tail).await;
        job.tokens.set(job.tokens.get() + missing);
        hold.tokens += missing;
    }
    hold.tokens -= count;
}
