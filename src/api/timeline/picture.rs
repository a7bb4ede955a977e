//! Makes a picture from the events of a timeline. A *slice* is a part of a task's life. A *flow* is an arrow from one slice
//! to a later one. Each job also has figures over time.

mod key;
mod lanes;
mod pen;

use crate::base::log::Record;
use pen::Pen;
use std::rc::Rc;

/// What a task or a worker does during a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The task waits to start.
    Queued,
    /// The task runs.
    Running,
    /// The task has begun, and waits without a permit.
    Waits,
    /// The task is a future that waits to be woken, and keeps its permit.
    Pending,
    /// The worker has no task to run.
    Parked,
}

impl What {
    /// Returns the word that the picture shows for this state.
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waits => "waits",
            Self::Pending => "pending",
            Self::Parked => "parked",
        }
    }
}

/// A part of the life of a task or a worker. Times are in nanoseconds from the start of the timeline.
#[derive(Clone, Debug)]
pub struct Slice {
    pub what: What,
    pub from: u64,
    pub to: u64,
    /// The number by which the picture names the slice's task.
    pub task: u64,
    /// The name of the slice's task, if it has one.
    pub name: Option<Rc<str>>,
    /// Why the task waited during the slice, or how the slice ended, in words.
    pub why: String,
    /// For a running slice: how long the task was queued before, in nanoseconds.
    pub waited: Option<u64>,
    /// The number of the worker that ran the task. `None` if no worker ran the task.
    pub worker: Option<u16>,
    /// The number of the flow that ends at the start of this slice, if there is one.
    pub flow_in: Option<u64>,
    /// The numbers of the flows that begin at the end of this slice.
    pub flows_out: Vec<u64>,
}

/// The figures of one job, from the time `at` until the time of the same job's next figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    pub at: u64,
    pub running: u32,
    /// The limit of the job. `None` is no limit.
    pub limit: Option<u32>,
    pub backlog: u32,
}

/// A job in the picture, with its slices and figures.
#[derive(Debug)]
pub struct Row {
    pub track: u32,
    pub name: String,
    pub parent: u32,
    /// The slices of the job's tasks, divided into lanes. Slices of one lane do not overlap.
    pub lanes: Vec<Vec<Slice>>,
    pub figures: Vec<Figures>,
    /// The number of tasks whose queued slice is not shown, because no lane was free.
    pub hidden: u64,
}

/// The picture of all recorded events.
#[derive(Debug)]
pub struct Picture {
    pub rows: Vec<Row>,
    /// For each worker, the slices during which the worker was parked.
    pub workers: Vec<Vec<Slice>>,
    pub lost: u64,
    /// How long the timeline was on, in nanoseconds.
    pub length: u64,
}

/// Makes the picture of all recorded events.
pub fn draw(record: Record) -> Picture {
    let mut pen = Pen::new(&record);
    for (id, event) in &record.events {
        pen.note(*id, event);
    }
    pen.finish(&record)
}
