//! What the workers of a pool share: the injector, the deques, the sleepers' word; and how a task is found.

use super::Task;
use super::machine::{Core, Kind, Line, Machine, Time};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// What waking a parked thread costs who wakes it, and how long it takes.
const UNPARK: Time = 1_500;
const AWAKE: Time = 4_500;
/// The most tasks that move at once.
const MOST_STOLEN: usize = 32;
/// Looks that the only searching worker takes before it parks, and the time between them.
const LINGER: usize = 16;
const YIELD: Time = 300;
/// Slots of 16 bytes in a line.
const SLOTS: usize = 4;

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

/// A queue with an end that pushes and an end that takes, each a compare-exchange on a line of its own: the
/// injector, and a list channel.
pub struct Fifo<T> {
    tail: Line,
    head: Line,
    slots: Vec<Line>,
    pushed: Cell<usize>,
    taken: Cell<usize>,
    items: RefCell<VecDeque<T>>,
}

/// As many slots as a block has.
const BLOCK: usize = 31;

impl<T> Fifo<T> {
    /// An empty one, of these kinds of lines.
    pub fn new(machine: &Machine, [tail, head, slots]: [Kind; 3]) -> Self {
        Self {
            tail: machine.line(tail),
            head: machine.line(head),
            slots: (0..MOST_STOLEN).map(|_| machine.line(slots)).collect(),
            pushed: Cell::new(0),
            taken: Cell::new(0),
            items: RefCell::default(),
        }
    }

    fn slot(&self, index: usize) -> Line {
        self.slots[index / SLOTS % self.slots.len()]
    }

    /// Adds one at the end.
    pub async fn push(&self, core: &Core, item: T) {
        core.rmw(self.tail).await;
        let index = self.pushed.replace(self.pushed.get() + 1);
        core.claim(self.slot(index)).await;
        self.items.borrow_mut().push_back(item);
    }

    /// Whether it looks empty.
    pub async fn is_empty(&self, core: &Core) -> bool {
        core.load(self.head).await;
        core.load(self.tail).await;
        self.items.borrow().is_empty()
    }

    /// Takes the first of them: half, `most` at most.
    pub async fn take(&self, core: &Core, most: usize) -> Vec<T> {
        if self.items.borrow().is_empty() {
            let _ = self.is_empty(core).await;
            return Vec::new();
        }
        core.fence().await;
        if self.items.borrow().len() < BLOCK {
            // In a block that is not full the end is looked up.
            core.load(self.tail).await;
        }
        core.rmw(self.head).await;
        let count = self.items.borrow().len().div_ceil(2).min(most);
        let taken: Vec<T> = self.items.borrow_mut().drain(..count).collect();
        let first = self.taken.replace(self.taken.get() + count);
        for index in (first..first + count).step_by(SLOTS) {
            core.claim(self.slot(index)).await;
        }
        taken
    }
}

/// A worker's deque: all of it on one line.
struct Deque {
    line: Line,
    items: RefCell<VecDeque<Task>>,
}

/// What the workers share.
pub struct Crew {
    first: usize,
    injector: Fifo<Task>,
    deques: Vec<Deque>,
    injector_first: Vec<Cell<bool>>,
    random: Cell<u64>,
    word: Line,
    lock: Lock,
    bunks: Bunks,
    searching: Cell<usize>,
    parked: RefCell<Vec<usize>>,
}

impl Crew {
    /// The workers are the cores from `first` on, all of them searching.
    pub fn new(machine: &Machine, first: usize, workers: usize, seed: u64) -> Self {
        let deque = || Deque { line: machine.line(Kind::Deque), items: RefCell::default() };
        let kinds = [Kind::InjectorTail, Kind::InjectorHead, Kind::InjectorSlots];
        Self {
            first,
            injector: Fifo::new(machine, kinds),
            deques: (0..workers).map(|_| deque()).collect(),
            injector_first: vec![Cell::new(false); workers],
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
        self.deques.len()
    }

    fn deque(&self, core: &Core) -> &Deque {
        &self.deques[core.index - self.first]
    }

    /// Puts a task into the injector and sees to it that somebody comes.
    pub async fn inject(&self, core: &Core, task: Task) {
        self.injector.push(core, task).await;
        self.notify(core).await;
    }

    /// Puts tasks into the worker's own deque, the last of them first.
    pub async fn push_own(&self, core: &Core, tasks: &[Task]) {
        let deque = self.deque(core);
        core.store(deque.line).await;
        deque.items.borrow_mut().extend(tasks.iter().rev().copied());
    }

    /// Takes the newest task of the worker's own deque.
    pub async fn pop_own(&self, core: &Core) -> Option<Task> {
        let deque = self.deque(core);
        core.store(deque.line).await;
        core.fence().await;
        let last = deque.items.borrow().len() == 1;
        if last {
            core.rmw(deque.line).await;
        }
        deque.items.borrow_mut().pop_back()
    }

    /// How many tasks are in the worker's own deque.
    pub fn own_len(&self, core: &Core) -> usize {
        self.deque(core).items.borrow().len()
    }

    /// Whether the injector looks empty.
    pub async fn nothing_injected(&self, core: &Core) -> bool {
        self.injector.is_empty(core).await
    }

    /// The injector goes first next time.
    pub fn prefer_injector(&self, core: &Core) {
        self.injector_first[core.index - self.first].set(true);
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
        let injector_first = &self.injector_first[core.index - self.first];
        let injector_goes_first = injector_first.replace(!injector_first.get());
        if injector_goes_first && let Some(task) = self.injector.take(core, 1).await.pop() {
            return Some(task);
        }
        match self.pop_own(core).await {
            Some(task) => Some(task),
            None => self.take_injected(core).await,
        }
    }

    async fn take_injected(&self, core: &Core) -> Option<Task> {
        let tasks = self.injector.take(core, MOST_STOLEN).await;
        self.keep(core, &tasks).await
    }

    /// Returns the first and puts the others into the worker's own deque.
    async fn keep(&self, core: &Core, tasks: &[Task]) -> Option<Task> {
        let (first, rest) = tasks.split_first()?;
        if !rest.is_empty() {
            self.push_own(core, rest).await;
        }
        Some(*first)
    }

    async fn search(&self, core: &Core) -> Option<Task> {
        if let Some(task) = self.take_injected(core).await {
            return Some(task);
        }
        let count = self.deques.len();
        let first = self.random_below(count);
        for victim in (first..count).chain(0..first) {
            if victim + self.first == core.index {
                continue;
            }
            if let Some(task) = self.steal(core, &self.deques[victim]).await {
                return Some(task);
            }
        }
        self.pop_own(core).await
    }

    async fn steal(&self, core: &Core, victim: &Deque) -> Option<Task> {
        core.load(victim.line).await;
        let most = victim.items.borrow().len().div_ceil(2).min(MOST_STOLEN);
        let mut tasks = Vec::new();
        for _ in 0..most {
            // One compare-exchange a task.
            core.rmw(victim.line).await;
            let Some(task) = victim.items.borrow_mut().pop_front() else { break };
            tasks.push(task);
        }
        self.keep(core, &tasks).await
    }

    /// Whether there is a task in the injector or in any deque.
    async fn look(&self, core: &Core) -> bool {
        if !self.injector.is_empty(core).await {
            return true;
        }
        for deque in &self.deques {
            core.load(deque.line).await;
            if !deque.items.borrow().is_empty() {
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
