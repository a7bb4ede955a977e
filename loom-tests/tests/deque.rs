//! The deque's stand-in gives the same answers as the real one, as far as one thread can tell.

#![cfg(tollgate_loom)]

use crossbeam_deque as real;
use loom_tests::check;
use loom_tests::check::Bound;
use proptest::prelude::*;
use tollgate::model::sync::deque as stand_in;

/// The batch that the stand-in moves at most.
const MOST: usize = 2;

#[derive(Clone, Copy, Debug)]
enum Op {
    Push,
    Pop,
    Steal,
    StealBatch,
    Inject,
    StealInjected,
    StealInjectedBatch,
    PopOther,
    PushFifo,
    PopFifo,
    StealFifoBatch,
    PopOtherFifo,
    Look,
}

fn op() -> impl Strategy<Value = Op> {
    prop::sample::select(vec![
        Op::Push,
        Op::Push,
        Op::Pop,
        Op::Steal,
        Op::StealBatch,
        Op::Inject,
        Op::Inject,
        Op::StealInjected,
        Op::StealInjectedBatch,
        Op::PopOther,
        Op::PushFifo,
        Op::PushFifo,
        Op::PopFifo,
        Op::StealFifoBatch,
        Op::PopOtherFifo,
        Op::Look,
    ])
}

fn of_real(steal: real::Steal<u32>) -> Option<u32> {
    assert!(!steal.is_retry(), "nobody else is there");
    steal.success()
}

fn of_stand_in(steal: stand_in::Steal<u32>) -> Option<u32> {
    match steal {
        stand_in::Steal::Success(item) => Some(item),
        stand_in::Steal::Empty => None,
        stand_in::Steal::Retry => panic!("nobody else is there"),
    }
}

fn real_answers(ops: &[Op]) -> Vec<Option<u32>> {
    let (own, other) = (real::Worker::new_lifo(), real::Worker::new_lifo());
    let (fifo, other_fifo) = (real::Worker::new_fifo(), real::Worker::new_fifo());
    let fifo_stealer = fifo.stealer();
    let (stealer, injector) = (own.stealer(), real::Injector::new());
    let answer = |(number, op): (usize, &Op)| match op {
        Op::Push => {
            own.push(number as u32);
            None
        }
        Op::Pop => own.pop(),
        Op::Steal => of_real(stealer.steal()),
        Op::StealBatch => of_real(stealer.steal_batch_with_limit_and_pop(&other, MOST)),
        Op::Inject => {
            injector.push(number as u32);
            None
        }
        Op::StealInjected => of_real(injector.steal()),
        Op::StealInjectedBatch => of_real(injector.steal_batch_with_limit_and_pop(&other, MOST)),
        Op::PopOther => other.pop(),
        Op::PushFifo => {
            fifo.push(number as u32);
            None
        }
        Op::PopFifo => fifo.pop(),
        Op::StealFifoBatch => {
            of_real(fifo_stealer.steal_batch_with_limit_and_pop(&other_fifo, MOST))
        }
        Op::PopOtherFifo => other_fifo.pop(),
        Op::Look => Some(
            own.len() as u32 * 4 + u32::from(own.is_empty()) * 2 + u32::from(injector.is_empty()),
        ),
    };
    ops.iter().enumerate().map(answer).collect()
}

fn stand_in_answers(ops: &[Op]) -> Vec<Option<u32>> {
    let (own, other) = (stand_in::Worker::new_lifo(), stand_in::Worker::new_lifo());
    let (fifo, other_fifo) = (stand_in::Worker::new_fifo(), stand_in::Worker::new_fifo());
    let fifo_stealer = fifo.stealer();
    let (stealer, injector) = (own.stealer(), stand_in::Injector::new());
    let answer = |(number, op): (usize, &Op)| match op {
        Op::Push => {
            own.push(number as u32);
            None
        }
        Op::Pop => own.pop(),
        Op::Steal => of_stand_in(stealer.steal()),
        Op::StealBatch => of_stand_in(stealer.steal_batch_and_pop(&other)),
        Op::Inject => {
            injector.push(number as u32);
            None
        }
        Op::StealInjected => of_stand_in(injector.steal()),
        Op::StealInjectedBatch => of_stand_in(injector.steal_batch_and_pop(&other)),
        Op::PopOther => other.pop(),
        Op::PushFifo => {
            fifo.push(number as u32);
            None
        }
        Op::PopFifo => fifo.pop(),
        Op::StealFifoBatch => of_stand_in(fifo_stealer.steal_batch_and_pop(&other_fifo)),
        Op::PopOtherFifo => other_fifo.pop(),
        Op::Look => Some(
            own.len() as u32 * 4 + u32::from(own.is_empty()) * 2 + u32::from(injector.is_empty()),
        ),
    };
    ops.iter().enumerate().map(answer).collect()
}

proptest! {
    // Fewer than an injector's block, at whose end the real one moves a smaller batch.
    #[test]
    fn the_stand_in_answers_as_the_real_deque(ops in prop::collection::vec(op(), 0..60)) {
        let expected = real_answers(&ops);
        check(Bound::None, move || assert_eq!(stand_in_answers(&ops), expected));
    }
}
