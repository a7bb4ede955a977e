//! What a user may do to a pool, as data: one [`Op`] for each call, read from bytes by [`Op::decode`], and run against a real
//! pool by [`run`], which knows what may be observed after each.
//!
//! The property tests make lists of them and shrink what fails; a fuzz target includes this file and decodes its input.
#![allow(
    dead_code,
    reason = "the property tests do not decode, and a fuzz target does nothing else"
)]

#[path = "ops/aside.rs"]
mod aside;
#[path = "ops/clock.rs"]
mod clock;
#[path = "ops/interpreter.rs"]
mod interpreter;
#[path = "ops/judge.rs"]
mod judge;
#[path = "ops/known.rs"]
mod known;
#[path = "ledger.rs"]
mod ledger;
#[path = "ops/permit.rs"]
mod permit;
#[path = "ops/task.rs"]
mod task;

#[allow(unused_imports, reason = "only a fuzz target waits for more than `run` does")]
pub use interpreter::{run, surely};

use std::time::Duration;
use tollgate::{JobBuilder, Priority};

/// The limits that operations set.
pub const LIMITS: [usize; 6] = [0, 1, 2, 3, 8, usize::MAX];

/// How many operations [`decode`] makes of however many bytes.
pub const MOST_OPS: usize = 200;

/// One call of a user's. Jobs and handles are numbered as they were made, the number taken modulo how many there are; a call
/// on what is not there does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Job {
        limit: Limit,
    },
    Child {
        parent: u8,
        limit: Limit,
    },
    Push {
        job: u8,
        way: Way,
        does: Does,
    },
    SetLimit {
        job: u8,
        limit: Limit,
    },
    Pause {
        job: u8,
    },
    Resume {
        job: u8,
    },
    /// Holds the job off for so many seconds of the pool's clock.
    HoldOff {
        job: u8,
        seconds: u8,
    },
    /// Gives the job one rate: one start in so many seconds, and such a burst. No seconds lift it.
    SetRate {
        job: u8,
        seconds: u8,
        burst: u8,
    },
    /// Moves the pool's clock by so many seconds.
    Advance {
        seconds: u8,
    },
    Close {
        job: u8,
    },
    Cancel {
        job: u8,
    },
    /// Drops what waits in the job and below it, and leaves them open.
    Clear {
        job: u8,
    },
    /// Drops the job's handle.
    DropJob {
        job: u8,
    },
    /// Waits for the job if it is sure to become idle, else asks whether it is.
    Wait {
        job: u8,
    },
    /// Joins the task if it is sure to end, else asks whether it has.
    Join {
        handle: u8,
    },
    CancelTask {
        handle: u8,
    },
    /// Acquires a permit without a task if one is free. The user gives it back as it lets a task go. With `leaves`, the user
    /// stands in the queue if there is none, and leaves it at once.
    Acquire {
        job: u8,
        leaves: bool,
    },
    DropHandle {
        handle: u8,
    },
    /// Lets so many of the tasks go that run and hold.
    LetGo {
        count: u8,
    },
    /// Waits until nothing moves any more, and looks whether more should run.
    Settle,
    /// A call on a job of its own: see `ops/aside.rs`.
    Aside {
        job: u8,
        what: Aside,
    },
    /// Ends the pool; later calls are refused.
    Shutdown {
        how: Shutdown,
    },
}

/// An index into [`LIMITS`]. A greater number also says how long a new job's turns are, of which class the job is, and whether it
/// keeps the permits of tasks that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub u8);

impl Limit {
    pub fn get(self) -> usize {
        LIMITS[self.0 as usize % LIMITS.len()]
    }

    /// Sets what else the number says of a new job: its share, turn time and class, and whether it keeps permits.
    pub fn with_more(self, builder: JobBuilder) -> JobBuilder {
        let more = self.0 as usize / LIMITS.len();
        let builder = match more / 3 % 3 {
            0 => builder,
            1 => builder.share(5),
            _ => builder.turn_time(Duration::from_secs(1)),
        };
        let builder = if self.keeps() { builder.keep_permits(true) } else { builder };
        match more % 3 {
            0 => builder,
            1 => builder.priority(Priority::High),
            _ => builder.priority(Priority::Low),
        }
    }

    /// Returns true if a new job keeps the permits of tasks that wait.
    pub fn keeps(self) -> bool {
        self.0 as usize / (9 * LIMITS.len()) == 1
    }
}

/// The ways in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Spawn,
    Execute,
    TrySpawn,
    TryExecute,
    /// After so many seconds of the pool's clock.
    After(u8),
    /// To be started within so many seconds of the pool's clock.
    Within(u8),
}

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    Nothing,
    /// Runs until it is let go.
    Holds,
    Panics,
    /// Pushes so many tasks into a job, its own or another.
    Pushes {
        job: u8,
        count: u8,
    },
    /// Spawns a task into a job and joins it.
    Joins {
        job: u8,
    },
}

/// Calls on jobs that no other operation uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aside {
    EmptyInput,
    Cancels,
    Input {
        next_panics: bool,
        drop_panics: bool,
    },
    /// A future whose drop panics, after it was ready or after a cancel.
    Bomb {
        ready: bool,
    },
    /// So many tasks that join each other in a circle.
    Circle {
        tasks: usize,
    },
    Keys,
    /// A call on the user's one job with an adaptive limit.
    Adapts(u8),
    /// A call on the user's one job that counts weights.
    Weighs(u8),
    /// A call on the user's one job with a capacity of 0.
    HandsOver(u8),
}

impl Aside {
    pub fn of(number: u8) -> Self {
        match number % 12 {
            0 => Self::EmptyInput,
            1 => Self::Cancels,
            10 => Self::Keys,
            11 if number >= 14 * 12 => Self::Weighs(number / 12 - 14),
            11 if number >= 7 * 12 => Self::HandsOver(number / 12 - 7),
            11 => Self::Adapts(number / 12),
            more @ (6 | 7) => Self::Bomb { ready: more == 6 },
            more @ (8 | 9) => Self::Circle { tasks: more as usize - 6 },
            more => Self::Input { next_panics: more & 1 > 0, drop_panics: more & 2 > 0 },
        }
    }
}

/// The ways a pool ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    Drain,
    Drop,
    Now,
    Timeout,
}

/// A whole run, read from bytes: how many workers, by the first, then operations until the bytes are used up, or there are
/// [`MOST_OPS`] of them; none without a first byte.
pub fn decode(bytes: &[u8]) -> Option<(usize, Vec<Op>)> {
    let (workers, mut rest) = bytes.split_first()?;
    let ops = std::iter::from_fn(|| Op::decode(&mut rest)).take(MOST_OPS).collect();
    Some((1 + *workers as usize % 4, ops))
}

impl Op {
    /// The next operation, taken from the front of `bytes`; none if they are used up.
    pub fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let mut next = || {
            let (first, rest) = bytes.split_first()?;
            *bytes = rest;
            Some(*first)
        };
        let kind = next()?;
        Some(match kind % 32 {
            0 => Self::Job { limit: Limit(next()?) },
            1 => Self::Child { parent: next()?, limit: Limit(next()?) },
            2..13 => {
                let way = match kind / 32 % 4 {
                    0 => Way::Spawn,
                    1 => Way::Execute,
                    2 => Way::TrySpawn,
                    _ => Way::TryExecute,
                };
                let job = next()?;
                let does = match kind % 32 {
                    2..6 => Does::Nothing,
                    6..9 => Does::Holds,
                    9 => Does::Panics,
                    10 | 11 => Does::Pushes { job: next()?, count: next()? },
                    _ => Does::Joins { job: next()? },
                };
                Self::Push { job, way, does }
            }
            13 | 14 => Self::SetLimit { job: next()?, limit: Limit(next()?) },
            15 => match kind / 32 {
                0 => Self::HoldOff { job: next()?, seconds: next()? },
                2 => Self::SetRate { job: next()?, seconds: next()?, burst: next()? },
                1 | 3 => Self::Advance { seconds: next()? },
                timed => {
                    let does = if timed % 2 == 0 { Does::Nothing } else { Does::Holds };
                    let (job, seconds) = (next()?, next()?);
                    let way = if timed < 6 { Way::After(seconds) } else { Way::Within(seconds) };
                    Self::Push { job, way, does }
                }
            },
            16 => Self::Pause { job: next()? },
            17 | 18 => Self::Resume { job: next()? },
            19 => Self::Close { job: next()? },
            20 if kind / 32 % 2 == 1 => Self::Clear { job: next()? },
            20 => Self::Cancel { job: next()? },
            21 => Self::DropJob { job: next()? },
            22 => Self::Wait { job: next()? },
            23 => Self::Join { handle: next()? },
            24 | 25 => Self::CancelTask { handle: next()? },
            26 => Self::DropHandle { handle: next()? },
            27 | 28 => Self::LetGo { count: next()? },
            29 => match kind / 32 % 4 {
                0 | 1 => Self::Settle,
                more => Self::Acquire { job: next()?, leaves: more == 2 },
            },
            30 => Self::Aside { job: next()?, what: Aside::of(next()?) },
            _ => Self::Shutdown {
                how: match kind / 32 % 4 {
                    0 => Shutdown::Drain,
                    1 => Shutdown::Drop,
                    2 => Shutdown::Now,
                    _ => Shutdown::Timeout,
                },
            },
        })
    }
}
