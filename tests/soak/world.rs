//! What a round's threads and tasks share: the pool, its jobs, and the books of each.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, RwLock, Weak};
use std::thread;
use std::time::Duration;

use tollgate::{Adaptive, Job, JobBuilder, Keyed, Pool, Priority, Vegas};

use crate::ACTORS;
use crate::common::rng::Rng;
use crate::ledger::Ledger;
use crate::weights::Weights;

const HOSTS: usize = 8;
const SLOTS: usize = 300;
const KEYS: usize = 40;
const KEYS_LIMIT: usize = 8;

/// Permits that the actors share, fewer than there are actors.
pub const PERMITS: usize = 2;

/// Tasks that may wait inside for others at once: fewer than the spare workers there are.
const MOST_WAITERS: usize = 100;

/// A job, the books of its tasks, and what its limit is. Who changes the limit holds `control`.
pub struct Slot {
    pub job: Job,
    /// The job has a capacity of 0, and takes no delayed task.
    pub hands_over: bool,
    pub ledger: Arc<Ledger>,
    control: Mutex<Control>,
}

struct Control {
    limit: usize,
    cancelled: bool,
}

impl Slot {
    fn new(job: Job, hands_over: bool, limit: usize, parent: Option<&Slot>) -> Arc<Self> {
        let ledger = Ledger::new(limit, parent.map(|slot| &slot.ledger));
        let control = Mutex::new(Control { limit, cancelled: false });
        Arc::new(Self { job, hands_over, ledger, control })
    }

    pub fn set_limit(&self, limit: usize) {
        let mut control = self.control.lock().unwrap();
        self.ledger.may_become(limit);
        self.job.set_limit(limit);
        control.limit = limit;
        assert_eq!(self.job.limit(), limit);
    }

    pub fn cancel(&self) {
        self.control.lock().unwrap().cancelled = true;
        self.ledger.may_be_cut();
        self.job.cancel();
    }

    pub fn clear(&self) {
        self.ledger.may_be_cut();
        self.job.clear();
    }

    /// From a moment at which the job is idle, only its present limit counts.
    pub fn sharpen(&self) {
        let control = self.control.lock().unwrap();
        if self.job.wait_timeout(Duration::ZERO) {
            self.ledger.is_from_idle(control.limit);
        }
    }

    /// Whatever held it holds it no more.
    pub fn let_go(&self) {
        if self.control.lock().unwrap().limit == 0 {
            self.set_limit(1);
        }
        self.job.resume();
    }

    /// Whether all that it has accepted runs, once nothing holds it.
    pub fn runs_all(&self) -> bool {
        !self.control.lock().unwrap().cancelled && !self.job.is_closed()
    }
}

/// Keys that come and go, and the books of each key's tasks. The books of a key outlast its job.
pub struct Keys {
    jobs: Keyed<usize>,
    ledgers: Vec<Arc<Ledger>>,
}

impl Keys {
    fn new(parent: &Job) -> Self {
        let jobs = parent.job_builder().limit(KEYS_LIMIT).keyed(|key, builder: JobBuilder| {
            let most = 1 + key % 3;
            match key % 4 {
                0 => builder.adaptive(Adaptive::new(1..=most).interval(Duration::from_micros(20))),
                1 => builder.adaptive(Adaptive::new(1..=most).rule(Vegas::new())),
                _ => builder.limit(most),
            }
        });
        let parent = Ledger::new(KEYS_LIMIT, None);
        let ledgers = (0..KEYS).map(|key| Ledger::new(1 + key % 3, Some(&parent))).collect();
        Self { jobs, ledgers }
    }

    /// Pushes tasks into keys, acquires permits of keys, or drops idle keys.
    pub fn use_some(&self, rng: &mut Rng) {
        let key = rng.below(KEYS);
        let ledger = &self.ledgers[key];
        match rng.below(8) {
            0 => _ = self.jobs.evict_idle(),
            1 => {
                if let Ok(permit) = self.jobs.job(&key).try_acquire() {
                    let entry = ledger.ticket().enter();
                    drop(entry);
                    drop(permit);
                }
            }
            2 => {
                let job = self.jobs.job(&key);
                let (limit, most) = (job.limit(), 1 + key % 3);
                assert!(limit == most || key % 4 < 2 && (1..=most).contains(&limit), "{limit}");
                if key % 4 < 2 {
                    job.set_limit(rng.below(6));
                }
                assert_eq!(self.jobs.get(&key), Some(job));
            }
            _ => {
                for _ in 0..1 + rng.below(5) {
                    let ticket = ledger.ticket();
                    let meets_overload = rng.one_in(8);
                    self.jobs.job(&key).execute(move || {
                        drop(ticket.enter());
                        if meets_overload {
                            tollgate::overloaded();
                        }
                    });
                }
            }
        }
    }

    /// Waits until no task is left, and checks the books. Returns the number of tasks.
    pub fn check(&self, all_ran: bool) -> usize {
        self.jobs.parent().wait();
        for ledger in &self.ledgers {
            ledger.check();
            if all_ran {
                ledger.check_ran();
            }
        }
        while !self.jobs.is_empty() {
            // A worker that has ended a task may keep a handle a little longer.
            self.jobs.evict_idle();
            thread::yield_now();
        }
        self.ledgers.iter().map(|ledger| ledger.tickets()).sum()
    }
}

/// All that a round's threads and tasks share.
pub struct World {
    pub pool: RwLock<Option<Pool>>,
    /// Half of them jobs of their own, half children of those.
    pub hosts: Vec<Arc<Slot>>,
    slots: Vec<RwLock<Arc<Slot>>>,
    /// A job that nothing ever holds.
    pub free: Job,
    /// A job of which the actors acquire permits, and nothing else does. Its limit is [`PERMITS`].
    pub permits: Job,
    /// How many of these permits are held.
    pub held: AtomicUsize,
    pub keys: Keys,
    pub weights: Weights,
    /// Jobs whose last handle was dropped, with all their tasks to run.
    pub let_go: Mutex<Vec<Arc<Ledger>>>,
    /// Jobs that were replaced after a close or a cancel.
    pub closed: Mutex<Vec<Arc<Slot>>>,
    pub outstanding: AtomicUsize,
    waiters: AtomicUsize,
    /// How much each actor has done.
    pub progress: [AtomicUsize; ACTORS],
    pub stop: AtomicBool,
}

impl World {
    /// Makes the pool and its jobs. The second value has no strong reference once the pool's last worker has left.
    pub fn new(workers: usize, rng: &mut Rng) -> (Arc<Self>, Weak<()>) {
        let alive = Arc::new(());
        let ended = Arc::downgrade(&alive);
        // The pool drops its hooks when its last worker has left.
        let builder = Pool::builder().workers(workers).on_worker_stop(move |_| _ = &alive);
        let pool = builder.build().expect("a pool of a few workers starts");
        let mut hosts: Vec<_> =
            (0..HOSTS / 2).map(|i| Slot::new(pool.job(2 + i), false, 2 + i, None)).collect();
        for i in 0..HOSTS / 2 {
            let host = Slot::new(hosts[i].job.job(1 + i), false, 1 + i, Some(&hosts[i]));
            hosts.push(host);
        }
        let (free, permits) = (pool.job(usize::MAX), pool.job(PERMITS));
        let (keys, weights) = (Keys::new(&pool.job(usize::MAX)), Weights::new(&pool));
        let slots = (0..SLOTS).map(|_| RwLock::new(new_job(&pool, &hosts, rng))).collect();
        let world = Self {
            pool: RwLock::new(Some(pool)),
            hosts,
            slots,
            free,
            permits,
            held: AtomicUsize::new(0),
            keys,
            weights,
            let_go: Mutex::default(),
            closed: Mutex::default(),
            outstanding: AtomicUsize::new(0),
            waiters: AtomicUsize::new(0),
            progress: Default::default(),
            stop: AtomicBool::new(false),
        };
        (Arc::new(world), ended)
    }

    pub fn slot(&self, rng: &mut Rng) -> Arc<Slot> {
        Arc::clone(&self.slots[rng.below(SLOTS)].read().unwrap())
    }

    pub fn slots(&self) -> impl Iterator<Item = Arc<Slot>> {
        self.slots.iter().map(|slot| Arc::clone(&slot.read().unwrap()))
    }

    /// Puts a new job in the place of one; none any more if the pool is gone.
    pub fn replace(&self, rng: &mut Rng) -> Option<Arc<Slot>> {
        let pool = self.pool.read().unwrap();
        let new = new_job(pool.as_ref()?, &self.hosts, rng);
        drop(pool);
        Some(std::mem::replace(&mut *self.slots[rng.below(SLOTS)].write().unwrap(), new))
    }

    /// The job of a replaced slot goes on without a handle, once nobody else has one: its tasks are let go for that.
    pub fn drop_handle_of(&self, old: Arc<Slot>) {
        match Arc::try_unwrap(old) {
            Ok(slot) => {
                slot.let_go();
                self.let_go.lock().unwrap().push(Arc::clone(&slot.ledger));
            }
            // Another thread has it in hand, and may yet hold or cancel it.
            Err(shared) => self.closed.lock().unwrap().push(shared),
        }
    }

    /// Waits inside a task, unless as many do as spare workers may be needed for.
    pub fn if_spares_are_left(&self, wait: impl FnOnce()) {
        struct Back<'a>(&'a AtomicUsize);
        impl Drop for Back<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, SeqCst);
            }
        }
        let others = self.waiters.fetch_add(1, SeqCst);
        let _back = Back(&self.waiters);
        if others < MOST_WAITERS {
            wait();
        }
    }

    /// Lets all jobs go whenever an actor has done nothing for a while: it waits for tasks of a job that is held, or
    /// for room in one, and all the others may be waiting, too.
    pub fn keep_going(&self) {
        let seen = || self.progress.each_ref().map(|done| done.load(SeqCst));
        let mut before = seen();
        while !self.stop.load(SeqCst) {
            // How long it may be held; nothing waits for this to be over.
            thread::sleep(Duration::from_millis(20));
            let now = seen();
            if before.iter().zip(&now).any(|(before, now)| before == now) {
                self.let_all_go();
            }
            before = now;
        }
    }

    /// Starts, stops or writes the timeline. What is written is decoded by the timeline's own tests.
    #[cfg(feature = "timeline")]
    pub fn use_timeline(&self, rng: &mut Rng) {
        let pool = self.pool.read().unwrap();
        let Some(timeline) = pool.as_ref().map(Pool::timeline) else { return };
        match rng.below(4) {
            0 => timeline.stop(),
            1 => timeline.write(std::io::sink()).unwrap(),
            2 => timeline.write_html(std::io::sink()).unwrap(),
            _ => timeline.start_with(rng.below(3_000)),
        }
    }

    /// Lists the jobs of the pool, and the children of each.
    pub fn list_jobs(&self) {
        let Some(jobs) = self.pool.read().unwrap().as_ref().map(Pool::jobs) else { return };
        for job in jobs {
            assert!(job.name().is_none_or(|name| name == "named"), "{job:?}");
            assert!(job.children().iter().all(|child| *child != job));
        }
    }

    pub fn let_all_go(&self) {
        let closed = self.closed.lock().unwrap().clone();
        self.hosts.iter().cloned().chain(self.slots()).chain(closed).for_each(|slot| slot.let_go());
    }
}

pub fn limit(rng: &mut Rng) -> usize {
    *rng.pick(&[0, 1, 1, 1, 2, 2, 3, 5, 16, usize::MAX])
}

fn new_job(pool: &Pool, hosts: &[Arc<Slot>], rng: &mut Rng) -> Arc<Slot> {
    let limit = limit(rng);
    let host = rng.one_in(2).then(|| rng.pick(hosts));
    let mut builder = pool.job_builder().limit(limit);
    if let Some(host) = host {
        builder = builder.parent(&host.job);
    }
    // Some hand each task over together with its permits.
    let hands_over = rng.one_in(16);
    if hands_over {
        builder = builder.capacity(0);
    } else if rng.one_in(4) {
        builder = builder.capacity(1 + rng.below(40));
    }
    if rng.one_in(4) {
        builder = builder.timed();
    }
    if rng.one_in(4) {
        builder = builder.share(1 + rng.below(Job::MAX_SHARE as usize) as u32);
    }
    if rng.one_in(4) {
        builder = builder.turn_time(Duration::from_micros(rng.below(100) as u64));
    }
    builder = match rng.below(4) {
        0 => builder.priority(Priority::High),
        1 => builder.priority(Priority::Low),
        _ => builder,
    };
    if rng.one_in(2) {
        builder = builder.name("named");
    }
    Slot::new(builder.build(), hands_over, limit, host.map(|host| &**host))
}
