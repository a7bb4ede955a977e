//! Permits under which requests are sent, as samples for limits that find themselves.

use std::time::Duration;

/// A permit of the library. It is a sample once a request was sent under it: the time for which an unused permit was held says nothing of
/// the server.
#[must_use]
#[derive(Debug)]
pub(crate) struct Permit {
    permit: tollgate::Permit,
    is_used: bool,
}

impl From<tollgate::Permit> for Permit {
    fn from(permit: tollgate::Permit) -> Self {
        Permit { permit, is_used: false }
    }
}

impl Permit {
    /// Says how long a request took, and whether the server met an overload.
    pub(crate) fn sample(&mut self, took: Duration, overloaded: bool) {
        self.is_used = true;
        self.permit.set_latency(took);
        if overloaded {
            self.permit.overloaded();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.is_used {
            self.permit.discard_sample();
        }
    }
}

#[cfg(test)]
mod tests {
    use tollgate::{Adaptive, ManualClock, Pool};

    use super::*;

    #[test]
    fn a_permit_that_was_not_used_moves_no_limit() {
        let clock = ManualClock::new();
        let pool = Pool::builder().workers(1).clock(&clock).build().unwrap();
        let job = pool.job_builder().adaptive(Adaptive::new(1..=64)).build();
        let second = Duration::from_secs(1);
        for limit in 2..=8 {
            // Else it would be a quick request, beside which the next one is slow, or a signal to raise the limit.
            drop(Permit::from(job.try_acquire().unwrap()));
            clock.advance(second);
            let permits: Vec<_> = (1..limit).map(|_| job.try_acquire().unwrap()).collect();
            clock.advance(second);
            for permit in permits {
                Permit::from(permit).sample(second / 2, false);
            }
            assert_eq!(job.limit(), limit);
        }
        let mut refused = Permit::from(job.try_acquire().unwrap());
        clock.advance(second);
        refused.sample(second / 2, true);
        drop(refused);
        assert_eq!(job.limit(), 7);
    }
}
