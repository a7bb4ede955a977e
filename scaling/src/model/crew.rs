//! What the workers of a pool share: the injector, the deques, the sleepers' word; and how a task is found.

use super::fifo::{Fifo, MOST_STOLEN, Steal};
use super::machine::{Core, Kind, Line, Machine, Time};
use super::places::Place;
use super::{Shape, Task, Way};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// What waking a parked thread costs who wakes it, and how long it takes.
const UNPARK: Time = 1_500;
const AWAKE: Time = 4_500;
/// Looks that the only searching worker takes before it parks, and the time between them.
const LINGER: usize = 16;
const YIELD: Time = 300;
/// The number of workers that share an injector if [`Way::Groups`] is simulated.
const GROUP: usize = 16;

/// A mutex whose waiters get it in the order of coming, and at no cost but the line's.
pub struct Lock {
    line: Line,
    held: Cell<bool>,
    waiters: RefCell<VecDeque<usize>>,
}

impl Lock {
    /// A free one on a line of its own.
    pub fn new(machine: &Machine, kind: Kind) -> Self {
        Self { line: machine.line(kind), held: Cell::new(false), waiters: RefCell::default() }
    }

    /// Takes it.
    pub async fn lock(&self, core: &Core) {
        core.rmw(self.line).await;
        if self.held.replace(true) {
            self.waiters.borrow_mut().push_back(core.index);
            core.park().await;
            core.rmw(self.line).await;
        }
    }

    /// Lets go of it.
    pub async fn unlock(&self, core: &Core) {
        core.rmw(self.line).await;
        match self.waiters.borrow_mut().pop_front() {
            Some(next) => core.wake(next, 0),
            None => self.held.set(false),
        }
    }
}

/// Where threads park; a wake-up that comes first is not lost.
pub struct Bunks(Vec<Cell<Bunk>>);

#[derive(Clone, Copy, PartialEq)]
enum Bunk {
    Up,
    Parked,
    Woken,
}

impl Bunks {
    /// One for each core.
    pub fn new(cores: usize) -> Self {
        Self((0..cores).map(|_| Cell::new(Bunk::Up)).collect())
    }

    /// Parks until woken.
    pub async fn park(&self, core: &Core) {
        if self.0[core.index].replace(Bunk::Parked) != Bunk::Woken {
            core.park().await;
        }
        self.0[core.index].set(Bunk::Up);
    }

    /// Wakes one who parks, or is about to.
    pub async fn wake(&self, core: &Core, other: usize) {
        if self.0[other].replace(Bunk::Woken) == Bunk::Parked {
            core.wake(other, AWAKE);
        }
        core.work(UNPARK).await;
    }
}

/// What the workers share.
pub struct Crew {
    first: usize,
    /// One injector for each group of workers. Without [`Way::Groups`] all workers are one group.
    injectors: Vec<Fifo<Task>>,
    places: Vec<Place>,
    random: Cell<u64>,
    word: Line,
    lock: Lock,
    bunks: Bunks,
    searching: Cell<usize>,
    parked: RefCell<Vec<usize>>,
}

impl Crew {
    /// The workers are the cores behind the pushers, all of them searching.
    pub fn new(machine: &Machine, shape: &Shape) -> Self {
        let kinds = [Kind::InjectorTail, Kind::InjectorHead, Kind::InjectorSlots];
        let (first, workers, seed) = (shape.pushers(), shape.workers(), shape.seed);
        let groups = if shape.ways.has(Way::Groups) { workers.div_ceil(GROUP) } else { 1 };
        Self {
            first,
            injectors: (0..groups).map(|_| Fifo::new(machine, kinds)).collect(),
            places: (0..workers).map(|_| Place::new(machine)).collect(),
            random: Cell::new(seed | 1),
            word: machine.line(Kind::Sleepers),
            lock: Lock::new(machine, Kind::SleepersLock),
            bunks: Bunks::new(first + workers),
            searching: Cell::new(workers),
            parked: RefCell::default(),
        }
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.places.len()
    }

    /// The worker's own place.
    pub fn place(&self, core: &Core) -> &Place {
        &self.places[core.index - self.first]
    }

    /// Whether the core is a worker.
    pub fn is_worker(&self, core: &Core) -> bool {
        core.index >= self.first
    }

    /// The place of the worker that runs on a core.
    pub fn place_of(&self, core: usize) -> &Place {
        &self.places[core - self.first]
    }

    /// The injectors, that of the core's own group first.
    fn injectors(&self, core: &Core) -> impl Iterator<Item = &Fifo<Task>> {
        let groups = self.injectors.len();
        let own = match core.index.checked_sub(self.first) {
            Some(worker) => worker / GROUP,
            None => core.index * groups / self.first,
        };
        (0..groups).map(move |group| &self.injectors[(own + group) % groups])
    }

    /// The injector of the core's own group.
    fn injector(&self, core: &Core) -> &Fifo<Task> {
        self.injectors(core).next().expect("there is at least one group")
    }

    /// Puts a task into the injector and sees to it that somebody comes.
    pub async fn inject(&self, core: &Core, task: Task) {
        self.injector(core).push(core, task).await;
        self.notify(core).await;
    }

    /// Whether the injector looks empty.
    pub async fn nothing_injected(&self, core: &Core) -> bool {
        for injector in self.injectors(core) {
            if !injector.is_empty(core).await {
                return false;
            }
        }
        true
    }

    /// P2 to P4: sees to it that somebody comes.
    pub async fn notify(&self, core: &Core) {
        core.fence().await;
        core.load(self.word).await;
        if self.searching.get() > 0 || self.parked.borrow().is_empty() {
            return;
        }
        self.lock.lock(core).await;
        let woken = if self.searching.get() > 0 { None } else { self.parked.borrow_mut().pop() };
        if woken.is_some() {
            core.rmw(self.word).await;
            self.searching.set(self.searching.get() + 1);
        }
        self.lock.unlock(core).await;
        if let Some(other) = woken {
            self.bunks.wake(core, other).await;
        }
    }

    /// The next task from anywhere; parks while there is none. `searching`: whether the worker is counted so.
    pub async fn find(&self, core: &Core, searching: &mut bool) -> Task {
        if !*searching {
            if let Some(task) = self.find_near(core).await {
                return task;
            }
            core.rmw(self.word).await;
            self.searching.set(self.searching.get() + 1);
            *searching = true;
        }
        let mut lingered = 0;
        loop {
            if let Some(task) = self.search(core).await {
                core.rmw(self.word).await;
                self.searching.set(self.searching.get() - 1);
                *searching = false;
                if self.searching.get() == 0 && self.look(core).await {
                    self.notify(core).await;
                }
                return task;
            }
            core.load(self.word).await;
            if lingered < LINGER && self.searching.get() <= 1 {
                lingered += 1;
                core.work(YIELD).await;
                continue;
            }
            lingered = 0;
            self.park(core).await;
        }
    }

    async fn find_near(&self, core: &Core) -> Option<Task> {
        let place = self.place(core);
        let others_first = place.others_first.replace(!place.others_first.get());
        if others_first && let Some(task) = self.injector(core).take_one(core).await {
            return Some(task);
        }
        match self.pop_near(core).await {
            Some(task) => Some(task),
            None => match self.take_injected(core).await {
                Steal::Success(task) => Some(task),
                Steal::Empty | Steal::Retry => None,
            },
        }
    }

    /// The next task of the worker's own deques.
    async fn pop_near(&self, core: &Core) -> Option<Task> {
        match self.place(core).pop_batch(core).await {
            Some(task) => Some(task),
            None => self.place(core).pop(core).await,
        }
    }

    async fn take_injected(&self, core: &Core) -> Steal<Task> {
        let mut retry = false;
        for injector in self.injectors(core) {
            match injector.take(core, MOST_STOLEN).await {
                Steal::Success(tasks) => {
                    let task = self.place(core).keep(core, &tasks).await;
                    return task.map_or(Steal::Empty, Steal::Success);
                }
                Steal::Empty => {}
                Steal::Retry => retry = true,
            }
        }
        if retry { Steal::Retry } else { Steal::Empty }
    }

    async fn search(&self, core: &Core) -> Option<Task> {
        loop {
            let mut retry = false;
            match self.take_injected(core).await {
                Steal::Success(task) => return Some(task),
                Steal::Empty => {}
                Steal::Retry => retry = true,
            }
            let count = self.places.len();
            let first = self.random_below(count);
            for victim in (first..count).chain(0..first) {
                if victim + self.first == core.index {
                    continue;
                }
                match self.place(core).steal(core, &self.places[victim]).await {
                    Steal::Success(task) => return Some(task),
                    Steal::Empty => {}
                    Steal::Retry => retry = true,
                }
            }
            let near = self.pop_near(core).await;
            if near.is_some() || !retry {
                return near;
            }
            core.work(YIELD).await;
        }
    }

    /// Whether there is a task in the injector or in any deque.
    async fn look(&self, core: &Core) -> bool {
        if !self.nothing_injected(core).await {
            return true;
        }
        for place in &self.places {
            if !place.is_empty(core).await {
                return true;
            }
        }
        false
    }

    /// S1 to S4.
    async fn park(&self, core: &Core) {
        self.lock.lock(core).await;
        core.rmw(self.word).await;
        self.parked.borrow_mut().push(core.index);
        self.searching.set(self.searching.get() - 1);
        self.lock.unlock(core).await;
        if self.look(core).await {
            self.notify(core).await;
        }
        self.bunks.park(core).await;
    }

    fn random_below(&self, count: usize) -> usize {
        let mut random = self.random.get();
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        self.random.set(random);
        (random % count as u64) as usize
    }
}
