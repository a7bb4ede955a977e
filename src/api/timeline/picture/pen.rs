//! Goes through the events of a record in the order of their times, and makes slices, figures and flows from the events.

use crate::api::timeline::picture::key::Key;
use crate::api::timeline::picture::{Figures, Picture, Row, Slice, What, lanes};
use crate::base::log::{Event, How, Info, Kind, Record, Why};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// An *open* task: its end is not among the events drawn so far.
struct Open {
    track: u32,
    /// The address of the task's cell, or the number of a permit without a task.
    task: usize,
    name: Option<Rc<str>>,
    number: u64,
    slices: Vec<usize>,
    /// The reasons for which the task has waited so far, in words.
    reasons: Vec<String>,
    /// The id of the event that let the task be admitted, such as the end of another task. 0 if no such event is known.
    cause: u64,
}

/// Makes slices, figures and flows from events.
pub struct Pen<'a> {
    jobs: &'a BTreeMap<u32, Info>,
    names: &'a BTreeMap<u64, String>,
    from: u64,
    length: u64,
    slices: Vec<Slice>,
    open: HashMap<Key, Open>,
    /// The ended tasks, by the track of their job. Each task is a list of indices into `slices`.
    over: BTreeMap<u32, Vec<Vec<usize>>>,
    tasks: u64,
    flows: u64,
    /// For the id of an event that ended a slice: the index of that slice.
    ends: HashMap<u64, usize>,
    /// For the id of an event that ended no slice but can have let a task start: a sentence about that event.
    acts: HashMap<u64, String>,
    figures: BTreeMap<u32, Vec<Figures>>,
    parked: Vec<Vec<Slice>>,
}

impl<'a> Pen<'a> {
    /// Makes a pen that draws the events of `record`.
    pub fn new(record: &'a Record) -> Self {
        let (from, to) = record.span;
        Self {
            jobs: &record.jobs,
            names: &record.names,
            from,
            length: to.saturating_sub(from).max(1),
            slices: Vec::new(),
            open: HashMap::new(),
            over: BTreeMap::new(),
            tasks: 0,
            flows: 0,
            ends: HashMap::new(),
            acts: HashMap::new(),
            figures: BTreeMap::new(),
            parked: vec![Vec::new(); record.workers],
        }
    }

    fn name(&self, track: u32) -> String {
        match self.jobs.get(&track).and_then(|info| info.name.as_deref()) {
            Some(name) => format!("job {name:?}"),
            None => format!("job {track}, without a name"),
        }
    }

    /// Draws one event. The caller must pass events in the order of their times.
    pub fn note(&mut self, id: u64, event: &Event) {
        let at = event.at.saturating_sub(self.from).min(self.length);
        match event.kind {
            Kind::Parked | Kind::Woken => return self.worker(at, event),
            Kind::Refused(_) | Kind::Admitted => self.figures(at, event.gate, event),
            _ => self.figures(at, event.track, event),
        }
        let key = Key::of(event);
        match (event.kind, key) {
            (Kind::Pushed, Some(key)) => {
                self.end(at, key, "its end is not known");
                self.begin(at, key, event);
            }
            (Kind::Refused(why), Some(key)) => {
                let reason = self.reason(why, event);
                let _ = self.begin_if_new(at, key, event);
                let open = self.open.get_mut(&key).expect("it is open");
                if open.reasons.last() != Some(&reason) {
                    open.reasons.push(reason);
                }
            }
            (Kind::Admitted, Some(key)) => {
                if let Some(open) = self.open.get_mut(&key) {
                    open.cause = event.cause;
                }
            }
            (Kind::Granted, Some(key)) => self.rename(key, Key::Cell(event.cause as usize)),
            (Kind::Started, Some(key)) => self.start(id, at, key, event),
            (Kind::Resumed, Some(key)) => self.turn(at, key, event, What::Running, "resumed"),
            (Kind::Waits, Some(key)) => {
                self.turn(at, key, event, What::Waits, "waits inside, without a permit");
                self.ended_with(id, key);
            }
            (Kind::Ended(How::Pending), Some(key)) => {
                if let Some(key) = self.leave(key, event) {
                    self.turn(at, key, event, What::Pending, "a future that waits to be woken");
                }
            }
            (Kind::Ended(How::Waits), Some(key)) => {
                if let Some(key) = self.leave(key, event) {
                    let why = "waits for another task, without a permit";
                    self.turn(at, key, event, What::Waits, why);
                    self.ended_with(id, key);
                }
            }
            (Kind::Ended(how), key) => self.over(id, at, key, how, event),
            (kind, _) => self.act(id, kind, event),
        }
    }

    /// Ends the task of an `Ended` event. The task has started, or was dropped before its start.
    fn over(&mut self, id: u64, at: u64, key: Option<Key>, how: How, event: &Event) {
        let last = key.and_then(|key| self.last(key));
        match last.filter(|last| self.slices[*last].what != What::Queued) {
            Some(last) => _ = self.ends.insert(id, last),
            // The task is not known as started: either its start was not recorded, or the task ended while it was queued.
            None => {
                _ = self.acts.insert(id, format!("a task of {} ended", self.name(event.track)));
            }
        }
        let word = match how {
            How::Panicked => "panicked",
            How::Cancelled => "cancelled",
            How::Over | How::Pending | How::Waits => "ended",
        };
        if let Some(key) = key {
            self.end(at, key, word);
        }
    }

    /// Stores a sentence about a change of a job: its new limit, or the end of its hold-off. If the change lets a task start,
    /// `start` shows the sentence as the reason.
    fn act(&mut self, id: u64, kind: Kind, event: &Event) {
        match kind {
            Kind::Changed => {
                let limit = match event.limit {
                    u32::MAX => "no limit".to_owned(),
                    limit => format!("a limit of {limit}"),
                };
                self.acts
                    .insert(id, format!("{} had {limit} or was resumed", self.name(event.track)));
            }
            Kind::Opened => {
                self.acts.insert(id, format!("the time of {} came", self.name(event.track)));
            }
            _ => {}
        }
    }

    fn worker(&mut self, at: u64, event: &Event) {
        let Some(parked) = self.parked.get_mut(usize::from(event.seat)) else { return };
        if event.kind == Kind::Parked {
            parked.push(Slice {
                worker: Some(event.seat),
                ..slice(What::Parked, at, self.length, 0)
            });
        } else if let Some(last) = parked.last_mut() {
            last.to = at;
        }
    }

    fn figures(&mut self, at: u64, track: u32, event: &Event) {
        let limit = Some(event.limit).filter(|limit| *limit < u32::MAX);
        let figures = Figures { at, running: event.running, limit, backlog: event.backlog };
        let all = self.figures.entry(track).or_default();
        if all.last().is_none_or(|last| Figures { at, ..*last } != figures) {
            all.push(figures);
        }
    }

    /// Returns the reason for which a gate refused a task, in words.
    fn reason(&self, why: Why, event: &Event) -> String {
        let name = self.name(event.gate);
        match why {
            Why::Paused => format!("{name} was paused"),
            Why::Clock => format!("{name} was held off, or its rate allowed no start"),
            Why::Limit if event.limit == 0 => format!("{name} had a limit of 0"),
            Why::Limit if event.running < event.limit => {
                format!(
                    "{name} ran {} of at most {}, and the next were ready",
                    event.running, event.limit
                )
            }
            Why::Limit => format!("{name} ran {} of at most {}", event.running, event.limit),
            Why::Behind if event.backlog == 0 => format!("other tasks of {name} were ready"),
            Why::Behind if event.backlog == 1 => format!("1 task went first in {name}"),
            Why::Behind => format!("{} tasks went first in {name}", event.backlog),
        }
    }

    /// Adds a task to the open tasks. The task is queued from the time `at` on.
    fn begin(&mut self, at: u64, key: Key, event: &Event) {
        self.tasks += 1;
        let is_pushed = event.kind == Kind::Pushed;
        let name = self.names.get(&event.cause).filter(|_| is_pushed);
        let open = Open {
            track: event.track,
            task: event.task,
            name: name.map(|name| name.as_str().into()),
            number: self.tasks,
            slices: Vec::new(),
            reasons: Vec::new(),
            cause: 0,
        };
        self.open.insert(key, open);
        self.add(at, key, What::Queued, "");
    }

    /// Adds a slice that begins at the time `at` to an open task.
    fn add(&mut self, at: u64, key: Key, what: What, why: &str) {
        let open = self.open.get_mut(&key).expect("it is open");
        open.slices.push(self.slices.len());
        let (name, why) = (open.name.clone(), why.to_owned());
        self.slices.push(Slice { name, why, ..slice(what, at, self.length, open.number) });
    }

    /// Adds the task with this key to the open tasks if it is not among them, because its push was not recorded. Returns true
    /// if the task was added.
    fn begin_if_new(&mut self, at: u64, key: Key, event: &Event) -> bool {
        let is_new = !self.open.contains_key(&key);
        if is_new {
            self.begin(at, key, event);
        }
        is_new
    }

    /// Replaces the key of an open task.
    fn rename(&mut self, from: Key, to: Key) {
        if let Some(open) = self.open.remove(&from) {
            self.open.insert(to, open);
        }
    }

    fn last(&self, key: Key) -> Option<usize> {
        self.open.get(&key)?.slices.last().copied()
    }

    /// Notes that the event `id` ended a slice of the task `key`. So a flow can begin at the end of that slice. The event has
    /// also begun the task's last slice, so the ended slice is the last but one.
    fn ended_with(&mut self, id: u64, key: Key) {
        let before = self.open.get(&key).and_then(|open| open.slices.iter().nth_back(1).copied());
        if let Some(before) = before {
            self.ends.insert(id, before);
        }
    }

    /// Ends the last slice of a task at the time `at`, and begins a new slice.
    fn turn(&mut self, at: u64, key: Key, event: &Event, what: What, why: &str) {
        let _ = self.begin_if_new(at, key, event);
        let Some(last) = self.last(key) else { return };
        self.slices[last].to = at;
        if self.slices[last].what == What::Running {
            self.slices[last].why = WAITED.into();
        }
        self.add(at, key, what, why);
    }

    /// Gives a future whose poll has ended the key of a pending future, and returns the new key. If another worker has begun the
    /// next poll before this event, keeps the future's key, and returns `None`.
    fn leave(&mut self, key: Key, event: &Event) -> Option<Key> {
        let cell = Key::Cell(event.task);
        if key != cell && self.open.contains_key(&key) {
            self.rename(key, cell);
            return Some(cell);
        }
        let polled = self.started_with(event.task).is_some();
        (key == cell || !polled).then_some(cell)
    }

    /// Returns the key of the running task whose cell had the address `task` at its start.
    fn started_with(&self, task: usize) -> Option<Key> {
        let found = |(key, open): &(&Key, &Open)| matches!(key, Key::Start(_)) && open.task == task;
        self.open.iter().find(found).map(|(key, _)| *key)
    }

    /// Draws the event that a worker begins or resumes a task.
    fn start(&mut self, id: u64, at: u64, key: Key, event: &Event) {
        if !self.open.contains_key(&key)
            && let Some(polled) = self.started_with(event.task)
        {
            // The future was woken during its previous poll, so the event that ends that poll comes after this event.
            self.rename(polled, key);
        }
        let is_new = self.begin_if_new(at, key, event);
        let open = self.open.get_mut(&key).expect("it is open");
        let queued = *open.slices.last().expect("a task has a slice");
        let (mut why, cause) = (std::mem::take(&mut open.reasons).join(", then "), open.cause);
        open.cause = 0;
        let cause = if event.cause > 0 { event.cause } else { cause };
        let from = self.ends.get(&cause).copied();
        let act = from
            .map(|from| format!("task {} {}", self.slices[from].task, left(&self.slices[from])));
        if let Some(act) = act.or_else(|| self.acts.get(&cause).cloned()) {
            why = if why.is_empty() { act } else { format!("{why}, until {act}") };
        }
        let first = self.slices[queued].what == What::Queued;
        if first {
            let none =
                if is_new { "its push is not known" } else { "nothing held it: a worker took it" };
            self.slices[queued].why = if why.is_empty() { none.into() } else { why };
        }
        let waited = (first && !is_new).then(|| at - self.slices[queued].from);
        self.turn(at, key, event, What::Running, "has not ended");
        self.rename(key, Key::started(id, event.task));
        let running = self.slices.last_mut().expect("it was added just now");
        // A permit without a task is on no worker. It has an odd number in the place of a cell's address, which is even.
        let worker =
            Some(event.seat).filter(|seat| *seat < u16::MAX && event.task.is_multiple_of(2));
        (running.waited, running.worker) = (waited, worker);
        if let Some(from) = from {
            self.flows += 1;
            running.flow_in = Some(self.flows);
            self.slices[from].flows_out.push(self.flows);
        }
    }

    /// Ends an open task at the time `at`.
    fn end(&mut self, at: u64, key: Key, how: &str) {
        let Some(open) = self.open.remove(&key) else { return };
        let last = &mut self.slices[*open.slices.last().expect("a task has a slice")];
        last.to = at;
        last.why = how.into();
        self.over.entry(open.track).or_default().push(open.slices);
    }

    /// Returns the picture. Includes the tasks whose end was not recorded.
    pub fn finish(mut self, record: &Record) -> Picture {
        for open in std::mem::take(&mut self.open).into_values() {
            let last = &mut self.slices[*open.slices.last().expect("a task has a slice")];
            if last.what == What::Queued {
                last.why = open.reasons.join(", then ");
            }
            self.over.entry(open.track).or_default().push(open.slices);
        }
        let tracks = self.figures.keys().chain(self.over.keys());
        let mut tracks: std::collections::BTreeSet<u32> =
            tracks.copied().filter(|track| *track > 0).collect();
        // A parent gets a row even if none of its own events was recorded.
        let parent_of = |track: &u32| self.jobs.get(track).map(|info| info.parent);
        for track in tracks.clone() {
            let mut outer = parent_of(&track);
            while let Some(track) = outer.filter(|track| *track > 0 && tracks.insert(*track)) {
                outer = parent_of(&track);
            }
        }
        let mut rows = Vec::new();
        for track in tracks {
            let tasks = self.over.remove(&track).unwrap_or_default();
            let (lanes, hidden) = lanes::place(&self.slices, tasks);
            let mut figures = self.figures.remove(&track).unwrap_or_default();
            let info = self.jobs.get(&track);
            if let (Some(ended), Some(last)) = (info.and_then(|info| info.ended), figures.last()) {
                let at = ended.saturating_sub(self.from).clamp(last.at, self.length);
                figures.push(Figures { at, running: 0, backlog: 0, ..*last });
            }
            let parent = info.map_or(0, |info| info.parent);
            rows.push(Row { track, name: self.name(track), parent, lanes, figures, hidden });
        }
        Picture { rows, workers: self.parked, lost: record.lost, length: self.length }
    }
}

/// The reason shown for a running slice that ended because its task began to wait without a permit.
const WAITED: &str = "began to wait";

/// Returns why the permit was released at the end of a slice, in words.
fn left(slice: &Slice) -> &'static str {
    if slice.why == WAITED { "released its permit to wait" } else { "ended" }
}

fn slice(what: What, from: u64, to: u64, task: u64) -> Slice {
    Slice {
        what,
        from,
        to,
        task,
        name: None,
        why: String::new(),
        waited: None,
        worker: None,
        flow_in: None,
        flows_out: Vec::new(),
    }
}
