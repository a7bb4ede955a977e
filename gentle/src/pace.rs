//! Rates: how many requests may be sent a second.

use std::time::{Duration, Instant};

use tokio::sync::{Mutex, MutexGuard};

use crate::plan::Rate;

/// Spaces requests out. The requests wait in the order in which they came.
#[derive(Debug)]
pub(crate) struct Pacer {
    interval: Duration,
    burst: u32,
    schedule: Mutex<Schedule>,
}

/// The times at which requests are due, one after each interval.
#[derive(Debug, Default)]
struct Schedule {
    /// The first request.
    start: Option<Instant>,
    /// When the next request is due.
    next: Option<Instant>,
}

/// The right to be the next request of a pacer. Dropping it gives the right to the request behind.
#[derive(Debug)]
pub(crate) struct Gate<'a> {
    interval: Duration,
    burst: u32,
    schedule: MutexGuard<'a, Schedule>,
}

/// A place in the schedule that a request has taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    due: Instant,
    /// Places before this one that no request took, because none could be sent.
    missed: u64,
    interval: Duration,
}

impl Pacer {
    pub(crate) fn new(rate: Rate) -> Self {
        let interval = Duration::from_secs_f64(1.0 / rate.per_second);
        Pacer { interval, burst: rate.burst, schedule: Mutex::default() }
    }

    /// Waits until a request is due, behind all requests that came before.
    pub(crate) async fn gate(&self) -> Gate<'_> {
        let mut schedule = self.schedule.lock().await;
        let now = Instant::now();
        schedule.start.get_or_insert(now);
        // A bucket that is full lets a burst pass at once.
        let full = now.checked_sub(times(self.interval, (self.burst - 1).into())).unwrap_or(now);
        let next = *schedule.next.get_or_insert(full);
        tokio::time::sleep_until(next.into()).await;
        Gate { interval: self.interval, burst: self.burst, schedule }
    }
}

impl Gate<'_> {
    /// Takes the place that is due. At most a burst of places can be caught up with; those before are lost.
    pub(crate) fn take(mut self) -> Slot {
        let (now, interval) = (Instant::now(), self.interval);
        let next = self.schedule.next.unwrap_or(now);
        let behind = now.saturating_duration_since(next).as_nanos() / interval.as_nanos().max(1);
        let missed = (behind as u64).saturating_sub(u64::from(self.burst - 1));
        let due = next + times(interval, missed);
        self.schedule.next = Some(due + interval);
        Slot { due: due.max(self.schedule.start.unwrap_or(due)), missed, interval }
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
