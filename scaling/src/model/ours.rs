//! This design: a push into a full job touches the job's tail line alone, workers take from its head line, by
//! batches where the limit does not bind them; what was let through goes by the injector.

use super::cells::Cells;
use super::crew::Crew;
use super::job::{Job, Waiting};
use super::ledger::Ledger;
use super::machine::{Core, Machine};
use super::{Path, Player, Task, Way};
use std::cell::Cell;
use std::rc::Rc;

mod turn;

/// Tasks of one job after which others go first, and the most that a batch takes.
const BUDGET: usize = 16;
/// The most ready tasks that the word counts.
const MOST_READY: usize = 254;

/// What a worker knows of the job whose permit it holds.
#[derive(Default)]
struct Hold {
    tokens: usize,
    /// Tasks of the job at the top of the deque.
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
            crew: Crew::new(machine, &shape),
            jobs: (0..shape.jobs()).map(job).collect(),
            ledger,
        }
    }

    fn tries(&self, way: Way) -> bool {
        self.ledger.shape.ways.has(way)
    }

    /// Returns true if the job's limit binds and such jobs fill batches ([`Way::StrictBatch`]).
    fn has_strict_batches(&self) -> bool {
        self.tries(Way::StrictBatch) && !self.is_open() && self.ledger.shape.limit() > 1
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
        if self.tries(Way::Uncounted) {
            core.fence().await;
        } else {
            core.rmw(job.tail).await;
        }
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
                    core.change(&job.word).await;
                    job.ready.set(job.ready.get() - 1);
                    continue;
                };
                core.rmw(job.tail).await;
                job.tokens.set(job.tokens.get() + 1);
                if self.tries(Way::Local) && self.crew.is_worker(core) {
                    self.crew.place(core).push(core, &[task]).await;
                    self.crew.notify(core).await;
                } else {
                    self.crew.inject(core, task).await;
                }
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
        self.crew.place(core).push(core, &[Task { loose: true, ..task }]).await;
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
        // Its permit: a ready task's room turns into it.
        assert!(job.change(core, || true).await, "a permit is free for what was let through");
        job.running.set(job.running.get() + 1);
        if !task.loose {
            job.ready.set(job.ready.get() - 1);
        }
        let place = self.crew.place(core);
        let left = place.begin(core, task.job).await;
        place.private.set(self.has_strict_batches());
        *hold = Hold { tokens: 1, left, ..Hold::default() };
        if !open {
            self.look(core, job).await;
        }
        let mut next = Some(task);
        let index = task.job;
        while let Some(task) = next {
            if open {
                self.cover(core, job, hold).await;
            }
            self.run(core, hold, task).await;
            next = self.next_under_permit(core, job, hold).await;
        }
        place.end(index, hold.left);
        self.return_batch(core, job).await;
        self.close(core, job, hold).await;
    }

    /// R1 to R3: gives the permit back and hands it on.
    async fn close(&self, core: &Core, job: &Job, hold: &mut Hold) {
        core.load(job.tail).await;
        let nobody = job.handles.get() == 0 && job.tokens.get() == hold.tokens;
        if nobody && job.backlog.borrow().is_empty() {
            return;
        }
        core.rmw(job.head).await;
        core.change(&job.word).await;
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
