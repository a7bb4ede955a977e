//! Promise: join_is_safe, where the joined closure is of another job and runs inline in the task that joins it. All else is as if a
//! worker ran it.
//!
//! The pools have one worker, so no other thread takes the joined task before the join.

mod common;

use common::event::{Gauge, Latch, pass_through, stay};
use common::{LONG, SECOND, capture, message_of, pool, pool_with_clock, within};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;
use tollgate::{Adaptive, Job, JoinError, Pool, Priority, Rate, Reason, TaskHandle};

/// Runs `task` as a task of `job`, and returns its result.
fn inside<T: Send + 'static>(job: &Job, task: impl FnOnce() -> T + Send + 'static) -> T {
    job.spawn(task).join().unwrap()
}

/// A place in which one task leaves the handle of another.
type Place<T> = Arc<Mutex<Option<TaskHandle<T>>>>;

fn here() -> ThreadId {
    thread::current().id()
}

/// Returns true if a task of `outer` runs a task of `inner` inline.
fn runs_inline(outer: &Job, inner: &Job) -> bool {
    let inner = inner.clone();
    inside(outer, move || inner.spawn(here).join().unwrap() == here())
}

#[test]
fn a_closure_runs_on_the_thread_of_the_task_that_joins_it() {
    within(LONG, || {
        let pool = pool(1);
        let host = pool.job(2);
        let (page, image) = (host.job(1), host.job(1));
        for (outer, inner) in [(pool.job(1), pool.job(1)), (page.clone(), image), (host, page)] {
            assert!(runs_inline(&outer, &inner));
            assert!(runs_inline(&inner, &outer));
        }
    });
}

/// Such a job decides at each start what may start, and only a worker asks it.
#[test]
fn no_task_of_a_job_with_a_rate_a_weight_an_adaptive_limit_or_another_class_runs_inline() {
    within(LONG, || {
        let (pool, _clock) = pool_with_clock(1);
        let outer = pool.job(1);
        let adaptive = Adaptive::new(1..=4);
        for inner in [
            pool.job_builder().limit(4).rate(Rate::per_second(100)).build(),
            pool.job_builder().limit(4).weighted().build(),
            pool.job_builder().adaptive(adaptive).build(),
            pool.job_builder().priority(Priority::High).build(),
            pool.job_builder().limit(4).rate(Rate::per_second(100)).build().job(1),
        ] {
            assert!(!runs_inline(&outer, &inner), "{inner:?}");
        }
    });
}

/// The time of the second task has not come when it is joined.
#[test]
fn a_rate_holds_for_a_joined_task() {
    within(LONG, || {
        let (pool, clock) = pool_with_clock(1);
        let (outer, paced) = (pool.job(1), pool.job_builder().rate(Rate::every(SECOND)).build());
        paced.execute(|| ());
        paced.wait();
        let there = paced.clone();
        let task = outer.spawn(move || there.spawn(|| ()).join().unwrap());
        while outer.stats().running > 0 || paced.stats().backlog == 0 {
            thread::yield_now();
        }
        assert_eq!(paced.stats().completed, 1);
        clock.advance(SECOND);
        task.join().unwrap();
    });
}

/// The timer pushes it, and the join cannot tell its place from that of a task before it.
#[test]
fn a_delayed_task_of_another_job_does_not_run_inline() {
    within(LONG, || {
        let (pool, clock) = pool_with_clock(1);
        let (outer, inner) = (pool.job(1), pool.job(1));
        let there = inside(&outer, move || {
            let task = inner.spawn_after(SECOND, here);
            clock.advance(SECOND);
            assert_eq!(inner.stats().delayed, 0);
            task.join().unwrap() == here()
        });
        assert!(!there);
    });
}

/// While the joined task runs, the child of the joining one is paused. Then the joining task waits, and does not keep the permit of
/// the parent that it has lent.
#[test]
fn a_task_that_waits_for_its_permit_has_none_of_a_parent() {
    within(LONG, || {
        for pauses in [Job::pause as fn(&Job), |job| job.set_limit(0)] {
            let pool = pool(1);
            let parent = pool.job(1);
            let [outer, inner, third] = [(); 3].map(|()| parent.job(1));
            let own = outer.clone();
            let task = outer.spawn(move || {
                let there = own.clone();
                inner.spawn(move || pauses(&there)).join().unwrap();
                own.stats().running
            });
            while outer.stats().limit == 1 && !outer.is_paused() {
                thread::yield_now();
            }
            third.spawn(|| ()).join().unwrap();
            assert!(!task.is_finished());
            outer.set_limit(1);
            outer.resume();
            assert_eq!(task.join().unwrap(), 1);
            parent.wait();
            assert_eq!(parent.stats().running, 0);
        }
    });
}

/// The joining task has the one permit of the parent again, while the first task there is ready and has not started.
#[test]
fn a_joined_task_of_a_parent_overtakes_no_ready_task() {
    within(LONG, || {
        let pool = pool(1);
        let (parent, other) = (pool.job(1), pool.job(1));
        let child = parent.job(1);
        let order = inside(&child, move || {
            let order = Arc::new(Mutex::new(Vec::new()));
            let note = |number| {
                let order = order.clone();
                move || order.lock().unwrap().push(number)
            };
            let (first, second) = (note(1), note(2));
            let pushed = other.spawn(move || [parent.spawn(first), parent.spawn(second)]);
            let [first, second] = pushed.join().unwrap();
            second.join().unwrap();
            first.join().unwrap();
            order.lock().unwrap().clone()
        });
        assert_eq!(order, [1, 2]);
    });
}

#[test]
fn a_panic_stays_in_the_joined_task() {
    within(LONG, || {
        let pool = pool(1);
        let (outer, inner) = (pool.job(1), pool.job(1));
        let (there, own) = (inner.clone(), outer.clone());
        let said = inside(&outer, move || {
            let failed = there.spawn(|| common::unwind("inline")).join();
            assert_eq!((own.stats().running, there.stats().running), (1, 0));
            let Err(JoinError::Panicked(payload)) = failed else { panic!("{failed:?}") };
            message_of(&*payload.into_inner()).to_owned()
        });
        assert_eq!(said, "inline");
        inner.wait();
        let stats = inner.stats();
        assert_eq!((stats.panicked, stats.completed, stats.cancelled), (1, 0, 0));
        assert!(runs_inline(&outer, &inner));
    });
}

#[test]
fn a_cancelled_job_runs_nothing_inline_and_tells_what_runs() {
    within(LONG, || {
        let pool = pool(1);
        let (outer, inner) = (pool.job(1), pool.job(1));
        let there = inner.clone();
        inside(&outer, move || {
            let (own, is_dropped) = (there.clone(), capture());
            let late = there.spawn(move || drop(is_dropped.0));
            let cancels = move || {
                let before = tollgate::is_cancelled();
                own.cancel();
                (before, tollgate::is_cancelled())
            };
            let other = there.clone();
            // The first task of the serial job is ready, so the second one waits for it.
            late.join().unwrap();
            assert!((is_dropped.1)());
            let task = there.spawn(cancels);
            let behind = there.spawn(|| unreachable!());
            assert_eq!(task.join().unwrap(), (false, true));
            assert!(!tollgate::is_cancelled());
            assert!(matches!(behind.join(), Err(JoinError::Cancelled)));
            assert!(other.is_closed());
        });
        inner.wait();
        assert_eq!((inner.stats().completed, inner.stats().cancelled), (2, 1));
    });
}

/// The cancel of the joining task's job leaves both alone: they have begun.
#[test]
fn a_cancel_of_the_joining_tasks_job_stops_neither() {
    within(LONG, || {
        let pool = pool(1);
        let (outer, inner) = (pool.job(1), pool.job(1));
        let own = outer.clone();
        let seen = inside(&outer, move || {
            let cancels = move || {
                own.cancel();
                tollgate::is_cancelled()
            };
            (inner.spawn(cancels).join().unwrap(), tollgate::is_cancelled())
        });
        assert_eq!(seen, (false, true));
        outer.wait();
        assert_eq!(outer.stats().completed, 1);
    });
}

#[test]
fn a_task_whose_job_goes_with_it_runs_inline() {
    within(LONG, || {
        let pool = pool(1);
        let outer = pool.job(1);
        inside(&outer, || {
            for _ in 0..100 {
                let inner = tollgate::current_job().unwrap();
                let (tell, told) = capture();
                let child = inner.job(1).job(1);
                let task = child.spawn(move || drop(tell));
                drop(child);
                task.join().unwrap();
                assert!(told());
            }
        });
        assert_eq!(outer.stats_with_children().completed, 101);
    });
}

#[test]
fn a_joined_task_sees_itself_and_the_joining_one_itself_again() {
    within(LONG, || {
        let pool = pool(1);
        let (outer, inner) = (pool.job(1), pool.job(1));
        let (own, there) = (outer.clone(), inner.clone());
        inside(&outer, move || {
            let sees = || (tollgate::current_job().unwrap(), tollgate::current_task_id().unwrap());
            let before = sees();
            let task = there.spawn(sees);
            let id = task.id();
            assert_eq!(task.join().unwrap(), (there.clone(), id));
            assert_eq!(sees(), before);
            assert_eq!(before.0, own);
        });
    });
}

/// Pushes from inside go to the job that runs, before, in and after the inline task.
#[test]
fn what_is_pushed_around_an_inline_task_runs_once() {
    within(LONG, || {
        for limits in [[1, 1], [1, 8], [8, 1], [8, 8]] {
            let pool = pool(1);
            let [outer, inner] = limits.map(|limit| pool.job(limit));
            let (own, there, gauge) = (outer.clone(), inner.clone(), Gauge::new());
            let seen = gauge.clone();
            inside(&outer, move || {
                let push = move |job: &Job| {
                    (0..20).for_each(|_| job.execute(pass_through(&seen)));
                };
                push(&own);
                let (from, to, pushes) = (there.clone(), own.clone(), push.clone());
                let task = there.spawn(move || {
                    pushes(&from);
                    pushes(&to);
                });
                task.join().unwrap();
                push(&own);
                push(&there);
            });
            outer.wait();
            inner.wait();
            assert_eq!(gauge.started(), 100);
            assert_eq!((outer.stats().completed, inner.stats().completed), (61, 41));
            assert_eq!((outer.stats().ready, inner.stats().ready), (0, 0));
        }
    });
}

/// The joined task is the first in the queue, behind tasks that are ready. It leaves the queue, and its cell counts as nothing.
#[test]
fn the_figures_are_right_while_a_task_runs_inline() {
    within(LONG, || {
        let pool = pool(1);
        let (outer, inner) = (pool.job(1), pool.job(usize::MAX));
        let (own, there) = (outer.clone(), inner.clone());
        let of = |job: &Job| {
            let stats = job.stats();
            (stats.running, stats.ready, stats.backlog)
        };
        let (ready, figures) = inside(&outer, move || {
            let (mut tasks, mut ready) = (Vec::new(), 0);
            while there.stats().backlog == 0 {
                ready = there.stats().ready;
                let (first, second) = (own.clone(), there.clone());
                tasks.push(there.spawn(move || ([of(&first), of(&second)], here())));
            }
            assert_eq!([of(&own), of(&there)], [(1, 0, 0), (0, ready, 1)]);
            let (figures, thread) = tasks.pop().unwrap().join().unwrap();
            assert_eq!(thread, here());
            assert_eq!([of(&own), of(&there)], [(1, 0, 0), (0, ready, 0)]);
            (ready, figures)
        });
        assert_eq!(figures, [(0, 0, 0), (1, ready, 0)]);
        outer.wait();
        inner.wait();
        assert_eq!(of(&inner), (0, 0, 0));
        assert_eq!(inner.stats().completed as usize, ready + 1);
    });
}

/// A task that joins one that joins it.
#[test]
fn a_circle_of_joins_on_one_stack_is_refused() {
    within(LONG, || {
        let pool = pool(1);
        let (outer, inner) = (pool.job(1), pool.job(1));
        let (place, latch): (Place<bool>, _) = (Place::default(), Latch::new());
        let (theirs, opening) = (place.clone(), latch.opening());
        let task = outer.spawn(move || {
            opening.wait();
            let back = move || {
                let outer = theirs.lock().unwrap().take().expect("it was put there");
                outer.join().unwrap();
            };
            let refused = inner.spawn(back).join();
            matches!(refused, Err(JoinError::Panicked(_)))
        });
        let (tell, told) = std::sync::mpsc::channel();
        let done = pool.job(1);
        *place.lock().unwrap() = Some(task);
        latch.open();
        outer.wait();
        done.execute(move || tell.send(()).unwrap());
        told.recv().unwrap();
        assert_eq!((outer.stats().completed, outer.stats().panicked), (1, 0));
    });
}

#[test]
fn a_task_past_its_deadline_expires_in_the_join() {
    within(LONG, || {
        let (pool, clock) = pool_with_clock(1);
        let (outer, inner) = (pool.job(1), pool.job(1));
        let there = inner.clone();
        inside(&outer, move || {
            let task = there.spawn_within(SECOND, here);
            assert_eq!(task.join().unwrap(), here());
            let late = there.spawn_within(SECOND, || unreachable!());
            clock.advance(SECOND);
            assert!(matches!(late.join(), Err(JoinError::Expired)));
        });
        inner.wait();
        assert_eq!((inner.stats().completed, inner.stats().cancelled), (1, 1));
    });
}

#[test]
fn tasks_of_a_scope_of_another_job_run_inline() {
    within(LONG, || {
        let pool = pool(1);
        let (outer, inner) = (pool.job(1), pool.job(1));
        let there = inner.clone();
        let sum = inside(&outer, move || {
            let numbers = [1, 2, 3];
            there.scope(|s| {
                let sum = s.spawn(|| (numbers.iter().sum::<i32>(), here()));
                let (sum, thread) = sum.join().unwrap();
                assert_eq!(thread, here());
                sum
            })
        });
        assert_eq!(sum, 6);
        inner.wait();
    });
}

#[test]
fn keyed_jobs_run_each_others_tasks_and_go() {
    within(LONG, || {
        let pool = pool(1);
        let hosts = pool.job_builder().keyed::<u32>(|_, job| job.limit(1));
        let page = hosts.job(&1);
        let image = hosts.job(&2);
        let task = page.spawn(move || {
            let task = image.spawn(here);
            drop(image);
            task.join().unwrap() == here()
        });
        drop(page);
        assert!(task.join().unwrap());
        hosts.parent().wait();
        hosts.evict_idle();
        assert!(hosts.is_empty());
    });
}

#[test]
fn jobs_with_a_capacity_a_clock_or_the_hand_over_run_inline_as_others() {
    within(LONG, || {
        let pool = pool(1);
        let outer = pool.job(1);
        let full = pool.job_builder().limit(1).capacity(1).build();
        let timed = pool.job_builder().limit(1).timed().build();
        let (first, second) = (full.clone(), timed.clone());
        inside(&outer, move || {
            for _ in 0..3 {
                // The slot is free from the start of the task on.
                let own = first.clone();
                let task = first.spawn(move || own.try_execute(|| ()).is_ok());
                assert!(task.join().unwrap());
                second.spawn(|| ()).join().unwrap();
            }
        });
        full.wait();
        assert_eq!(full.stats().completed, 6);
        let timings = timed.timings().unwrap();
        assert_eq!((timings.wait.count(), timings.run.count()), (3, 3));
        let hands = pool.job_builder().limit(2).capacity(0).build();
        let there = hands.clone();
        inside(&outer, move || there.spawn(|| ()).join().unwrap());
        hands.wait();
        assert_eq!((hands.stats().completed, hands.stats().running), (1, 0));
    });
}

#[test]
fn a_retried_task_is_joined_by_a_task_of_another_job() {
    within(LONG, || {
        let (pool, _clock) = pool_with_clock(1);
        let (outer, inner) = (pool.job(1), pool.job(1));
        let there = inner.clone();
        let tried = inside(&outer, move || {
            let policy = tollgate::Retry::new().attempts(3).first_delay(Duration::ZERO);
            let mut left = 2;
            let fails = move || {
                left -= 1;
                if left > 0 { Err(()) } else { Ok(here()) }
            };
            there.spawn_retry(policy, fails).join().unwrap().result.is_ok_and(|id| id != here())
        });
        assert!(tried);
    });
}

#[test]
fn the_joining_task_keeps_its_permit_of_a_job_that_says_so() {
    within(LONG, || {
        let pool = pool(1);
        let outer = pool.job_builder().limit(1).keep_permits(true).build();
        let (inner, own) = (pool.job(1), outer.clone());
        let child = outer.job(1);
        let there = inner.clone();
        let seen = inside(&outer, move || {
            let running = there.spawn(move || (own.stats().running, here())).join().unwrap();
            (running.0, running.1 == here())
        });
        assert_eq!(seen, (1, true));
        // The joined task needs a second permit of a job that keeps them: it waits for a worker.
        outer.set_limit(2);
        assert!(!runs_inline(&outer, &child));
        // The joined task keeps its permit in its own waits.
        let keeps = pool.job_builder().limit(1).keep_permits(true).build();
        assert!(runs_inline(&inner, &keeps));
        keeps.wait();
        assert_eq!((outer.stats().running, keeps.stats().running), (0, 0));
    });
}

#[test]
fn a_limit_lowered_meanwhile_holds_for_the_joining_task() {
    within(LONG, || {
        let pool = pool(2);
        let (outer, inner) = (pool.job(1), pool.job(1));
        let (own, gauge) = (outer.clone(), Gauge::new());
        let seen = gauge.clone();
        let task = outer.spawn(move || {
            inner.spawn(move || own.set_limit(0)).join().unwrap();
            drop(seen.enter());
        });
        while outer.stats().limit == 1 {
            thread::yield_now();
        }
        common::workers_pass(&pool, 2);
        assert_eq!((gauge.started(), outer.stats().running), (0, 0));
        outer.set_limit(1);
        task.join().unwrap();
        assert_eq!(gauge.started(), 1);
    });
}

/// The second task of the outer job has the permit when the joined task ends, and runs until a third has run.
#[test]
fn a_task_that_waits_for_its_permit_lends_its_seat() {
    within(LONG, || {
        let pool = pool(2);
        let (outer, inner, third) = (pool.job(1), pool.job(1), pool.job(1));
        let (gauge, latch) = (Gauge::new(), Latch::new());
        let own = outer.clone();
        let (theirs, opening) = (gauge.clone(), latch.opening());
        let task = outer.spawn(move || {
            let joined = inner.spawn(move || {
                let stays = theirs.clone();
                own.execute(move || {
                    let _running = stays.enter();
                    opening.wait();
                });
                theirs.until_running(1);
            });
            joined.join().unwrap();
        });
        gauge.until_running(1);
        // The other worker is in the second task, so this one needs the seat of the first.
        third.spawn(|| ()).join().unwrap();
        latch.open();
        task.join().unwrap();
    });
}

#[test]
fn a_shutdown_lets_both_end() {
    within(LONG, || {
        for drops in [false, true] {
            let pool = Pool::builder().workers(1).build().unwrap();
            let (outer, inner) = (pool.job(1), pool.job(1));
            let (gauge, latch) = (Gauge::new(), Latch::new());
            let stays = stay(&gauge, &latch);
            let (outer_end, there) = (outer.clone(), inner.clone());
            let task = outer.spawn(move || {
                let task = there.spawn(stays);
                let behind = there.spawn(|| ());
                task.join().unwrap();
                behind.join().is_ok()
            });
            gauge.until_running(1);
            let opens = thread::spawn(move || latch.open());
            if drops {
                pool.shutdown_now();
            } else {
                pool.shutdown();
            }
            opens.join().unwrap();
            let end = task.join().unwrap();
            assert!(end || drops);
            assert_eq!((outer_end.stats().completed, outer_end.stats().running), (1, 0));
            assert_eq!(inner.stats().completed + inner.stats().cancelled, 2);
        }
    });
}

#[test]
fn an_explanation_tells_which_task_waits_and_which_runs() {
    within(LONG, || {
        let pool = pool(1);
        let (outer, inner) = (pool.job(1), pool.job(1));
        let (gauge, latch) = (Gauge::new(), Latch::new());
        let (there, stays) = (inner.clone(), stay(&gauge, &latch));
        let task = outer.spawn(move || there.spawn(stays).join().unwrap());
        gauge.until_running(1);
        let waiting = Reason::Waiting { tasks: 1, awaited: None };
        assert_eq!(outer.explain_task(&task).first(), &waiting);
        assert_eq!(outer.explain().reasons(), [waiting]);
        latch.open();
        task.join().unwrap();
    });
}

#[cfg(feature = "futures")]
#[test]
fn a_future_may_join_and_a_future_never_runs_inline() {
    within(LONG, || {
        let pool = pool(1);
        let (outer, inner) = (pool.job(1), pool.job(1));
        let there = inner.clone();
        let polled = outer.spawn_future(async move { there.spawn(here).join().unwrap() == here() });
        assert!(polled.join().unwrap());
        let future =
            inside(&outer, move || inner.spawn_future(async { here() }).join().unwrap() == here());
        assert!(!future);
    });
}
