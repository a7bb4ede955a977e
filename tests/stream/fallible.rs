//! `Job::try_for_each` and `Job::try_map`: the first error is the end of the input.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;

use tollgate::{JoinError, TryError};

use crate::common::event::Latch;
use crate::common::{LONG, panic_of, pool, with_workers, within};

#[test]
fn every_item_is_run_if_none_fails() {
    with_workers(|pool, _| {
        for limit in [1, 3, usize::MAX] {
            let job = pool.job(limit);
            let sum = AtomicUsize::new(0);
            job.try_for_each(0..2_000, |i| {
                sum.fetch_add(i, SeqCst);
                Ok::<_, ()>(())
            })
            .unwrap();
            assert_eq!(sum.into_inner(), 1_999_000);
            let doubled: Result<Vec<_>, TryError<()>> =
                job.try_map(0..2_000, |i| Ok(2 * i)).collect();
            assert!(doubled.unwrap().into_iter().eq((0..2_000).map(|i| 2 * i)));
            assert_eq!(job.stats().completed, 4_000);
        }
    });
}

/// The input has no end, so each call would hang if an error did not end it.
#[test]
fn an_error_ends_an_input_without_an_end() {
    with_workers(|pool, _| {
        for limit in [1, 3, usize::MAX] {
            let job = pool.job(limit);
            let fail = |i| if i < 1_000 { Ok(i) } else { Err(i) };
            let failed = job.try_for_each(0_u64.., |i| fail(i).map(drop));
            assert!(matches!(failed, Err(TryError::Failed(1_000..))), "{failed:?}");
            let mut results = job.try_map(0_u64.., fail);
            assert!(results.by_ref().take(1_000).map(Result::unwrap).eq(0..1_000));
            // Later items may have failed earlier, but the order is that of the input.
            assert!(matches!(results.next(), Some(Err(TryError::Failed(1_000)))));
            assert!(results.next().is_none());
            assert!(results.next().is_none());
            job.wait();
        }
    });
}

/// With a limit of 1 items run one by one, and none after the one that fails.
#[test]
fn no_call_begins_after_an_error() {
    within(LONG, || {
        let pool = pool(2);
        let job = pool.job(1);
        let calls = AtomicUsize::new(0);
        let failed = job.try_for_each(0..100_000, |i| {
            calls.fetch_add(1, SeqCst);
            if i == 70_000 { Err("no more") } else { Ok(()) }
        });
        assert!(matches!(failed, Err(TryError::Failed("no more"))));
        assert_eq!(calls.into_inner(), 70_001);
    });
}

/// The input is pulled no further at once, while an earlier item still runs.
#[test]
fn a_later_error_ends_the_input_while_an_earlier_item_runs() {
    within(LONG, || {
        let pool = pool(2);
        let latch = Latch::new();
        let opening = latch.opening();
        let (dropped, was_dropped) = mpsc::channel();
        struct Input(u32, mpsc::Sender<()>);
        impl Iterator for Input {
            type Item = u32;
            fn next(&mut self) -> Option<u32> {
                self.0 += 1;
                Some(self.0)
            }
        }
        impl Drop for Input {
            fn drop(&mut self) {
                _ = self.1.send(());
            }
        }
        let job = pool.job(2);
        let mut results = job.try_map(Input(0, dropped), move |i| {
            if i == 1 {
                opening.wait();
                return Ok(i);
            }
            Err(i)
        });
        std::thread::scope(|s| {
            let first = s.spawn(|| results.next());
            was_dropped.recv().unwrap();
            latch.open();
            assert_eq!(first.join().unwrap().unwrap().unwrap(), 1);
        });
        assert!(matches!(results.next(), Some(Err(TryError::Failed(2)))));
        assert!(results.next().is_none());
    });
}

#[test]
fn as_completed_ends_with_the_error_that_comes_first() {
    within(LONG, || {
        let pool = pool(2);
        let latch = Latch::new();
        let opening = latch.opening();
        let mut results = pool
            .job(2)
            .try_map(0..100, move |i| {
                if i == 0 {
                    opening.wait();
                }
                if i == 50 { Err("fifty") } else { Ok(i) }
            })
            .as_completed();
        let before: Vec<_> = results.by_ref().map_while(Result::ok).collect();
        assert!(before.into_iter().eq(1..50));
        assert!(results.next().is_none());
        latch.open();
    });
}

#[test]
fn a_panic_ends_the_input_and_is_passed_on() {
    within(LONG, || {
        let pool = pool(2);
        let job = pool.job(2);
        let said = panic_of(|| {
            job.try_for_each(0_u32.., |i| {
                assert!(i < 100, "a hundred");
                Ok::<_, ()>(())
            })
        });
        assert_eq!(said, "a hundred");
        let mut results = job.try_map(0_u32.., |i| {
            assert!(i < 100, "a hundred");
            Ok::<_, ()>(i)
        });
        assert!(results.by_ref().take(100).map(Result::unwrap).eq(0..100));
        assert!(matches!(results.next(), Some(Err(TryError::Join(JoinError::Panicked(_))))));
        assert!(results.next().is_none());
    });
}

/// An error whose drop panics, beside a panic of a call: the panic of the call is passed on, and the process goes on.
#[test]
fn an_error_that_panics_in_its_drop_does_not_abort() {
    struct Bad(Arc<AtomicUsize>);
    impl Drop for Bad {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
            panic!("drop");
        }
    }
    within(LONG, || {
        let pool = pool(2);
        let drops = Arc::new(AtomicUsize::new(0));
        let both = std::sync::Barrier::new(2);
        let said = panic_of(|| {
            pool.job(2).try_for_each(0.., |i| {
                if i < 2 {
                    both.wait();
                }
                if i == 0 { Err(Bad(drops.clone())) } else { panic!("call") }
            })
        });
        assert_eq!(said, "call");
        assert_eq!(drops.load(SeqCst), 1);
    });
}

#[test]
fn a_closed_or_cancelled_job_is_an_error() {
    within(LONG, || {
        let pool = pool(1);
        let closed = pool.job(1);
        closed.close();
        let refused = closed.try_for_each(0..3, |_| Err("never called"));
        assert!(matches!(refused, Err(TryError::Join(JoinError::Cancelled))));
        let refused: Vec<_> = closed.try_map(0..3, |_| Ok::<_, ()>(())).collect();
        assert!(matches!(refused[..], [Err(TryError::Join(JoinError::Cancelled))]));
        let job = pool.job(1);
        let mut results = job.try_map(0.., Ok::<_, ()>);
        assert_eq!(results.next().unwrap().unwrap(), 0);
        job.cancel();
        let last = results.find(Result::is_err);
        assert!(matches!(last, Some(Err(TryError::Join(JoinError::Cancelled)))));
    });
}
