//! `Retry`: how often a task is tried, and how long the task waits between two attempts.

use crate::rate::FAR;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// How often [`Job::spawn_retry`](crate::Job::spawn_retry) tries a task, and how long the task waits between two attempts.
///
/// Each delay between two attempts is the previous delay multiplied by a factor, up to a longest delay. The *jitter* then
/// shortens the delay by a random part. So tasks that failed at the same time are tried again at different times.
///
/// | | default |
/// |---|---|
/// | [`attempts`](Self::attempts) | 5 |
/// | [`first_delay`](Self::first_delay) | 100 ms |
/// | [`factor`](Self::factor) | 2 |
/// | [`longest_delay`](Self::longest_delay) | 30 s |
/// | [`jitter`](Self::jitter) | 0.5 |
///
/// # Examples
///
/// A policy of three attempts, with delays of some 10 ms and 20 ms:
///
/// ```
/// use std::time::Duration;
/// use tollgate::Retry;
///
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// let policy = Retry::new().attempts(3).first_delay(Duration::from_millis(10));
/// let task = pool.job(1).spawn_retry(policy, || Err::<(), _>("no answer"));
/// let last = task.join().unwrap();
/// assert_eq!((last.result, last.attempts), (Err("no answer"), 3));
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use = "a policy does nothing until a task is pushed with it"]
pub struct Retry {
    attempts: u32,
    first_delay: Duration,
    factor: f64,
    longest_delay: Duration,
    jitter: f64,
    seed: Option<u64>,
}

impl Retry {
    /// Makes the default policy. The other methods change its settings.
    ///
    /// # Examples
    ///
    /// ```
    /// use tollgate::Retry;
    ///
    /// assert_eq!(Retry::new(), Retry::new().attempts(5).factor(2.0).jitter(0.5));
    /// ```
    pub fn new() -> Self {
        Self {
            attempts: 5,
            first_delay: Duration::from_millis(100),
            factor: 2.0,
            longest_delay: Duration::from_secs(30),
            jitter: 0.5,
            seed: None,
        }
    }

    /// Sets the greatest number of attempts, the first attempt included.
    ///
    /// # Panics
    ///
    /// Panics if `most` is 0.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let once = tollgate::Retry::new().attempts(1);
    /// let task = pool.job(1).spawn_retry(once, || Err::<(), _>("no"));
    /// assert_eq!(task.join().unwrap().attempts, 1);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn attempts(mut self, most: u32) -> Self {
        assert!(most > 0, "a task of 0 attempts would never run: allow at least 1");
        self.attempts = most;
        self
    }

    /// Sets the delay between the first two attempts.
    ///
    /// # Examples
    ///
    /// See the example of [`Retry`].
    pub fn first_delay(mut self, delay: Duration) -> Self {
        self.first_delay = delay;
        self
    }

    /// Sets the number by which each delay is multiplied to make the next one.
    ///
    /// # Panics
    ///
    /// Panics if `factor` is less than 1, or is not a finite number.
    ///
    /// # Examples
    ///
    /// A policy that waits equally long between all attempts:
    ///
    /// ```
    /// use std::time::Duration;
    /// use tollgate::{ManualClock, Pool, Retry};
    ///
    /// let clock = ManualClock::new();
    /// let pool = Pool::builder().workers(1).clock(&clock).build()?;
    /// let (job, second) = (pool.job(1), Duration::from_secs(1));
    /// let mut left = 2;
    /// let task = job.spawn_retry(Retry::new().first_delay(second).factor(1.0).jitter(0.0), move || {
    ///     left -= 1;
    ///     if left > 0 { Err(left) } else { Ok("done") }
    /// });
    /// while job.stats().delayed == 0 {
    ///     std::thread::yield_now(); // the first attempt
    /// }
    /// clock.advance(second);
    /// assert_eq!(task.join().unwrap().result, Ok("done"));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn factor(mut self, factor: f64) -> Self {
        assert!(
            factor >= 1.0 && factor.is_finite(),
            "delays cannot grow by a factor of {factor}: set a number of 1 or more"
        );
        self.factor = factor;
        self
    }

    /// Sets the longest delay between two attempts, which replaces each longer delay.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tollgate::Retry;
    ///
    /// // 100 ms, 200 ms, 300 ms, 300 ms
    /// let policy = Retry::new().longest_delay(Duration::from_millis(300)).jitter(0.0);
    /// assert_ne!(policy, Retry::new().jitter(0.0));
    /// ```
    pub fn longest_delay(mut self, delay: Duration) -> Self {
        self.longest_delay = delay;
        self
    }

    /// Sets the jitter: the greatest part by which a delay can be shortened. Each delay is shortened by a random part,
    /// from 0 to `part`. With 0 no delay is shortened, and with 1 a delay can be shortened to zero.
    ///
    /// # Panics
    ///
    /// Panics if `part` is not from 0 to 1.
    ///
    /// # Examples
    ///
    /// See the example of [`factor`](Self::factor).
    #[track_caller]
    pub fn jitter(mut self, part: f64) -> Self {
        assert!(
            (0.0..=1.0).contains(&part),
            "a jitter of {part} is no part of a delay: set 0 to 1"
        );
        self.jitter = part;
        self
    }

    /// Makes the jitter repeatable, for tests: all tasks with this policy have the same delays.
    ///
    /// Without a seed, each task has its own random jitter.
    ///
    /// # Examples
    ///
    /// ```
    /// use tollgate::Retry;
    ///
    /// let policy = Retry::new().seed(7);
    /// assert_eq!(policy, Retry::new().seed(7));
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Returns the delay after the attempt with the number `attempt`, without jitter. The first attempt has the number 1.
    fn full_delay(&self, attempt: u32) -> Duration {
        let longest = self.longest_delay.min(FAR);
        let power = self.factor.powi(i32::try_from(attempt - 1).unwrap_or(i32::MAX));
        let seconds = self.first_delay.as_secs_f64() * power;
        // After many attempts `power` is infinite. Zero times infinity is not a number, so a first delay of zero is handled apart.
        let delay = Duration::try_from_secs_f64(seconds);
        if self.first_delay.is_zero() {
            Duration::ZERO
        } else {
            delay.unwrap_or(longest).min(longest)
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self::new()
    }
}

/// The outcome of a task that is tried again while it fails: the result of the last attempt, and the number of
/// attempts.
///
/// # Examples
///
/// ```
/// use tollgate::{Retried, Retry};
///
/// let pool = tollgate::Pool::builder().workers(1).build()?;
/// let task = pool.job(1).spawn_retry(Retry::new(), || Ok::<_, ()>("at once"));
/// let Retried { result, attempts } = task.join().unwrap();
/// assert_eq!((result, attempts), (Ok("at once"), 1));
/// # Ok::<(), tollgate::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retried<T, E> {
    /// The result of the last attempt.
    pub result: Result<T, E>,
    /// The number of attempts that were made.
    pub attempts: u32,
}

/// The number of attempts that one task has made so far, and the task's policy.
#[derive(Debug)]
pub struct Attempts {
    policy: Retry,
    made: u32,
    random: u64,
}

impl Attempts {
    /// Makes the state of a task that was not tried yet.
    pub fn new(policy: Retry) -> Self {
        // Without a seed, the random generator starts with the value of a new hasher of the standard library, which has random
        // keys.
        let random = policy.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        Self { policy, made: 0, random }
    }

    /// Counts an attempt. Returns the number of attempts so far.
    pub fn count(&mut self) -> u32 {
        self.made += 1;
        self.made
    }

    /// Returns how long the task waits for its next attempt, or `None` if the policy allows no further attempt.
    pub fn next_delay(&mut self) -> Option<Duration> {
        if self.made >= self.policy.attempts {
            return None;
        }
        let full = self.policy.full_delay(self.made);
        Some(full.mul_f64(1.0 - self.policy.jitter * self.random_part()))
    }

    /// Returns a random number from 0 to less than 1, by the generator SplitMix64.
    fn random_part(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^= bits >> 31;
        (bits >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(policy: Retry) -> Vec<Duration> {
        let mut attempts = Attempts::new(policy);
        let next = || {
            attempts.count();
            attempts.next_delay()
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn delays_grow_by_the_factor_up_to_the_longest() {
        let policy = Retry::new().attempts(6).first_delay(Duration::from_millis(100)).jitter(0.0);
        let millis = |policy| delays(policy).iter().map(Duration::as_millis).collect::<Vec<_>>();
        assert_eq!(millis(policy), [100, 200, 400, 800, 1_600]);
        assert_eq!(millis(policy.factor(1.0)), [100; 5]);
        let longest = policy.longest_delay(Duration::from_millis(300));
        assert_eq!(millis(longest), [100, 200, 300, 300, 300]);
        assert_eq!(millis(policy.attempts(1)), []);
        assert_eq!(millis(policy.first_delay(Duration::ZERO)), [0; 5]);
        // No number of attempts makes a delay overflow.
        let great = Retry::new().attempts(5_000).longest_delay(Duration::MAX).jitter(0.0);
        assert_eq!(delays(great).last(), Some(&FAR));
        let zero = great.first_delay(Duration::ZERO);
        assert_eq!(delays(zero).last(), Some(&Duration::ZERO));
    }

    #[test]
    fn jitter_shortens_by_a_part_and_a_seed_repeats_it() {
        for jitter in [0.1, 0.5, 1.0] {
            let policy = Retry::new().attempts(1_000).factor(1.0).jitter(jitter);
            let (full, seeded) = (Duration::from_millis(100), delays(policy.seed(7)));
            let least = full.mul_f64(1.0 - jitter);
            assert!(seeded.iter().all(|delay| (least..=full).contains(delay)));
            let mean = seeded.iter().sum::<Duration>() / 999;
            let wanted = full.mul_f64(1.0 - jitter / 2.0);
            assert!(mean.abs_diff(wanted) < full.mul_f64(jitter / 10.0), "{mean:?}");
            assert_eq!(seeded, delays(policy.seed(7)));
            assert_ne!(seeded, delays(policy.seed(8)));
            assert_ne!(delays(policy), delays(policy));
        }
    }

    #[test]
    fn jitter_shortens_the_longest_delay_too() {
        let longest = Duration::from_millis(100);
        let policy = Retry::new().attempts(1_000).longest_delay(longest).jitter(0.5).seed(7);
        let delays = delays(policy.first_delay(10 * longest));
        assert!(delays.iter().all(|delay| (longest / 2..=longest).contains(delay)));
        let mean = delays.iter().sum::<Duration>() / 999;
        assert!(mean.abs_diff(longest.mul_f64(0.75)) < longest / 20, "{mean:?}");
    }
}
