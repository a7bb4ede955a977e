//! Simulates cores that all change one word, and two cores that hand a line back and forth. `--measure` compares the figures with
//! those of real threads.

use super::machine::{Core, HINT, Kind, Machine, Retry, Time, Word};
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;

/// How a core changes the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// By a read-modify-write that does not fail.
    Add,
    /// By a load and compare-exchanges.
    Exchange,
}

/// The number of changes for each core, and of throws.
const CHANGES: u64 = 2_000;

/// Returns the nanoseconds from one change to the next, of all cores together, and the failures for each change. Each core changes one
/// word again and again, with about `hints` spin-loop hints in between.
pub fn change(kind: Change, cores: usize, transfer: Time, hints: u64) -> (f64, f64) {
    let machine = Machine::new(transfer, false);
    let word = Rc::new(Word::on(machine.line(Kind::Tail)));
    let done = Rc::new(Cell::new(0));
    let total = CHANGES * cores as u64;
    let programs = (0..cores).map(|index| {
        let (core, word, done) = (Core::new(&machine, index), Rc::clone(&word), Rc::clone(&done));
        let random = Cell::new(index as u64 + 1);
        let program = async move {
            while done.get() < total {
                match kind {
                    Change::Add => core.change(&word).await,
                    Change::Exchange => core.exchange(&word, Retry::AtOnce).await,
                }
                done.set(done.get() + 1);
                // The pauses differ, as real ones do. With equal pauses the cores would take turns, and no exchange would fail.
                core.work(hints * HINT * (64 + random_below_128(&random)) / 128).await;
            }
            core.machine().stop();
        };
        Box::pin(program) as Pin<Box<dyn Future<Output = ()>>>
    });
    machine.run(programs.collect());
    (machine.now() as f64 / done.get() as f64, machine.failures() as f64 / done.get() as f64)
}

fn random_below_128(state: &Cell<u64>) -> u64 {
    state.set(state.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    state.get() >> 57
}

/// Returns the nanoseconds from one throw to the next. Two cores hand a line back and forth: each waits for the other's store, and then
/// stores.
pub fn throw(transfer: Time) -> f64 {
    let machine = Machine::new(transfer, false);
    let line = machine.line(Kind::Tail);
    let thrown = Rc::new(Cell::new(0));
    let programs = (0..2).map(|index| {
        let (core, thrown) = (Core::new(&machine, index), Rc::clone(&thrown));
        let program = async move {
            for number in (index as u64..CHANGES).step_by(2) {
                while thrown.get() != number {
                    core.load(line).await;
                }
                core.store(line).await;
                thrown.set(number + 1);
            }
        };
        Box::pin(program) as Pin<Box<dyn Future<Output = ()>>>
    });
    machine.run(programs.collect());
    machine.now() as f64 / CHANGES as f64
}
