//! The pool of cells: a thread's magazines, the depot where they are exchanged whole, and home.

use super::crew::Lock;
use super::machine::{Core, Kind, Line, Machine, Retry, Word};
use std::cell::{Cell, RefCell};
use std::mem;
use std::rc::Rc;

/// Cells in a magazine.
const MAGAZINE: usize = 64;
/// Full magazines that the depot keeps.
const RESERVE: usize = 64;
/// What taking one cell from its block, or home to it, costs under the depot's lock.
const HOME: u64 = 2;

/// A thread's magazines.
#[derive(Default)]
struct Rack {
    active: Vec<Line>,
    full: Vec<Line>,
}

/// All cells.
pub struct Cells {
    machine: Rc<Machine>,
    racks: Vec<RefCell<Rack>>,
    depot: RefCell<Vec<Vec<Line>>>,
    /// The depot's two ends and its length.
    last: Word,
    head: Line,
    first: Word,
    len: Line,
    count: Cell<usize>,
    lock: Lock,
    home: RefCell<Vec<Line>>,
}

impl Cells {
    /// Empty racks for so many cores, and a warm depot.
    pub fn new(machine: &Rc<Machine>, cores: usize) -> Self {
        let line = || machine.line(Kind::Depot);
        let magazine = |_| (0..MAGAZINE).map(|_| machine.line(Kind::Cell)).collect();
        let head = line();
        Self {
            machine: Rc::clone(machine),
            racks: (0..cores).map(|_| RefCell::default()).collect(),
            depot: RefCell::new((0..RESERVE).map(magazine).collect()),
            last: Word::on(line()),
            head,
            first: Word::on(head),
            len: line(),
            count: Cell::new(RESERVE),
            lock: Lock::new(machine, Kind::Depot),
            home: RefCell::default(),
        }
    }

    /// Takes a free cell and fills it.
    pub async fn make(&self, core: &Core) -> Line {
        let cell = match self.take(core.index) {
            Some(cell) => cell,
            None => {
                let magazine = self.exchange_empty(core).await;
                self.racks[core.index].borrow_mut().active = magazine;
                self.take(core.index).expect("a magazine from the depot has cells")
            }
        };
        core.claim(cell).await;
        cell
    }

    /// Takes a cell back that this core has just used.
    pub async fn free(&self, core: &Core, cell: Line) {
        let over = {
            let mut rack = self.racks[core.index].borrow_mut();
            rack.active.push(cell);
            if rack.active.len() < MAGAZINE {
                return;
            }
            let active = mem::take(&mut rack.active);
            mem::replace(&mut rack.full, active)
        };
        if !over.is_empty() {
            self.exchange_full(core, over).await;
        }
    }

    fn take(&self, core: usize) -> Option<Line> {
        let mut rack = self.racks[core].borrow_mut();
        if rack.active.is_empty() {
            rack.active = mem::take(&mut rack.full);
        }
        rack.active.pop()
    }

    async fn exchange_empty(&self, core: &Core) -> Vec<Line> {
        core.load(self.head).await;
        let has_full = || !self.depot.borrow().is_empty();
        let taken = core.exchange_if(&self.first, Retry::BackOff, has_full).await;
        let magazine = if taken { self.depot.borrow_mut().pop() } else { None };
        if let Some(magazine) = magazine {
            core.rmw(self.len).await;
            self.count.set(self.count.get() - 1);
            return magazine;
        }
        self.lock.lock(core).await;
        core.work(HOME * MAGAZINE as u64).await;
        let mut magazine = {
            let mut home = self.home.borrow_mut();
            let kept = home.len().saturating_sub(MAGAZINE);
            home.split_off(kept)
        };
        magazine.resize_with(MAGAZINE, || self.machine.line(Kind::Cell));
        self.lock.unlock(core).await;
        magazine
    }

    async fn exchange_full(&self, core: &Core, magazine: Vec<Line>) {
        core.rmw(self.len).await;
        if self.count.get() < RESERVE {
            self.count.set(self.count.get() + 1);
            core.exchange(&self.last, Retry::BackOff).await;
            self.depot.borrow_mut().push(magazine);
            return;
        }
        core.rmw(self.len).await;
        self.lock.lock(core).await;
        core.work(HOME * MAGAZINE as u64).await;
        self.home.borrow_mut().extend(magazine);
        self.lock.unlock(core).await;
    }
}
