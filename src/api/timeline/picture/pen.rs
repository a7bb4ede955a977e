//! Goes through the events of a record in the order of their times, and draws what they say.

use crate::api::timeline::picture::{Figures, Picture, Row, Slice, What, lanes};
use crate::base::log::{Event, How, Info, Kind, Record, Why};
use std::collections::{BTreeMap, HashMap};

/// A task that has not ended.
struct Open {
    track: u32,
    number: u64,
    slices: Vec<usize>,
    /// Why it waited so far.
    reasons: Vec<String>,
    /// The event that freed the permit with which the task was admitted, or 0.
    cause: u64,
}

/// Makes slices, figures and flows of events.
pub struct Pen<'a> {
    jobs: &'a BTreeMap<u32, Info>,
    from: u64,
    length: u64,
    slices: Vec<Slice>,
    open: HashMap<usize, Open>,
    /// The slices of each ended task, by the job's track.
    over: BTreeMap<u32, Vec<Vec<usize>>>,
    tasks: u64,
    flows: u64,
    /// The slices that ended with an event.
    ends: HashMap<u64, usize>,
    /// What each event did, in words, if it ended no slice.
    acts: HashMap<u64, String>,
    figures: BTreeMap<u32, Vec<Figures>>,
    parked: Vec<Vec<Slice>>,
}

impl<'a> Pen<'a> {
    /// Makes a pen for this record.
    pub fn new(record: &'a Record) -> Self {
        let (from, to) = record.span;
        Self {
            jobs: &record.jobs,
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

    /// Notes one event. Events come in the order of their times.
    pub fn note(&mut self, id: u64, event: &Event) {
        let at = event.at.saturating_sub(self.from).min(self.length);
        match event.kind {
            Kind::Parked | Kind::Woken => return self.worker(at, event),
            Kind::Refused(_) | Kind::Admitted => self.figures(at, event.gate, event),
            _ => self.figures(at, event.track, event),
        }
        if event.task == 0 && matches!(event.kind, Kind::Waits | Kind::Resumed) {
            // The task started before the timeline did.
            return;
        }
        match event.kind {
            Kind::Pushed => {
                self.end(at, event.task, "its end is not known");
                self.begin(at, event);
            }
            Kind::Refused(why) => {
                let reason = self.reason(why, event);
                let _ = self.begin_if_new(at, event);
                let open = self.open.get_mut(&event.task).expect("it is open");
                if open.reasons.last() != Some(&reason) {
                    open.reasons.push(reason);
                }
            }
            Kind::Admitted => {
                if let Some(open) = self.open.get_mut(&event.task) {
                    open.cause = event.cause;
                }
            }
            Kind::Granted => {
                if let Some(open) = self.open.remove(&event.task) {
                    self.open.insert(event.cause as usize, open);
                }
            }
            Kind::Started => self.start(at, event),
            Kind::Resumed => self.turn(at, event, What::Running, "resumed".into()),
            Kind::Waits => {
                self.turn(at, event, What::Waits, "waits inside, without a permit".into());
                self.ended_with(id, event.task);
            }
            Kind::Ended(How::Pending) => {
                self.turn(at, event, What::Pending, "a future that waits to be woken".into());
            }
            Kind::Ended(How::Waits) => {
                self.turn(
                    at,
                    event,
                    What::Waits,
                    "waits for another task, without a permit".into(),
                );
                self.ended_with(id, event.task);
            }
            Kind::Ended(how) => {
                match self.last(event.task).filter(|last| self.slices[*last].what != What::Queued) {
                    Some(last) => _ = self.ends.insert(id, last),
                    // Its start was not recorded, or it ended while it was queued.
                    None => {
                        _ = self
                            .acts
                            .insert(id, format!("a task of {} ended", self.name(event.track)))
                    }
                }
                let word = match how {
                    How::Panicked => "panicked",
                    How::Cancelled => "cancelled",
                    How::Over | How::Pending | How::Waits => "ended",
                };
                self.end(at, event.task, word);
            }
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
            Kind::Figures | Kind::Parked | Kind::Woken => {}
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

    /// Returns in words why a gate refused a task.
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

    /// Adds a task that is queued from this time on.
    fn begin(&mut self, at: u64, event: &Event) {
        self.tasks += 1;
        let open = Open {
            track: event.track,
            number: self.tasks,
            slices: vec![self.slices.len()],
            reasons: Vec::new(),
            cause: 0,
        };
        self.slices.push(slice(What::Queued, at, self.length, self.tasks));
        self.open.insert(event.task, open);
    }

    /// Adds a task whose push is not known. Returns true if it did, and false if the task was there.
    fn begin_if_new(&mut self, at: u64, event: &Event) -> bool {
        let is_new = !self.open.contains_key(&event.task);
        if is_new {
            self.begin(at, event);
        }
        is_new
    }

    fn last(&self, task: usize) -> Option<usize> {
        self.open.get(&task)?.slices.last().copied()
    }

    /// Notes that the slice before the last one ended with this event.
    fn ended_with(&mut self, id: u64, task: usize) {
        let before = self.open.get(&task).and_then(|open| open.slices.iter().nth_back(1).copied());
        if let Some(before) = before {
            self.ends.insert(id, before);
        }
    }

    /// Ends the last slice of a task, and begins another one.
    fn turn(&mut self, at: u64, event: &Event, what: What, why: String) {
        let _ = self.begin_if_new(at, event);
        let Some(last) = self.last(event.task) else { return };
        self.slices[last].to = at;
        if self.slices[last].what == What::Running {
            self.slices[last].why = WAITED.into();
        }
        let new = self.slices.len();
        let open = self.open.get_mut(&event.task).expect("it has a last slice");
        open.slices.push(new);
        self.slices.push(Slice { why, ..slice(what, at, self.length, open.number) });
    }

    /// A worker begins or resumes a task.
    fn start(&mut self, at: u64, event: &Event) {
        let is_new = self.begin_if_new(at, event);
        let open = self.open.get_mut(&event.task).expect("it is open");
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
        self.turn(at, event, What::Running, "has not ended".into());
        let running = self.slices.last_mut().expect("it was added just now");
        // A permit without a task has an odd number, and no worker runs it.
        let worker =
            Some(event.seat).filter(|seat| *seat < u16::MAX && event.task.is_multiple_of(2));
        (running.waited, running.worker) = (waited, worker);
        if let Some(from) = from {
            self.flows += 1;
            running.flow_in = Some(self.flows);
            self.slices[from].flows_out.push(self.flows);
        }
    }

    /// Ends a task.
    fn end(&mut self, at: u64, task: usize, how: &str) {
        let Some(open) = self.open.remove(&task) else { return };
        let last = &mut self.slices[*open.slices.last().expect("a task has a slice")];
        last.to = at;
        last.why = how.into();
        self.over.entry(open.track).or_default().push(open.slices);
    }

    /// Ends what is open, and returns the picture.
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
        // A parent has a row, although it may have no event of its own.
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

/// Why a slice ended whose task began to wait without a permit.
const WAITED: &str = "began to wait";

/// Returns in words why the permit of a slice was released.
fn left(slice: &Slice) -> &'static str {
    if slice.why == WAITED { "released its permit to wait" } else { "ended" }
}

fn slice(what: What, from: u64, to: u64, task: u64) -> Slice {
    Slice {
        what,
        from,
        to,
        task,
        why: String::new(),
        waited: None,
        worker: None,
        flow_in: None,
        flows_out: Vec::new(),
    }
}
