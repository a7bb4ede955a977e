//! Futures as tasks, and tasks as futures.
#![cfg(feature = "futures")]

mod common;

use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use futures::channel::oneshot;
use futures::executor::block_on;
use futures::future::{join, join_all, select};
use futures::stream::{FuturesUnordered, StreamExt};
use tollgate::{Job, JoinError};

use common::event::{Gauge, Latch};
use common::{LONG, Tokens, message_of, pool, with_workers, within, workers_pass};

/// Pending once, after having woken itself.
fn yield_once() -> impl Future<Output = ()> + Send {
    let mut woken = false;
    poll_fn(move |cx| {
        if woken {
            return Poll::Ready(());
        }
        woken = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// A future that is inside the gauge until `go` comes.
fn stay(gauge: &Gauge, go: oneshot::Receiver<()>) -> impl Future<Output = ()> + Send + 'static {
    let gauge = gauge.clone();
    async move {
        let _running = gauge.enter();
        go.await.unwrap();
    }
}

/// Counts how often it was woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

mod limit_holds {
    use super::*;

    #[test]
    fn as_many_futures_are_in_flight_as_the_limit_says_whatever_the_workers() {
        with_workers(|pool, workers| {
            const LIMIT: usize = 100;
            let job = pool.job(LIMIT);
            let gauge = Gauge::new();
            let (goes, tasks): (Vec<_>, Vec<_>) = (0..3 * LIMIT)
                .map(|_| {
                    let (go, gone) = oneshot::channel();
                    (go, job.spawn_future(stay(&gauge, gone)))
                })
                .unzip();
            gauge.until_running(LIMIT);
            workers_pass(pool, workers);
            assert_eq!((gauge.started(), job.stats().running), (LIMIT, LIMIT));
            goes.into_iter().for_each(|go| go.send(()).unwrap());
            tasks.into_iter().for_each(|task| task.join().unwrap());
            assert_eq!(gauge.most(), LIMIT);
            job.wait();
            assert_eq!(job.stats().completed, 3 * LIMIT as u64);
        });
    }

    #[test]
    fn a_limit_that_is_raised_lets_more_in_and_a_lower_one_fewer() {
        within(LONG, || {
            let pool = pool(2);
            let job = pool.job(1);
            let gauge = Gauge::new();
            let (mut goes, tasks): (Vec<_>, Vec<_>) = (0..20)
                .map(|_| {
                    let (go, gone) = oneshot::channel();
                    (go, job.spawn_future(stay(&gauge, gone)))
                })
                .unzip();
            gauge.until_running(1);
            job.set_limit(7);
            gauge.until_running(7);
            job.set_limit(2);
            gauge.expect(7);
            goes.drain(..6).for_each(|go| go.send(()).unwrap());
            // One of the seven is left; one more may start.
            gauge.until_started(8);
            gauge.until_running(2);
            assert_eq!(job.stats().running, 2);
            goes.into_iter().for_each(|go| go.send(()).unwrap());
            join_all_now(tasks);
            assert_eq!(gauge.over(), 0);
        });
    }

    #[test]
    fn futures_and_closures_share_the_permits() {
        with_workers(|pool, _| {
            let job = pool.job(2);
            let gauge = Gauge::new();
            let mut tasks = Vec::new();
            for i in 0..2_000 {
                let inside = gauge.clone();
                if i % 2 == 0 {
                    tasks.push(job.spawn(move || drop(inside.enter())));
                } else {
                    tasks.push(job.spawn_future(async move {
                        let _running = inside.enter();
                        yield_once().await;
                    }));
                }
            }
            join_all_now(tasks);
            assert!(gauge.most() <= 2);
        });
    }

    #[test]
    fn children_hold_their_parents_to_theirs() {
        with_workers(|pool, workers| {
            let host = pool.job(5);
            let gauge = Gauge::new();
            let mut goes = Vec::new();
            let mut tasks = Vec::new();
            for _ in 0..4 {
                let child = host.job(3);
                for _ in 0..10 {
                    let (go, gone) = oneshot::channel();
                    goes.push(go);
                    tasks.push(child.spawn_future(stay(&gauge, gone)));
                }
            }
            gauge.until_running(5);
            workers_pass(pool, workers);
            assert_eq!(gauge.started(), 5);
            goes.into_iter().for_each(|go| go.send(()).unwrap());
            join_all_now(tasks);
            assert_eq!(gauge.most(), 5);
        });
    }
}

fn join_all_now<T>(tasks: Vec<tollgate::TaskHandle<T>>) -> Vec<T> {
    tasks.into_iter().map(|task| task.join().unwrap()).collect()
}

mod serial_in_order {
    use super::*;

    #[test]
    fn futures_and_closures_start_in_the_order_pushed() {
        with_workers(|pool, _| {
            let job = pool.job(1);
            let order = Arc::new(Mutex::new(Vec::new()));
            for i in 0..3_000 {
                let order = order.clone();
                match i % 3 {
                    0 => job.execute(move || order.lock().unwrap().push(i)),
                    1 => drop(job.spawn_future(async move { order.lock().unwrap().push(i) })),
                    _ => drop(job.spawn_future(async move {
                        order.lock().unwrap().push(i);
                        yield_once().await;
                    })),
                }
            }
            job.wait();
            assert_eq!(*order.lock().unwrap(), (0..3_000).collect::<Vec<_>>());
        });
    }
}

mod waking {
    use super::*;

    #[test]
    fn a_wake_during_the_poll_is_not_lost() {
        with_workers(|pool, _| {
            let job = pool.job(2);
            let tasks: Vec<_> = (0..1_000)
                .map(|i| {
                    job.spawn_future(async move {
                        for _ in 0..10 {
                            yield_once().await;
                        }
                        i
                    })
                })
                .collect();
            assert_eq!(join_all_now(tasks), (0..1_000).collect::<Vec<_>>());
        });
    }

    #[test]
    fn wakes_from_other_threads_at_any_time_are_not_lost_and_late_ones_do_nothing() {
        with_workers(|pool, _| {
            let job = pool.job(50);
            let (send, wakers) = mpsc::channel::<(Waker, Arc<AtomicBool>)>();
            let foreign = thread::spawn(move || {
                let mut kept = Vec::new();
                for (waker, flag) in wakers {
                    flag.store(true, SeqCst);
                    waker.wake_by_ref();
                    kept.push(waker);
                }
                // Each of these has ended.
                kept.into_iter().for_each(Waker::wake);
            });
            let tasks: Vec<_> = (0..2_000)
                .map(|i| {
                    let send = send.clone();
                    job.spawn_future(async move {
                        let flag = Arc::new(AtomicBool::new(false));
                        let mut sent = false;
                        poll_fn(|cx| {
                            if !std::mem::replace(&mut sent, true) {
                                send.send((cx.waker().clone(), flag.clone())).unwrap();
                            }
                            if flag.load(SeqCst) { Poll::Ready(()) } else { Poll::Pending }
                        })
                        .await;
                        i
                    })
                })
                .collect();
            drop(send);
            assert_eq!(join_all_now(tasks), (0..2_000).collect::<Vec<_>>());
            foreign.join().unwrap();
            job.wait();
            assert_eq!(job.stats().completed, 2_000);
        });
    }

    /// Wakes the task whose future it is part of when it is dropped.
    #[derive(Default)]
    struct WakesInDrop(Option<Waker>);

    impl Drop for WakesInDrop {
        fn drop(&mut self) {
            self.0.take().unwrap().wake();
        }
    }

    #[test]
    fn a_wake_from_the_futures_own_drop_does_nothing() {
        with_workers(|pool, _| {
            let job = pool.job(2);
            let ready = job.spawn_future(async {
                let mut waker = WakesInDrop::default();
                poll_fn(|cx| {
                    waker.0 = Some(cx.waker().clone());
                    Poll::Ready(())
                })
                .await;
            });
            ready.join().unwrap();
            let (tell, told) = mpsc::channel();
            let cancelled = job.spawn_future(async move {
                let mut waker = WakesInDrop::default();
                poll_fn(|cx| {
                    waker.0 = Some(cx.waker().clone());
                    tell.send(()).unwrap();
                    Poll::<()>::Pending
                })
                .await;
            });
            told.recv().unwrap();
            assert!(cancelled.cancel());
            assert!(matches!(cancelled.join(), Err(JoinError::Cancelled)));
            job.wait();
        });
    }

    #[test]
    fn those_who_wake_each_other_keep_nobody_from_a_turn() {
        within(LONG, || {
            let pool = pool(1);
            let job = pool.job(usize::MAX);
            let stop = Arc::new(AtomicBool::new(false));
            let table = Arc::new(Mutex::new([const { None::<Waker> }; 3]));
            // Each wakes the next two; the third has its turn only if those above it in the deque let it.
            let players: Vec<_> = (0..3)
                .map(|i| {
                    let (stop, table) = (stop.clone(), table.clone());
                    let mut turns = 0;
                    job.spawn_future(poll_fn(move |cx| {
                        turns += 1;
                        let others = {
                            let mut table = table.lock().unwrap();
                            table[i] = Some(cx.waker().clone());
                            [table[(i + 1) % 3].clone(), table[(i + 2) % 3].clone()]
                        };
                        others.into_iter().flatten().for_each(Waker::wake);
                        if stop.load(SeqCst) { Poll::Ready(turns) } else { Poll::Pending }
                    }))
                })
                .collect();
            // None of these waits for the game to end.
            for _ in 0..50 {
                job.spawn(|| ()).join().unwrap();
                pool.job(1).spawn_future(yield_once()).join().unwrap();
            }
            stop.store(true, SeqCst);
            let turns = join_all_now(players);
            assert!(turns.iter().all(|turns| *turns > 10), "{turns:?}");
        });
    }
}

mod cancelling {
    use super::*;

    #[test]
    fn a_future_that_has_not_started_is_dropped_by_who_cancels_it() {
        with_workers(|pool, _| {
            let tokens = Tokens::new();
            let job = pool.job(0);
            let token = tokens.token();
            let task = job.spawn_future(async move { drop(token) });
            assert!(task.cancel());
            assert_eq!(tokens.dropped(), 1);
            assert!(!task.cancel());
            assert!(matches!(task.join(), Err(JoinError::Cancelled)));
            job.set_limit(1);
            job.wait();
            assert_eq!(job.stats().cancelled, 1);
        });
    }

    #[test]
    fn a_future_in_flight_is_dropped_and_its_permit_goes_on() {
        with_workers(|pool, _| {
            let tokens = Tokens::new();
            let job = pool.job(1);
            let (tell, told) = mpsc::channel();
            let token = tokens.token();
            let task = job.spawn_future(async move {
                let _token = token;
                tell.send(()).unwrap();
                pending::<()>().await;
            });
            told.recv().unwrap();
            let next = job.spawn_future(async {});
            assert!(task.cancel());
            assert!(!task.cancel());
            assert!(matches!(task.join(), Err(JoinError::Cancelled)));
            assert_eq!(tokens.dropped(), 1);
            next.join().unwrap();
            job.wait();
            let stats = job.stats();
            assert_eq!((stats.completed, stats.cancelled, stats.running), (1, 1, 0));
        });
    }

    #[test]
    fn a_cancel_that_says_so_has_its_way_against_the_end() {
        with_workers(|pool, _| {
            let job = pool.job(4);
            let mut both = [0; 2];
            for _ in 0..2_000 {
                let task = job.spawn_future(async { yield_once().await });
                let said = task.cancel();
                let cancelled = matches!(task.join(), Err(JoinError::Cancelled));
                assert_eq!(said, cancelled);
                both[usize::from(said)] += 1;
            }
            job.wait();
            let stats = job.stats();
            assert_eq!([stats.completed, stats.cancelled], both);
        });
    }

    #[test]
    fn cancelling_the_job_drops_what_is_queued_and_what_is_in_flight() {
        with_workers(|pool, _| {
            let tokens = Tokens::new();
            let job = pool.job(10);
            let gauge = Gauge::new();
            let tasks: Vec<_> = (0..30)
                .map(|_| {
                    let (gauge, token) = (gauge.clone(), tokens.token());
                    job.spawn_future(async move {
                        let _token = token;
                        let _running = gauge.enter();
                        pending::<()>().await;
                    })
                })
                .collect();
            gauge.until_running(10);
            job.cancel();
            for task in tasks {
                assert!(matches!(task.join(), Err(JoinError::Cancelled)));
            }
            job.wait();
            assert_eq!((tokens.dropped(), job.stats().cancelled, job.stats().running), (30, 30, 0));
        });
    }

    #[test]
    fn cancelling_a_parent_reaches_the_futures_below() {
        within(LONG, || {
            let pool = pool(2);
            let parent = pool.job(10);
            let child = parent.job(5);
            let gauge = Gauge::new();
            for _ in 0..5 {
                let gauge = gauge.clone();
                drop(child.spawn_future(async move {
                    let _running = gauge.enter();
                    pending::<()>().await;
                }));
            }
            gauge.until_running(5);
            parent.cancel();
            parent.wait();
            assert_eq!(child.stats().cancelled, 5);
        });
    }

    #[test]
    fn dropping_a_handle_detaches_the_future() {
        with_workers(|pool, _| {
            let job = pool.job(1);
            let (go, gone) = oneshot::channel();
            let (tell, told) = mpsc::channel();
            drop(job.spawn_future(async move {
                gone.await.unwrap();
                tell.send("ran").unwrap();
            }));
            go.send(()).unwrap();
            assert_eq!(told.recv().unwrap(), "ran");
        });
    }
}

mod nothing_lost {
    use super::*;

    #[test]
    fn a_panic_stays_in_its_task_and_its_permit_goes_on() {
        with_workers(|pool, _| {
            let job = pool.job(1);
            let at_once = job.spawn_future(async { common::unwind("at once") });
            let later = job.spawn_future(async {
                yield_once().await;
                common::unwind("later")
            });
            let after = job.spawn_future(async { 7 });
            assert_eq!(after.join().unwrap(), 7);
            for (task, text) in [(at_once, "at once"), (later, "later")] {
                let task: tollgate::TaskHandle<()> = task;
                match task.join() {
                    Err(JoinError::Panicked(payload)) => assert_eq!(message_of(&*payload), text),
                    other => panic!("{other:?}"),
                }
            }
            job.wait();
            assert_eq!((job.stats().panicked, job.stats().completed), (2, 1));
        });
    }

    #[test]
    fn large_futures_and_results_are_dropped_once() {
        with_workers(|pool, _| {
            let tokens = Tokens::new();
            let job = pool.job(3);
            for i in 0..300 {
                let (token, large) = (tokens.token(), [i; 64]);
                let task = job.spawn_future(async move {
                    yield_once().await;
                    (large, token)
                });
                match i % 3 {
                    0 => drop(task),
                    1 => assert_eq!(task.join().unwrap().0, [i; 64]),
                    _ => drop(task.cancel()),
                }
            }
            job.wait();
            assert_eq!(tokens.dropped(), 300);
        });
    }

    #[test]
    fn a_drain_waits_for_futures_in_flight() {
        with_workers(|pool, workers| {
            let job = pool.job(3);
            let gauge = Gauge::new();
            let (goes, tasks): (Vec<_>, Vec<_>) = (0..5)
                .map(|_| {
                    let (go, gone) = oneshot::channel();
                    (go, job.spawn_future(stay(&gauge, gone)))
                })
                .unzip();
            gauge.until_running(3);
            workers_pass(pool, workers);
            assert!(!pool_drains_within(pool, Duration::from_millis(1)));
            let foreign = thread::spawn(move || {
                goes.into_iter().for_each(|go| go.send(()).unwrap_or_default())
            });
            // The drop of the pool waits for what runs.
            let ended = tasks.into_iter().filter_map(|task| task.join().ok()).count();
            foreign.join().unwrap();
            assert_eq!(ended as u64, job.stats().completed);
        });

        fn pool_drains_within(pool: &tollgate::Pool, time: Duration) -> bool {
            pool.shutdown_timeout(time)
        }
    }

    #[test]
    fn a_drain_ends_when_the_last_future_has_been_woken_by_another_thread() {
        for workers in common::WORKERS {
            within(LONG, move || {
                let pool = pool(workers);
                let job = pool.job(100);
                let gauge = Gauge::new();
                let goes: Vec<_> = (0..200)
                    .map(|_| {
                        let (go, gone) = oneshot::channel();
                        drop(job.spawn_future(stay(&gauge, gone)));
                        go
                    })
                    .collect();
                gauge.until_running(100);
                let foreign =
                    thread::spawn(move || goes.into_iter().for_each(|go| go.send(()).unwrap()));
                pool.shutdown();
                foreign.join().unwrap();
                assert_eq!(job.stats().completed, 200);
            });
        }
    }

    #[test]
    fn shutdown_now_drops_futures_in_flight() {
        with_workers(|pool, _| {
            let tokens = Tokens::new();
            let job = pool.job(3);
            let gauge = Gauge::new();
            for _ in 0..5 {
                let (gauge, token) = (gauge.clone(), tokens.token());
                drop(job.spawn_future(async move {
                    let _token = token;
                    let _running = gauge.enter();
                    pending::<()>().await;
                }));
            }
            gauge.until_running(3);
            assert_eq!(pool.shutdown_now(), 5);
            assert_eq!(tokens.dropped(), 5);
        });
    }
}

mod join_is_safe {
    use super::*;

    #[test]
    fn a_future_awaits_tasks_of_its_own_job_at_limit_1() {
        with_workers(|pool, _| {
            let job = pool.job(1);
            let gauge = Gauge::new();
            let (inner, inside) = (job.clone(), gauge.clone());
            let task = job.spawn_future(async move {
                let mut sum = 0;
                for i in 0..200 {
                    let gauge = inside.clone();
                    let running = inside.enter();
                    drop(running);
                    sum += if i % 2 == 0 {
                        inner
                            .spawn(move || {
                                let _running = gauge.enter();
                                i
                            })
                            .await
                    } else {
                        inner
                            .spawn_future(async move {
                                let _running = gauge.enter();
                                yield_once().await;
                                i
                            })
                            .await
                    }
                    .unwrap();
                }
                sum
            });
            assert_eq!(task.join().unwrap(), 19_900);
            assert_eq!(gauge.most(), 1);
            job.wait();
            assert_eq!((job.stats().running, job.stats().completed), (0, 201));
        });
    }

    /// Awaits a chain of tasks of one job, each awaiting the next.
    fn chain(job: &Job, deep: usize) -> Pin<Box<dyn Future<Output = usize> + Send>> {
        let job = job.clone();
        Box::pin(async move {
            if deep == 0 {
                return 0;
            }
            1 + job.spawn_future(chain(&job, deep - 1)).await.unwrap()
        })
    }

    #[test]
    fn a_chain_a_thousand_deep_ends() {
        with_workers(|pool, _| {
            let job = pool.job(1);
            assert_eq!(job.spawn_future(chain(&job, 1_000)).join().unwrap(), 1_000);
            assert_eq!(pool.stats().spare_workers, 0);
        });
    }

    #[test]
    fn futures_of_two_jobs_of_limit_1_await_each_others() {
        with_workers(|pool, _| {
            let (left, right) = (pool.job(1), pool.job(1));
            let mut tasks = Vec::new();
            for _ in 0..100 {
                for (own, other) in [(&left, &right), (&right, &left)] {
                    let other = other.clone();
                    tasks.push(own.spawn_future(async move { other.spawn(|| 1).await.unwrap() }));
                }
            }
            assert_eq!(join_all_now(tasks).iter().sum::<i32>(), 200);
        });
    }

    #[test]
    fn awaiting_a_task_beside_something_else_holds_no_permit_either() {
        with_workers(|pool, _| {
            let job = pool.job(1);
            let inner = job.clone();
            let (go, gone) = oneshot::channel();
            let (tell, told) = mpsc::channel();
            let task = job.spawn_future(async move {
                // The second poll looks at `gone` alone, and leaves the handle pending unpolled.
                let first = inner.spawn(move || told.recv().unwrap());
                let both = FuturesUnordered::<Pin<Box<dyn Future<Output = i32> + Send>>>::new();
                both.push(Box::pin(async { first.await.unwrap() }));
                both.push(Box::pin(async { gone.await.unwrap() }));
                both.fold(0, |sum, one| async move { sum + one }).await
            });
            go.send(20).unwrap();
            // It runs although the future above is not at its end.
            job.spawn(|| ()).cancel();
            tell.send(3).unwrap();
            assert_eq!(task.join().unwrap(), 23);
        });
    }

    #[test]
    fn a_future_that_stops_awaiting_a_task_holds_its_permit_again() {
        within(LONG, || {
            let pool = pool(2);
            let held = pool.job(0);
            let job = pool.job(1);
            let never = held.spawn(|| ());
            let (go, gone) = oneshot::channel::<()>();
            let (last, at_last) = oneshot::channel::<()>();
            let (tell, told) = mpsc::channel();
            let task = job.spawn_future(async move {
                let never = match select(never, gone).await {
                    futures::future::Either::Right((_, never)) => never,
                    futures::future::Either::Left(_) => unreachable!("the job is held"),
                };
                drop(never);
                tell.send(()).unwrap();
                at_last.await.unwrap();
            });
            let gauge = Gauge::new();
            let next = job.spawn(common::event::pass_through(&gauge));
            // Without a permit, while it awaits the handle.
            next.join().unwrap();
            go.send(()).unwrap();
            told.recv().unwrap();
            let next = job.spawn(common::event::pass_through(&gauge));
            workers_pass(&pool, 2);
            assert_eq!((gauge.started(), job.stats().running), (1, 1));
            last.send(()).unwrap();
            task.join().unwrap();
            next.join().unwrap();
            held.cancel();
        });
    }

    #[test]
    fn it_comes_back_ahead_of_the_backlog() {
        within(LONG, || {
            let pool = pool(1);
            let (job, other) = (pool.job(1), pool.job(1));
            let order = Arc::new(Mutex::new(Vec::new()));
            let (latch, gauge) = (Latch::new(), Gauge::new());
            let awaited = other.spawn(|| ());
            let note = |name: &'static str| {
                let order = order.clone();
                move || order.lock().unwrap().push(name)
            };
            other.pause();
            let (awaited, first) = (other.spawn(move || drop(awaited)), note("came back"));
            let task = job.spawn_future(async move {
                awaited.await.unwrap();
                first();
            });
            // The future waits, and this one has the permit.
            job.execute(common::event::stay(&gauge, &latch));
            gauge.until_running(1);
            for _ in 0..3 {
                job.execute(note("of the backlog"));
            }
            let other_thread = {
                let (other, latch) = (other.clone(), latch);
                thread::spawn(move || {
                    other.resume();
                    // The worker is busy; the awaited task runs when the latch is open.
                    latch.open();
                })
            };
            other_thread.join().unwrap();
            task.join().unwrap();
            job.wait();
            assert!(order.lock().unwrap().contains(&"came back"));
        });
    }

    #[test]
    fn one_that_waits_without_a_permit_can_be_cancelled() {
        with_workers(|pool, _| {
            let tokens = Tokens::new();
            let (held, job) = (pool.job(0), pool.job(1));
            let (never, token) = (held.spawn(|| ()), tokens.token());
            let task = job.spawn_future(async move {
                let _token = token;
                never.await.unwrap();
            });
            job.spawn(|| ()).join().unwrap(); // the permit is free
            job.set_limit(0); // and no other will be
            assert!(task.cancel());
            assert!(matches!(task.join(), Err(JoinError::Cancelled)));
            assert_eq!(tokens.dropped(), 1);
            job.wait();
            held.cancel();
        });
    }

    #[test]
    fn a_task_that_awaits_itself_is_told_so() {
        within(LONG, || {
            let pool = pool(1);
            let job = pool.job(1);
            let (send, handle) = oneshot::channel::<tollgate::TaskHandle<()>>();
            let (tell, told) = mpsc::channel();
            let task = job.spawn_future(async move {
                let own = handle.await.unwrap();
                let own = std::panic::AssertUnwindSafe(own.map_to_message());
                tell.send(own.0.await).unwrap();
            });
            send.send(task).unwrap_or_else(|_| unreachable!());
            assert!(told.recv().unwrap().contains("awaits itself"));
        });
    }

    trait MapToMessage {
        fn map_to_message(self) -> impl Future<Output = String> + Send;
    }

    impl MapToMessage for tollgate::TaskHandle<()> {
        async fn map_to_message(mut self) -> String {
            poll_fn(move |cx| Poll::Ready(common::panic_of(|| drop(Pin::new(&mut self).poll(cx)))))
                .await
        }
    }

    #[test]
    fn a_drain_ends_what_waits_in_line_in_a_paused_job() {
        within(LONG, || {
            let pool = pool(2);
            let (job, other) = (pool.job(1), pool.job(1));
            let (go, gone) = mpsc::channel::<()>();
            let awaited = other.spawn(move || gone.recv().unwrap());
            let task = job.spawn_future(async move { awaited.await.unwrap() });
            job.spawn(|| ()).join().unwrap(); // the future waits by now
            job.pause();
            go.send(()).unwrap();
            pool.shutdown();
            assert!(matches!(task.join(), Err(JoinError::Cancelled)));
        });
    }
}

mod handles {
    use super::*;

    #[test]
    fn any_executor_awaits_tasks() {
        with_workers(|pool, _| {
            let job = pool.job(1);
            assert_eq!(block_on(job.spawn(|| 1)).unwrap(), 1);
            assert_eq!(futures_lite::future::block_on(job.spawn(|| 2)).unwrap(), 2);
            let smol = async_executor::Executor::new();
            assert_eq!(futures_lite::future::block_on(smol.run(job.spawn(|| 3))).unwrap(), 3);
            let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
            assert_eq!(tokio.block_on(job.spawn(|| 4)).unwrap(), 4);
        });
    }

    #[test]
    fn the_waker_of_the_last_poll_is_woken_once() {
        within(LONG, || {
            let pool = pool(1);
            let job = pool.job(0);
            let mut task = job.spawn(|| 5);
            let counts = [Arc::new(Count::default()), Arc::new(Count::default())];
            for count in [&counts[0], &counts[1], &counts[1]] {
                let waker = Waker::from(count.clone());
                assert!(Pin::new(&mut task).poll(&mut Context::from_waker(&waker)).is_pending());
            }
            job.set_limit(1);
            job.wait();
            while counts[1].0.load(SeqCst) == 0 {
                thread::yield_now();
            }
            assert_eq!(counts.map(|count| count.0.load(SeqCst)), [0, 1]);
            assert_eq!(block_on(&mut task).unwrap(), 5);
        });
    }

    #[test]
    fn a_wait_that_is_given_up_loses_nothing() {
        with_workers(|pool, _| {
            let job = pool.job(0);
            let mut task = job.spawn(|| 6);
            let woken = Waker::from(Arc::new(Count::default()));
            {
                let wait = pin!(&mut task);
                assert!(wait.poll(&mut Context::from_waker(&woken)).is_pending());
            }
            job.set_limit(1);
            assert_eq!(task.join().unwrap(), 6);
        });
    }

    #[test]
    fn a_handle_that_was_polled_gives_its_waker_back_when_dropped() {
        within(LONG, || {
            let pool = pool(1);
            let job = pool.job(0);
            let count = Arc::new(Count::default());
            let mut task = job.spawn(|| ());
            let waker = Waker::from(count.clone());
            assert!(Pin::new(&mut task).poll(&mut Context::from_waker(&waker)).is_pending());
            drop(task);
            drop(waker);
            assert_eq!(Arc::strong_count(&count), 1);
            job.cancel();
        });
    }

    #[test]
    fn a_result_is_given_once() {
        within(LONG, || {
            let pool = pool(1);
            let mut task = pool.job(1).spawn(|| String::from("once"));
            assert_eq!(block_on(&mut task).unwrap(), "once");
            let message = common::panic_of(|| block_on(&mut task));
            assert!(message.contains("taken from its handle before"), "{message}");
            let message = common::panic_of(|| task.join());
            assert!(message.contains("taken from its handle before"), "{message}");
        });
    }

    #[test]
    fn ten_thousand_are_awaited_at_once() {
        with_workers(|pool, _| {
            let job = pool.job(3);
            job.pause();
            let tasks = (0..10_000).map(|i| job.spawn(move || i));
            let all = join_all(tasks);
            let resume = job.clone();
            let (sums, ()) = block_on(join(all, async move { resume.resume() }));
            assert_eq!(sums.into_iter().map(Result::unwrap).sum::<i32>(), 49_995_000);
        });
    }
}

mod jobs {
    use super::*;

    #[test]
    fn idle_waits_for_the_job_and_all_below() {
        with_workers(|pool, _| {
            let parent = pool.job(4);
            let child = parent.job(2);
            let latch = Latch::new();
            let gauge = Gauge::new();
            for _ in 0..5 {
                child.execute(common::event::stay(&gauge, &latch));
            }
            let mut idle = pin!(parent.idle());
            let waker = Waker::from(Arc::new(Count::default()));
            assert!(idle.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            latch.open();
            block_on(idle);
            assert_eq!(gauge.started(), 5);
            assert_eq!(child.stats().completed, 5);
        });
    }

    #[test]
    fn idle_inside_a_future_holds_no_permit_and_refuses_its_own_job() {
        with_workers(|pool, _| {
            let (job, other) = (pool.job(1), pool.job(1));
            let (inner, back) = (other.clone(), job.clone());
            let task = job.spawn_future(async move {
                // The other's task needs this one's permit to end.
                let (tell, told) = oneshot::channel();
                inner.execute(move || tell.send(back.spawn(|| 8).join().unwrap()).unwrap());
                inner.idle().await;
                told.await.unwrap()
            });
            assert_eq!(task.join().unwrap(), 8);
            let own = job.clone();
            let refused = job.spawn_future(async move { own.idle().await });
            match refused.join() {
                Err(JoinError::Panicked(payload)) => {
                    assert!(message_of(&*payload).contains("waits for its own job"));
                }
                other => panic!("{other:?}"),
            }
        });
    }

    #[test]
    fn settled_tells_when_the_excess_has_ended() {
        within(LONG, || {
            let pool = pool(4);
            let job = pool.job(4);
            let gauge = Gauge::new();
            let latches: Vec<_> = (0..4).map(|_| Latch::new()).collect();
            for latch in &latches {
                job.execute(common::event::stay(&gauge, latch));
            }
            gauge.until_running(4);
            job.set_limit(2);
            let mut settled = pin!(job.settled());
            let waker = Waker::from(Arc::new(Count::default()));
            let mut cx = Context::from_waker(&waker);
            assert!(settled.as_mut().poll(&mut cx).is_pending());
            latches[0].open();
            gauge.until_running(3);
            assert!(!job.settled().wait_timeout(Duration::from_millis(1)));
            let blocking = {
                let job = job.clone();
                thread::spawn(move || job.settled().wait())
            };
            latches[1].open();
            block_on(settled);
            blocking.join().unwrap();
            assert!(job.stats().running <= 2);
            // So is a limit that is raised meanwhile.
            job.set_limit(1);
            let mut settled = pin!(job.settled());
            assert!(settled.as_mut().poll(&mut cx).is_pending());
            job.set_limit(2);
            block_on(settled);
        });
    }
}

mod streams {
    use super::*;
    use futures::channel::mpsc as channel;

    #[test]
    fn results_come_in_order_and_as_completed() {
        with_workers(|pool, _| {
            let job = pool.job(3);
            let results = job.map_async(0..1_000, |i| async move {
                if i % 3 == 0 {
                    yield_once().await;
                }
                i
            });
            let all: Vec<i32> = block_on(results.map(Result::unwrap).collect());
            assert_eq!(all, (0..1_000).collect::<Vec<_>>());
            let results = job.map_async(0..1_000, |i| async move { i }).as_completed();
            let mut all: Vec<i32> = block_on(results.map(Result::unwrap).collect());
            all.sort_unstable();
            assert_eq!(all, (0..1_000).collect::<Vec<_>>());
            assert!(job.stats().most_running <= 3);
        });
    }

    #[test]
    fn no_more_is_pulled_than_the_limit_allows() {
        with_workers(|pool, _| {
            let job = pool.job(3);
            let pulled = Arc::new(AtomicUsize::new(0));
            let count = pulled.clone();
            let input = (0..).inspect(move |_| {
                count.fetch_add(1, SeqCst);
            });
            let mut results = job.map_async(input, |i| async move { i });
            for i in 0..50 {
                assert_eq!(block_on(results.next()).unwrap().unwrap(), i);
                assert!(pulled.load(SeqCst) <= i + 4);
            }
            drop(results);
            job.wait();
            assert_eq!(job.stats().completed + job.stats().cancelled, pulled.load(SeqCst) as u64);
        });
    }

    #[test]
    fn a_stream_is_an_input_and_is_waited_for() {
        with_workers(|pool, _| {
            let job = pool.job(2);
            let (send, input) = channel::unbounded();
            let results = job.map_async(input, |i: usize| async move { i * 2 });
            let foreign = thread::spawn(move || {
                for i in 0..500 {
                    send.unbounded_send(i).unwrap();
                }
            });
            let sum = block_on(results.fold(0, |sum, one| async move { sum + one.unwrap() }));
            foreign.join().unwrap();
            assert_eq!(sum, 249_500);
        });
    }

    #[test]
    fn dropping_the_stream_cancels_the_rest() {
        with_workers(|pool, _| {
            let tokens = Tokens::new();
            let job = pool.job(4);
            let made = tokens.clone();
            let mut results = job.map_async(0.., move |_| {
                let token = made.token();
                async move {
                    let _token = token;
                    pending::<()>().await;
                }
            });
            let waker = Waker::from(Arc::new(Count::default()));
            assert!(results.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
            drop(results);
            job.wait();
            assert_eq!((tokens.made(), tokens.dropped()), (4, 4));
        });
    }

    #[test]
    fn a_cancelled_job_ends_the_stream_with_one_more_item() {
        with_workers(|pool, _| {
            let job = pool.job(1);
            let mut results = job.map_async(0.., |i| async move { i });
            assert_eq!(block_on(results.next()).unwrap().unwrap(), 0);
            job.cancel();
            let rest: Vec<_> = block_on(results.collect());
            assert!(matches!(rest.last(), Some(Err(JoinError::Cancelled))), "{rest:?}");
            assert!(rest.len() <= 2);
        });
    }
}
