//! Records the events of a pool while its timeline is on, and the jobs of these events. The events are in rings of a fixed
//! size.
//!
//! Each worker of the pool has its own ring of events. All other threads share a few rings. Each ring has a lock. The lock of a
//! worker's ring is contended only while a thread reads the timeline. While the timeline is off, no event is written. No ring
//! has memory before the timeline is started for the first time.

use crate::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use crate::sync::thread_static;
use crate::sync::time::Instant;
use crate::sync::{FiguresGuard, FiguresMutex};
use crossbeam_utils::CachePadded;
use std::cell::Cell;
use std::collections::{BTreeMap, TryReserveError, VecDeque};
use std::sync::PoisonError;

/// The number of rings for threads that are not workers of the pool.
const OUTSIDE: usize = 4;
/// The greatest number of ended jobs of which the log keeps the name and the parent.
const MOST_ENDED: usize = 16_384;
/// The greatest number of names of tasks that the log keeps.
const MOST_NAMES: usize = 16_384;

/// What happened: the kind of an [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The task was pushed.
    Pushed,
    /// A gate had no room for the task. The gate is the task's job or one of its ancestors.
    Refused(Why),
    /// A gate has admitted the task.
    Admitted,
    /// A worker began or resumed the task.
    Started,
    /// The task waits, such as in `join` or `wait`, without its permit.
    Waits,
    /// The task's wait, such as a `join` or `wait`, is over, and the task has its permit again.
    Resumed,
    /// A run of the task on a worker ended: the task has ended, or is a pending future.
    Ended(How),
    /// A waiter was granted a permit. The field `task` has the address of the waiter's cell.
    Granted,
    /// The limit of the job was changed, or the job was paused or resumed.
    Changed,
    /// The job is not held off any more.
    Opened,
    /// The event only records the numbers of the job: running tasks, limit and queued tasks.
    Figures,
    /// The worker has found no task, and parks.
    Parked,
    /// The worker was woken, and searches again.
    Woken,
}

/// Why a gate had no room for a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The job is paused.
    Paused,
    /// The job is held off, or its rate allows no start.
    Clock,
    /// As many tasks run, or are about to start, as the limit allows.
    Limit,
    /// Other tasks of the job go first: they are ready, or stand before the task in the queue.
    Behind,
}

/// How a run of a task on a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The task, or the permit without a task, has ended.
    Over,
    /// The task has panicked.
    Panicked,
    /// The task was dropped: it was cancelled, or its deadline had come.
    Cancelled,
    /// The task is a pending future, which keeps its permit.
    Pending,
    /// The task is a pending future, which waits without its permit.
    #[cfg_attr(not(feature = "futures"), allow(dead_code, reason = "there are no futures"))]
    Waits,
}

/// One event of the timeline.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// The time of the event, in nanoseconds from the making of the pool.
    pub at: u64,
    /// The address of the task's cell, or the odd number of a permit without a task, or 0.
    pub task: usize,
    /// A number, whose meaning depends on `kind`:
    /// - `Started`, `Refused` and `Admitted`: the id of the event that made this event possible, or 0.
    /// - `Waits`, `Resumed` and `Ended`: the id of the task's last `Started` event, or 0 if no start was recorded.
    /// - `Pushed`: the number of the task's name, or 0 if the task has no name.
    /// - `Granted`: the number of the permit.
    pub cause: u64,
    /// The number of the job's track in the timeline.
    pub track: u32,
    /// The number of the track of the gate that refused or admitted the task.
    pub gate: u32,
    /// The number of tasks that hold a permit of the job.
    pub running: u32,
    /// The limit of the job. `u32::MAX` is no limit.
    pub limit: u32,
    /// The number of tasks in the job's queue.
    pub backlog: u32,
    /// The index of the worker's seat, or `u16::MAX` if the thread has no seat.
    pub seat: u16,
    /// What happened.
    pub kind: Kind,
}

// The size of an event must be the one that the documentation of `Timeline::start_with` says.
#[cfg(not(any(tollgate_loom, tollgate_shuttle)))]
const _: () = assert!(size_of::<Event>() == 48);

impl Event {
    /// Makes an event without a job or a task.
    pub fn new(kind: Kind) -> Self {
        let seat = HERE.with(|here| here.seat.get());
        Self {
            at: 0,
            task: 0,
            cause: 0,
            track: 0,
            gate: 0,
            running: 0,
            limit: 0,
            backlog: 0,
            seat,
            kind,
        }
    }
}

/// The task that runs on a thread, as its `Started` event has recorded it. All fields are 0 if no start was recorded.
///
/// The field `task` alone does not identify the task. The cell of a task can be freed, and used for another task, while the first
/// task still runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Running {
    /// The address of the task's cell.
    pub task: usize,
    /// The id of the task's last `Started` event.
    pub start: u64,
    /// How the task has ended, if it panicked or was dropped and the function that ran its cell does not tell the worker so.
    /// Otherwise `None`.
    pub how: Option<How>,
}

/// What the timeline must know of one thread: its seat, its running task, and the cause of its next events.
pub struct Here {
    /// The index of the worker's seat, or `u16::MAX` if the thread has none.
    pub seat: Cell<u16>,
    /// The task that runs on this thread.
    pub task: Cell<Running>,
    /// The id of the event that has made this thread's next events possible, or 0.
    pub cause: Cell<u64>,
}

thread_static! {
    static HERE: Here = Here { seat: Cell::new(u16::MAX), task: Cell::new(Running { task: 0, start: 0, how: None }), cause: Cell::new(0) };
}

/// Calls `f` with this thread's [`Here`].
pub fn here<R>(f: impl FnOnce(&Here) -> R) -> R {
    HERE.with(f)
}

/// What the timeline knows of a job.
#[derive(Clone, Debug)]
pub struct Info {
    /// The job's name.
    pub name: Option<String>,
    /// The number of the track of the job's parent, or 0.
    pub parent: u32,
    /// The time at which the job's record was freed. `None` before that time.
    pub ended: Option<u64>,
}

/// The track number of one job, or 0 before the job's first event.
#[derive(Debug, Default)]
pub struct Track(AtomicU32);

impl Track {
    /// Returns the number of the job's track, or `None` before the job's first event.
    pub fn get(&self) -> Option<u32> {
        // Ordering: Relaxed; a figure. The lock of the tracks orders the job's entry there.
        Some(self.0.load(Ordering::Relaxed)).filter(|track| *track > 0)
    }

    /// Returns the number of the job's track. If the job has no track yet, its track gets the number `next`. The caller must
    /// hold the lock of `Log::tracks`.
    pub fn get_or_set(&self, next: u32) -> u32 {
        self.get().unwrap_or_else(|| {
            // Ordering: Relaxed; as in `get`.
            self.0.store(next, Ordering::Relaxed);
            next
        })
    }
}

#[derive(Debug, Default)]
struct Tracks {
    infos: BTreeMap<u32, Info>,
    last: u32,
    /// The numbers of the tracks of ended jobs. The job that ended first is in front.
    ended: VecDeque<u32>,
}

#[derive(Debug, Default)]
struct Ring {
    events: Vec<Event>,
    /// The number of events so far, including those before the last start of the timeline. A start does not reset this number,
    /// so no two events have the same id.
    count: u64,
    /// The number of events before the last start of the timeline.
    before: u64,
    most: usize,
}

impl Ring {
    /// Drops all events, and gets memory for `most` events. If there is no such memory, the ring keeps no events from now on.
    fn clear(&mut self, most: usize) -> Result<(), TryReserveError> {
        let count = self.count;
        *self = Self { count, before: count, ..Self::default() };
        self.events.try_reserve_exact(most)?;
        self.most = most;
        Ok(())
    }

    /// Adds an event. If the ring is full, the event replaces the oldest one. Returns the number of the event in this ring.
    fn push(&mut self, event: Event) -> u64 {
        if self.events.len() < self.most {
            self.events.push(event);
        } else if self.most > 0 {
            let place = (self.count - self.before) % self.most as u64;
            self.events[place as usize] = event;
        }
        self.count += 1;
        self.count
    }
}

/// The recorded events of one pool.
#[derive(Debug)]
pub struct Log {
    rings: Box<[CachePadded<FiguresMutex<Ring>>]>,
    tracks: FiguresMutex<Tracks>,
    /// The times of the timeline's last start and of the stop after that start, in nanoseconds from the making of the pool.
    /// The stop is `None` until the timeline is stopped.
    span: FiguresMutex<(u64, Option<u64>)>,
    made: Instant,
    /// The number of permits without a task that were given a number so far.
    permits: AtomicUsize,
    /// The names of tasks by number, and the number of the newest name. The numbers begin at 1.
    names: FiguresMutex<(BTreeMap<u64, String>, u64)>,
}

/// A copy of the recorded events, jobs and names.
#[derive(Debug)]
pub struct Record {
    /// The events, each with its id, in the order of their times.
    pub events: Vec<(u64, Event)>,
    /// The number of events that were overwritten.
    pub lost: u64,
    /// The jobs, by their track numbers. A track is the line of a job in the timeline.
    pub jobs: BTreeMap<u32, Info>,
    /// The names of tasks by their numbers.
    pub names: BTreeMap<u64, String>,
    /// The number of the pool's workers.
    pub workers: usize,
    /// The times between which events were recorded, in nanoseconds from the making of the pool.
    pub span: (u64, u64),
}

impl Log {
    /// Makes the log of a pool with `workers` workers. The rings have no memory yet.
    pub fn new(workers: usize) -> Self {
        let ring = || CachePadded::new(FiguresMutex::new(Ring::default()));
        Self {
            rings: (0..workers + OUTSIDE).map(|_| ring()).collect(),
            tracks: FiguresMutex::default(),
            span: FiguresMutex::default(),
            made: Instant::now(),
            permits: AtomicUsize::new(0),
            names: FiguresMutex::default(),
        }
    }

    /// Returns the number of a new permit without a task. The number is odd, so it equals no cell's address.
    pub fn new_permit(&self) -> usize {
        // Ordering: Relaxed; a figure.
        2 * self.permits.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Stores the name of a task, and returns the number of the name. If more than [`MOST_NAMES`] names are stored, removes the
    /// oldest name.
    pub fn new_name(&self, name: &str) -> u64 {
        let mut names = locked(&self.names);
        let (names, last) = &mut *names;
        *last += 1;
        names.insert(*last, name.to_owned());
        if names.len() > MOST_NAMES {
            names.pop_first();
        }
        *last
    }

    /// Returns the time since the pool was made, in nanoseconds.
    pub fn now(&self) -> u64 {
        self.made.elapsed().as_nanos() as u64
    }

    /// Drops all events and all names of tasks, gives each ring memory for `most` events, and notes the present time as the
    /// start of the timeline.
    ///
    /// # Errors
    /// Returns an error if there is not enough memory. Then no ring keeps events.
    pub fn clear(&self, most: usize) -> Result<(), TryReserveError> {
        locked(&self.names).0.clear();
        *locked(&self.span) = (self.now(), None);
        let cleared = self.rings.iter().try_for_each(|ring| locked(ring).clear(most));
        cleared.inspect_err(|_| self.rings.iter().for_each(|ring| _ = locked(ring).clear(0)))
    }

    /// Notes the present time as the stop of the timeline. Does nothing if a stop is noted already.
    pub fn stop(&self) {
        let mut span = locked(&self.span);
        span.1.get_or_insert_with(|| self.now());
    }

    /// Adds an event with the present time. Returns its id.
    pub fn push(&self, event: Event) -> u64 {
        self.add(|| Event { at: self.now(), ..event })
    }

    /// Adds an event with an earlier time: `at`, as [`now`](Self::now) has returned it.
    pub fn push_at(&self, at: u64, event: Event) {
        self.add(|| Event { at, ..event });
    }

    /// Calls `event` under the lock of this thread's ring, and adds the event that it returns to that ring. Returns the id of the
    /// event.
    fn add(&self, event: impl FnOnce() -> Event) -> u64 {
        let place = HERE.with(|here| match here.seat.get() {
            // A thread that is not a worker has no seat. The address of the thread's `Here` selects one of the rings for such
            // threads.
            u16::MAX => self.rings.len() - 1 - (std::ptr::from_ref(here).addr() >> 8) % OUTSIDE,
            seat => usize::from(seat) % self.rings.len(),
        });
        let mut ring = locked(&self.rings[place]);
        let number = ring.push(event());
        id(place, number)
    }

    /// Returns the number of a job's track, which the closure `track` must return. Calls `track` under the lock of the tracks,
    /// and passes it an unused number. If the job's track has no number yet, `track` must give it the unused one.
    pub fn new_track(&self, info: Info, track: impl FnOnce(u32) -> u32) -> u32 {
        let mut tracks = locked(&self.tracks);
        let next = tracks.last + 1;
        let of_job = track(next);
        if of_job == next {
            tracks.last = next;
            tracks.infos.insert(next, info);
        }
        of_job
    }

    /// Notes that the record of a job was freed.
    pub fn job_freed(&self, track: &Track) {
        let Some(track) = track.get() else { return };
        let now = self.now();
        let mut tracks = locked(&self.tracks);
        if let Some(info) = tracks.infos.get_mut(&track) {
            info.ended = Some(now);
            tracks.ended.push_back(track);
        }
        if tracks.ended.len() > MOST_ENDED
            && let Some(oldest) = tracks.ended.pop_front()
        {
            tracks.infos.remove(&oldest);
        }
    }

    /// Returns the number of events that were overwritten since the last start of the timeline.
    pub fn lost(&self) -> u64 {
        let lost = |ring: &Ring| ring.count - ring.before - ring.events.len() as u64;
        self.rings.iter().map(|ring| lost(&locked(ring))).sum()
    }

    /// Copies the recorded events, jobs and names.
    pub fn read(&self) -> Record {
        let (mut events, mut lost) = (Vec::new(), 0);
        for (place, ring) in self.rings.iter().enumerate() {
            let ring = locked(ring);
            let kept = ring.events.len() as u64;
            let first = ring.count - kept;
            lost += first - ring.before;
            events.extend((first..ring.count).map(|number| {
                let event = ring.events[((number - ring.before) % kept) as usize];
                (id(place, number + 1), event)
            }));
        }
        events.sort_by_key(|(id, event)| (event.at, *id));
        let jobs = locked(&self.tracks).infos.clone();
        let (from, to) = *locked(&self.span);
        let to = to.unwrap_or_else(|| self.now());
        let (names, workers) = (locked(&self.names).0.clone(), self.rings.len() - OUTSIDE);
        Record { events, lost, jobs, names, workers, span: (from, to) }
    }
}

/// Locks a ring or a table of the timeline. Ignores poison: no code of the user runs under these locks.
fn locked<T>(mutex: &FiguresMutex<T>) -> FiguresGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the id of an event. `place` is the index of the event's ring. `number` is the event's number in that ring: the
/// first event has the number 1.
fn id(place: usize, number: u64) -> u64 {
    (place as u64) << 48 | number
}
