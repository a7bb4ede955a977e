//! `Job::for_each` and `Job::map`: input that is pulled only as permits come free.

mod common;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use tollgate::{Job, JoinError, Pool};

use common::event::{Gauge, Latch};
use common::{
    LONG, Tokens, message_of, panic_of, pool, unwind, with_workers, within, workers_pass,
};

/// Numbers that are counted as they are pulled, and are no range that could be cut.
fn counted(range: Range<usize>) -> (Arc<AtomicUsize>, impl Iterator<Item = usize> + Send) {
    let pulled = Arc::new(AtomicUsize::new(0));
    let count = pulled.clone();
    (
        pulled,
        range.inspect(move |_| {
            count.fetch_add(1, SeqCst);
        }),
    )
}

#[test]
fn for_each_visits_every_item_once() {
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
fn for_each_takes_ranges_of_every_integer() {
    fn sum<T: Copy + Into<i128>>(job: &Job, range: impl Iterator<Item = T> + Send) -> i128 {
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
fn for_each_cuts_a_range_for_more_workers_than_fit_its_type() {
    let pool = Pool::builder().workers(70).build().unwrap();
    let count = AtomicUsize::new(0);
    pool.job(200)
        .for_each(0..100i8, |_| {
            count.fetch_add(1, SeqCst);
        })
        .unwrap();
    assert_eq!(count.into_inner(), 100);
}

#[test]
fn for_each_pulls_no_more_than_runs() {
    with_workers(|pool, _| {
        for limit in [1, 2, 3] {
            let tokens = Tokens::new();
            let most = AtomicUsize::new(0);
            let input = (0..1_000).map(|_| tokens.token());
            pool.job(limit)
                .for_each(input, |token| {
                    let alive = tokens.made() - tokens.dropped();
                    most.fetch_max(alive, SeqCst);
                    drop(token);
                })
                .unwrap();
            // `made` is read first: one may end and the next be made in between.
            assert!(most.into_inner() <= limit + 1, "limit {limit}");
            assert_eq!(tokens.dropped(), 1_000);
        }
    });
}

#[test]
fn for_each_never_runs_more_than_the_limit() {
    with_workers(|pool, _| {
        for limit in [1, 2, 3] {
            let gauge = Gauge::new();
            let job = pool.job(limit);
            job.for_each(0..500, |_| drop(gauge.enter())).unwrap();
            job.for_each(counted(0..500).1, |_| drop(gauge.enter())).unwrap();
            assert_eq!(gauge.started(), 1_000);
            assert!(gauge.most() <= limit, "{} at a limit of {limit}", gauge.most());
        }
    });
}

#[test]
fn for_each_uses_the_limit() {
    within(LONG, || {
        let pool = pool(4);
        for limit in [2, 4, usize::MAX] {
            let most = limit.min(4);
            let (gauge, job) = (Gauge::new(), pool.job(limit));
            for cuttable in [true, false] {
                // Each waits until all are there.
                let meet = |_| {
                    let _running = gauge.enter();
                    gauge.until_started(most);
                };
                if cuttable {
                    job.for_each(0..most, meet).unwrap();
                } else {
                    job.for_each(counted(0..most).1, meet).unwrap();
                }
            }
        }
    });
}

#[test]
fn for_each_follows_the_limit_up_and_down() {
    within(LONG, || {
        for cuttable in [true, false] {
            let pool = pool(4);
            let (gauge, job) = (Gauge::new(), pool.job(1));
            let gates: Vec<Latch> = (0..100).map(|_| Latch::new()).collect();
            let openings: Vec<_> = gates.iter().map(Latch::opening).collect();
            let (inner, inside) = (job.clone(), gauge.clone());
            let runs = std::thread::spawn(move || {
                let stay = |i: usize| {
                    let _running = inside.enter();
                    openings[i].wait();
                };
                if cuttable {
                    inner.for_each(0..100, stay).unwrap();
                } else {
                    inner.for_each(counted(0..100).1, stay).unwrap();
                }
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
fn for_each_stops_between_items_while_paused() {
    with_workers(|pool, workers| {
        for cuttable in [true, false] {
            let (started, job) = (Arc::new(AtomicUsize::new(0)), pool.job(1));
            let (inner, count) = (job.clone(), started.clone());
            let runs = std::thread::spawn(move || {
                let step = |i| {
                    if i == 10 {
                        inner.pause();
                    }
                    count.fetch_add(1, SeqCst);
                };
                if cuttable {
                    inner.for_each(0..1_000, step)
                } else {
                    inner.for_each(counted(0..1_000).1, step)
                }
            });
            while started.load(SeqCst) < 11 {
                std::thread::yield_now();
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
fn for_each_passes_on_the_first_panic_and_pulls_no_more() {
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

        let broken = (0..10).inspect(|&i| {
            if i == 5 {
                unwind("the input's")
            }
        });
        let said = panic_of(|| job.for_each(broken, |_| ()));
        assert_eq!(said, "the input's");
    });
}

#[test]
fn for_each_says_that_it_was_cancelled() {
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
fn for_each_goes_on_after_a_close() {
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
fn for_each_inside_a_task() {
    with_workers(|pool, _| {
        for limit in [1, 2, usize::MAX] {
            let job = pool.job(limit);
            let other = pool.job(1);
            for outer in [&job, &other] {
                let inner = job.clone();
                let sum = outer.spawn(move || {
                    let sum = AtomicUsize::new(0);
                    inner
                        .for_each(0..1_000, |i| {
                            sum.fetch_add(i, SeqCst);
                        })
                        .unwrap();
                    inner
                        .for_each(counted(0..1_000).1, |i| {
                            sum.fetch_add(i, SeqCst);
                        })
                        .unwrap();
                    sum.into_inner()
                });
                assert_eq!(sum.join().unwrap(), 999_000);
            }
        }
    });
}

#[test]
fn for_each_lets_other_jobs_in() {
    within(LONG, || {
        let pool = pool(1);
        let (large, small) = (pool.job(usize::MAX), pool.job(1));
        for cuttable in [true, false] {
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
            if cuttable {
                large.for_each(0..1_000_000, step).unwrap();
            } else {
                large.for_each(counted(0..1_000_000).1, step).unwrap();
            }
            assert!(ended.load(SeqCst) < 100_000, "{} went before it", ended.load(SeqCst));
        }
    });
}

#[test]
fn an_input_that_blocks_holds_up_nobody_else() {
    within(LONG, || {
        let pool = pool(2);
        let (send, receive) = std::sync::mpsc::channel::<usize>();
        let job = pool.job(2);
        let inner = job.clone();
        let sum = Arc::new(AtomicUsize::new(0));
        let total = sum.clone();
        let runs = std::thread::spawn(move || {
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

#[test]
fn map_keeps_the_order_of_the_input() {
    with_workers(|pool, _| {
        for limit in [1, 2, 3, usize::MAX] {
            let job = pool.job(limit);
            let doubled = job.map(0..2_000, |i| 2 * i).map(Result::unwrap);
            assert!(doubled.eq((0..2_000).map(|i| 2 * i)), "limit {limit}");
            assert_eq!(job.stats().completed, 2_000);
            assert!(job.stats().most_running <= limit);
        }
    });
}

#[test]
fn map_as_completed_gives_every_result_once() {
    with_workers(|pool, _| {
        for limit in [1, 3, usize::MAX] {
            let results = pool.job(limit).map(0..2_000, |i| i).as_completed();
            let seen: BTreeSet<i32> = results.map(Result::unwrap).collect();
            assert!(seen.into_iter().eq(0..2_000));
        }
    });
}

#[test]
fn map_as_completed_does_not_wait_for_a_slow_one() {
    within(LONG, || {
        let pool = pool(2);
        let latch = Latch::new();
        let opening = latch.opening();
        let mut results = pool.job(2).map(0..100, move |i| {
            if i == 0 {
                opening.wait();
            }
            i
        });
        // Switched on the way: what is ready already comes, too.
        let mut results = {
            let second_is_ready = results.by_ref().size_hint();
            assert_eq!(second_is_ready.0, 0);
            results.as_completed()
        };
        for i in 1..100 {
            assert_eq!(results.next().unwrap().unwrap(), i);
        }
        latch.open();
        assert_eq!(results.next().unwrap().unwrap(), 0);
        assert!(results.next().is_none());
        assert!(results.next().is_none());
    });
}

#[test]
fn map_does_nothing_before_it_is_asked_and_no_more_than_fits() {
    with_workers(|pool, workers| {
        for limit in [1, 2, usize::MAX] {
            let (pulled, input) = counted(0..100_000);
            let job = pool.job(limit);
            let mut results = job.map(input, |i| i);
            assert_eq!(pulled.load(SeqCst), 0);
            assert_eq!(results.next().unwrap().unwrap(), 0);
            job.wait();
            let most = 1 + 16 * workers + workers.min(limit);
            assert!(pulled.load(SeqCst) <= most, "{} of {most}", pulled.load(SeqCst));
            assert_eq!(results.next().unwrap().unwrap(), 1);
        }
    });
}

#[test]
fn dropping_a_map_cancels_the_rest() {
    with_workers(|pool, _| {
        let tokens = Tokens::new();
        let (owner, job) = (tokens.clone(), pool.job(2));
        let mut results = job.map((0..100_000).map(move |_| owner.token()), |token| token);
        drop(results.next().unwrap().unwrap());
        drop(results);
        job.wait();
        workers_pass(pool, pool.workers());
        assert_eq!(tokens.made(), tokens.dropped());
        assert!(tokens.made() < 1_000);
        assert_eq!(job.stats().cancelled, 0);
    });
}

#[test]
fn a_map_that_is_never_asked_drops_its_input() {
    let pool = pool(1);
    let tokens = Tokens::new();
    let input = vec![tokens.token(), tokens.token()];
    drop(pool.job(1).map(input, drop));
    assert_eq!(tokens.dropped(), 2);
}

#[test]
fn a_panic_in_a_map_is_one_item() {
    with_workers(|pool, _| {
        let job = pool.job(2);
        let results = job.map(0..10, |i| if i == 3 { unwind("three") } else { i });
        for (i, result) in results.enumerate() {
            match result {
                Ok(value) => assert_eq!(value, i),
                Err(JoinError::Panicked(payload)) => {
                    assert_eq!((i, message_of(&*payload)), (3, "three"));
                }
                Err(JoinError::Cancelled) => panic!("nobody cancelled it"),
            }
        }
        assert_eq!((job.stats().completed, job.stats().panicked), (9, 1));

        let broken = (0..10).inspect(|&i| {
            if i == 5 {
                unwind("the input's")
            }
        });
        let mut results = job.map(broken, |i| i);
        assert!(results.by_ref().take(5).map(Result::unwrap).eq(0..5));
        let Some(Err(JoinError::Panicked(payload))) = results.next() else {
            panic!("the input panicked");
        };
        assert_eq!(message_of(&*payload), "the input's");
        assert!(results.next().is_none());
    });
}

#[test]
fn a_cancelled_map_says_so_at_its_end() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let mut results = job.map(0.., |i: usize| i);
        assert_eq!(results.next().unwrap().unwrap(), 0);
        job.cancel();
        let mut next = 1;
        loop {
            match results.next() {
                Some(Ok(i)) => assert_eq!(i, next),
                Some(Err(JoinError::Cancelled)) => break,
                other => panic!("{other:?}"),
            }
            next += 1;
        }
        assert!(results.next().is_none());
        let mut refused = job.map(0..10, |i| i);
        assert!(matches!(refused.next(), Some(Err(JoinError::Cancelled))));
        assert!(refused.next().is_none());
    });
}

#[test]
fn a_map_ends_when_its_pool_does() {
    with_workers(|_, workers| {
        let pool = pool(workers);
        let mut results = pool.job(2).map(0.., |i: usize| i);
        assert_eq!(results.next().unwrap().unwrap(), 0);
        pool.shutdown();
        assert!(matches!(results.last(), Some(Err(JoinError::Cancelled))));
    });
}

#[test]
fn map_inside_a_task() {
    with_workers(|pool, _| {
        for limit in [1, 2, usize::MAX] {
            let job = pool.job(limit);
            let other = pool.job(1);
            for outer in [&job, &other] {
                let inner = job.clone();
                let sum = outer
                    .spawn(move || inner.map(0..500, |i| i).map(Result::unwrap).sum::<usize>());
                assert_eq!(sum.join().unwrap(), 124_750);
            }
        }
    });
}

#[test]
fn ten_maps_at_once() {
    with_workers(|pool, _| {
        std::thread::scope(|threads| {
            for limit in 1..=10 {
                let job = pool.job(limit);
                threads.spawn(move || {
                    let sum: usize = job.map(0..1_000, |i| i).map(Result::unwrap).sum();
                    assert_eq!(sum, 499_500);
                    job.for_each(0..1_000, |_| ()).unwrap();
                });
            }
        });
    });
}
