//! *keys_are_free*: an idle key is dropped, and a key that is in use or was changed stays.

mod common;

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use tollgate::{Job, JobBuilder, Keyed, ManualClock, Permit, Pool, Rate};

use common::event::{Gauge, Latch, stay};
use common::{LONG, panic_of, pool, with_workers, within};

fn keyed(pool: &Pool) -> Keyed<u64> {
    pool.job_builder().limit(20).keyed::<u64>(|_, builder| builder.limit(2))
}

/// Drops idle keys until so many were dropped: a worker that has ended a task, or swept a queue, may keep a handle a little longer.
fn evict<K: Hash + Eq>(jobs: &Keyed<K>, count: usize) {
    let mut evicted = 0;
    while evicted < count {
        evicted += jobs.evict_idle();
        thread::yield_now();
    }
    assert_eq!(evicted, count);
}

#[test]
fn a_key_has_one_job_with_its_limit_and_parent() {
    with_workers(|pool, _| {
        let jobs = keyed(pool);
        assert!(jobs.is_empty());
        assert_eq!(jobs.get(&1), None);
        let (one, other) = (jobs.job(&1), jobs.job(&2));
        assert_eq!(one, jobs.clone().job(&1));
        assert_eq!(Some(&one), jobs.get(&1).as_ref());
        assert_ne!(one, other);
        assert_eq!((one.limit(), jobs.parent().limit(), jobs.len()), (2, 20, 2));
        one.spawn(|| ()).join().unwrap();
        jobs.parent().wait();
        assert_eq!(jobs.parent().stats().most_running, 1);
        assert!(format!("{jobs:?}").contains("keys: 2"));
    });
}

#[test]
fn keys_are_looked_up_by_what_they_borrow_as() {
    let pool = pool(1);
    let jobs = pool.job_builder().keyed::<String>(|key, builder| builder.name(key));
    let job = jobs.job("a");
    assert_eq!(
        (job.name(), jobs.job(&"a".to_owned()), jobs.get("b")),
        (Some("a"), job.clone(), None)
    );
    assert_eq!(jobs.remove("a"), Some(job));
    assert!(jobs.is_empty());
}

#[test]
fn the_parent_is_the_parent_whatever_the_builder_says() {
    let pool = Arc::new(pool(1));
    let (elsewhere, inside) = (pool.job(1), pool.clone());
    let jobs = inside.job_builder().keyed::<u64>(move |_, builder| builder.parent(&elsewhere));
    jobs.job(&1).spawn(|| ()).join().unwrap();
    jobs.parent().wait();
    assert_eq!(jobs.parent().stats_with_children().completed, 1);
}

#[test]
fn an_idle_key_is_dropped_and_made_anew() {
    let pool = pool(1);
    let jobs = keyed(&pool);
    jobs.job(&1).spawn(|| ()).join().unwrap();
    jobs.parent().wait();
    evict(&jobs, 1);
    assert!(jobs.is_empty());
    assert_eq!(jobs.job(&1).stats().completed, 0);
    assert_eq!(jobs.parent().stats_with_children().completed, 1);
}

#[test]
fn keys_in_use_stay() {
    let pool = pool(2);
    let jobs = keyed(&pool);
    let handle = jobs.job(&1);
    let (gauge, latch) = (Gauge::new(), Latch::new());
    jobs.job(&2).execute(stay(&gauge, &latch));
    gauge.until_running(1);
    jobs.job(&3).pause();
    jobs.job(&3).execute(|| ());
    let permit = jobs.job(&4).try_acquire().unwrap();
    let child = jobs.job(&5).job(1);
    drop(jobs.job(&6));
    assert_eq!((jobs.evict_idle(), jobs.len()), (1, 5));
    assert_eq!(handle, jobs.job(&1));
    jobs.job(&3).resume();
    latch.open();
    drop((handle, permit, child));
    jobs.parent().wait();
    evict(&jobs, 5);
    assert!(jobs.is_empty());
}

#[test]
fn a_key_that_waits_for_its_parent_stays() {
    let pool = pool(1);
    let jobs = pool.job_builder().limit(0).keyed::<u64>(|_, builder| builder.limit(2));
    let ran = Arc::new(AtomicUsize::new(0));
    for key in [1, 1, 1, 2] {
        let ran = ran.clone();
        jobs.job(&key).execute(move || _ = ran.fetch_add(1, SeqCst));
    }
    assert_eq!((jobs.evict_idle(), jobs.len()), (0, 2));
    jobs.parent().set_limit(1);
    jobs.parent().wait();
    assert_eq!(ran.load(SeqCst), 4);
    evict(&jobs, 2);
}

#[test]
fn keys_that_were_changed_stay_until_they_are_as_before() {
    let pool = pool(1);
    let jobs = keyed(&pool);
    jobs.job(&1).set_limit(7);
    jobs.job(&2).pause();
    jobs.job(&3).close();
    jobs.job(&4).cancel();
    jobs.job(&5).set_limit(0);
    assert_eq!((jobs.evict_idle(), jobs.len()), (0, 5));
    assert_eq!(jobs.job(&1).limit(), 7);
    assert!(jobs.job(&3).is_closed() && jobs.job(&4).is_closed());
    jobs.job(&1).set_limit(2);
    jobs.job(&2).resume();
    jobs.job(&5).set_limit(2);
    jobs.parent().wait();
    assert_eq!((jobs.evict_idle(), jobs.len()), (3, 2));
    assert!(jobs.remove(&3).is_some() && jobs.remove(&5).is_none());
    assert!(!jobs.job(&3).is_closed());
    assert!(jobs.job(&4).is_closed());
}

/// Two look-ups make the job of a key at once. The later one drops its own job, and must not note the changed limit of the other job
/// as the limit with which that job was made.
#[test]
fn a_key_that_was_changed_while_it_was_made_twice_stays() {
    let pool = pool(1);
    let inside: Arc<Mutex<Option<Keyed<u64>>>> = Arc::default();
    let taken = inside.clone();
    let jobs = pool.job_builder().keyed::<u64>(move |key, builder| {
        // The first call makes the job of the key a second time, by a look-up of its own.
        let again = taken.lock().unwrap().take();
        if let Some(jobs) = again {
            jobs.job(key).set_limit(7);
        }
        builder.limit(2)
    });
    *inside.lock().unwrap() = Some(jobs.clone());
    assert_eq!(jobs.job(&1).limit(), 7);
    assert_eq!((jobs.evict_idle(), jobs.job(&1).limit()), (0, 7));
    jobs.job(&1).set_limit(2);
    assert_eq!(jobs.evict_idle(), 1);
}

#[test]
fn keys_of_a_closed_parent_are_dropped() {
    let pool = pool(1);
    let jobs = keyed(&pool);
    (0..10).for_each(|key| jobs.job(&key).execute(|| ()));
    jobs.parent().cancel();
    jobs.parent().wait();
    evict(&jobs, 10);
    assert!(jobs.is_empty() && jobs.job(&1).is_closed());
}

#[test]
fn a_key_that_is_held_off_stays_until_then() {
    let clock = ManualClock::new();
    let pool = Pool::builder().workers(1).clock(&clock).build().unwrap();
    let jobs = keyed(&pool);
    jobs.job(&1).hold_off(Duration::from_secs(2));
    assert_eq!(jobs.evict_idle(), 0);
    clock.advance(Duration::from_secs(1));
    assert_eq!(jobs.evict_idle(), 0);
    assert!(jobs.job(&1).held_until().is_some());
    clock.advance(Duration::from_secs(1));
    assert_eq!(jobs.evict_idle(), 1);
}

#[test]
fn a_key_whose_rate_is_used_up_stays_until_it_is_not() {
    let clock = ManualClock::new();
    let pool = Pool::builder().workers(1).clock(&clock).build().unwrap();
    let jobs = pool.job_builder().keyed::<u64>(|key, builder| match key {
        0 => builder.rate(Rate::per_second(1).burst(3)),
        _ => builder.limit(1).rate(Rate::gap_after_end(Duration::from_secs(2))),
    });
    (0..2).for_each(|key| jobs.job(&key).execute(|| ()));
    (0..2).for_each(|_| jobs.job(&0).execute(|| ()));
    jobs.parent().wait();
    // Two seconds give the gap and two of the burst back. The third counts, too.
    clock.advance(Duration::from_secs(1));
    assert_eq!(jobs.evict_idle(), 0);
    clock.advance(Duration::from_secs(1));
    evict(&jobs, 1);
    assert_eq!((jobs.get(&0).is_some(), jobs.get(&1).is_some()), (true, false));
    clock.advance(Duration::from_secs(1));
    evict(&jobs, 1);
}

#[test]
fn a_key_whose_rate_was_changed_stays() {
    let pool = pool(1);
    let (rate, other) = (Rate::per_second(10), Rate::per_second(5));
    let jobs = pool.job_builder().keyed::<u64>(move |key, builder| match key {
        0 => builder.rate(rate),
        _ => builder,
    });
    (0..2).for_each(|key| jobs.job(&key).set_rate(other));
    assert_eq!(jobs.evict_idle(), 0);
    jobs.job(&0).set_rates(&[]);
    jobs.job(&1).set_rates(&[]);
    assert_eq!(jobs.evict_idle(), 1);
    jobs.job(&0).set_rates(&[rate, rate]);
    assert_eq!(jobs.evict_idle(), 0);
    jobs.job(&0).set_rate(rate);
    assert_eq!(jobs.evict_idle(), 1);
}

#[test]
fn keys_made_without_a_limit_or_held_are_as_they_were_made() {
    let pool = pool(1);
    let jobs = pool.job_builder().keyed::<u64>(|key, builder| match key {
        0 => builder,
        1 => builder.limit(usize::MAX - 1),
        _ => builder.limit(0),
    });
    (0..3).for_each(|key| drop(jobs.job(&key)));
    assert_eq!(jobs.evict_idle(), 3);
    // A held key with a task stays.
    let task = jobs.job(&2).spawn(|| ());
    assert_eq!(jobs.evict_idle(), 0);
    jobs.job(&2).set_limit(1);
    task.join().unwrap();
    jobs.parent().wait();
    assert_eq!(jobs.evict_idle(), 0, "its limit was changed");
    jobs.job(&2).set_limit(0);
    evict(&jobs, 1);
}

#[test]
fn idle_keys_are_dropped_when_other_keys_are_made() {
    let pool = pool(1);
    let jobs = keyed(&pool);
    let kept: Vec<_> = (0..100).map(|key| jobs.job(&key)).collect();
    for key in 0..100_000 {
        jobs.job(&key);
    }
    // Each of 64 shards has at most 8 keys, or twice as many as are in use.
    let left = jobs.len();
    assert!((100..=712).contains(&left), "{left} keys are left");
    assert!((0..100).all(|key| jobs.get(&key).as_ref() == kept.get(key as usize)));
}

#[test]
fn for_each_sees_all_keys_and_may_look_them_up() {
    let pool = pool(1);
    let jobs = keyed(&pool);
    let kept: Vec<_> = (0..1_000).map(|key| jobs.job(&key)).collect();
    let mut seen = vec![0; 1_000];
    jobs.for_each(|key, job| {
        // Keys that are made meanwhile may be seen.
        if let Some(times) = seen.get_mut(*key as usize) {
            *times += 1;
            assert_eq!((job, job), (&kept[*key as usize], &jobs.job(key)));
            jobs.job(&(*key + 1_000));
        }
    });
    assert!(seen.iter().all(|times| *times == 1));
}

/// A key whose destructor looks keys up.
#[derive(Clone)]
struct Tricky(u64, Option<Keyed<Tricky>>);

impl PartialEq for Tricky {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Tricky {}

impl std::hash::Hash for Tricky {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

thread_local! {
    static LOOKED: Cell<u64> = const { Cell::new(0) };
}

impl Drop for Tricky {
    fn drop(&mut self) {
        if let Some(jobs) = self.1.take() {
            LOOKED.set(LOOKED.get() + 1);
            jobs.get(&Tricky(self.0, None));
        }
    }
}

#[test]
fn the_destructor_of_a_key_may_look_keys_up() {
    within(LONG, || {
        let pool = pool(1);
        let jobs = pool.job_builder().keyed::<Tricky>(|_, builder| builder);
        (0..10_000).for_each(|number| drop(jobs.job(&Tricky(number, Some(jobs.clone())))));
        jobs.evict_idle();
        assert!(jobs.is_empty());
        assert_eq!(
            LOOKED.get(),
            20_000,
            "the destructor of each key, and of its clone in the table"
        );
    });
}

/// A key whose `Eq` panics when it is told to.
#[derive(Clone)]
struct Refuses(u32);

thread_local! {
    static REFUSES: Cell<bool> = const { Cell::new(false) };
}

impl Hash for Refuses {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

impl PartialEq for Refuses {
    fn eq(&self, other: &Self) -> bool {
        assert!(!REFUSES.get(), "keys are not compared now");
        self.0 == other.0
    }
}

impl Eq for Refuses {}

/// All keys are in one part of the table, whose lock is held while keys are compared.
#[test]
fn a_key_whose_eq_panics_leaves_the_other_keys_as_they_are() {
    within(LONG, || {
        let pool = pool(1);
        let jobs =
            pool.job_builder().keyed::<Refuses>(|key, builder| builder.limit(key.0 as usize));
        let one = jobs.job(&Refuses(1));
        REFUSES.set(true);
        assert!(panic_of(|| _ = jobs.job(&Refuses(1))).contains("not compared"));
        assert!(panic_of(|| _ = jobs.remove(&Refuses(1))).contains("not compared"));
        REFUSES.set(false);
        assert_eq!((jobs.get(&Refuses(1)), jobs.job(&Refuses(2)).limit()), (Some(one), 2));
        evict(&jobs, 2);
        assert!(jobs.is_empty());
    });
}

#[test]
fn the_limit_of_a_key_holds_while_keys_are_dropped() {
    with_workers(|pool, _| {
        let jobs = pool.job_builder().keyed::<usize>(|_, builder| builder.limit(1));
        let inside: Arc<Vec<AtomicUsize>> = Arc::new((0..4).map(|_| AtomicUsize::new(0)).collect());
        let over = Arc::new(AtomicUsize::new(0));
        thread::scope(|s| {
            for _ in 0..2 {
                s.spawn(|| {
                    for number in 0..2_000 {
                        let key = number % 4;
                        let (inside, over) = (inside.clone(), over.clone());
                        jobs.job(&key).execute(move || {
                            if inside[key].fetch_add(1, SeqCst) > 0 {
                                over.fetch_add(1, SeqCst);
                            }
                            inside[key].fetch_sub(1, SeqCst);
                        });
                    }
                });
            }
            s.spawn(|| (0..2_000).for_each(|_| _ = jobs.evict_idle()));
        });
        jobs.parent().wait();
        assert_eq!(over.load(SeqCst), 0, "two tasks of a key ran at once");
        assert_eq!(jobs.parent().stats_with_children().completed, 4_000);
    });
}

#[test]
fn a_million_keys_with_one_task_each() {
    within(LONG, || {
        let pool = pool(2);
        let jobs = pool.job_builder().keyed::<u128>(|_, builder| builder.limit(1));
        let ran = Arc::new(AtomicUsize::new(0));
        for key in 0..1_000_000_u128 {
            let ran = ran.clone();
            jobs.job(&key).execute(move || _ = ran.fetch_add(1, Relaxed));
        }
        jobs.parent().wait();
        assert_eq!(ran.load(Relaxed), 1_000_000);
        evict(&jobs, jobs.len());
        assert!(jobs.is_empty());
        assert_eq!(jobs.parent().stats_with_children().completed, 1_000_000);
    });
}

/// A call on one of a few keys, by one thread.
#[derive(Clone, Copy, Debug)]
enum Call {
    Hold(u8),
    LetGo(u8),
    Acquire(u8),
    GiveBack(u8),
    Child(u8),
    DropChild(u8),
    SetLimit(u8, usize),
    Pause(u8),
    Resume(u8),
    HoldOff(u8, u64),
    Advance(u64),
    Close(u8),
    Remove(u8),
    Evict,
}

fn call() -> impl Strategy<Value = Call> {
    let key = || 0..=LAST;
    prop_oneof![
        1 => key().prop_map(Call::Hold),
        1 => key().prop_map(Call::LetGo),
        1 => key().prop_map(Call::Acquire),
        1 => key().prop_map(Call::GiveBack),
        1 => key().prop_map(Call::Child),
        1 => key().prop_map(Call::DropChild),
        1 => (key(), 0..4_usize).prop_map(|(key, limit)| Call::SetLimit(key, limit)),
        1 => key().prop_map(Call::Pause),
        2 => key().prop_map(Call::Resume),
        1 => (key(), 1..3_u64).prop_map(|(key, seconds)| Call::HoldOff(key, seconds)),
        2 => (1..3_u64).prop_map(Call::Advance),
        1 => key().prop_map(Call::Close),
        2 => key().prop_map(Call::Remove),
        5 => Just(Call::Evict),
    ]
}

/// What should be true of a key that is there.
#[derive(Default)]
struct Expected {
    handles: Vec<Job>,
    permits: Vec<Permit>,
    children: Vec<Job>,
    limit: usize,
    paused: bool,
    held_until: u64,
    closed: bool,
    /// When the whole burst of its rate is free.
    free: u64,
}

/// The limit that a key is made with. The first key is made held.
fn limit_of(key: u8) -> usize {
    key.into()
}

/// The last key has a rate: one a second, with a burst of 2.
fn made(key: u8, builder: JobBuilder) -> JobBuilder {
    let builder = builder.limit(limit_of(key));
    if key == LAST { builder.rate(Rate::per_second(1).burst(2)) } else { builder }
}

const LAST: u8 = 3;

impl Expected {
    fn new(key: u8) -> Self {
        Self { limit: limit_of(key), ..Self::default() }
    }

    fn stays(&self, key: u8, now: u64) -> bool {
        let used =
            !(self.handles.is_empty() && self.permits.is_empty() && self.children.is_empty());
        let changed = self.limit != limit_of(key) || self.paused || self.closed;
        used || changed || self.held_until > now || self.free > now
    }
}

/// The keys of a pool with a clock, and what should be true of them.
struct Play {
    clock: ManualClock,
    now: u64,
    jobs: Keyed<u8>,
    keys: HashMap<u8, Expected>,
    /// What is held of keys that were removed.
    removed: Vec<Expected>,
}

impl Play {
    fn of(&mut self, key: u8) -> (Job, &mut Expected) {
        (self.jobs.job(&key), self.keys.entry(key).or_insert_with(|| Expected::new(key)))
    }

    fn call(&mut self, call: Call) {
        let now = self.now;
        match call {
            Call::Hold(key) => {
                let (job, expected) = self.of(key);
                expected.handles.push(job);
            }
            Call::LetGo(key) => drop(self.of(key).1.handles.pop()),
            Call::Acquire(key) => {
                let (job, expected) = self.of(key);
                let free = expected.permits.len() < expected.limit;
                let open = !expected.paused && expected.held_until <= now && !expected.closed;
                let leave = key != LAST || expected.free <= now + 1;
                let permit = job.try_acquire().ok();
                assert_eq!(permit.is_some(), free && open && leave);
                if key == LAST && permit.is_some() {
                    expected.free = expected.free.max(now) + 1;
                }
                expected.permits.extend(permit);
            }
            Call::GiveBack(key) => drop(self.of(key).1.permits.pop()),
            Call::Child(key) => {
                let (job, expected) = self.of(key);
                expected.children.push(job.job(1));
            }
            Call::DropChild(key) => drop(self.of(key).1.children.pop()),
            Call::Advance(seconds) => {
                self.clock.advance(Duration::from_secs(seconds));
                self.now += seconds;
            }
            Call::Remove(key) => {
                assert_eq!(self.jobs.remove(&key).is_some(), self.keys.contains_key(&key));
                self.removed.extend(self.keys.remove(&key));
            }
            Call::Evict => {
                let before = self.keys.len();
                self.keys.retain(|key, expected| expected.stays(*key, now));
                assert_eq!(self.jobs.evict_idle(), before - self.keys.len());
            }
            change => self.change(change),
        }
    }

    fn change(&mut self, call: Call) {
        let now = self.now;
        match call {
            Call::SetLimit(key, limit) => {
                let (job, expected) = self.of(key);
                job.set_limit(limit);
                expected.limit = limit;
            }
            Call::Pause(key) => {
                let (job, expected) = self.of(key);
                job.pause();
                expected.paused = true;
            }
            Call::Resume(key) => {
                let (job, expected) = self.of(key);
                job.resume();
                expected.paused = false;
            }
            Call::HoldOff(key, seconds) => {
                let (job, expected) = self.of(key);
                job.hold_off(Duration::from_secs(seconds));
                expected.held_until = expected.held_until.max(now + seconds);
            }
            Call::Close(key) => {
                let (job, expected) = self.of(key);
                job.close();
                expected.closed = true;
            }
            other => unreachable!("{other:?} changes no state"),
        }
    }

    fn check(&self) {
        assert_eq!(self.jobs.len(), self.keys.len());
        for (key, expected) in &self.keys {
            let job = self.jobs.get(key).expect("a key that stays");
            assert_eq!((job.limit(), job.is_closed()), (expected.limit, expected.closed));
            assert!(expected.handles.iter().all(|handle| *handle == job));
        }
    }
}

fn play(calls: Vec<Call>) {
    let clock = ManualClock::new();
    let pool = Pool::builder().workers(1).clock(&clock).build().unwrap();
    let jobs = pool.job_builder().keyed::<u8>(|key, builder| made(*key, builder));
    let mut play = Play { clock, now: 0, jobs, keys: HashMap::new(), removed: Vec::new() };
    for call in calls {
        play.call(call);
        play.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 256 } else { 2_000 }))]

    #[test]
    fn a_key_stays_exactly_while_it_is_used_or_changed(calls in prop::collection::vec(call(), 0..60)) {
        play(calls);
    }
}
