//! Compares the packed word with plain integers, one operation at a time, from any first word. Each field, each result and each
//! predicate must be that of the table of [`Snapshot`].
//!
//! A property test and the fuzz target `permits` run these programs.

use super::{Asked, Flag, LIMIT_SHIFT, MOST, MOST_READY, Permits, READY_SHIFT, Snapshot};
use crate::sync::atomic::AtomicU64;
use arbitrary::{Arbitrary, Result, Unstructured};

const FLAGS: [Flag; 11] = [
    Flag::HeldOff,
    Flag::Rated,
    Flag::Parent,
    Flag::Paused,
    Flag::Closed,
    Flag::Cancelled,
    Flag::Blocked,
    Flag::Reclaiming,
    Flag::BatchOut,
    Flag::Futures,
    Flag::Settling,
];

/// A first word, and the operations on it.
#[derive(Clone, Debug)]
pub struct Program {
    start: Start,
    ops: Vec<Op>,
}

impl<'a> Arbitrary<'a> for Program {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        let start = bytes.arbitrary()?;
        let mut ops = Vec::new();
        // `Vec`'s own implementation stops at every other byte, so the operations are read one by one here.
        while !bytes.is_empty() {
            ops.push(bytes.arbitrary()?);
        }
        Ok(Self { start, ops })
    }
}

/// The fields of the first word. `running` may exceed `limit`, as after the limit was lowered.
#[derive(Clone, Copy, Debug, Arbitrary)]
struct Start {
    running: Count,
    limit: Count,
    ready: u16,
    flags: u16,
}

/// A count in a field of 21 bits, most often near one of its ends.
#[derive(Clone, Copy, Debug, Arbitrary)]
enum Count {
    Few(u8),
    NearMost(u8),
    Any(u32),
}

impl Count {
    fn get(self) -> u64 {
        match self {
            Self::Few(count) => u64::from(count % 8),
            Self::NearMost(short) => MOST - u64::from(short % 4),
            Self::Any(count) => u64::from(count) & MOST,
        }
    }
}

/// One operation. Operations that callers must not make, such as a release of a permit that is not held, are left out.
#[derive(Clone, Copy, Debug, Arbitrary)]
enum Op {
    Reserve { ready_cap: u16 },
    Unreserve,
    Start,
    StartAtARate { weight: Count },
    Unstart { weight: u8 },
    Acquire,
    AcquireRest { weight: Count },
    Reacquire { draining: bool, weight: Count },
    Release,
    ReleaseMore { count: u8 },
    SetLimit(Count),
    Set(u8),
    Clear(u8),
}

/// The fields of the word as plain integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plain {
    running: u64,
    limit: u64,
    ready: u64,
    flags: [bool; FLAGS.len()],
}

impl Plain {
    fn of(start: Start) -> Self {
        Self {
            running: start.running.get(),
            limit: start.limit.get(),
            ready: u64::from(start.ready) % (MOST_READY + 1),
            flags: std::array::from_fn(|flag| start.flags >> flag & 1 == 1),
        }
    }

    /// Returns the packed word of these fields, by the table.
    fn word(self) -> u64 {
        let mut word = self.running | self.limit << LIMIT_SHIFT | self.ready << READY_SHIFT;
        for (flag, set) in FLAGS.into_iter().zip(self.flags) {
            if set {
                word |= flag as u64;
            }
        }
        word
    }

    fn has(self, flag: Flag) -> bool {
        self.flags[seat(flag)]
    }

    fn set(&mut self, flag: Flag, set: bool) {
        self.flags[seat(flag)] = set;
    }

    fn held_back(self) -> bool {
        self.has(Flag::Paused)
            || self.has(Flag::Blocked)
            || self.has(Flag::Reclaiming)
            || self.has(Flag::HeldOff)
    }

    fn has_room(self, ready_cap: u64) -> bool {
        let cap = if self.has(Flag::Rated) { ready_cap.min(1) } else { ready_cap };
        !self.held_back() && self.ready < cap && self.running + self.ready < self.limit
    }

    /// Returns true if `weight` permits may be held in addition, or if no permit is held.
    fn fits(self, weight: u64) -> bool {
        match self.running {
            0 => self.limit > 0,
            running => running + weight <= self.limit,
        }
    }

    fn may_start_at_a_rate(self, weight: u64) -> bool {
        const NO: [Flag; 3] = [Flag::Paused, Flag::Reclaiming, Flag::HeldOff];
        !NO.iter().any(|flag| self.has(*flag)) && self.fits(weight)
    }

    fn may_start(self) -> bool {
        !self.has(Flag::Rated) && self.may_start_at_a_rate(1)
    }

    fn may_go_on(self) -> bool {
        !self.held_back()
            && !self.has(Flag::Cancelled)
            && !self.has(Flag::Rated)
            && self.running <= self.limit
    }

    fn keeps_order(self) -> bool {
        match self.limit {
            1 => self.ready == 0,
            _ => true,
        }
    }

    fn may_reclaim(self, draining: bool, weight: u64) -> bool {
        if draining {
            Self { limit: self.limit.max(1), ..self }.fits(weight)
        } else {
            !self.has(Flag::Paused) && self.fits(weight)
        }
    }
}

fn seat(flag: Flag) -> usize {
    FLAGS.iter().position(|known| *known == flag).expect("all flags are listed")
}

impl Program {
    /// Runs the program on the word and on the integers.
    ///
    /// # Panics
    /// Panics if the two differ.
    pub fn run(&self) {
        let mut plain = Plain::of(self.start);
        let permits = Permits(AtomicU64::new(plain.word()));
        agree(permits.load(), plain);
        assert_eq!(Permits::new(plain.limit).load(), Snapshot::new(plain.limit));
        let printed = format!("{:?}", permits.load());
        for part in [("running", plain.running), ("limit", plain.limit), ("ready", plain.ready)] {
            assert!(printed.contains(&format!("{}: {},", part.0, part.1)), "{printed}: {plain:?}");
        }
        for op in &self.ops {
            let before = plain;
            does(*op, &permits, &mut plain);
            assert_eq!(permits.load().0, plain.word(), "{before:?}, {op:?}: {plain:?}");
            agree(permits.load(), plain);
        }
    }
}

/// Does one operation to both, and compares the word's result with the expected result.
fn does(op: Op, permits: &Permits, plain: &mut Plain) {
    let before = *plain;
    match op {
        Op::Reserve { ready_cap } => {
            let ready_cap = u64::from(ready_cap) % (MOST_READY + 1);
            let room = plain.has_room(ready_cap);
            plain.ready += u64::from(room);
            answers(permits.reserve(ready_cap), room, *plain);
        }
        Op::Unreserve if plain.ready > 0 => {
            plain.ready -= 1;
            agree(permits.unreserve(), *plain);
        }
        Op::Start if plain.ready > 0 => {
            let may = plain.may_start();
            plain.ready -= u64::from(may);
            plain.running += u64::from(may);
            answers(permits.start(), may, *plain);
        }
        Op::StartAtARate { weight } if plain.ready > 0 => {
            let weight = weight.get().max(1);
            let may = plain.may_start_at_a_rate(weight);
            plain.ready -= u64::from(may);
            plain.running += weight * u64::from(may);
            answers(permits.start_at_a_rate(weight), may, *plain);
        }
        Op::Unstart { weight } if plain.running > 0 && plain.ready < MOST_READY => {
            let weight = u64::from(weight).clamp(1, plain.running);
            plain.running -= weight;
            plain.ready += 1;
            agree(permits.unstart(weight), *plain);
        }
        Op::Acquire => {
            let may = plain.may_start();
            plain.running += u64::from(may);
            answers(permits.acquire(), may, *plain);
        }
        Op::AcquireRest { weight } if plain.running > 0 => {
            let weight = weight.get().max(1);
            let without = Plain { running: plain.running - 1, ..*plain };
            let may = without.may_start_at_a_rate(weight);
            plain.running += (weight - 1) * u64::from(may);
            answers(permits.acquire_rest(weight), may, *plain);
        }
        Op::Reacquire { draining, weight } => {
            let weight = weight.get().max(1);
            let may = plain.may_reclaim(draining, weight);
            plain.running += weight * u64::from(may);
            answers(permits.reacquire(draining, weight), may, *plain);
        }
        Op::Release if plain.running > 0 => {
            plain.running -= 1;
            agree(permits.release(), *plain);
        }
        Op::ReleaseMore { count } if plain.running > 0 => {
            let count = u64::from(count).min(plain.running);
            plain.running -= count;
            agree(permits.release_more(count), *plain);
        }
        Op::SetLimit(limit) => {
            plain.limit = limit.get();
            agree(permits.set_limit(plain.limit), before);
        }
        Op::Set(flag) => {
            let flag = FLAGS[flag as usize % FLAGS.len()];
            plain.set(flag, true);
            agree(permits.set(flag), before);
        }
        Op::Clear(flag) => {
            let flag = FLAGS[flag as usize % FLAGS.len()];
            plain.set(flag, false);
            agree(permits.clear(flag), before);
        }
        Op::Unreserve
        | Op::Start
        | Op::StartAtARate { .. }
        | Op::Unstart { .. }
        | Op::AcquireRest { .. }
        | Op::Release
        | Op::ReleaseMore { .. } => {}
    }
}

/// Panics if the result of a request is not the expected one, or has not the expected word.
fn answers(asked: Asked, due: bool, plain: Plain) {
    assert_eq!(asked.granted(), due, "{asked:?} {plain:?}");
    let (Asked::Granted(word) | Asked::Refused(word)) = asked;
    agree(word, plain);
}

/// Panics if a field or a predicate of the word differs from the integers.
fn agree(word: Snapshot, plain: Plain) {
    let read = Plain {
        running: word.running(),
        limit: word.limit(),
        ready: word.ready(),
        flags: FLAGS.map(|flag| word.has(flag)),
    };
    assert_eq!(read, plain);
    assert_eq!(word.at_rest(), plain.running == 0 && plain.ready == 0, "at_rest: {plain:?}");
    assert_eq!(word.held_back(), plain.held_back(), "held_back: {plain:?}");
    assert_eq!(word.may_start(), plain.may_start(), "may_start: {plain:?}");
    let acts = plain.has(Flag::Reclaiming) || plain.has(Flag::Rated);
    assert_eq!(word.acts_at_release(), acts, "acts_at_release: {plain:?}");
    for weight in [1, 2, 3, MOST] {
        let due = plain.may_start_at_a_rate(weight);
        assert_eq!(
            word.may_start_at_a_rate(weight),
            due,
            "may_start_at_a_rate({weight}): {plain:?}"
        );
    }
    assert_eq!(word.may_go_on(), plain.may_go_on(), "may_go_on: {plain:?}");
    assert_eq!(word.keeps_order(), plain.keeps_order(), "keeps_order: {plain:?}");
    for draining in [false, true] {
        for weight in [1, 2, MOST] {
            let due = plain.may_reclaim(draining, weight);
            let says = word.may_reclaim(draining, weight);
            assert_eq!(says, due, "may_reclaim({draining}, {weight}): {plain:?}");
        }
    }
    for ready_cap in [0, 1, plain.ready, plain.ready + 1, MOST_READY] {
        assert_eq!(
            word.has_room(ready_cap),
            plain.has_room(ready_cap),
            "has_room({ready_cap}): {plain:?}"
        );
    }
}

/// Properties that no operation checks.
#[cfg(all(test, not(tollgate_loom)))]
mod tests {
    use super::*;
    use crate::pool::core::MOST_READY_CAP;

    #[test]
    fn a_window_at_each_of_sixteen_gates_fits_and_no_wider_one() {
        assert_eq!(
            [16 * MOST_READY_CAP, 16 * (MOST_READY_CAP + 1)].map(|ready| ready <= MOST_READY),
            [true, false]
        );
    }

    /// No two fields or flags share a bit, and together they are the whole word.
    #[test]
    fn the_fields_and_the_flags_are_the_word() {
        let fields = [MOST, MOST << LIMIT_SHIFT, MOST_READY << READY_SHIFT];
        let bits = fields.into_iter().chain(FLAGS.map(|flag| flag as u64));
        let all = bits.fold(0, |taken, field| {
            assert!(field > 0 && taken & field == 0, "{field:#x} in {taken:#x}");
            taken | field
        });
        assert_eq!(all, u64::MAX);
    }

    #[test]
    fn a_word_is_printed_field_by_field() {
        let mut word = Permits::new(3).load();
        word = word.acquired().reserved().reserved();
        word.0 |= Flag::Parent as u64 | Flag::Settling as u64;
        let printed = format!("{word:?}");
        assert_eq!(printed, "Snapshot { running: 1, limit: 3, ready: 2, flags: 0x404 }");
    }
}
