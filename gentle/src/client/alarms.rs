//! Bounds how long requests take, with timers that are used again.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// Timers that no request needs now, the last used at the end.
///
/// A timer is not set anew for each request: it may go off early, and is then set to the end of the request of the moment. So a request
/// that is answered in time takes no part in the runtime's list of timers.
#[derive(Debug, Default)]
pub(crate) struct Alarms(Mutex<Vec<Pin<Box<Sleep>>>>);

impl Alarms {
    /// Waits for a future; `None` if it takes longer than `limit`.
    pub(crate) async fn within<F: Future>(
        &self,
        limit: Duration,
        mut future: Pin<&mut F>,
    ) -> Option<F::Output> {
        let deadline = Instant::now() + limit;
        let mut alarm = None;
        let output = poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            let alarm = alarm.get_or_insert_with(|| self.take(deadline));
            // The future may have used up the budget of its task, and must end in time nevertheless.
            while pin!(unconstrained(alarm.as_mut())).poll(cx).is_ready() {
                if alarm.deadline() >= deadline {
                    return Poll::Ready(None);
                }
                alarm.as_mut().reset(deadline);
            }
            Poll::Pending
        });
        let output = output.await;
        self.unused().extend(alarm);
        output
    }

    /// A timer that goes off at `deadline` or before.
    fn take(&self, deadline: Instant) -> Pin<Box<Sleep>> {
        let unused = self.unused().pop();
        let Some(mut alarm) = unused else { return Box::pin(sleep_until(deadline)) };
        if alarm.deadline() > deadline {
            alarm.as_mut().reset(deadline);
        }
        alarm
    }

    fn unused(&self) -> MutexGuard<'_, Vec<Pin<Box<Sleep>>>> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::runtime::Builder;
    use tokio::task::yield_now;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn run(test: impl Future<Output = ()>) {
        Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    #[test]
    fn a_timer_that_was_set_for_an_earlier_request_cuts_no_later_one_short() {
        run(async {
            let alarms = Alarms::default();
            for limit in [10, 40].map(Duration::from_millis) {
                let start = Instant::now();
                assert_eq!(alarms.within(limit, pin!(pending::<()>())).await, None);
                assert!(start.elapsed() >= limit);
            }
            assert_eq!(alarms.unused().len(), 1);
        });
    }

    #[test]
    fn a_timer_that_was_set_for_a_longer_time_goes_off_in_time() {
        run(async {
            let alarms = Alarms::default();
            assert_eq!(alarms.within(HOUR, pin!(yield_now())).await, Some(()));
            assert!(alarms.unused()[0].deadline() > Instant::now() + HOUR / 2);
            let limit = Duration::from_millis(10);
            assert_eq!(alarms.within(limit, pin!(pending::<()>())).await, None);
        });
    }

    #[test]
    fn a_request_that_is_answered_at_once_needs_no_timer() {
        run(async {
            let alarms = Alarms::default();
            assert_eq!(alarms.within(HOUR, pin!(ready(7))).await, Some(7));
            assert!(alarms.unused().is_empty());
        });
    }

    #[test]
    fn a_request_that_never_stops_working_ends_in_time() {
        run(async {
            let alarms = Alarms::default();
            // Uses up the budget of its task in each poll.
            let busy = async {
                loop {
                    tokio::task::coop::consume_budget().await;
                }
            };
            assert_eq!(alarms.within(Duration::from_millis(10), pin!(busy)).await, None::<()>);
        });
    }
}
