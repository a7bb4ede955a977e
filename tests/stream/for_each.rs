//! `Job::for_each`: over inputs that are pulled in batches, and over those that are pulled one by one.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use tollgate::{Job, JoinError, Pool};

use crate::common::event::{Gauge, Latch};
use crate::common::{
    LONG, Token, Tokens, panic_of, pool, unwind, with_workers, within, workers_pass,
};
use crate::{broken, counted};

/// Runs through the numbers, pulled in batches or one by one.
fn for_each_of(
    job: &Job,
    batches: bool,
    range: Range<usize>,
    f: impl Fn(usize) + Sync,
) -> Result<(), JoinError> {
    if batches { job.for_each(range, f) } else { job.for_each(counted(range).1, f) }
}

#[test]
fn visits_every_item_once() {
    with_workers(|pool, _| {
        for limit in [1, 2, 3, usize::MAX] {
            let job = pool.job(limit);
            let visits: Vec<AtomicUsize> = (0..5_000).map(|_| AtomicUsize::new(0)).collect();
            let visit = |i: usize| {
                visits[i].fetch_add(1, SeqCst);
            };
            job.for_each(0..5_000, visit).unwrap();
            job.for_each(counted(0..5_000).1, visit).unwrap();
            job.for_each(0..=4_999, visit).unwrap();
            assert!(visits.iter().all(|visits| visits.load(SeqCst) == 3), "limit {limit}");
            job.wait();
            assert_eq!(job.stats().completed, 15_000);
        }
    });
}

#[test]
fn takes_ranges_of_every_integer() {
    fn sum<T: Copy + Into<i128> + Send>(job: &Job, range: impl Iterator<Item = T> + Send) -> i128 {
        let sum = Mutex::new(0);
        job.for_each(range, |i| *sum.lock().unwrap() += i.into()).unwrap();
        sum.into_inner().unwrap()
    }
    let pool = pool(2);
    let job = pool.job(2);
    assert_eq!(sum(&job, 0..255u8), 32_385);
    assert_eq!(sum(&job, 0..=255u8), 32_640);
    assert_eq!(sum(&job, i8::MIN..=i8::MAX), -128);
    assert_eq!(sum(&job, -100..100i16), -100);
    assert_eq!(sum(&job, -100..=100i32), 0);
    assert_eq!(sum(&job, u64::MAX - 2..u64::MAX), 2 * i128::from(u64::MAX) - 3);
    assert_eq!(sum(&job, u64::MAX - 1..=u64::MAX), 2 * i128::from(u64::MAX) - 1);
    assert_eq!(sum(&job, 5..5i64), 0);
    #[allow(clippy::reversed_empty_ranges, reason = "these are empty, too")]
    {
        assert_eq!(sum(&job, 5..=4i64), 0);
        assert_eq!(sum(&job, 5..-5i8), 0);
    }
}

#[test]
fn takes_fewer_items_than_there_are_workers() {
    let pool = Pool::builder().workers(70).build().unwrap();
    let count = AtomicUsize::new(0);
    pool.job(200)
        .for_each(0..100i8, |_| {
            count.fetch_add(1, SeqCst);
        })
        .unwrap();
    assert_eq!(count.into_inner(), 100);
}

/// The most items that are in memory at once, of 1,000 that `input` gives, if each takes some time or none.
fn most_alive<I: Iterator<Item = Token> + Send>(
    job: &Job,
    input: impl FnOnce(Tokens) -> I,
    takes: Option<Duration>,
) -> usize {
    let (tokens, most) = (Tokens::new(), AtomicUsize::new(0));
    job.for_each(input(tokens.clone()), |token| {
        // `made` is read first: what ends until the other is read, others' later tokens among it, only lessens the figure.
        let alive = tokens.made().saturating_sub(tokens.dropped());
        most.fetch_max(alive, SeqCst);
        drop(token);
        if let Some(takes) = takes {
            thread::sleep(takes);
        }
    })
    .unwrap();
    assert_eq!(tokens.dropped(), tokens.made());
    most.into_inner()
}

#[test]
fn pulls_no_more_than_runs() {
    with_workers(|pool, _| {
        for limit in [1, 2, 3] {
            let one_by_one = |tokens: Tokens| {
                let mut numbers = 0..1_000;
                std::iter::from_fn(move || numbers.next().map(|_| tokens.token()))
            };
            let most = most_alive(&pool.job(limit), one_by_one, None);
            assert!(
                most <= limit + 1,
                "{most} of an input without a promise at a limit of {limit}"
            );
            let promised = |tokens: Tokens| (0..100).map(move |_| tokens.token());
            let slowly = Some(Duration::from_millis(1));
            let most = most_alive(&pool.job(limit), promised, slowly);
            assert!(most <= limit + 1, "{most} slow items at a limit of {limit}");
        }
    });
}

#[test]
fn pulls_at_most_2048_quick_items_for_each_that_runs() {
    with_workers(|pool, _| {
        for limit in [1, 2, 3] {
            let promised = |tokens: Tokens| (0..100_000).map(move |_| tokens.token());
            let most = most_alive(&pool.job(limit), promised, None);
            assert!(most <= 2_048 * limit + 1, "{most} at a limit of {limit}");
        }
    });
}

/// A puller that has found the items quick pulls so many that one batch is most of the slow ones.
#[test]
fn shares_a_batch_whose_items_become_slow() {
    within(LONG, || {
        let pool = pool(2);
        let ran_by = Mutex::new(HashSet::new());
        pool.job(2)
            .for_each(0..1_600, |i| {
                if i < 1_000 {
                    return;
                }
                let mut ran_by = ran_by.lock().unwrap();
                ran_by.insert(thread::current().id());
                // Only the first thread is slow. So items of the batch are left for the second thread, even if the system delays it.
                let is_alone = ran_by.len() < 2;
                drop(ran_by);
                if is_alone {
                    thread::sleep(Duration::from_millis(10));
                }
            })
            .unwrap();
        assert_eq!(ran_by.into_inner().unwrap().len(), 2);
    });
}

#[test]
fn never_runs_more_than_the_limit() {
    with_workers(|pool, _| {
        for limit in [1, 2, 3] {
            let gauge = Gauge::new();
            let job = pool.job(limit);
            for batches in [true, false] {
                for_each_of(&job, batches, 0..500, |_| drop(gauge.enter())).unwrap();
            }
            assert_eq!(gauge.started(), 1_000);
            assert!(gauge.most() <= limit, "{} at a limit of {limit}", gauge.most());
        }
    });
}

#[test]
fn uses_the_limit() {
    within(LONG, || {
        let pool = pool(4);
        for limit in [2, 4, usize::MAX] {
            let most = limit.min(4);
            let job = pool.job(limit);
            for batches in [true, false] {
                let gauge = Gauge::new();
                // Each waits until all are there.
                let meet = |_| {
                    let _running = gauge.enter();
                    gauge.until_started(most);
                };
                for_each_of(&job, batches, 0..most, meet).unwrap();
            }
        }
    });
}

#[test]
fn follows_the_limit_up_and_down() {
    within(LONG, || {
        for batches in [true, false] {
            let pool = pool(4);
            let (gauge, job) = (Gauge::new(), pool.job(1));
            let gates: Vec<Latch> = (0..100).map(|_| Latch::new()).collect();
            let openings: Vec<_> = gates.iter().map(Latch::opening).collect();
            let (inner, inside) = (job.clone(), gauge.clone());
            let runs = thread::spawn(move || {
                let stay = |i: usize| {
                    let _running = inside.enter();
                    openings[i].wait();
                };
                for_each_of(&inner, batches, 0..100, stay).unwrap();
            });
            gauge.until_running(1);
            job.set_limit(3);
            gauge.until_running(3);
            job.set_limit(1);
            gauge.expect(3);
            for gate in &gates {
                gate.open();
            }
            runs.join().unwrap();
            assert_eq!(gauge.started(), 100);
            assert_eq!(gauge.over(), 0);
        }
    });
}

#[test]
fn stops_between_items_while_paused() {
    with_workers(|pool, workers| {
        for batches in [true, false] {
            let (started, job) = (Arc::new(AtomicUsize::new(0)), pool.job(1));
            let (inner, count) = (job.clone(), started.clone());
            let runs = thread::spawn(move || {
                let step = |i| {
                    if i == 10 {
                        inner.pause();
                    }
                    count.fetch_add(1, SeqCst);
                };
                for_each_of(&inner, batches, 0..1_000, step)
            });
            while started.load(SeqCst) < 11 {
                thread::yield_now();
            }
            workers_pass(pool, workers);
            assert_eq!(started.load(SeqCst), 11);
            job.resume();
            runs.join().unwrap().unwrap();
            assert_eq!(started.load(SeqCst), 1_000);
        }
    });
}

#[test]
fn passes_on_the_first_panic_and_pulls_no_more() {
    with_workers(|pool, _| {
        let (pulled, input) = counted(0..1_000);
        let job = pool.job(1);
        let said = panic_of(|| {
            job.for_each(input, |i| {
                if i == 10 {
                    unwind("the eleventh");
                }
            })
        });
        assert_eq!(said, "the eleventh");
        assert_eq!(pulled.load(SeqCst), 11);
        assert_eq!((job.stats().completed, job.stats().panicked), (10, 1));

        let said = panic_of(|| job.for_each(0..1_000, |_| unwind("in a range")));
        assert_eq!(said, "in a range");
        let job = pool.job(1);
        let said = panic_of(|| {
            job.for_each(0..100_000, |i| {
                if i == 50_000 {
                    unwind("in a block");
                }
            })
        });
        assert_eq!(said, "in a block");
        assert_eq!((job.stats().completed, job.stats().panicked), (50_000, 1));

        let job = pool.job(1);
        let said = panic_of(|| job.for_each(broken(), |_| ()));
        assert_eq!(said, "the input's");
        assert_eq!((job.stats().completed, job.stats().panicked), (5, 0));
    });
}

#[test]
fn says_that_it_was_cancelled() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let (pulled, input) = counted(0..1_000);
        let cancelled = job.for_each(input, |i| {
            if i == 10 {
                job.cancel();
            }
        });
        assert!(matches!(cancelled, Err(JoinError::Cancelled)));
        assert_eq!(pulled.load(SeqCst), 11);
        job.wait();
        assert_eq!((job.stats().completed, job.stats().cancelled), (11, 0));
        assert!(matches!(job.for_each(0..10, |_| unreachable!()), Err(JoinError::Cancelled)));
    });
}

#[test]
fn goes_on_after_a_close() {
    with_workers(|pool, _| {
        let count = AtomicUsize::new(0);
        let job = pool.job(2);
        job.for_each(0..1_000, |_| {
            job.close();
            count.fetch_add(1, SeqCst);
        })
        .unwrap();
        assert_eq!(count.into_inner(), 1_000);
    });
}

#[test]
fn inside_a_task() {
    with_workers(|pool, _| {
        for limit in [1, 2, usize::MAX] {
            let job = pool.job(limit);
            let other = pool.job(1);
            for outer in [&job, &other] {
                let inner = job.clone();
                let sum = outer.spawn(move || {
                    let sum = AtomicUsize::new(0);
                    for batches in [true, false] {
                        let add = |i| _ = sum.fetch_add(i, SeqCst);
                        for_each_of(&inner, batches, 0..1_000, add).unwrap();
                    }
                    sum.into_inner()
                });
                assert_eq!(sum.join().unwrap(), 999_000);
            }
        }
    });
}

#[test]
fn lets_other_jobs_in() {
    within(LONG, || {
        let pool = pool(1);
        let (large, small) = (pool.job(usize::MAX), pool.job(1));
        for batches in [true, false] {
            // Without end, until a task of the other job has run on the only worker.
            let done = Arc::new(AtomicUsize::new(0));
            let pushed = AtomicUsize::new(0);
            let ended = AtomicUsize::new(0);
            let step = |_| {
                if pushed.fetch_add(1, SeqCst) == 0 {
                    let done = done.clone();
                    small.execute(move || done.store(1, SeqCst));
                }
                if done.load(SeqCst) == 0 {
                    ended.fetch_add(1, SeqCst);
                }
            };
            for_each_of(&large, batches, 0..1_000_000, step).unwrap();
            assert!(ended.load(SeqCst) < 100_000, "{} went before it", ended.load(SeqCst));
        }
    });
}

#[test]
fn an_input_that_blocks_holds_up_nobody_else() {
    within(LONG, || {
        let pool = pool(2);
        let (send, receive) = mpsc::channel::<usize>();
        let job = pool.job(2);
        let inner = job.clone();
        let sum = Arc::new(AtomicUsize::new(0));
        let total = sum.clone();
        let runs = thread::spawn(move || {
            inner
                .for_each(receive, |i| {
                    total.fetch_add(i, SeqCst);
                })
                .unwrap();
        });
        for i in 1..=100 {
            send.send(i).unwrap();
            // One worker may wait for input; the other one runs this.
            pool.job(1).spawn(|| ()).join().unwrap();
        }
        drop(send);
        runs.join().unwrap();
        assert_eq!(sum.load(SeqCst), 5_050);
    });
}
