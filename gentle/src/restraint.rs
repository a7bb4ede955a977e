//! Back-off: sends nothing to a server for a time after the server has refused.
//!
//! A server is a job of the library, above the jobs of the plan that send to it. A refusal holds this job off. From then on the job has
//! a limit of 1, so after the time one request goes first. If it is answered, the limit goes; if it is refused, the time is doubled.

use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tollgate::Job;

/// The first time without requests, and the longest that is not the server's own wish.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// The longest wish of a server that is followed.
const LONGEST_WISH: Duration = Duration::from_secs(60 * 60);

/// After so many refusals in a row nothing more is sent to a server.
const MOST_REFUSALS: u32 = 10;

/// The same for a server that has never answered.
const MOST_REFUSALS_EVER: u32 = 4;

/// What keeps requests from one server.
#[derive(Debug)]
pub(crate) struct Restraint {
    /// Held off, limited or cancelled, and nothing else.
    job: Job,
    /// How often requests were held off.
    holds: AtomicU64,
    /// Whether the server has ever answered.
    has_answered: AtomicBool,
    refusals_in_row: Mutex<u32>,
}

/// A request that leaves for the server.
#[must_use]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass<'a> {
    restraint: &'a Restraint,
    /// How many holds came before.
    holds: u64,
    /// Whether the request goes first, and the others wait for it.
    goes_first: bool,
}

/// How a server took a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It answered.
    Well,
    /// It refused, and may have said for how long.
    Refused(Option<Duration>),
    /// There was no whole answer.
    Lost,
}

impl Restraint {
    /// `job` must have no limit.
    pub(crate) fn new(job: Job) -> Self {
        let (holds, has_answered) = (AtomicU64::new(0), AtomicBool::new(false));
        Restraint { job, holds, has_answered, refusals_in_row: Mutex::default() }
    }

    /// The job whose permits let requests go to the server. It is closed once the server has refused so often that nothing more is sent.
    pub(crate) fn job(&self) -> &Job {
        &self.job
    }

    /// Returns the pass of a request that is about to leave.
    pub(crate) fn pass(&self) -> Pass<'_> {
        // The number comes first: a request that sees the limit of a hold, and not its number, counts as one from before it.
        let holds = self.holds();
        Pass { restraint: self, holds, goes_first: self.job.limit() == 1 }
    }

    /// Whether nothing may be sent now. A permit from before a hold may say otherwise.
    pub(crate) fn is_held_off(&self) -> bool {
        self.job.held_until().is_some()
    }

    /// How often requests were held off.
    pub(crate) fn holds(&self) -> u64 {
        // Ordering: Acquire, with the Release of `hold_off`: its limit is seen by a request that sees its number.
        self.holds.load(Ordering::Acquire)
    }

    fn note_answer(&self) {
        // Ordering: Relaxed; the flag says nothing of other memory. One that is set is not written, so that threads share its line.
        if !self.has_answered.load(Ordering::Relaxed) {
            self.has_answered.store(true, Ordering::Relaxed);
        }
    }

    /// Counts a refusal that is not the server's own wish.
    fn refused(&self, refusals_in_row: &mut u32) {
        *refusals_in_row += 1;
        // Ordering: Relaxed; see `note_answer`.
        let has_answered = self.has_answered.load(Ordering::Relaxed);
        let doubled = FIRST.saturating_mul(1 << (*refusals_in_row - 1).min(10));
        self.hold_off(doubled.min(LONGEST).mul_f64(1.0 + random_share() / 4.0));
        if *refusals_in_row >= if has_answered { MOST_REFUSALS } else { MOST_REFUSALS_EVER } {
            self.job.cancel();
        }
    }

    fn hold_off(&self, time: Duration) {
        self.job.set_limit(1);
        self.job.hold_off(time);
        // Ordering: Release, with the Acquire of `holds`.
        self.holds.fetch_add(1, Ordering::Release);
    }
}

impl Pass<'_> {
    /// Whether the request goes first after a time without requests.
    pub(crate) fn goes_first(self) -> bool {
        self.goes_first
    }

    /// Says how the server took the request.
    pub(crate) fn end(self, taken: Taken) {
        let Pass { restraint, holds, goes_first } = self;
        if taken == Taken::Well {
            restraint.note_answer();
            if !goes_first {
                return;
            }
        }
        let mut refusals_in_row =
            restraint.refusals_in_row.lock().expect("nothing panics under this lock");
        match taken {
            Taken::Refused(Some(wish)) => {
                restraint.note_answer();
                restraint.hold_off(wish.min(LONGEST_WISH));
            }
            // A request that had left before the last hold says nothing new, unless the server has a longer wish.
            _ if holds < restraint.holds() => {}
            Taken::Well => {
                *refusals_in_row = 0;
                restraint.job.set_limit(usize::MAX);
            }
            Taken::Lost if !goes_first => {}
            Taken::Lost | Taken::Refused(None) => restraint.refused(&mut refusals_in_row),
        }
    }
}

/// A random number from 0 to 1.
fn random_share() -> f64 {
    RandomState::new().hash_one(()) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use tollgate::{ManualClock, Pool};

    use super::*;

    /// Refuses requests until the server gets no more. Gives the times for which it was held off, in milliseconds.
    fn refuse(restraint: &Restraint, clock: &ManualClock) -> Vec<u128> {
        let mut held = Vec::new();
        while !restraint.job().is_closed() {
            restraint.pass().end(Taken::Refused(None));
            let until = restraint.job().held_until().unwrap_or_else(|| clock.now());
            held.push((until - clock.now()).as_millis());
            clock.advance(until - clock.now());
        }
        held
    }

    #[test]
    fn the_time_is_doubled_up_to_the_longest_and_a_quarter_more_by_chance() {
        for (answers, due) in [
            (false, vec![500, 1_000, 2_000]),
            (true, vec![500, 1_000, 2_000, 4_000, 8_000, 16_000]),
        ] {
            let clock = ManualClock::new();
            let pool = Pool::builder().workers(1).clock(&clock).build().unwrap();
            let restraint = Restraint::new(pool.job(usize::MAX));
            if answers {
                restraint.pass().end(Taken::Well);
            }
            let held = refuse(&restraint, &clock);
            let most = if answers { MOST_REFUSALS } else { MOST_REFUSALS_EVER };
            assert_eq!((held.len(), restraint.holds()), (most as usize, most.into()));
            let due = due.into_iter().chain(std::iter::repeat(LONGEST.as_millis()));
            for (held, due) in held.iter().zip(due).take(most as usize - 1) {
                assert!((due..=due * 5 / 4).contains(held), "{held} of {due} ms");
            }
        }
    }

    #[test]
    fn a_wish_is_followed_for_an_hour_at_most() {
        let clock = ManualClock::new();
        let pool = Pool::builder().workers(1).clock(&clock).build().unwrap();
        let restraint = Restraint::new(pool.job(usize::MAX));
        let hour = Duration::from_secs(3_600);
        for (wish, followed) in [(hour / 2, hour / 2), (hour, hour), (hour * 24, hour)] {
            restraint.pass().end(Taken::Refused(Some(wish)));
            assert_eq!(restraint.job().held_until(), Some(clock.now() + followed));
            clock.advance(followed);
        }
    }

    #[test]
    fn only_the_request_that_goes_first_ends_a_hold() {
        let clock = ManualClock::new();
        let pool = Pool::builder().workers(1).clock(&clock).build().unwrap();
        let restraint = Restraint::new(pool.job(usize::MAX));
        let [refused, also_refused, answered] = [(); 3].map(|()| restraint.pass());
        refused.end(Taken::Refused(None));
        also_refused.end(Taken::Refused(None));
        answered.end(Taken::Well);
        assert_eq!((restraint.holds(), restraint.job().limit()), (1, 1));
        let wish = Duration::from_secs(60);
        answered.end(Taken::Refused(Some(wish)));
        assert_eq!(restraint.job().held_until(), Some(clock.now() + wish));
        clock.advance(wish);
        let first = restraint.pass();
        assert!(first.goes_first() && !restraint.is_held_off());
        first.end(Taken::Well);
        assert_eq!(restraint.job().limit(), usize::MAX);
        assert!(!restraint.pass().goes_first());
    }
}
