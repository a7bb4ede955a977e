//! What is told of the two tasks while one runs inline: the current task, the figures of their jobs, and explanations.

use crate::common::event::{Gauge, Latch, stay};
use crate::common::{LONG, pool, within};
use crate::{here, inside, with_two_jobs};
use tollgate::{Job, Reason};

#[test]
fn a_joined_task_sees_itself_and_the_joining_one_itself_again() {
    with_two_jobs(|_, outer, inner| {
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

/// The joined task is the first in the queue, behind tasks that are ready. While it runs inline, it counts as running only.
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

/// The worker has counted further tasks of the joining job ahead, for its next pushes. None of these is told as ready.
#[test]
fn the_figures_are_right_after_a_push_into_the_own_job() {
    within(LONG, || {
        let pool = pool(1);
        let (outer, inner) = (pool.job(usize::MAX), pool.job(1));
        let (own, seen) = (outer.clone(), outer.clone());
        let figures = inside(&outer, move || {
            own.execute(|| ());
            let task = inner.spawn(move || (here(), seen.stats().running, seen.stats().ready));
            let (thread, running, ready) = task.join().unwrap();
            assert_eq!(thread, here());
            (running, ready)
        });
        assert_eq!(figures, (0, 1));
    });
}

#[test]
fn an_explanation_tells_which_task_waits_and_which_runs() {
    with_two_jobs(|_, outer, inner| {
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
