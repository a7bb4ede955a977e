//! What happened when, in slots of one width: requests in flight against the limit, ends of requests, and latencies.
//!
//! The width doubles whenever there are too many slots, so a run of any length needs little memory.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The width of slots at the start.
const FIRST_WIDTH: Duration = Duration::from_millis(10);

/// With more slots than this, each two become one.
const MOST_SLOTS: usize = 256;

/// Latencies are told apart by this many steps for each doubling.
const STEPS: f64 = 8.0;

/// The history of a job or a host.
#[derive(Debug)]
pub(crate) struct Timeline(Mutex<History>);

/// The slots so far.
#[derive(Clone, Debug)]
pub(crate) struct History {
    start: Instant,
    pub(crate) width: Duration,
    pub(crate) slots: Vec<Slot>,
    /// How many are in flight now.
    in_flight: usize,
    /// The limit that is in force now.
    limit: Option<usize>,
}

/// A part of the history.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot {
    /// The most at once.
    pub(crate) in_flight: usize,
    /// The greatest limit that was in force.
    pub(crate) limit: Option<usize>,
    /// Requests that ended, and passed.
    pub(crate) ok: u64,
    /// Requests that ended, and failed.
    pub(crate) failed: u64,
    /// How many of those that passed took so long: logarithmic steps from a microsecond on.
    took: Vec<u32>,
}

impl Timeline {
    /// An empty history with a limit.
    pub(crate) fn new(start: Instant, limit: Option<usize>) -> Self {
        let (slots, in_flight) = (Vec::new(), 0);
        Timeline(Mutex::new(History { start, width: FIRST_WIDTH, slots, in_flight, limit }))
    }

    /// Notes that a request is in flight until the guard drops, and how many are with it.
    pub(crate) fn enter(&self, in_flight: usize) -> Noted<'_> {
        self.begin(Instant::now(), in_flight);
        Noted(self)
    }

    fn begin(&self, now: Instant, in_flight: usize) {
        let mut history = self.history();
        let slot = history.slot(now);
        slot.in_flight = slot.in_flight.max(in_flight);
        history.in_flight = in_flight;
    }

    fn end(&self, now: Instant) {
        let mut history = self.history();
        history.slot(now);
        history.in_flight = history.in_flight.saturating_sub(1);
    }

    /// Notes what came of a request: how long it took, if it passed.
    pub(crate) fn record(&self, now: Instant, took: Option<Duration>) {
        let mut history = self.history();
        let slot = history.slot(now);
        match took {
            Some(took) => {
                slot.ok += 1;
                slot.add_latency(took);
            }
            None => slot.failed += 1,
        }
    }

    /// Notes that another limit is in force.
    pub(crate) fn set_limit(&self, now: Instant, limit: usize) {
        let mut history = self.history();
        let slot = history.slot(now);
        slot.limit = slot.limit.max(Some(limit));
        history.limit = Some(limit);
    }

    /// The history up to a moment.
    pub(crate) fn until(&self, now: Instant) -> History {
        let mut history = self.history().clone();
        history.slot(now);
        history
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

/// A request that is in flight.
#[must_use]
#[derive(Debug)]
pub(crate) struct Noted<'a>(&'a Timeline);

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        self.0.end(Instant::now());
    }
}

impl History {
    /// The slot of a moment. Slots that nothing happened in are as it was before them.
    fn slot(&mut self, now: Instant) -> &mut Slot {
        let since = now.saturating_duration_since(self.start);
        while since.as_nanos() / self.width.as_nanos() >= MOST_SLOTS as u128 {
            self.halve();
        }
        let at = (since.as_nanos() / self.width.as_nanos()) as usize;
        let (in_flight, limit) = (self.in_flight, self.limit);
        while self.slots.len() <= at {
            self.slots.push(Slot { in_flight, limit, ..Slot::default() });
        }
        &mut self.slots[at]
    }

    /// Makes one slot of each two.
    fn halve(&mut self) {
        self.width *= 2;
        let pairs = self.slots.chunks(2).map(|pair| {
            let mut slot = pair[0].clone();
            pair[1..].iter().for_each(|other| slot.follow(other));
            slot
        });
        self.slots = pairs.collect();
    }

    /// The same with at most so many slots.
    pub(crate) fn coarser(&self, most: usize) -> History {
        let mut history = self.clone();
        while history.slots.len() > most {
            history.halve();
        }
        history
    }

    /// Adds the requests of another job, which ran at the same time.
    pub(crate) fn add(&mut self, other: &History) {
        let mut other = other.clone();
        while self.width < other.width {
            self.halve();
        }
        while other.width < self.width {
            other.halve();
        }
        let most = self.slots.len().max(other.slots.len());
        self.slots.resize_with(most, Slot::default);
        for (own, other) in self.slots.iter_mut().zip(&other.slots) {
            own.add_requests(other);
        }
    }
}

impl Slot {
    fn follow(&mut self, later: &Slot) {
        self.in_flight = self.in_flight.max(later.in_flight);
        self.limit = self.limit.max(later.limit);
        self.add_requests(later);
    }

    fn add_requests(&mut self, other: &Slot) {
        self.ok += other.ok;
        self.failed += other.failed;
        if self.took.len() < other.took.len() {
            self.took.resize(other.took.len(), 0);
        }
        self.took.iter_mut().zip(&other.took).for_each(|(own, other)| *own += other);
    }

    fn add_latency(&mut self, took: Duration) {
        let microseconds = (took.as_secs_f64() * 1e6).max(1.0);
        let step = (microseconds.log2() * STEPS) as usize;
        if self.took.len() <= step {
            self.took.resize(step + 1, 0);
        }
        self.took[step] += 1;
    }

    /// The latency, in milliseconds, that `quantile` of the requests that passed stayed within, to about a tenth.
    pub(crate) fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        let count: u64 = self.took.iter().map(|count| u64::from(*count)).sum();
        let due = ((count as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        let step = self.took.iter().position(|count| {
            seen += u64::from(*count);
            seen >= due
        })?;
        Some(2_f64.powf((step as f64 + 0.5) / STEPS) / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_slot_has_the_most_in_flight_and_what_was_before_it() {
        let start = Instant::now();
        let timeline = Timeline::new(start, Some(3));
        timeline.begin(start + ms(5), 1);
        timeline.begin(start + ms(25), 2);
        timeline.end(start + ms(26));
        timeline.set_limit(start + ms(45), 7);
        timeline.end(start + ms(55));
        timeline.record(start + ms(55), Some(ms(40)));
        timeline.record(start + ms(56), None);
        let history = timeline.until(start + ms(65));
        let in_flight: Vec<_> = history.slots.iter().map(|slot| slot.in_flight).collect();
        let limits: Vec<_> = history.slots.iter().map(|slot| slot.limit.unwrap()).collect();
        assert_eq!((in_flight, limits), (vec![1, 1, 2, 1, 1, 1, 0], vec![3, 3, 3, 3, 7, 7, 7]));
        let slot = &history.slots[5];
        assert_eq!((slot.ok, slot.failed), (1, 1));
        let p50 = slot.quantile_ms(0.5).unwrap();
        assert!((36.0..44.0).contains(&p50), "{p50}");
        assert_eq!(history.slots[4].quantile_ms(0.5), None);
    }

    #[test]
    fn a_long_run_has_few_slots_and_loses_no_request() {
        let start = Instant::now();
        let (timeline, other) = (Timeline::new(start, None), Timeline::new(start, None));
        for second in 0..100_000 {
            timeline.begin(start + ms(second * 1_000), 1 + second as usize % 5);
            timeline.record(start + ms(second * 1_000), Some(ms(1 + second % 9)));
        }
        other.record(start, None);
        let mut history = timeline.until(start + ms(100_000_000));
        history.add(&other.until(start));
        assert!(history.slots.len() <= MOST_SLOTS && history.slots.len() > MOST_SLOTS / 3);
        let total = |history: &History| history.slots.iter().map(|slot| slot.ok).sum::<u64>();
        assert_eq!((total(&history), history.slots[0].failed), (100_000, 1));
        let coarse = history.coarser(10);
        assert!(coarse.slots.len() <= 10);
        assert_eq!(total(&coarse), 100_000);
        assert!(coarse.slots.iter().all(|slot| slot.in_flight == 5));
    }
}
