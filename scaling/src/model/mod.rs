//! A pool, and two others that keep limits, played on a machine of any number of cores.
//!
//! What is played is which lines each step touches, in which order, and what it decides by them; not the instructions
//! between, which are a few constants. Everything repeats exactly.

mod cells;
mod channels;
mod contention;
mod crew;
mod fifo;
mod gate;
mod job;
mod ledger;
mod machine;
mod ours;
mod places;

pub use contention::{Change, change, throw};
pub use ledger::Outcome;
pub use machine::{MOST_CORES, Time};

use clap::ValueEnum;
use ledger::Ledger;
use machine::{Core, Line, Machine};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

/// What the tasks are like and where they come from. Half of the cores push unless the [`Shape`] says otherwise; in a tree
/// of tasks all are workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Path {
    /// One job whose limit does not bind the workers; all pushers push into it.
    Big,
    /// One job, limit 1; all pushers push into it.
    Serial,
    /// One job, limit = half of the workers; all pushers push into it.
    Strict,
    /// 1,000 jobs, limit 2; each pusher has its own.
    Medium,
    /// A tree of tasks that push two each; all cores are workers.
    Nested,
    /// The same, and each task owns a handle of the job.
    Cloned,
}

/// Who keeps the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Contender {
    /// This design.
    Tollgate,
    /// The channel of channels: one for each job, submitted once for each permit to the workers' channel.
    Channels,
    /// A mutex gate a job: around its backlog and its count.
    Gate,
}

/// A way in which this design could change, to try in the simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Way {
    /// Workers read a queue's lock before their first try, too.
    LookFirst,
    /// A job whose limit binds fills batches, too, from which other holders of its permits steal.
    StrictBatch,
    /// A worker that waits for a queue's lock reads it after pauses that double, instead of after equal ones.
    BackOff,
    /// A batch has an eighth of a long queue, at most 256 tasks.
    Growing,
    /// A worker that fails to get a queue's lock steals from the batch that was filled last.
    StealHolder,
    /// A push is not counted, which saves one of its two read-modify-writes.
    Uncounted,
    /// Each 16 workers have an injector. A thread prefers that of its own group.
    Groups,
    /// A worker that admits a task puts it into its own deque.
    Local,
}

/// A set of ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ways(u16);

impl Ways {
    /// Makes the set of these ways.
    pub fn of(ways: &[Way]) -> Self {
        Self(ways.iter().fold(0, |all, way| all | 1 << *way as u8))
    }

    fn has(self, way: Way) -> bool {
        self.0 & (1 << way as u8) != 0
    }
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Where tasks come from.
    pub path: Path,
    /// Who keeps the limits.
    pub contender: Contender,
    /// Cores; each runs one thread.
    pub cores: usize,
    /// How many of them push, at least one; the others are workers. `None`: as the path says.
    pub pushers: Option<usize>,
    /// Nanoseconds a line takes from core to core.
    pub transfer: Time,
    /// Nanoseconds each task works for itself.
    pub work: Time,
    /// About how many tasks.
    pub tasks: usize,
    /// The changes of the design that the run simulates.
    pub ways: Ways,
    /// If true, no compare-exchange fails.
    pub lenient: bool,
    /// Where the random victims begin.
    pub seed: u64,
}

const JOBS: usize = 1_000;

impl Shape {
    fn is_tree(&self) -> bool {
        matches!(self.path, Path::Nested | Path::Cloned)
    }

    /// How many cores push. On a machine of one core that core is a worker, and tasks come from nowhere.
    pub fn pushers(&self) -> usize {
        if self.cores < 2 || self.is_tree() {
            return 0;
        }
        self.pushers.unwrap_or(self.cores / 2).clamp(1, self.cores - 1)
    }

    /// How many cores are workers.
    pub fn workers(&self) -> usize {
        self.cores - self.pushers()
    }

    fn jobs(&self) -> usize {
        if self.path == Path::Medium { JOBS.min(self.tasks) } else { 1 }
    }

    fn limit(&self) -> usize {
        match self.path {
            Path::Big | Path::Nested | Path::Cloned => self.workers().max(2),
            Path::Serial => 1,
            Path::Strict => (self.workers() / 2).max(1),
            Path::Medium => 2,
        }
    }

    /// How many tasks of `job` the `pusher`-th of them pushes.
    fn share(&self, job: usize, pusher: usize) -> usize {
        let pushers = self.pushers().max(1);
        if self.path == Path::Medium {
            return if job % pushers == pusher { self.tasks / self.jobs() } else { 0 };
        }
        self.tasks / pushers + usize::from(pusher < self.tasks % pushers)
    }

    /// How many tasks there are.
    pub fn total(&self) -> usize {
        if self.is_tree() { self.tasks } else { self.tasks / self.jobs() * self.jobs() }
    }
}

/// A task.
#[derive(Clone, Copy)]
struct Task {
    job: usize,
    cell: Line,
    /// Tasks of its subtree, without itself.
    below: usize,
    /// Whether it lies in a deque uncounted.
    loose: bool,
}

/// Who plays a contender's side.
trait Player {
    /// Pushes a task, with so many below it.
    async fn push(&self, core: &Core, job: usize, below: usize);
    /// A pusher has dropped its handle.
    async fn drop_handle(&self, core: &Core, job: usize);
    /// A worker's life.
    async fn work(&self, core: &Core);
}

/// Plays one run.
pub fn play(shape: &Shape) -> Outcome {
    match shape.contender {
        Contender::Tollgate => play_with(shape, ours::Pool::new),
        Contender::Channels => play_with(shape, channels::Pool::new),
        Contender::Gate => play_with(shape, gate::Pool::new),
    }
}

fn play_with<P: Player + 'static>(
    shape: &Shape,
    new: impl FnOnce(&Rc<Machine>, Rc<Ledger>) -> P,
) -> Outcome {
    let machine = Machine::new(shape.transfer, shape.lenient);
    let ledger = Rc::new(Ledger::new(shape));
    let player = Rc::new(new(&machine, Rc::clone(&ledger)));
    let programs = (0..shape.cores).map(|index| {
        let core = Core::new(&machine, index);
        let player = Rc::clone(&player);
        let program = life(core, player, *shape);
        Box::pin(program) as Pin<Box<dyn Future<Output = ()>>>
    });
    machine.run(programs.collect());
    ledger.outcome(&machine)
}

/// What one core does: the first ones push, the others are workers.
async fn life<P: Player>(core: Core, player: Rc<P>, shape: Shape) {
    let seeds = shape.pushers() == 0 && core.index == 0;
    if seeds && shape.is_tree() {
        player.push(&core, 0, shape.total() - 1).await;
    } else if seeds || core.index < shape.pushers() {
        for job in 0..shape.jobs() {
            let count = shape.share(job, core.index);
            for _ in 0..count {
                player.push(&core, job, 0).await;
            }
            if count > 0 {
                player.drop_handle(&core, job).await;
            }
        }
    }
    if core.index >= shape.pushers() {
        player.work(&core).await;
    }
}
