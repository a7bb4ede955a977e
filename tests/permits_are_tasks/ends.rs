//! Permits and waiters at the end of their job and of their pool.

use super::*;

#[test]
fn a_close_refuses_and_keeps_waiters() {
    let pool = pool(1);
    let job = pool.job(1);
    let held = job.try_acquire().unwrap();
    let (mut waiter, _) = queued(&job);
    job.close();
    assert_eq!(block_on(job.acquire()).err(), Some(Closed));
    assert_eq!(job.acquire_blocking().err(), Some(Closed));
    assert_eq!(job.try_acquire().err(), Some(TryAcquireError::Closed));
    drop(held);
    drop(granted(&mut waiter));
}

#[test]
fn a_cancel_refuses_waiters() {
    with_workers(|pool, _| {
        let job = pool.job(1);
        let held = job.try_acquire().unwrap();
        let theirs = job.clone();
        let blocked = thread::spawn(move || theirs.acquire_blocking().err());
        while job.stats().backlog == 0 {
            thread::yield_now();
        }
        let (waiter, _) = queued(&job);
        job.cancel();
        assert_eq!(block_on(waiter).err(), Some(Closed));
        assert_eq!(blocked.join().unwrap(), Some(Closed));
        assert_eq!(job.stats().running, 1);
        drop(held);
        job.wait();
        assert_eq!((job.stats().completed, job.stats().cancelled), (1, 2));
    });
}

#[test]
fn a_drain_waits_for_permits_and_admits_waiters() {
    for workers in [1, 2, 4] {
        let pool = pool(workers);
        let job = pool.job(1);
        let held = job.try_acquire().unwrap();
        let (mut waiter, _) = queued(&job);
        let task = job.spawn(|| "ran");
        let ended = Arc::new(AtomicUsize::new(0));
        let tell = ended.clone();
        let ends = thread::spawn(move || {
            pool.shutdown();
            tell.store(1, SeqCst);
        });
        while !matches!(job.try_acquire(), Err(TryAcquireError::Closed)) {
            thread::yield_now();
        }
        drop(held);
        let permit = granted(&mut waiter);
        assert_eq!(ended.load(SeqCst), 0, "the drain did not wait for the permit");
        drop(permit);
        ends.join().unwrap();
        assert_eq!(task.join().unwrap(), "ran");
    }
}

/// Empty cells of waiters that have left stand between the tasks. The worker that runs these tasks takes the cells out.
#[test]
fn a_drain_does_not_wait_for_waiters_that_have_left() {
    within(LONG, || {
        let pool = pool(1);
        let (job, latch) = (pool.job(1), Latch::new());
        let opening = latch.opening();
        job.execute(move || opening.wait());
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let (waiter, _) = queued(&job);
                (0..20).for_each(|_| job.execute(|| ()));
                waiter
            })
            .collect();
        drop(waiters);
        latch.open();
        pool.shutdown();
        let stats = job.stats();
        assert_eq!((stats.completed, stats.cancelled, stats.running), (61, 3, 0));
    });
}

#[test]
fn an_abrupt_shutdown_refuses_waiters_and_waits_for_permits() {
    let pool = pool(2);
    let job = pool.job(1);
    let held = job.try_acquire().unwrap();
    let (waiter, _) = queued(&job);
    let ends = thread::spawn(move || pool.shutdown_now());
    while !matches!(job.try_acquire(), Err(TryAcquireError::Closed)) {
        thread::yield_now();
    }
    drop(held);
    let refused = block_on(waiter);
    // A permit that was handed over before the call took effect is given back here.
    let expected = usize::from(refused.is_err());
    drop(refused);
    assert_eq!(ends.join().unwrap(), expected);
}

#[test]
fn a_permit_outlives_handles_and_pool_handle() {
    let permit = {
        let pool = pool(1);
        let job = pool.job(1);
        let permit = job.try_acquire().unwrap();
        drop(job);
        // The drop of the pool waits for the permit: it is given back on another thread.
        let (tell, told) = mpsc::channel();
        let holder = thread::spawn(move || {
            told.recv().unwrap();
            drop(permit);
        });
        tell.send(()).unwrap();
        drop(pool);
        holder
    };
    permit.join().unwrap();
}
