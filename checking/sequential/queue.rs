//! Compares the queue with a plain deque, one operation at a time. Tasks are pushed, pushed by half, returned and taken out.
//! Each task must come out once, in its order, and each predicate must be that of the deque.
//!
//! A property test and the fuzz target `queue` run these programs. A push may stop between its two halves, and several pushes
//! may do so at once, as when several threads are interrupted there.

use super::{Arrivals, Consumer, Departures, Popped, Queue, Unlocked};
use crate::base::task::{CellPtr, Header};
use crate::sync::atomic::Ordering;
use crate::task::plain::plain;
use crate::{Job, Pool};
use arbitrary::{Arbitrary, Result, Unstructured};
use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};

/// The job that the cells belong to. No task is pushed into it.
static JOB: LazyLock<(Pool, Job)> = LazyLock::new(|| {
    let pool = Pool::builder().workers(1).build().expect("one worker starts");
    let job = pool.job(1);
    (pool, job)
});

/// The operations on a queue.
#[derive(Clone, Debug)]
pub struct Program {
    /// The number of pushes before the queue's counters wrap.
    short_of_wrapping: u8,
    ops: Vec<Op>,
}

impl<'a> Arbitrary<'a> for Program {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        let short_of_wrapping = bytes.arbitrary()?;
        let mut ops = Vec::new();
        // `Vec`'s own implementation stops at every other byte, so the operations are read one by one here.
        while !bytes.is_empty() {
            ops.push(bytes.arbitrary()?);
        }
        Ok(Self { short_of_wrapping, ops })
    }
}

/// One operation, or half of a push.
#[derive(Clone, Copy, Debug, Arbitrary)]
enum Op {
    Push,
    /// The first half of a push.
    SwapTail,
    /// The second half of one of the unfinished pushes.
    Link(u8),
    PushReturned,
    TryConsume,
    TryConsumeQuietly,
    /// Pops a task. Does nothing without the queue lock.
    Pop,
    Unlocked,
    /// Takes out the tasks whose bits are set in the mask, which repeats every eight tasks. Does nothing without the queue
    /// lock.
    TakeOut(u8),
}

/// A push whose second half is missing.
#[derive(Clone, Copy, Debug)]
struct Half {
    previous: *mut Header,
    cell: CellPtr,
}

/// The expected state of the queue.
#[derive(Clone, Debug, Default)]
struct Model {
    /// The tasks on the front stack. The last one is popped next.
    returned: Vec<CellPtr>,
    /// The tasks of the list in the order of the tail's swaps. The flag says whether the cell is linked behind the one before
    /// it.
    line: VecDeque<(CellPtr, bool)>,
    /// True if the pending bit is set.
    word: bool,
}

/// The expected result of a pop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Task(CellPtr),
    Empty,
    Unfinished,
}

impl Model {
    fn next(&self) -> Due {
        if let Some(last) = self.returned.last() {
            return Due::Task(*last);
        }
        match (self.line.front(), self.line.get(1)) {
            (None, _) => Due::Empty,
            (Some((_, false)), _) | (_, Some((_, false))) => Due::Unfinished,
            (Some((first, true)), _) => Due::Task(*first),
        }
    }

    fn pop(&mut self) -> Due {
        let next = self.next();
        if let Due::Task(_) = next
            && self.returned.pop().is_none()
        {
            self.line.pop_front();
        }
        next
    }

    /// Returns the tasks that a removal takes out: those of the visible tasks that `picks` accepts. A task behind which a push
    /// is unfinished stays.
    fn take_out(&mut self, mut picks: impl FnMut() -> bool) -> Vec<CellPtr> {
        let mut taken = Vec::new();
        for index in (0..self.returned.len()).rev() {
            if picks() {
                taken.push(self.returned.remove(index));
            }
        }
        let mut index = 0;
        while self.line.get(index).is_some_and(|(_, linked)| *linked) {
            let can_go = self.line.get(index + 1).is_none_or(|(_, linked)| *linked);
            if picks() && can_go {
                taken.extend(self.line.remove(index).map(|(cell, _)| cell));
            } else {
                index += 1;
            }
        }
        taken
    }

    fn link(&mut self, cell: CellPtr) {
        let half = self.line.iter_mut().find(|(of, _)| *of == cell);
        half.expect("a push that is half done is in the line").1 = true;
    }

    fn is_empty(&self) -> bool {
        self.returned.is_empty() && self.line.is_empty()
    }

    fn has_head(&self) -> bool {
        !self.returned.is_empty() || self.line.front().is_some_and(|(_, linked)| *linked)
    }

    fn len(&self) -> usize {
        self.returned.len() + self.line.iter().filter(|(_, linked)| *linked).count()
    }

    /// Returns the visible tasks: the front stack from the top, then the list up to the first unfinished push.
    fn shown(&self) -> impl Iterator<Item = CellPtr> {
        let linked = self.line.iter().take_while(|(_, linked)| *linked).map(|(cell, _)| *cell);
        self.returned.iter().rev().copied().chain(linked)
    }

    /// Returns true if no push is unfinished.
    fn is_whole(&self) -> bool {
        self.line.iter().all(|(_, linked)| *linked)
    }

    /// Returns the number of all tasks, in any state.
    fn tasks(&self) -> usize {
        self.returned.len() + self.line.len()
    }
}

/// The queue, its expected state, and the owner of the queue lock.
struct Play<'a> {
    queue: Queue<'a>,
    consumer: Option<Consumer<'a>>,
    halves: Vec<Half>,
    model: Model,
    /// Has one reference more than closures are alive.
    alive: Arc<()>,
}

impl Program {
    /// Runs the program on a queue and on the expected state. Then finishes the unfinished pushes, and empties the queue.
    ///
    /// # Panics
    /// Panics if the two differ, or if a task is lost.
    pub fn run(&self) {
        let (arrivals, departures) = (Arrivals::new(), Departures::new());
        let first = 0_u32.wrapping_sub(self.short_of_wrapping.into());
        // Ordering: Relaxed both; one thread has it all.
        arrivals.pushed.store(first, Ordering::Relaxed);
        departures.taken.store(first, Ordering::Relaxed);
        let mut play = Play {
            queue: Queue::new(&arrivals, &departures),
            consumer: None,
            halves: Vec::new(),
            model: Model::default(),
            alive: Arc::default(),
        };
        play.agrees();
        for op in &self.ops {
            play.does(*op);
            play.agrees();
        }
        play.ends();
    }
}

impl<'a> Play<'a> {
    fn does(&mut self, op: Op) {
        match op {
            Op::Push => {
                let cell = self.task();
                self.queue.push(cell);
                self.model.line.push_back((cell, true));
            }
            Op::SwapTail => {
                let cell = self.task();
                let previous = self.queue.swap_tail(cell);
                self.halves.push(Half { previous, cell });
                self.model.line.push_back((cell, false));
            }
            Op::Link(which) => {
                if let Some(which) = (which as usize).checked_rem(self.halves.len()) {
                    let Half { previous, cell } = self.halves.swap_remove(which);
                    self.queue.link(previous, cell);
                    self.model.link(cell);
                }
            }
            Op::PushReturned => {
                let cell = self.task();
                self.queue.push_returned(cell);
                self.model.returned.push(cell);
            }
            Op::TryConsume => {
                self.model.word |= self.consumer.is_some();
                let right = self.queue.try_lock();
                self.takes(right);
            }
            Op::TryConsumeQuietly => {
                let right = self.queue.try_lock_quietly();
                self.takes(right);
            }
            Op::Pop => {
                if let Some(mut consumer) = self.consumer.take() {
                    let _ = self.pops(&mut consumer);
                    self.consumer = Some(consumer);
                }
            }
            Op::Unlocked => self.lets_go(),
            Op::TakeOut(mask) => {
                if let Some(consumer) = &mut self.consumer {
                    let due = self.model.take_out(eight_by_eight(mask));
                    let mut picks = eight_by_eight(mask);
                    let mut taken = Vec::new();
                    let whole = consumer.take_out(|_| picks(), &mut taken);
                    assert_eq!(whole, self.model.is_whole(), "take_out: {:?}", self.model);
                    assert_eq!(taken, due, "take_out: {:?}", self.model);
                    taken.into_iter().for_each(|cell| _ = cell.run());
                }
            }
        }
    }

    /// Makes a task of [`JOB`].
    fn task(&self) -> CellPtr {
        let life = Arc::clone(&self.alive);
        plain(JOB.1.ptr(), move || drop(life))
    }

    /// Takes the queue lock as its new owner. No other owner may exist.
    fn takes(&mut self, right: Option<Consumer<'a>>) {
        assert_eq!(right.is_some(), self.consumer.is_none(), "the right is with two, or nobody");
        self.consumer = self.consumer.take().or(right);
    }

    /// Pops a cell, and runs the task in it.
    fn pops(&mut self, consumer: &mut Consumer<'a>) -> Due {
        let due = self.model.next();
        assert_eq!(consumer.can_pop(), matches!(due, Due::Task(_)), "can_pop: {:?}", self.model);
        let popped = match consumer.pop() {
            Popped::Task(cell) => Due::Task(cell),
            Popped::Empty => Due::Empty,
            Popped::Unfinished => Due::Unfinished,
        };
        assert_eq!(popped, due, "pop: {:?}", self.model);
        if let Due::Task(cell) = popped {
            let _ = cell.run();
        }
        self.model.pop()
    }

    /// Unlocks the queue. If the pending bit was set, the first attempt must return the lock.
    fn lets_go(&mut self) {
        let Some(consumer) = self.consumer.take() else { return };
        let left = std::mem::take(&mut self.model.word);
        self.consumer = match consumer.unlock() {
            Unlocked::Free => None,
            Unlocked::LookAgain(consumer) => Some(consumer),
        };
        assert_eq!(self.consumer.is_some(), left, "a word is lost, or nobody left it");
    }

    /// Panics if a predicate of the queue, which any thread may call, differs from the expected state.
    fn agrees(&self) {
        let Self { queue, model, .. } = self;
        assert_eq!(queue.is_empty(), model.is_empty(), "is_empty: {model:?}");
        assert_eq!(queue.has_head(), model.has_head(), "has_head: {model:?}");
        assert_eq!(queue.len(), model.len(), "len: {model:?}");
        assert_eq!(Arc::strong_count(&self.alive) - 1, model.tasks(), "a task is lost: {model:?}");
        if let Some(consumer) = &self.consumer {
            let mut shown = Vec::new();
            let whole = consumer.look_through(|cell| shown.push(cell)).is_some();
            assert!(shown.into_iter().eq(model.shown()), "look_through: {model:?}");
            assert_eq!(whole, model.is_whole(), "look_through: {model:?}");
        }
    }

    fn ends(mut self) {
        while !self.halves.is_empty() {
            self.does(Op::Link(0));
            self.agrees();
        }
        if self.consumer.is_none() {
            self.does(Op::TryConsume);
        }
        let mut consumer = self.consumer.take().expect("the right was free");
        while self.pops(&mut consumer) != Due::Empty {
            self.agrees();
        }
        self.consumer = Some(consumer);
        assert!(self.model.is_empty());
        self.agrees();
        while self.consumer.is_some() {
            self.does(Op::Unlocked);
        }
    }
}

/// Returns the bits of `mask`, again and again.
fn eight_by_eight(mask: u8) -> impl FnMut() -> bool {
    let mut turn = 0;
    move || {
        turn += 1;
        mask.rotate_right(turn - 1) & 1 == 1
    }
}

/// Cases that no sequence of whole operations reaches.
#[cfg(all(test, not(tollgate_loom)))]
mod tests {
    use super::*;

    /// If a pop overtakes the count of its own push, the length must be 0, and not four thousand millions.
    #[test]
    fn a_length_is_never_below_nothing() {
        let (arrivals, departures) = (Arrivals::new(), Departures::new());
        for (pushed, taken, waiting) in [
            (0, 1, 0),
            (0, u32::MAX / 2, 0),
            (u32::MAX / 2, 0, u32::MAX / 2),
            (u32::MAX / 2 + 1, 0, 0),
        ] {
            // Ordering: Relaxed both; one thread has it all.
            arrivals.pushed.store(pushed, Ordering::Relaxed);
            departures.taken.store(taken, Ordering::Relaxed);
            let length = Queue::new(&arrivals, &departures).len();
            assert_eq!(length, waiting as usize, "{taken} of {pushed}");
        }
    }
}
