//! Code of the user that is no task: hooks, names, inputs, wakers, destructors. Each row of the table in the crate's
//! documentation, "Where code may wait", is a test here; and what the pool keeps of such code is dropped with the pool.

mod common;

use std::pin::Pin;
use std::sync::{Arc, Barrier, Mutex, OnceLock, Weak, mpsc};
use std::task::{Context, Poll, Wake, Waker};

use common::event::Latch;
use common::{LONG, Tokens, job_without_inline_tasks, panic_of, unwind, with_workers, within};
use tollgate::{Job, JoinError, Pool};

/// A job that a hook made before the pool finds later.
type Late = Arc<OnceLock<Job>>;

fn sum(job: &Job) -> usize {
    job.spawn(|| 20 + 3).join().unwrap()
}

#[test]
fn a_start_hook_that_waits_is_told() {
    within(LONG, || {
        let (job, latch) = (Late::default(), Latch::new());
        let (seen, (tell, told)) = (Arc::clone(&job), mpsc::channel());
        let (opening, tell) = (latch.opening(), Mutex::new(tell));
        // Both hooks end together. A worker that has left its hook could run the task before the other worker's hook joins it.
        let both = Barrier::new(2);
        let pool = Pool::builder()
            .workers(2)
            .on_worker_start(move |_| {
                opening.wait();
                let job = seen.get().unwrap();
                let task = job.spawn(|| 1);
                let said = panic_of(|| task.join());
                let scoped = panic_of(|| job.scope(|s| s.execute(|| ())));
                tell.lock().unwrap().send([said, scoped]).unwrap();
                both.wait();
            })
            .build()
            .unwrap();
        job.set(pool.job(2)).unwrap();
        latch.open();
        for said in told.iter().take(2).flatten() {
            assert!(said.contains("a hook of a pool waits"), "{said}");
        }
        // Both workers run tasks.
        assert_eq!(sum(&pool.job(1)), 23);
        pool.shutdown();
    });
}

#[test]
fn a_stop_hook_finds_its_task_cancelled() {
    within(LONG, || {
        let job = Late::default();
        let (seen, (tell, told)) = (Arc::clone(&job), mpsc::channel());
        let tell = Mutex::new(tell);
        let pool = Pool::builder()
            .workers(1)
            .on_worker_stop(move |_| {
                let task = seen.get().unwrap().spawn(|| 1);
                tell.lock().unwrap().send(task.join()).unwrap();
            })
            .build()
            .unwrap();
        job.set(pool.job(1)).unwrap();
        pool.shutdown();
        assert!(matches!(told.recv().unwrap(), Err(JoinError::Cancelled)));
    });
}

/// A hook that need not wait does not panic: what it joins has ended, or is refused.
#[test]
fn a_start_hook_may_join_what_has_ended() {
    within(LONG, || {
        let other = common::pool(1);
        let job = other.job(1);
        let (tell, told) = mpsc::channel();
        let tell = Mutex::new(tell);
        let ended = Mutex::new(Some(job.spawn(|| 23)));
        job.wait();
        let pool = Pool::builder()
            .workers(1)
            .on_worker_start(move |_| {
                job.wait();
                let joined = ended.lock().unwrap().take().map(|task| task.join().unwrap());
                tell.lock().unwrap().send(joined).unwrap();
            })
            .build()
            .unwrap();
        assert_eq!(told.recv().unwrap(), Some(23));
        assert_eq!(sum(&pool.job(1)), 23);
    });
}

#[test]
fn a_stop_hook_that_waits_is_told() {
    within(LONG, || {
        let other = common::pool(1);
        let held = other.job(0);
        let (tell, told) = mpsc::channel();
        let (tell, task) = (Mutex::new(tell), Mutex::new(Some(held.spawn(|| ()))));
        let pool = Pool::builder()
            .workers(1)
            .on_worker_stop(move |_| {
                let task = task.lock().unwrap().take().unwrap();
                tell.lock().unwrap().send(panic_of(|| task.join())).unwrap();
            })
            .build()
            .unwrap();
        pool.shutdown();
        let said = told.recv().unwrap();
        assert!(said.contains("a hook of a pool waits"), "{said}");
    });
}

#[test]
fn a_panic_hook_of_the_process_may_wait() {
    within(LONG, || {
        let pool = common::pool(1);
        let (job, (tell, told)) = (pool.job(1), mpsc::channel());
        let tell = Mutex::new(tell);
        let before = std::panic::take_hook();
        // The hook is the process's: other tests may panic meanwhile.
        let mine = std::thread::current().id();
        std::panic::set_hook(Box::new(move |info| {
            let message = info.payload_as_str().unwrap_or_default();
            match message == format!("told to the process, by {mine:?}") {
                true => tell.lock().unwrap().send(sum(&job)).unwrap(),
                false => before(info),
            }
        }));
        let task = pool.job(1).spawn(move || panic!("told to the process, by {mine:?}"));
        assert!(task.join().is_err());
        assert_eq!(told.recv().unwrap(), 23);
        drop(std::panic::take_hook());
    });
}

#[test]
fn a_panic_hook_may_wait() {
    within(LONG, || {
        let job = Late::default();
        let (seen, (tell, told)) = (Arc::clone(&job), mpsc::channel());
        let tell = Mutex::new(tell);
        let pool = Pool::builder()
            .workers(1)
            .on_panic(move |_| tell.lock().unwrap().send(sum(seen.get().unwrap())).unwrap())
            .build()
            .unwrap();
        job.set(pool.job(1)).unwrap();
        pool.job(1).execute(|| unwind("told to the hook"));
        assert_eq!(told.recv().unwrap(), 23);
    });
}

#[test]
fn a_name_that_waits_is_told_and_the_thread_has_its_usual_name() {
    within(LONG, || {
        let job = Late::default();
        let (seen, (tell, told)) = (Arc::clone(&job), mpsc::channel());
        let tell = Mutex::new(tell);
        let pool = Pool::builder()
            .workers(1)
            .thread_name(move |index| {
                if let Some(job) = seen.get() {
                    tell.lock().unwrap().send(panic_of(|| sum(job))).unwrap();
                }
                format!("named-{index}")
            })
            .build()
            .unwrap();
        job.set(pool.job(1)).unwrap();
        let (outer, inner) = (pool.job(1), job_without_inline_tasks(&pool));
        let name = outer.spawn(move || {
            // A spare worker takes this thread's place.
            inner.spawn(|| std::thread::current().name().map(str::to_owned)).join().unwrap()
        });
        let name = name.join().unwrap().unwrap();
        assert!(name.starts_with("named-"), "{name}");
        let said = told.recv().unwrap();
        assert!(said.contains("a hook of a pool waits"), "{said}");
    });
}

#[test]
fn an_input_may_wait() {
    with_workers(|pool, _| {
        for inner in [pool.job(1), pool.job(usize::MAX)] {
            let other = inner.clone();
            let input = move || (0..3).map(move |_| sum(&other));
            let job = pool.job(1);
            assert!(job.map(input.clone()(), |i| i).map(Result::unwrap).eq([23; 3]));
            let seen = Mutex::new(Vec::new());
            job.for_each(input(), |i| seen.lock().unwrap().push(i)).unwrap();
            assert_eq!(*seen.lock().unwrap(), [23; 3]);
        }
    });
}

/// Joins a task when it is woken.
struct Joins(Job, Mutex<mpsc::Sender<usize>>);

impl Wake for Joins {
    fn wake(self: Arc<Self>) {
        self.1.lock().unwrap().send(sum(&self.0)).unwrap();
    }
}

#[test]
fn a_waker_may_wait() {
    with_workers(|pool, _| {
        let (tell, told) = mpsc::channel();
        let waker = Waker::from(Arc::new(Joins(pool.job(1), Mutex::new(tell))));
        let mut cx = Context::from_waker(&waker);
        let latch = Latch::new();
        let opening = latch.opening();
        let job = pool.job(1);
        let mut task = job.spawn(move || opening.wait());
        let mut idle = job.idle();
        assert!(Pin::new(&mut task).poll(&mut cx).is_pending());
        assert!(Pin::new(&mut idle).poll(&mut cx).is_pending());
        latch.open();
        // For the task, and for the job.
        assert_eq!([told.recv().unwrap(), told.recv().unwrap()], [23; 2]);
        job.wait();
        assert!(matches!(Pin::new(&mut task).poll(&mut cx), Poll::Ready(Ok(()))));
    });
}

/// Joins a task when it is dropped.
struct JoinsInDrop(Job, mpsc::Sender<usize>);

impl Drop for JoinsInDrop {
    fn drop(&mut self) {
        self.1.send(sum(&self.0)).unwrap();
    }
}

#[test]
fn a_destructor_may_wait() {
    with_workers(|pool, _| {
        let (tell, told) = mpsc::channel();
        let value = || JoinsInDrop(pool.job(1), tell.clone());
        let job = pool.job(1);
        // A capture of a task that runs, a result without a handle, and a capture of a task that is cancelled.
        let (capture, result, cancelled) = (value(), value(), value());
        job.execute(move || drop(capture));
        drop(job.spawn(move || result));
        let held = pool.job(0);
        held.execute(move || drop(cancelled));
        held.cancel();
        assert_eq!([(); 3].map(|()| told.recv().unwrap()), [23; 3]);
    });
}

#[test]
fn a_pool_drops_its_hooks_although_a_job_is_kept() {
    with_workers(|_, workers| {
        let tokens = Tokens::new();
        let token = || {
            let token = tokens.token();
            move || _ = &token
        };
        let (start, stop, panic, name) = (token(), token(), token(), token());
        let pool = Pool::builder()
            .workers(workers)
            .on_worker_start(move |_| start())
            .on_worker_stop(move |_| stop())
            .on_panic(move |_| panic())
            .thread_name(move |index| {
                name();
                format!("{index}")
            })
            .build()
            .unwrap();
        let job = pool.job(1);
        let (outer, inner) = (job.clone(), pool.job(1));
        assert_eq!(outer.spawn(move || sum(&inner)).join().unwrap(), 23);
        pool.shutdown();
        assert_eq!(tokens.dropped(), 4);
        drop(pool);
        assert!(job.try_spawn(|| ()).is_err());
    });
}

#[test]
fn a_hook_that_keeps_a_job_of_its_own_pool_keeps_no_pool() {
    let (job, kept) = (Late::default(), Arc::new(()));
    let (seen, alive): (_, Weak<()>) = (Arc::clone(&job), Arc::downgrade(&kept));
    let pool = Pool::builder().workers(1).on_panic(move |_| _ = (&seen, &kept)).build().unwrap();
    job.set(pool.job(1)).unwrap();
    drop((pool, job));
    assert!(alive.upgrade().is_none(), "the hook is kept by the job that it keeps");
}

#[test]
fn a_hook_whose_drop_panics_ends_with_its_pool() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            unwind("a hook's drop");
        }
    }
    within(LONG, || {
        let bomb = Bomb;
        let pool = Pool::builder().workers(2).on_worker_stop(move |_| _ = &bomb).build().unwrap();
        pool.shutdown();
        drop(pool);
    });
}

#[test]
fn a_name_that_panics_leaves_its_task_free_to_wait_again() {
    within(LONG, || {
        let pool = Pool::builder()
            .workers(1)
            .thread_name(|index| if index == 0 { "one".to_owned() } else { unwind("no name") })
            .build()
            .unwrap();
        let (outer, inner) = (pool.job(1), pool.job(1));
        let task = outer
            .spawn(move || [1, 2, 3].map(|number| inner.spawn(move || number).join().unwrap()));
        assert_eq!(task.join().unwrap(), [1, 2, 3]);
    });
}
