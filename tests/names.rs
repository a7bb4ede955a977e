//! Names and what a task knows of itself: `JobBuilder::name`, `current_job`, `is_cancelled`, `Debug`.

mod common;

use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use tollgate::{Pool, TaskId, current_job, current_task_id, is_cancelled};

use common::event::Latch;
use common::{LONG, message_of, panic_of, pool, unwind, with_workers, within};

fn current_name() -> Option<String> {
    current_job()?.name().map(str::to_owned)
}

#[test]
fn a_task_knows_its_job() {
    with_workers(|pool, _| {
        let search = pool.job_builder().name("search").limit(1).build();
        let page = pool.job_builder().name(String::from("page")).parent(&search).build();
        assert_eq!(search.spawn(current_name).join().unwrap().as_deref(), Some("search"));
        assert_eq!(page.spawn(current_name).join().unwrap().as_deref(), Some("page"));
        assert_eq!(pool.job(1).spawn(current_name).join().unwrap(), None);
        assert!(current_job().is_none());
        assert!(pool.job(1).spawn(|| current_job().is_some()).join().unwrap());
    });
}

#[test]
fn a_task_knows_its_job_however_it_runs() {
    with_workers(|pool, _| {
        let job = pool.job_builder().name("one").limit(1).build();
        let other = pool.job_builder().name("two").limit(1).build();
        let inner = job.clone();
        let names = job.spawn(move || {
            let names = Mutex::new(Vec::new());
            let note = || names.lock().unwrap().push(current_name().unwrap());
            inner.scope(|s| s.execute(note));
            inner.for_each(0..1, |_| note()).unwrap();
            names
                .lock()
                .unwrap()
                .extend(inner.map(0..1, |_| current_name().unwrap()).map(Result::unwrap));
            other.scope(|s| s.execute(note));
            note();
            names.into_inner().unwrap()
        });
        assert_eq!(names.join().unwrap(), ["one", "one", "one", "two", "one"]);
    });
}

#[test]
fn the_handle_outlives_the_task() {
    with_workers(|pool, _| {
        let job = pool.job_builder().name("kept").build();
        let own = job.spawn(|| current_job().unwrap());
        drop(job);
        let own = own.join().unwrap();
        assert_eq!(own.name(), Some("kept"));
        assert_eq!(own.spawn(|| 1).join().unwrap(), 1);
    });
}

#[test]
fn the_panic_hook_knows_the_job() {
    within(LONG, || {
        let seen = Arc::new(Mutex::new(None));
        let names = seen.clone();
        let pool = Pool::builder()
            .workers(1)
            .on_panic(move |payload| {
                let message = message_of(payload).to_owned();
                *names.lock().unwrap() = Some((current_name(), message));
            })
            .build()
            .unwrap();
        let job = pool.job_builder().name("fragile").build();
        job.execute(|| unwind("broken"));
        job.wait();
        let seen = seen.lock().unwrap().take();
        assert_eq!(seen, Some((Some("fragile".to_owned()), "broken".to_owned())));
    });
}

#[test]
fn panics_of_the_pool_say_which_job() {
    with_workers(|pool, _| {
        let job = pool.job_builder().name("impatient").limit(2).build();
        let inner = job.clone();
        let said = job.spawn(move || panic_of(|| inner.wait())).join().unwrap();
        assert!(said.contains("`impatient`"), "{said}");
    });
    within(LONG, || {
        let (here, elsewhere) = (pool(1), pool(1));
        let search = here.job_builder().name("search").limit(0).build();
        let task = search.spawn_named("index", || ());
        let said = panic_of(|| here.job(1).explain_task(&task));
        assert!(said.contains("a task of the job `search`"), "{said}");
        let said = panic_of(|| elsewhere.job_builder().parent(&search));
        assert!(said.contains("parent `search`"), "{said}");
        search.set_limit(1);
        task.join().unwrap();
        let (give, take) = mpsc::channel::<tollgate::TaskHandle<()>>();
        let (says, said) = mpsc::channel();
        let itself = search.spawn(move || {
            let own = take.recv().unwrap();
            says.send(panic_of(move || own.join())).unwrap();
        });
        give.send(itself).unwrap();
        let said = said.recv().unwrap();
        assert!(said.contains("a task of the job `search` joins itself"), "{said}");
    });
    within(LONG, || {
        let pool = Pool::builder().workers(1).max_spare_workers(0).build().unwrap();
        let (crowded, other) = (pool.job_builder().name("crowded").build(), pool.job(0));
        let said = crowded.spawn(move || panic_of(|| other.spawn(|| ()).join())).join().unwrap();
        assert!(said.contains("`crowded`") && said.contains("max_spare_workers"), "{said}");
    });
}

#[test]
fn a_running_task_sees_that_its_job_was_cancelled() {
    with_workers(|pool, _| {
        for through_parent in [false, true] {
            let parent = pool.job(usize::MAX);
            let job = parent.job(1);
            let (running, latch) = (Latch::new(), Latch::new());
            let (started, opening) = (running.opening(), latch.opening());
            let task = job.spawn(move || {
                let before = is_cancelled();
                running.open();
                opening.wait();
                (before, is_cancelled())
            });
            started.wait();
            if through_parent {
                parent.cancel();
            } else {
                job.cancel();
            }
            latch.open();
            assert_eq!(task.join().unwrap(), (false, true));
        }
        assert!(!is_cancelled());
        assert!(!pool.job(1).spawn(is_cancelled).join().unwrap());
    });
}

/// The result of a detached task is dropped when its cell is gone: nobody looks at that any more.
#[test]
fn a_detached_tasks_result_may_ask_while_it_is_dropped() {
    // Too large for the cells that stay mapped when they are given back.
    struct Asks(mpsc::Sender<bool>, #[allow(dead_code, reason = "its size")] [u64; 20]);
    impl Drop for Asks {
        fn drop(&mut self) {
            let job = current_job().unwrap();
            // In place of the cell, if that was given back.
            (0..8).for_each(|number| job.execute(move || _ = number));
            self.0.send(is_cancelled()).unwrap();
        }
    }
    with_workers(|pool, workers| {
        let (tells, told) = mpsc::channel();
        let (job, latch) = (pool.job(workers), Latch::new());
        for round in 0..20 {
            let (tells, opening) = (tells.clone(), latch.opening());
            drop(job.spawn(move || {
                opening.wait();
                Asks(tells, [round; 20])
            }));
        }
        latch.open();
        job.wait();
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [false; 20]);
    });
}

#[test]
fn a_running_task_sees_that_its_handle_has_cancelled_it() {
    with_workers(|pool, workers| {
        let job = pool.job(workers);
        let (starts, started) = mpsc::channel();
        let task = job.spawn(move || {
            let before = tollgate::is_cancelled();
            starts.send(()).unwrap();
            while !tollgate::is_cancelled() {
                thread::yield_now();
            }
            // Not one that it pushes, and not one that has no handle.
            let job = tollgate::current_job().unwrap();
            let pushed = job.spawn(tollgate::is_cancelled).join().unwrap();
            (before, pushed, tollgate::is_cancelled())
        });
        started.recv().unwrap();
        assert!(!task.cancel(), "it runs");
        assert_eq!(task.join().unwrap(), (false, false, true));
        assert!(!job.spawn(tollgate::is_cancelled).join().unwrap());
    });
}

#[cfg(feature = "futures")]
#[test]
fn a_future_that_is_polled_sees_that_its_handle_has_cancelled_it() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let (starts, started) = mpsc::channel();
        let (says, said) = mpsc::channel();
        let task = job.spawn_future(async move {
            starts.send(tollgate::is_cancelled()).unwrap();
            while !tollgate::is_cancelled() {
                thread::yield_now();
            }
            says.send(()).unwrap();
        });
        assert!(!started.recv().unwrap());
        assert!(task.cancel());
        said.recv().unwrap();
        assert!(matches!(task.join(), Err(tollgate::JoinError::Cancelled)));
    });
}

#[test]
fn a_running_task_sees_that_its_pool_drops_what_waits() {
    within(LONG, || {
        let pool = pool(2);
        let (running, job) = (Latch::new(), pool.job(1));
        let started = running.opening();
        let task = job.spawn(move || {
            running.open();
            while !is_cancelled() {
                std::thread::yield_now();
            }
        });
        started.wait();
        pool.shutdown_now();
        task.join().unwrap();
    });
}

#[test]
fn every_handle_says_what_a_person_wants_to_know() {
    let pool = pool(1);
    let builder = pool.job_builder().name("search").limit(3).capacity(7);
    assert!(format!("{builder:?}").contains("search"));
    let job = builder.build();
    job.pause();
    let task = job.spawn(|| ());
    let said = format!("{job:?}");
    for part in
        ["\"search\"", "limit: 3", "capacity: 7", "backlog: 1", "paused: true", "closed: false"]
    {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(format!("{task:?}"), "TaskHandle { state: \"waiting\" }");
    job.resume();
    task.join().unwrap();
    let results = job.map(0..3, |i| i);
    let said = format!("{results:?}");
    assert!(said.contains("taken: 0") && said.contains("\"search\""), "{said}");
    assert!(format!("{:?}", results.as_completed()).starts_with("AsCompleted"));
    assert!(format!("{pool:?}").starts_with("Pool"));
    assert!(format!("{:?}", Pool::builder()).starts_with("PoolBuilder"));
    job.close();
    assert!(format!("{job:?}").contains("closed: true"));
}

#[test]
fn a_task_and_its_handle_have_one_id() {
    with_workers(|pool, workers| {
        let job = pool.job(workers);
        for timed in [job.clone(), pool.job_builder().timed().capacity(2).build()] {
            let task = timed.spawn(current_task_id);
            let id = task.id();
            assert_eq!(task.join().unwrap(), Some(id));
            let task = timed.spawn_named("named", current_task_id);
            let id = task.id();
            assert_eq!(task.join().unwrap(), Some(id));
        }
        // A task that runs inline inside another one has its own id, and the outer one has its own again afterwards.
        let inner = job.clone();
        let task = job.spawn(move || {
            let before = current_task_id();
            let joined = inner.spawn(current_task_id);
            let id = joined.id();
            (before, joined.join().unwrap() == Some(id), current_task_id(), id)
        });
        let own = task.id();
        let (before, joined, after, id) = task.join().unwrap();
        assert_eq!((before, joined, after), (Some(own), true, Some(own)));
        assert_ne!(own, id);
        assert_eq!(current_task_id(), None);
        let (says, said) = mpsc::channel();
        job.execute(move || says.send(current_task_id()).unwrap());
        assert_eq!(said.recv().unwrap(), None);
    });
}

#[test]
fn tasks_whose_handles_exist_have_different_ids() {
    with_workers(|pool, workers| {
        let job = pool.job(workers);
        let tasks: Vec<_> = (0..1000).map(|number| job.spawn(move || number)).collect();
        let waiting: std::collections::BTreeSet<TaskId> =
            tasks.iter().map(tollgate::TaskHandle::id).collect();
        job.wait();
        // Ended tasks keep their ids while their handles exist.
        let later = job.spawn_named("later", || 0);
        assert!(waiting.len() == 1000 && !waiting.contains(&later.id()));
        let id = later.id().to_string();
        assert!(id.starts_with("0x") && format!("{:?}", later.id()).contains(&id), "{id}");
    });
}

#[cfg(feature = "futures")]
#[test]
fn a_future_and_its_handle_have_one_id() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let inner = job.clone();
        let task = job.spawn_future(async move {
            let before = current_task_id();
            inner.spawn(|| ()).await.unwrap();
            (before, current_task_id())
        });
        let id = task.id();
        assert_eq!(task.join().unwrap(), (Some(id), Some(id)));
    });
}

/// Captures too large for a cell.
type Large = [u8; 5000];

#[test]
fn a_named_task_has_its_name_until_its_handle_is_gone() {
    with_workers(|pool, workers| {
        let job = pool.job(workers);
        let large: Large = [7; _];
        let tasks = [
            job.spawn_named("small", || 7),
            job.spawn_named(String::from("large"), move || large[4999]),
            pool.job_builder().timed().build().spawn_named("timed", || 7),
        ];
        for (task, name) in tasks.into_iter().zip(["small", "large", "timed"]) {
            assert_eq!(task.name(), Some(name));
            while !task.is_finished() {
                thread::yield_now();
            }
            assert_eq!(
                format!("{task:?}"),
                format!("TaskHandle {{ name: {name:?}, state: \"finished\" }}")
            );
            assert_eq!(task.join().unwrap(), 7);
        }
        assert_eq!(job.spawn(|| ()).name(), None);
        let moved = job.clone();
        job.spawn(move || drop(moved.spawn_named("detached", || ()))).join().unwrap();
        job.wait();
        job.close();
        let refused = job.spawn_named("refused", || ());
        assert_eq!(refused.name(), Some("refused"));
        assert!(refused.join().unwrap_err().is_cancelled());
        let cancelled = pool.job(0).spawn_named("cancelled", || ());
        assert!(cancelled.cancel());
        assert_eq!(cancelled.name(), Some("cancelled"));
    });
}

#[test]
fn an_explanation_of_a_named_task_begins_with_its_name() {
    let pool = pool(1);
    let job = pool.job_builder().name("held").limit(0).build();
    let (named, other) = (job.spawn_named("first", || ()), job.spawn(|| ()));
    let why = job.explain_task(&named).to_string();
    assert_eq!(why, "task \"first\": job \"held\" has a limit of 0");
    assert!(job.explain_task(&other).to_string().starts_with("job \"held\""));
    job.set_limit(1);
    job.wait();
    assert_eq!(job.explain_task(&named).to_string(), "task \"first\": the task has ended");
}
