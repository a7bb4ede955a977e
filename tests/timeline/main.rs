//! What `Pool::timeline` writes: each task's slices, why it waited, the figures of its job, and which end let it start.
//!
//! The trace is read back by a decoder of its own, which knows the format's numbers only.
#![cfg(feature = "timeline")]

mod causes;
#[path = "../common/mod.rs"]
mod common;
mod decoder;
mod formats;
mod whys;

use std::collections::{HashMap, HashSet};
use std::thread;

use common::event::{Gauge, Latch, stay};
use common::{LONG, pool, with_workers, within};
use decoder::{Slice, Trace};
use tollgate::{Job, Pool};

/// Reads what the pool has recorded.
fn read(pool: &Pool) -> Trace {
    let mut file = Vec::new();
    pool.timeline().write(&mut file).unwrap();
    Trace::read(&file)
}

/// Runs two tasks under a limit of 1, of which the second waits for the first.
fn two_in_turn(pool: &Pool) {
    let (gauge, latch) = (Gauge::new(), Latch::new());
    let search = pool.job_builder().name("search").limit(1).build();
    search.execute(stay(&gauge, &latch));
    gauge.until_running(1);
    search.execute(|| ());
    latch.open();
    search.wait();
}

/// The task of the child is held by the child's own limit, so the parent has no event of its own.
#[test]
fn a_parent_without_an_event_has_a_track() {
    within(LONG, || {
        let pool = pool(1);
        pool.timeline().start();
        let parent = pool.job_builder().name("parent").build();
        let child = parent.job_builder().name("child").limit(0).build();
        child.execute(|| ());
        assert_eq!(read(&pool).parent("job \"child\""), "job \"parent\"");
        child.cancel();
    });
}

/// A start, a wait inside and an end change the figures of each job above, whose own tasks do nothing.
#[test]
fn the_figures_of_a_job_above_follow_each_task_below() {
    with_workers(|pool, _| {
        pool.timeline().start();
        let host = pool.job_builder().name("host").limit(2).build();
        let page = host.job(2).job_builder().name("page").limit(1).build();
        page.spawn(|| ()).join().unwrap();
        host.wait();
        assert_eq!(read(pool).each("job \"host\"", "running"), [1, 0]);
        pool.timeline().start();
        let awaited = pool.job(0);
        let held = awaited.spawn(|| ());
        let joins = page.spawn(move || held.join().unwrap());
        while page.explain().to_string() != "1 task waits for another" {
            std::thread::yield_now();
        }
        awaited.set_limit(1);
        joins.join().unwrap();
        host.wait();
        assert_eq!(read(pool).each("job \"host\"", "running"), [1, 0, 1, 0]);
    });
}

#[test]
fn a_task_is_queued_and_then_runs_when_another_has_ended() {
    with_workers(|pool, _| {
        pool.timeline().start();
        two_in_turn(pool);
        let trace = read(pool);
        let slices = trace.of("job \"search\"");
        assert_eq!(slices.len(), 4, "{slices:#?}");
        let task = |number, name| trace.slice("job \"search\"", number, name);
        let (first, second) = (task(1, "running"), task(2, "running"));
        let queued = task(2, "queued");
        assert_eq!(
            queued.says("why"),
            "job \"search\" ran 1 of at most 1, until task 1 ended",
            "{queued:?}"
        );
        assert_eq!((first.says("why"), second.says("why")), ("ended", "ended"));
        assert_eq!(queued.to, second.from);
        assert!(first.to <= second.from);
        assert_eq!(second.counts("waited_ns"), queued.to - queued.from);
        assert_eq!(first.flows, second.last_of_flows);
        assert_eq!(first.flows.len(), 1);
        assert_eq!(trace.most("job \"search\"", "running"), 1);
        assert_eq!(trace.most("job \"search\"", "backlog"), 1);
        assert_eq!(trace.most("job \"search\"", "limit"), 1);
        assert_eq!(trace.last("job \"search\"", "running"), 0);
        assert_eq!(trace.last("job \"search\"", "backlog"), 0);
    });
}

/// One task runs while 60 more are pushed. Of these 61, the first 40 have a queued slice. The other ones have only their running slice,
/// and how long they waited. The page says how many they are.
#[test]
fn at_most_40_tasks_at_once_have_a_queued_slice() {
    with_workers(|pool, _| {
        pool.timeline().start();
        let (gauge, latch) = (Gauge::new(), Latch::new());
        let search = pool.job_builder().name("search").limit(1).build();
        search.execute(stay(&gauge, &latch));
        gauge.until_running(1);
        (0..60).for_each(|_| search.execute(|| ()));
        latch.open();
        search.wait();
        let trace = read(pool);
        check(&trace);
        let tasks_that_are = |what: &str| {
            let slices = trace.of("job \"search\"").into_iter().filter(|slice| slice.name == what);
            slices.map(|slice| slice.counts("task")).collect::<HashSet<_>>()
        };
        let (queued, running) = (tasks_that_are("queued"), tasks_that_are("running"));
        assert_eq!((queued.len(), running.len()), (40, 61));
        let last_shown = queued.iter().max().unwrap();
        assert!(running.difference(&queued).all(|task| task > last_shown), "{queued:?}");
        for slice in trace.of("job \"search\"") {
            let hidden = !queued.contains(&slice.counts("task"));
            assert!(!hidden || slice.counts("waited_ns") > 0, "{slice:?}");
        }
        let mut page = Vec::new();
        pool.timeline().write_html(&mut page).unwrap();
        assert!(String::from_utf8(page).unwrap().contains("\"hidden\":21,"));
    });
}

/// Says what must be true of each trace: slices of a track do not overlap, and each flow has one begin, and then one end.
fn check(trace: &Trace) {
    let mut lanes: HashMap<u64, Vec<&Slice>> = HashMap::new();
    for slice in &trace.slices {
        assert!(slice.from <= slice.to, "{slice:?}");
        lanes.entry(slice.track).or_default().push(slice);
    }
    for lane in lanes.values() {
        assert!(lane.windows(2).all(|two| two[0].to <= two[1].from), "{lane:#?}");
    }
    let mut begins = HashMap::new();
    for slice in &trace.slices {
        for flow in &slice.flows {
            assert!(begins.insert(*flow, slice).is_none(), "two begins of one flow");
        }
    }
    for slice in &trace.slices {
        for flow in &slice.last_of_flows {
            let begin = begins.remove(flow).expect("a flow ends that has not begun, or twice");
            assert!(begin.to <= slice.from, "{begin:?} {slice:?}");
        }
    }
    assert!(begins.is_empty(), "flows without an end");
}

#[test]
fn each_task_runs_in_one_slice_and_no_more_run_than_the_limit() {
    with_workers(|pool, _| {
        pool.timeline().start_with(100_000);
        let host = pool.job_builder().name("host").limit(3).build();
        let pages: Vec<_> = (0..3)
            .map(|page| host.job_builder().name(format!("page {page}")).limit(2).build())
            .collect();
        thread::scope(|s| {
            for page in &pages {
                s.spawn(|| (0..1_000).for_each(|_| page.execute(|| ())));
            }
        });
        host.wait();
        let trace = read(pool);
        check(&trace);
        assert_eq!(pool.timeline().lost(), 0);
        for page in 0..3 {
            let name = format!("job \"page {page}\"");
            let running = trace.of(&name).into_iter().filter(|slice| slice.name == "running");
            let tasks: Vec<_> = running.map(|slice| slice.counts("task")).collect();
            assert_eq!(tasks.len(), 1_000);
            assert_eq!(tasks.iter().collect::<HashSet<_>>().len(), 1_000, "a task runs twice");
            assert!(trace.most(&name, "running") <= 2);
            assert_eq!(trace.parent(&name), "job \"host\"");
        }
        assert!(trace.most("job \"host\"", "running") <= 3);
        assert_eq!(trace.last("job \"host\"", "running"), 0);
        // At no time do more tasks run than the host's limit.
        let running = || trace.slices.iter().filter(|slice| slice.name == "running");
        let at_once = |at: u64| running().filter(|slice| slice.from < at && at < slice.to).count();
        assert!(running().step_by(37).all(|slice| at_once(slice.to) <= 3));
    });
}

#[test]
fn what_is_overwritten_is_counted_and_the_rest_can_be_read() {
    with_workers(|pool, _| {
        for events in [0, 1, 50] {
            pool.timeline().start_with(events);
            let job = pool.job(2);
            (0..2_000).for_each(|_| job.execute(|| ()));
            job.wait();
            assert!(pool.timeline().lost() > 1_000);
            check(&read(pool));
        }
        pool.timeline().start();
        assert_eq!(pool.timeline().lost(), 0);
    });
}

/// The ring holds fewer events than are recorded after a start. Each task has a job of its own with a limit of 0, whose track has a
/// slice only if the event of the push was kept. One thread pushes all tasks, so all these events are in one ring.
#[test]
fn the_newest_events_are_kept_after_each_start() {
    within(LONG, || {
        const PUSHES: usize = 37;
        let pool = pool(1);
        for start in 0..4 {
            pool.timeline().start_with(50);
            let name = |push| format!("{start}.{push}");
            let push = |push| {
                let job = pool.job_builder().name(name(push)).limit(0).build();
                job.execute(|| ());
                job
            };
            let jobs: Vec<_> = (0..PUSHES).map(push).collect();
            let trace = read(&pool);
            let is_kept = |push: &usize| !trace.of(&format!("job \"{}\"", name(*push))).is_empty();
            let kept: Vec<_> = (0..PUSHES).filter(is_kept).collect();
            // If a whole ring of events were lost, the test would not show where the recording began in the ring.
            assert!((1..50).contains(&pool.timeline().lost()) && !kept.is_empty());
            assert!(
                kept.iter().copied().eq(PUSHES - kept.len()..PUSHES),
                "start {start}: {kept:?}"
            );
            jobs.iter().for_each(Job::cancel);
            // The worker's events of the dropped tasks come before the next start. Otherwise they could fill the worker's ring.
            jobs.iter().for_each(Job::wait);
        }
    });
}

#[test]
fn nothing_is_recorded_before_the_start_and_after_the_stop() {
    within(LONG, || {
        let pool = pool(2);
        let timeline = pool.timeline();
        two_in_turn(&pool);
        assert!(read(&pool).slices.is_empty());
        timeline.start();
        two_in_turn(&pool);
        timeline.stop();
        let before = read(&pool).of("job \"search\"").len();
        assert_eq!(before, 4);
        two_in_turn(&pool);
        assert_eq!(read(&pool).of("job \"search\"").len(), before);
        // The next start forgets it.
        timeline.start();
        assert!(read(&pool).of("job \"search\"").is_empty());
    });
}

/// The slice of a task that waits ends where the recording ended.
#[test]
fn a_second_stop_leaves_the_time_of_the_first() {
    within(LONG, || {
        let pool = pool(1);
        pool.timeline().start();
        let job = pool.job_builder().name("held").limit(0).build();
        job.execute(|| ());
        let ends = || read(&pool).slice("job \"held\"", 1, "queued").to;
        pool.timeline().stop();
        let first = ends();
        pool.timeline().stop();
        assert_eq!(ends(), first);
        job.cancel();
    });
}

/// The timeline keeps the names of 16,384 tasks, and of as many jobs that are gone. It forgets the oldest, so it does not grow for ever.
#[test]
fn the_newest_names_are_kept() {
    const MOST: usize = 16_384;
    within(LONG, || {
        let pool = pool(1);
        // A worker that parks after each task notes ten events in a round.
        pool.timeline().start_with(16 * MOST);
        let job = pool.job(1);
        for number in 0..=MOST {
            drop(job.spawn_named(format!("{number}"), || ()));
            pool.job_builder().name(format!("{number}")).build().execute(|| ());
        }
        common::until_parked(&pool, 1);
        let trace = read(&pool);
        let running = trace.slices.iter().filter(|slice| slice.name == "running");
        let names: HashSet<_> =
            running.filter(|slice| slice.has("name")).map(|slice| slice.says("name")).collect();
        assert_eq!((names.len(), names.contains("0")), (MOST, false));
        let jobs: HashSet<_> = trace.names().filter(|name| name.starts_with("job \"")).collect();
        assert_eq!((jobs.len(), jobs.contains("job \"0\"")), (MOST, false));
    });
}

/// While the job has no limit, the track of its limit has no value.
#[test]
fn no_limit_is_no_value() {
    within(LONG, || {
        let pool = pool(1);
        pool.timeline().start();
        let job = pool.job_builder().name("search").limit(2).build();
        for limit in [2, usize::MAX, 1] {
            job.set_limit(limit);
            job.spawn(|| ()).join().unwrap();
            job.wait();
        }
        assert_eq!(read(&pool).each("job \"search\"", "limit"), [2, 1]);
    });
}

#[test]
fn a_worker_with_nothing_to_do_is_parked() {
    within(LONG, || {
        let pool = pool(2);
        pool.timeline().start();
        pool.job(1).spawn(|| ()).join().unwrap();
        common::until_parked(&pool, 2);
        let trace = read(&pool);
        let parked = ["worker 0", "worker 1"].map(|worker| trace.own(worker).len());
        assert!(parked.iter().any(|parked| *parked > 0), "{parked:?}");
        assert!(trace.slices.iter().any(|slice| slice.name == "parked"));
    });
}

#[test]
fn a_parked_worker_that_is_woken_is_not_parked_while_a_task_runs() {
    within(LONG, || {
        let pool = pool(1);
        pool.timeline().start();
        let job = pool.job_builder().name("search").limit(1).build();
        for _ in 0..3 {
            job.spawn(|| ()).join().unwrap();
            common::until_parked(&pool, 1);
        }
        let trace = read(&pool);
        check(&trace);
        let parked = trace.own("worker 0");
        assert!(parked.len() >= 3, "{parked:#?}");
        for task in 1..=3 {
            let ran = trace.slice("job \"search\"", task, "running");
            let apart = |slice: &&Slice| slice.to <= ran.from || ran.to <= slice.from;
            assert!(parked.iter().all(apart), "{ran:?} {parked:#?}");
        }
    });
}

#[test]
fn a_trace_can_be_written_while_tasks_run_and_after_the_end() {
    with_workers(|pool, _| {
        pool.timeline().start_with(1_000);
        let job = pool.job_builder().name("search").limit(2).build();
        thread::scope(|s| {
            s.spawn(|| {
                for i in 0..20_000 {
                    let child = if i % 50 == 0 { job.job(1) } else { job.clone() };
                    child.execute(|| ());
                }
            });
            for _ in 0..20 {
                check(&read(pool));
            }
        });
        job.wait();
        pool.shutdown();
        check(&read(pool));
    });
}

/// While the joined task runs on the stack of the joining task, the joining task has no permit.
#[test]
fn a_task_that_runs_inline_of_another_job_has_its_own_slice() {
    within(LONG, || {
        let pool = pool(1);
        pool.timeline().start();
        let named = |name| pool.job_builder().name(name).limit(1).build();
        let (outer, inner) = (named("outer"), named("inner"));
        outer.spawn(move || inner.spawn(|| ()).join().unwrap()).join().unwrap();
        outer.wait();
        let trace = read(&pool);
        check(&trace);
        let slices = trace.of("job \"outer\"");
        let names: Vec<_> = slices.iter().map(|slice| slice.name.as_str()).collect();
        assert_eq!(names, ["queued", "running", "waits", "running"], "{slices:#?}");
        let waits = trace.slice("job \"outer\"", 1, "waits");
        let ran = trace.slice("job \"inner\"", 1, "running");
        for job in ["job \"outer\"", "job \"inner\""] {
            assert_eq!((trace.most(job, "running"), trace.last(job, "running")), (1, 0), "{job}");
        }
        assert!(waits.from <= ran.from && ran.to <= waits.to, "{waits:?} {ran:?}");
    });
}
