//! The times at which a job's requests are due.
//!
//! A rate of the library lets requests start, and does not tell when each could have started. The schedule repeats its arithmetic
//! for the latencies that are corrected for the rate, and holds nothing back.

use std::time::{Duration, Instant};

use crate::plan::Rate;

/// When the requests of a job are due by its rate.
#[derive(Debug, Default)]
pub(crate) struct Schedule(Option<Due>);

/// When the next request is due by a rate.
#[derive(Clone, Copy, Debug)]
struct Due {
    rate: Rate,
    /// The first request by this rate.
    start: Instant,
    next: Instant,
}

/// A place in the schedule that a request has taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    due: Instant,
    /// Places before this one that no request took, because none could be sent.
    missed: u64,
    interval: Duration,
}

impl Schedule {
    /// Takes the place of a request that is sent `now`. At most a burst of places can be caught up with; those before are lost.
    pub(crate) fn take(&mut self, rate: Rate, now: Instant) -> Slot {
        let (interval, saved) = (rate.interval(), times(rate.interval(), (rate.burst - 1).into()));
        let Due { start, next, .. } = match self.0 {
            Some(due) if due.rate == rate => due,
            // A new rate takes over what is used up, so no burst is due.
            Some(_) => Due { rate, start: now, next: now },
            None => Due { rate, start: now, next: now.checked_sub(saved).unwrap_or(now) },
        };
        let behind = now.saturating_duration_since(next).as_nanos() / interval.as_nanos();
        let missed = (behind as u64).saturating_sub(u64::from(rate.burst - 1));
        let due = (next + times(interval, missed)).max(start).min(now);
        let earliest = (now + interval).checked_sub(saved).unwrap_or(now);
        self.0 = Some(Due { rate, start, next: (next + interval).max(earliest) });
        Slot { due, missed, interval }
    }
}

impl Slot {
    /// What the latencies would have been if each request of the schedule had been sent when it was due: of the request that took
    /// this place, and of those whose places were missed. `end` is when the request ended.
    pub(crate) fn corrected(self, end: Instant) -> impl Iterator<Item = Duration> {
        /// More places than this are not told apart.
        const MOST: u64 = 1_000_000;
        let own = end.saturating_duration_since(self.due);
        (0..=self.missed.min(MOST)).map(move |before| own + times(self.interval, before))
    }
}

fn times(interval: Duration, count: u64) -> Duration {
    interval.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_A_SECOND: Rate = Rate { per_second: 10.0, burst: 3 };

    /// How late each request is that is sent at one of these times, in milliseconds.
    fn late(sent: &[u64]) -> Vec<Vec<u128>> {
        let (start, mut schedule) = (Instant::now(), Schedule::default());
        let at = |ms: u64| start + Duration::from_millis(ms);
        let slot = |ms: &u64| schedule.take(TEN_A_SECOND, at(*ms)).corrected(at(*ms));
        let late = sent.iter().map(slot).map(|late| late.map(|late| late.as_millis()).collect());
        late.collect()
    }

    #[test]
    fn requests_that_the_rate_holds_back_are_in_time() {
        assert_eq!(late(&[0, 0, 0, 100, 200, 300]), [[0]; 6]);
        // The lateness of one start moves the next one.
        assert_eq!(late(&[0, 0, 0, 105, 200, 300]), [[0], [0], [0], [5], [0], [0]]);
    }

    #[test]
    fn a_stall_makes_those_late_that_were_due_meanwhile() {
        let late = late(&[0, 0, 0, 1_000, 1_000, 1_000, 1_100]);
        // Ten were due from 100 ms to 1 s. The burst of three catches up, so seven places are lost.
        assert_eq!(late[3], [200, 300, 400, 500, 600, 700, 800, 900]);
        assert_eq!(late[4..], [[100], [0], [0]]);
    }

    #[test]
    fn a_new_rate_has_no_burst() {
        let (now, mut schedule) = (Instant::now(), Schedule::default());
        schedule.take(TEN_A_SECOND, now);
        let doubled = Rate { per_second: 20.0, burst: 9 };
        let at = |ms: u64| now + Duration::from_millis(ms);
        let late: Vec<_> = [100, 150, 200]
            .into_iter()
            .flat_map(|ms| schedule.take(doubled, at(ms)).corrected(at(ms)))
            .collect();
        assert_eq!(late, [Duration::ZERO; 3]);
    }
}
