//! Calls on jobs that no other operation uses: each has one right outcome, whatever the other operations have done.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;

use tollgate::{Adaptive, Interval, Job, JoinError, Permit, Pool, Rejected, TaskHandle};

use super::interpreter::surely;

/// Lazy input that is empty ends at once, although its job is held.
pub fn empty_input(parent: &Job) {
    let held = parent.job(0);
    assert!(!matches!(held.map(0..0, |_| ()).next(), Some(Ok(()))));
    _ = held.for_each(0..0, |_| unreachable!());
    assert_eq!(held.stats().completed, 0);
}

/// Keys stay exactly while they are used or changed, whatever holds or closes their parent.
pub fn keys(parent: &Job) {
    let keyed = parent.job_builder().keyed::<u8>(|key, builder| builder.limit((*key).into()));
    let used = keyed.job(&0);
    keyed.job(&1).set_limit(5);
    keyed.job(&2).pause();
    for key in 3..9 {
        assert_eq!(keyed.job(&key).limit(), key.into());
    }
    assert_eq!((keyed.len(), keyed.evict_idle(), keyed.len()), (9, 6, 3));
    assert_eq!((keyed.job(&0), keyed.job(&1).limit()), (used, 5));
    keyed.job(&1).set_limit(1);
    keyed.job(&2).resume();
    assert_eq!(keyed.evict_idle(), 3);
}

/// The user's job with an adaptive limit, and the permits that the user holds of it. The user gives them back before the pool ends.
#[derive(Default)]
pub struct Adapts(Mutex<(Option<Job>, Vec<Permit>)>);

impl Adapts {
    /// Makes a call of this number. Whatever rule and calls say, the limit stays in its range.
    pub fn call(&self, pool: &Pool, number: u8) {
        let (job, permits) = &mut *self.0.lock().unwrap();
        let rule = |interval: &Interval| interval.limit * 7 % 11 + interval.overloads as usize * 20;
        let adaptive = || Adaptive::new(2..=6).rule(rule);
        let job = job.get_or_insert_with(|| pool.job_builder().adaptive(adaptive()).build());
        match number % 7 {
            0..=2 => permits.extend(job.try_acquire()),
            3 | 4 => _ = permits.pop(),
            5 => permits.iter_mut().take(1).for_each(Permit::overloaded),
            _ => job.set_limit(number.into()),
        }
        assert!((2..=6).contains(&job.limit()) && permits.len() <= 6, "{job:?}");
        assert_eq!(job.stats().running, permits.len());
    }

    /// Gives all permits back.
    pub fn give_back(&self) {
        self.0.lock().unwrap().1.clear();
    }
}

/// Permits, each with its weight.
type Weighed = Vec<(usize, Permit)>;

/// The user's job that counts weights, and the permits that the user holds of it. The user gives them back before the pool ends.
#[derive(Default)]
pub struct Weighs(Mutex<(Option<Job>, Weighed)>);

impl Weighs {
    /// Makes a call of this number. A permit is granted exactly if its weight fits.
    pub fn call(&self, pool: &Pool, number: u8, value: usize) {
        let (job, permits) = &mut *self.0.lock().unwrap();
        let job = job.get_or_insert_with(|| pool.job_builder().limit(4).weighted().build());
        let held: usize = permits.iter().map(|(weight, _)| weight).sum();
        match number % 7 {
            0..=3 => {
                let weight = 1 + value % 6;
                let fits = held + weight <= job.limit() || held == 0 && job.limit() > 0;
                let acquired = job.weigh(weight).try_acquire();
                assert_eq!(acquired.is_ok(), fits, "{weight} beside {held}: {job:?}");
                permits.extend(acquired.map(|permit| (weight, permit)));
            }
            4 | 5 if !permits.is_empty() => drop(permits.swap_remove(value % permits.len())),
            _ => job.set_limit(value % 8),
        }
        let held: usize = permits.iter().map(|(weight, _)| weight).sum();
        assert_eq!((job.stats().running, job.stats().backlog), (held, 0));
    }

    /// Gives all permits back.
    pub fn give_back(&self) {
        self.0.lock().unwrap().1.clear();
    }
}

/// Returns what `call` returns. If it must return something, calls it again until it does.
fn insist<T>(must: bool, mut call: impl FnMut() -> Option<T>) -> Option<T> {
    let mut watch = None;
    loop {
        let result = call();
        if result.is_some() || !must {
            return result;
        }
        assert!(
            watch.get_or_insert_with(surely).hangs().is_none(),
            "a permit is free, and is refused"
        );
        thread::yield_now();
    }
}

/// What the user has of the job with a capacity of 0.
#[derive(Default)]
struct HandedOver {
    job: Option<Job>,
    permits: Vec<Permit>,
    tasks: Vec<TaskHandle<()>>,
    /// How many permits and tasks the job has accepted.
    accepted: u64,
}

/// The user's job with a capacity of 0, its permits and its tasks. The user gives the permits back before the pool ends.
#[derive(Default)]
pub struct HandsOver(Mutex<HandedOver>);

impl HandsOver {
    /// Makes a call of this number. A push is refused if the user has all permits. It is accepted if a permit is surely free.
    pub fn call(&self, pool: &Pool, number: u8, value: usize) {
        let mut state = self.0.lock().unwrap();
        let HandedOver { job, permits, tasks, accepted } = &mut *state;
        let job = job.get_or_insert_with(|| pool.job_builder().limit(2).capacity(0).build());
        let (held, limit) = (permits.len(), job.limit());
        // In this order: a task that has ended may have its permit for a little longer.
        let at_rest = tasks.iter().all(TaskHandle::is_finished) && job.stats().running == held;
        let is_free = at_rest && held < limit;
        let before = (permits.len(), tasks.len());
        match number % 7 {
            // It would block if no permit were free.
            0 if is_free && value.is_multiple_of(3) => tasks.push(job.spawn(|| ())),
            0 | 1 => tasks.extend(insist(is_free, || match value % 2 {
                0 => job.try_spawn(|| ()).ok(),
                _ => match pin!(job.reserve()).poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(slot) => Some(slot.expect("the job is open").spawn(|| ())),
                    Poll::Pending => None,
                },
            })),
            2 | 3 => permits.extend(insist(is_free, || job.try_acquire().ok())),
            4 => _ = permits.pop(),
            5 if at_rest => tasks.clear(),
            _ => job.set_limit(value % 4),
        }
        let taken = permits.len() > before.0 || tasks.len() > before.1;
        assert!(!taken || held < limit, "the user had all permits: {job:?}");
        *accepted += u64::from(taken);
    }

    /// Gives all permits back.
    pub fn give_back(&self) {
        self.0.lock().unwrap().permits.clear();
    }

    /// The pool has ended: so has each task. If `left`, a worker may have one in hand.
    pub fn accounts(&self, left: bool) {
        let state = self.0.lock().unwrap();
        let HandedOver { job, tasks, accepted, .. } = &*state;
        let all_ended = tasks.iter().all(TaskHandle::is_finished);
        assert!(left || all_ended, "a task of a pool that ended is not over");
        if let Some(job) = job.as_ref().filter(|_| !left) {
            let stats = job.stats();
            assert_eq!(stats.completed + stats.cancelled, *accepted, "{stats:?}");
            assert_eq!((stats.running, stats.backlog, stats.panicked), (0, 0, 0), "{stats:?}");
        }
    }
}

/// Cancelled tasks take no slot, and do not pile up in the queue.
pub fn cancels_behind_a_capacity(pool: &Pool, capacity: usize) {
    let job = pool.job_builder().limit(0).capacity(capacity).build(); // held
    for _ in 0..4 * capacity {
        assert!(job.try_spawn(|| unreachable!()).unwrap().cancel());
        assert!(job.stats().backlog <= 2 * capacity + 1, "{:?}", job.stats());
    }
    let kept: Vec<_> = (0..capacity).map(|_| job.try_spawn(|| ()).unwrap()).collect();
    assert!(matches!(job.try_execute(|| ()), Err(Rejected::Full(_))));
    assert!(kept.iter().all(|task| task.cancel()));
    assert!(job.try_execute(|| ()).is_ok());
    job.cancel();
}

/// Ten numbers, of an input whose `next` or whose drop may panic at the end.
struct Input {
    left: Range<usize>,
    next_panics: bool,
    drop_panics: bool,
}

impl Iterator for Input {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let item = self.left.next();
        if item.is_none() && self.next_panics {
            resume_unwind(Box::new("next"));
        }
        item
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if self.drop_panics {
            resume_unwind(Box::new("drop"));
        }
    }
}

/// The first panic of an input comes after all its items. Call it only if a worker is sure to be free.
pub fn input_that_panics(pool: &Pool, next_panics: bool, drop_panics: bool) {
    let job = pool.job(2);
    let mut results = job.map(Input { left: 0..10, next_panics, drop_panics }, |i| i);
    assert!(results.by_ref().take(10).map(Result::unwrap).eq(0..10));
    let first = if next_panics { "next" } else { "drop" };
    match results.next() {
        None => assert!(!next_panics && !drop_panics, "a panic was lost"),
        Some(Err(JoinError::Panicked(payload))) if next_panics || drop_panics => {
            assert_eq!(payload.message(), Some(first));
        }
        Some(result) => panic!("{result:?} after all items"),
    }
    assert!(results.next().is_none());
}

/// A future whose drop panics, and which is ready at its first poll or never.
#[cfg(feature = "futures")]
struct Bomb {
    ready: bool,
    polled: std::sync::mpsc::Sender<()>,
}

#[cfg(feature = "futures")]
impl Future for Bomb {
    type Output = ();

    fn poll(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        _ = self.polled.send(());
        if self.ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    }
}

#[cfg(feature = "futures")]
impl Drop for Bomb {
    fn drop(&mut self) {
        resume_unwind(Box::new("drop"));
    }
}

/// The panic of its drop is the future's outcome, and counts. Call it only if a worker is sure to be free.
#[cfg(feature = "futures")]
pub fn future_whose_drop_panics(pool: &Pool, ready: bool) {
    let job = pool.job(1);
    let (polled, first_poll) = std::sync::mpsc::channel();
    let task = job.spawn_future(Bomb { ready, polled });
    first_poll.recv().unwrap();
    if !ready {
        task.cancel();
    }
    match task.join() {
        Err(JoinError::Panicked(payload)) => assert_eq!(payload.message(), Some("drop")),
        result => panic!("{result:?} of a future whose drop panics"),
    }
    let stats = job.stats();
    assert_eq!((stats.completed, stats.panicked, stats.cancelled), (0, 1, 0));
}

/// Of joins in a circle one panics, and the others end. Call it only if a worker is sure to be free.
pub fn joins_in_a_circle(pool: &Pool, count: usize) {
    if cfg!(fuzzing) {
        return; // The fuzzer takes each panic for a crash, also one that is caught.
    }
    let jobs: Vec<_> = (0..count).map(|_| pool.job(0)).collect(); // held
    let next: Arc<Vec<Mutex<Option<TaskHandle<()>>>>> =
        Arc::new(jobs.iter().map(|_| Mutex::new(None)).collect());
    let refused = Arc::new(AtomicUsize::new(0));
    for (i, job) in jobs.iter().enumerate() {
        let (next, refused) = (Arc::clone(&next), Arc::clone(&refused));
        let place = Arc::clone(&next);
        let task = job.spawn(move || {
            let joined = next[(i + 1) % next.len()].lock().unwrap().take().unwrap();
            if catch_unwind(AssertUnwindSafe(|| joined.join().unwrap())).is_err() {
                refused.fetch_add(1, SeqCst);
            }
        });
        *place[i].lock().unwrap() = Some(task);
    }
    jobs.iter().for_each(|job| job.set_limit(1));
    jobs.iter().for_each(Job::wait);
    assert_eq!(refused.load(SeqCst), 1, "{count} joins in a circle");
}
