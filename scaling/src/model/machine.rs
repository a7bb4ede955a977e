//! The machine: cores that run programs, cache lines that move between them, and one clock.
//!
//! A program is a future; each of its steps waits for a time of the simulated clock. The machine polls, one after
//! the other, the program whose step ends first, so what a program does between two steps is done at one instant and by
//! nobody else: programs share plain `Cell`s.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Nanoseconds of the simulated clock.
pub type Time = u64;

/// A look at a line that the core has, or a store to one that it alone has.
const HIT: Time = 1;
/// A read-modify-write on a line that the core alone has, and a full fence.
pub const ATOMIC: Time = 5;
/// Lines that are read in the order of their addresses come ahead of their use: this part of a transfer is left. Fitted,
/// as `PUSH` and `CALL` are, to what one pusher and one worker do on two cores.
const STREAMED: Time = 4;
/// The time of a spin-loop hint, as measured.
pub const HINT: Time = 25;
/// A core that has fetched a line for writing keeps it for a further write that follows within this time. Fitted to threads that
/// do nothing but change one word: two or three changes go by before the line moves.
const KEPT: Time = 5;
/// A pause after a failure has at most two to this power hints.
const MOST_BACK_OFF: u32 = 6;
/// The most cores a machine has.
pub const MOST_CORES: usize = 512;

/// What a line holds; lines of one kind are told apart by their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A job's arrivals, its word and its tokens.
    Tail,
    /// A job's departures and its tally.
    Head,
    /// The injector's end that pushes.
    InjectorTail,
    /// The injector's end that takes.
    InjectorHead,
    /// Slots of the injector.
    InjectorSlots,
    /// The sleepers' word.
    Sleepers,
    /// The lock over the list of parked workers.
    SleepersLock,
    /// A worker's deque.
    Deque,
    /// A worker's batch.
    Batch,
    /// A task's cell.
    Cell,
    /// The depot of magazines.
    Depot,
    /// A channel's end that sends.
    ChannelTail,
    /// A channel's end that receives.
    ChannelHead,
    /// Slots of a channel.
    ChannelSlots,
    /// A mutex and what it guards.
    Mutex,
}

/// The number of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line(usize);

/// The cores that have a line.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Cores([u64; MOST_CORES / 64]);

impl Cores {
    fn only(core: usize) -> Self {
        let mut cores = Self::default();
        cores.add(core);
        cores
    }

    fn add(&mut self, core: usize) {
        self.0[core / 64] |= 1 << (core % 64);
    }

    fn has(&self, core: usize) -> bool {
        self.0[core / 64] & (1 << (core % 64)) != 0
    }
}

struct LineState {
    kind: Kind,
    holders: Cores,
    /// Nobody has touched it: the first touch is free of transfers.
    fresh: bool,
    /// When the last write to it that had to fetch it is over.
    free_at: Time,
    /// How long it has been on its way to writers.
    busy: Time,
    /// The writers that have asked for the line, and until when each keeps it.
    writers: Vec<(usize, Time)>,
}

impl LineState {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            holders: Cores::default(),
            fresh: true,
            free_at: 0,
            busy: 0,
            writers: Vec::new(),
        }
    }

    /// Returns true if the core has fetched the line for writing and still keeps it, although another core has asked for it.
    fn is_kept(&mut self, core: usize, now: Time) -> bool {
        self.writers.retain(|(_, until)| *until > now);
        self.writers.iter().any(|(writer, _)| *writer == core)
    }
}

/// A word on a line. Only the number of its changes is simulated, from which a compare-exchange knows whether it fails.
pub struct Word {
    line: Line,
    /// How often it has changed.
    changes: Cell<u64>,
}

impl Word {
    /// Makes a word on this line.
    pub fn on(line: Line) -> Self {
        Self { line, changes: Cell::new(0) }
    }

    fn note_change(&self) {
        self.changes.set(self.changes.get() + 1);
    }
}

/// What a compare-exchange does after it has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Tries again at once, with the value that it has seen.
    AtOnce,
    /// Tries again after a pause, which doubles with each failure.
    BackOff,
}

/// What one core does to one line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Load,
    Store,
    Rmw,
    /// The first store to a line that was fetched ahead.
    Streamed,
}

type Program = Pin<Box<dyn Future<Output = ()>>>;

/// The machine.
pub struct Machine {
    transfer: Time,
    now: Cell<Time>,
    lines: RefCell<Vec<LineState>>,
    steps: RefCell<BinaryHeap<Reverse<(Time, u64, usize)>>>,
    step: Cell<u64>,
    transfers: Cell<u64>,
    atomics: Cell<u64>,
    failures: Cell<u64>,
    stopped: Cell<bool>,
    lenient: bool,
}

impl Machine {
    /// A machine in which a line takes `transfer` from core to core. If it is `lenient`, no compare-exchange fails.
    pub fn new(transfer: Time, lenient: bool) -> Rc<Self> {
        Rc::new(Self {
            transfer,
            lenient,
            failures: Cell::new(0),
            now: Cell::new(0),
            lines: RefCell::default(),
            steps: RefCell::default(),
            step: Cell::new(0),
            transfers: Cell::new(0),
            atomics: Cell::new(0),
            stopped: Cell::new(false),
        })
    }

    /// A line that nobody has touched.
    pub fn line(&self, kind: Kind) -> Line {
        let mut lines = self.lines.borrow_mut();
        lines.push(LineState::new(kind));
        Line(lines.len() - 1)
    }

    /// The time.
    pub fn now(&self) -> Time {
        self.now.get()
    }

    /// How many lines moved from one core to another.
    pub fn transfers(&self) -> u64 {
        self.transfers.get()
    }

    /// How many read-modify-writes and full fences there were.
    pub fn atomics(&self) -> u64 {
        self.atomics.get()
    }

    /// How many compare-exchanges failed because another core had changed the word.
    pub fn failures(&self) -> u64 {
        self.failures.get()
    }

    /// The kind of the line that was longest on its way to writers, and how long.
    pub fn busiest(&self) -> Option<(Kind, Time)> {
        let lines = self.lines.borrow();
        lines.iter().max_by_key(|line| line.busy).map(|line| (line.kind, line.busy))
    }

    /// Ends the run: no program is polled again.
    pub fn stop(&self) {
        self.stopped.set(true);
    }

    /// Runs a program on each core until one of them stops the machine, or none can go on.
    pub fn run(&self, mut programs: Vec<Program>) {
        for core in 0..programs.len() {
            self.resume(core, 0);
        }
        let mut context = Context::from_waker(Waker::noop());
        let mut ended = vec![false; programs.len()];
        while !self.stopped.get() {
            let Some(Reverse((time, _, core))) = self.steps.borrow_mut().pop() else { break };
            self.now.set(time);
            if !ended[core] {
                ended[core] = programs[core].as_mut().poll(&mut context).is_ready();
            }
        }
    }

    /// Lets a core go on at `time`.
    fn resume(&self, core: usize, time: Time) {
        // Steps that end at the same time go in the order in which they began: runs repeat exactly.
        self.step.set(self.step.get() + 1);
        self.steps.borrow_mut().push(Reverse((time, self.step.get(), core)));
    }

    /// When the access is over.
    fn access(&self, core: usize, line: Line, access: Access) -> Time {
        let mut lines = self.lines.borrow_mut();
        let line = &mut lines[line.0];
        let writes = access != Access::Load;
        let own = if access == Access::Rmw { ATOMIC } else { HIT };
        if access == Access::Rmw {
            self.atomics.set(self.atomics.get() + 1);
        }
        if !self.lenient && line.is_kept(core, self.now()) {
            return self.now() + own;
        }
        let at_hand = line.fresh
            || if writes { line.holders == Cores::only(core) } else { line.holders.has(core) };
        if writes {
            line.holders = Cores::only(core);
        } else {
            line.holders.add(core);
        }
        line.fresh = false;
        if at_hand {
            return self.now().max(line.free_at) + own;
        }
        self.transfers.set(self.transfers.get() + 1);
        let cost = match access {
            Access::Streamed => self.transfer / STREAMED,
            Access::Load | Access::Store | Access::Rmw => self.transfer,
        };
        let arrives = self.now().max(line.free_at) + cost;
        if writes {
            // Writers get the line one after the other; readers get it side by side.
            line.busy += cost;
            line.free_at = arrives + own;
            if !self.lenient {
                line.writers.push((core, line.free_at + KEPT));
            }
        }
        arrives + own
    }
}

/// One core, in the hands of the program that runs on it.
#[derive(Clone)]
pub struct Core {
    /// Which core.
    pub index: usize,
    machine: Rc<Machine>,
}

impl Core {
    /// The core with this index.
    pub fn new(machine: &Rc<Machine>, index: usize) -> Self {
        Self { index, machine: Rc::clone(machine) }
    }

    /// The machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    fn step(&self, line: Line, access: Access) -> Step<'_> {
        Step { core: self, wait: Wait::Access(line, access) }
    }

    /// Reads a line.
    pub fn load(&self, line: Line) -> Step<'_> {
        self.step(line, Access::Load)
    }

    /// Writes a line.
    pub fn store(&self, line: Line) -> Step<'_> {
        self.step(line, Access::Store)
    }

    /// Does a read-modify-write.
    pub fn rmw(&self, line: Line) -> Step<'_> {
        self.step(line, Access::Rmw)
    }

    /// Changes a word by a read-modify-write that does not fail.
    pub async fn change(&self, word: &Word) {
        self.rmw(word.line).await;
        word.note_change();
    }

    /// Changes a word by a load and compare-exchanges, until one succeeds or `may` returns false. A compare-exchange fails if another core
    /// has changed the word since this core saw it. Returns false if `may` does.
    ///
    /// On a lenient machine the load brings the line for writing, and the compare-exchange does not fail.
    pub async fn exchange_if(&self, word: &Word, retry: Retry, may: impl Fn() -> bool) -> bool {
        if self.machine.lenient {
            if !may() {
                self.load(word.line).await;
                return false;
            }
            self.change(word).await;
            return may();
        }
        self.load(word.line).await;
        let (mut seen, mut failed) = (word.changes.get(), 0);
        loop {
            if !may() {
                return false;
            }
            if self.exchange_seen(word, seen).await {
                return true;
            }
            seen = word.changes.get();
            if retry == Retry::BackOff {
                self.back_off(failed).await;
                failed += 1;
            }
        }
    }

    /// Changes a word by a load and compare-exchanges, until one succeeds.
    pub async fn exchange(&self, word: &Word, retry: Retry) {
        self.exchange_if(word, retry, || true).await;
    }

    /// Changes a word by a load and one compare-exchange. Returns true if the exchange succeeded.
    pub async fn try_exchange(&self, word: &Word) -> bool {
        if self.machine.lenient {
            self.change(word).await;
            return true;
        }
        self.load(word.line).await;
        self.exchange_seen(word, word.changes.get()).await
    }

    /// Does one compare-exchange, which fails unless the word still has the number of changes `seen`. Returns true if it succeeded.
    async fn exchange_seen(&self, word: &Word, seen: u64) -> bool {
        self.rmw(word.line).await;
        let unchanged = word.changes.get() == seen;
        if unchanged {
            word.note_change();
        } else {
            self.machine.failures.set(self.machine.failures.get() + 1);
        }
        unchanged
    }

    /// Takes over a line that lies behind the one taken over before.
    pub fn claim(&self, line: Line) -> Step<'_> {
        self.step(line, Access::Streamed)
    }

    /// Works for some time without touching a shared line.
    pub fn work(&self, time: Time) -> Step<'_> {
        Step { core: self, wait: Wait::Work(time) }
    }

    /// Pauses after a failure. The pause doubles with each of the failures before, up to a bound.
    pub fn back_off(&self, failed: u32) -> Step<'_> {
        self.work(HINT << failed.min(MOST_BACK_OFF))
    }

    /// A full fence.
    pub fn fence(&self) -> Step<'_> {
        self.machine.atomics.set(self.machine.atomics.get() + 1);
        self.work(ATOMIC)
    }

    /// Waits until another core wakes this one.
    pub fn park(&self) -> Step<'_> {
        Step { core: self, wait: Wait::Park }
    }

    /// Lets a parked core go on after `delay`.
    pub fn wake(&self, parked: usize, delay: Time) {
        self.machine.resume(parked, self.machine.now() + delay);
    }
}

enum Wait {
    Access(Line, Access),
    Work(Time),
    Park,
    Over,
}

/// What a core waits for.
#[must_use]
pub struct Step<'a> {
    core: &'a Core,
    wait: Wait,
}

impl Future for Step<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let Core { index, machine } = self.core;
        match std::mem::replace(&mut self.wait, Wait::Over) {
            Wait::Access(line, access) => {
                machine.resume(*index, machine.access(*index, line, access));
            }
            Wait::Work(time) => machine.resume(*index, machine.now() + time),
            Wait::Park => {}
            Wait::Over => return Poll::Ready(()),
        }
        Poll::Pending
    }
}
