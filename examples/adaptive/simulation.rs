//! A virtual server, and a client that sends to it as much as an adaptive job of the library lets through.
//!
//! No time passes: the clock is moved from one event to the next. So a run of a minute takes milliseconds, and repeats exactly. The
//! job, its permits, its samples and its updates are the library's own.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use tollgate::{Adaptive, LimitRule, ManualClock, Permit, Pool};

/// How long a run is.
pub const LENGTH: Duration = Duration::from_secs(120);
/// How long a server takes to refuse.
const REFUSAL: Duration = Duration::from_millis(20);
/// The range of all limits.
pub const LEAST: usize = 1;
pub const MOST: usize = 200;

/// What a server is like at a time: from 0, the begin of the run, to 1, its end.
#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    /// The requests that it serves at once: the knee.
    pub serves: fn(f64) -> usize,
    /// The mean time that it needs for one, in seconds.
    pub takes: fn(f64) -> f64,
    /// The requests that may wait. It refuses more.
    pub queue: usize,
    /// When the client gives a request up. The server serves it all the same.
    pub timeout: Duration,
}

/// The scenarios of the table.
pub const SCENARIOS: [Scenario; 5] = [
    Scenario {
        name: "knee",
        serves: |_| 20,
        takes: |_| 0.050,
        queue: usize::MAX,
        timeout: Duration::from_secs(2),
    },
    Scenario {
        name: "refuses",
        serves: |_| 20,
        takes: |_| 0.050,
        queue: 10,
        timeout: Duration::from_secs(2),
    },
    Scenario {
        name: "drift",
        serves: |_| 20,
        takes: |at| 0.050 + 0.150 * at,
        queue: usize::MAX,
        timeout: Duration::from_secs(5),
    },
    Scenario {
        name: "step",
        serves: |at| if at < 0.5 { 40 } else { 10 },
        takes: |_| 0.050,
        queue: 40,
        timeout: Duration::from_secs(2),
    },
    Scenario {
        name: "stalled",
        serves: |_| 1,
        takes: |_| 3_600.0,
        queue: usize::MAX,
        timeout: Duration::from_secs(1),
    },
];

/// What came of a run. The figures are of its last quarter.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The least, the mean and the greatest limit.
    pub least: usize,
    pub mean: f64,
    pub greatest: usize,
    /// The good answers, as a share of what the server can serve.
    pub used: f64,
    /// The refusals and time-outs, as a share of the requests.
    pub overloads: f64,
    /// The mean time of a good answer, as a multiple of what the server needs for one.
    pub slowed: f64,
}

/// A request in flight.
struct Flight {
    permit: Permit,
    /// The time of a good answer.
    took: Option<Duration>,
    /// The time that the server needed for it alone.
    alone: Duration,
}

/// The server's clockwork: a free time for each place, and seeded numbers.
struct Server {
    scenario: Scenario,
    /// When each request ends that the server has taken.
    ends: Vec<Duration>,
    seed: u64,
}

/// How the server takes a request.
enum Taken {
    Refused,
    Served { end: Duration, alone: Duration },
}

impl Server {
    /// Returns a number between 0 and 1 that a seed decides.
    fn chance(&mut self) -> f64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn take(&mut self, now: Duration) -> Taken {
        let at = now.as_secs_f64() / LENGTH.as_secs_f64();
        self.ends.retain(|end| *end > now);
        let places = (self.scenario.serves)(at);
        if self.ends.len().saturating_sub(places) >= self.scenario.queue {
            return Taken::Refused;
        }
        // The request starts when all but `places - 1` of those before it have ended.
        self.ends.sort_unstable();
        let before = self.ends.len();
        let start = if before < places { now } else { self.ends[before - places] };
        // Between 0.8 and 1.2 of the mean.
        let takes = (self.scenario.takes)(at) * (0.8 + 0.4 * self.chance());
        let alone = Duration::from_secs_f64(takes);
        self.ends.push(start + alone);
        Taken::Served { end: start + alone, alone }
    }
}

/// Sends as much as the rule lets through, for the length of a run.
pub fn run(scenario: Scenario, rule: impl LimitRule + 'static) -> Outcome {
    let clock = ManualClock::new();
    let pool =
        Pool::builder().workers(1).clock(&clock).build().expect("a pool of one worker starts");
    let job = pool.job_builder().limit(10).adaptive(Adaptive::new(LEAST..=MOST).rule(rule)).build();
    let mut server = Server { scenario, ends: Vec::new(), seed: 0x9E37_79B9_7F4A_7C15 };
    let mut flights: Vec<Option<Flight>> = Vec::new();
    let mut events = BinaryHeap::new();
    let (mut now, mut figures) = (Duration::ZERO, Figures::default());
    let judged = LENGTH * 3 / 4;
    while now < LENGTH {
        while let Ok(permit) = job.try_acquire() {
            let (end, took, alone) = match server.take(now) {
                Taken::Refused => (now + REFUSAL, None, REFUSAL),
                Taken::Served { end, alone } if end - now > scenario.timeout => {
                    (now + scenario.timeout, None, alone)
                }
                Taken::Served { end, alone } => (end, Some(end - now), alone),
            };
            events.push(Reverse((end, flights.len())));
            flights.push(Some(Flight { permit, took, alone }));
        }
        let Reverse((end, number)) = events.pop().expect("the limit lets a request through");
        if now >= judged {
            figures.note_limit(job.limit(), end - now);
        }
        clock.advance(end - now);
        now = end;
        let mut flight = flights[number].take().expect("a request ends once");
        if now >= judged {
            figures.note_end(&flight);
        }
        if flight.took.is_none() {
            flight.permit.overloaded();
        }
        drop(flight);
    }
    let capacity = (scenario.serves)(1.0) as f64 / (scenario.takes)(0.875);
    figures.outcome(capacity * (LENGTH - judged).as_secs_f64())
}

/// Sums over the last quarter.
#[derive(Default)]
struct Figures {
    limits: Option<(usize, usize)>,
    limit_seconds: f64,
    seconds: f64,
    good: u64,
    overloads: u64,
    slowed: f64,
}

impl Figures {
    fn note_limit(&mut self, limit: usize, time: Duration) {
        let (least, greatest) = self.limits.unwrap_or((limit, limit));
        self.limits = Some((least.min(limit), greatest.max(limit)));
        self.limit_seconds += limit as f64 * time.as_secs_f64();
        self.seconds += time.as_secs_f64();
    }

    fn note_end(&mut self, flight: &Flight) {
        match flight.took {
            Some(took) => {
                self.good += 1;
                self.slowed += took.as_secs_f64() / flight.alone.as_secs_f64();
            }
            None => self.overloads += 1,
        }
    }

    fn outcome(&self, capacity: f64) -> Outcome {
        let (least, greatest) = self.limits.unwrap_or_default();
        let requests = (self.good + self.overloads).max(1);
        Outcome {
            least,
            mean: self.limit_seconds / self.seconds,
            greatest,
            used: self.good as f64 / capacity,
            overloads: self.overloads as f64 / requests as f64,
            slowed: self.slowed / self.good.max(1) as f64,
        }
    }
}
