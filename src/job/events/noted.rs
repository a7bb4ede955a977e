//! The functions that write the events of a pool while its timeline is on. Module `events` says when to call each of them.

use crate::base::log::{Event, How, Info, Kind, Running, Why, here};
use crate::base::task::{CellPtr, Ran};
use crate::job::permits::{Flag, MOST};
use crate::job::record::JobPtr;
use crate::pool::core::Shared;

/// Returns the number of the job's track in the timeline. If the job has no track yet, makes one.
fn track_of(job: JobPtr) -> u32 {
    let track = &job.extra_or_make().track;
    if let Some(track) = track.get() {
        return track;
    }
    let parent = job.parent().map_or(0, track_of);
    let name = job.extra().and_then(|extra| extra.name.clone());
    job.pool().log.new_track(Info { name, parent, ended: None }, |next| track.get_or_set(next))
}

/// Makes an event of a job. The event holds how many of the job's tasks run now, how many wait, and the job's limit.
fn event(kind: Kind, job: JobPtr) -> Event {
    let word = job.permits.load();
    let limit = if word.limit() == MOST { u32::MAX } else { word.limit() as u32 };
    let backlog = u32::try_from(job.queue().len()).unwrap_or(u32::MAX);
    let track = track_of(job);
    Event { track, running: word.running() as u32, limit, backlog, ..Event::new(kind) }
}

fn address(cell: CellPtr) -> usize {
    cell.as_ptr().addr()
}

fn note(job: JobPtr, event: Event) -> u64 {
    job.pool().log.push(event)
}

/// Notes for each ancestor of `job` how many of its tasks run now, how many wait, and its limit.
fn note_above(job: JobPtr) {
    job.gates().skip(1).for_each(|gate| _ = note(gate, event(Kind::Figures, gate)));
}

#[cold]
pub fn pushed(job: JobPtr, cell: CellPtr) {
    // In the timeline a push has no cause, because no earlier event of this thread has made it possible.
    no_cause();
    // SAFETY: the thread that pushes the cell keeps it alive, and the name lasts as long.
    let name = cell.name().map_or(0, |name| job.pool().log.new_name(unsafe { name.as_ref() }));
    note(job, Event { task: address(cell), cause: name, ..event(Kind::Pushed, job) });
}

#[cold]
pub fn refused(gate: JobPtr, cell: CellPtr) {
    let word = gate.permits.load();
    let why = if word.has(Flag::Paused) {
        Why::Paused
    } else if word.has(Flag::HeldOff) {
        Why::Clock
    } else if word.running() + word.ready() >= word.limit() {
        Why::Limit
    } else {
        Why::Behind
    };
    at_gate(Kind::Refused(why), gate, cell);
}

#[cold]
pub fn admitted(gate: JobPtr, cell: CellPtr) {
    at_gate(Kind::Admitted, gate, cell);
}

/// Notes that `gate` has admitted or refused the task in `cell`, as `kind` says. The event holds how many tasks of `gate` run
/// now, how many wait, and the limit of `gate`.
fn at_gate(kind: Kind, gate: JobPtr, cell: CellPtr) {
    let (event, track) = (event(kind, gate), track_of(cell.job()));
    let cause = here(|here| here.cause.get());
    note(gate, Event { task: address(cell), gate: event.track, track, cause, ..event });
}

/// What a thread ran before it began a task.
#[derive(Clone, Copy, Debug)]
pub enum Outer {
    /// No start was noted, because the cell belongs to a waiter.
    Unchanged,
    /// No start was noted, because the cell is empty. The field is the time at which the worker found the cell empty, in
    /// nanoseconds since the pool was made.
    Empty(u64),
    /// The task that the thread ran before. If the thread ran no task, all fields of this value are 0.
    Was(Running),
}

#[cold]
pub fn started(job: JobPtr, cell: CellPtr) -> Outer {
    if cell.is_gone() {
        Outer::Empty(job.pool().log.now())
    } else if cell.is_waiter() {
        // The start of a waiter is not noted here: `granted` notes it when the waiter's permit is granted.
        Outer::Unchanged
    } else {
        enter(job, cell)
    }
}

#[cold]
pub fn started_inside(job: JobPtr, cell: CellPtr) -> Outer {
    // In the timeline this start has no cause, because the join has made it possible, and not an earlier event of this thread.
    no_cause();
    enter(job, cell)
}

/// Notes the start of a task. Returns what the thread ran before the start.
fn enter(job: JobPtr, cell: CellPtr) -> Outer {
    let start = begun(job, address(cell));
    let running = Running { task: address(cell), start, how: None };
    Outer::Was(here(|here| here.task.replace(running)))
}

/// Notes the start of a task, or of a permit without a task. Returns the number of this event.
fn begun(job: JobPtr, task: usize) -> u64 {
    let cause = here(|here| here.cause.replace(0));
    // In an unlimited job no start depends on the end of another task, so the start has no cause.
    let cause = if job.is_unlimited(job.permits.load()) { 0 } else { cause };
    let start = note(job, Event { task, cause, ..event(Kind::Started, job) });
    note_above(job);
    start
}

#[cold]
pub fn acquired(job: JobPtr) -> usize {
    no_cause();
    let task = job.pool().log.new_permit();
    note(job, Event { task, ..event(Kind::Pushed, job) });
    begun(job, task);
    task
}

#[cold]
pub fn granted(cell: CellPtr, number: usize) -> usize {
    // The number is 0 if the wait began before the timeline was started. The timeline does not show a permit with the number 0.
    if number == 0 || cell.is_gone() {
        return 0;
    }
    let (job, cause) = (cell.job(), number as u64);
    note(job, Event { task: address(cell), cause, ..event(Kind::Granted, job) });
    begun(job, number);
    number
}

#[cold]
pub fn given_back(job: JobPtr, number: usize) {
    if number > 0 {
        let cause = note(job, Event { task: number, ..event(Kind::Ended(How::Over), job) });
        here(|here| here.cause.set(cause));
    }
}

#[cold]
pub fn ended(job: JobPtr, address: usize, ran: &Ran, outer: Option<Outer>) {
    let mut how = match ran {
        Ran::Completed | Ran::Counted => How::Over,
        Ran::Panicked(_) => How::Panicked,
        Ran::Cancelled => How::Cancelled,
        Ran::Pending => How::Pending,
        #[cfg(feature = "futures")]
        Ran::Waits => How::Waits,
    };
    let (task, start) = match outer {
        Some(Outer::Unchanged) => return,
        Some(Outer::Empty(at)) => {
            if how == How::Cancelled {
                // The cell is released by now, and a task that was pushed since then may have the same address. So the event
                // gets the time before the release, and comes before the event of that push.
                let event = event(Kind::Ended(how), job);
                job.pool().log.push_at(at, Event { task: address, ..event });
            }
            return;
        }
        Some(Outer::Was(outer)) => {
            let ended = here(|here| here.task.replace(outer));
            how = ended.how.unwrap_or(how);
            (address, ended.start)
        }
        None if matches!(how, How::Over | How::Panicked | How::Cancelled) => {
            // The timeline was off when this task started. Another task's cell might have the same address now, so the event
            // names no task.
            (0, 0)
        }
        None => (address, 0),
    };
    let cause = note(job, Event { task, cause: start, ..event(Kind::Ended(how), job) });
    here(|here| here.cause.set(cause));
}

#[cold]
pub fn ends_by(how: How) {
    here(|here| here.task.set(Running { how: Some(how), ..here.task.get() }));
}

#[cold]
pub fn dropped(cell: CellPtr) {
    let job = cell.job();
    note(job, Event { task: address(cell), ..event(Kind::Ended(How::Cancelled), job) });
}

#[cold]
pub fn waits(job: JobPtr) {
    let Running { task, start, .. } = here(|here| here.task.get());
    let cause = note(job, Event { task, cause: start, ..event(Kind::Waits, job) });
    here(|here| here.cause.set(cause));
}

#[cold]
pub fn resumed(job: JobPtr) {
    let Running { task, start, .. } = here(|here| here.task.get());
    here(|here| here.cause.set(0));
    note(job, Event { task, cause: start, ..event(Kind::Resumed, job) });
    note_above(job);
}

#[cold]
pub fn released(job: JobPtr) {
    job.gates().for_each(|gate| _ = note(gate, event(Kind::Figures, gate)));
}

#[cold]
pub fn no_cause() {
    here(|here| here.cause.set(0));
}

#[cold]
pub fn changed(job: JobPtr) {
    let cause = note(job, event(Kind::Changed, job));
    here(|here| here.cause.set(cause));
}

#[cold]
pub fn opened(job: JobPtr) {
    let cause = note(job, event(Kind::Opened, job));
    here(|here| here.cause.set(cause));
}

#[cold]
pub fn parked(pool: &Shared) {
    pool.log.push(Event::new(Kind::Parked));
}

#[cold]
pub fn woken(pool: &Shared) {
    pool.log.push(Event::new(Kind::Woken));
}
