//! The events of a timeline as slices, figures and flows.

mod key;
mod lanes;
mod pen;

use crate::base::log::Record;
use pen::Pen;
use std::rc::Rc;

/// What a slice shows.
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
    /// The worker has nothing to do.
    Parked,
}

impl What {
    /// Returns the word for it.
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
    /// The number of the task in the picture.
    pub task: u64,
    /// The name of the task, if it has one.
    pub name: Option<Rc<str>>,
    /// Why it lasted, or how it ended.
    pub why: String,
    /// For how long the task was queued before this.
    pub waited: Option<u64>,
    /// The worker that ran it.
    pub worker: Option<u16>,
    /// The flow that leads here.
    pub flow_in: Option<u64>,
    /// The flows that begin at the end of this slice.
    pub flows_out: Vec<u64>,
}

/// The figures of a job from a time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    pub at: u64,
    pub running: u32,
    /// `None` is no limit.
    pub limit: Option<u32>,
    pub backlog: u32,
}

/// One job.
#[derive(Debug)]
pub struct Row {
    pub track: u32,
    pub name: String,
    pub parent: u32,
    /// Slices that do not overlap, by lanes.
    pub lanes: Vec<Vec<Slice>>,
    pub figures: Vec<Figures>,
    /// The tasks whose queued slice has no lane.
    pub hidden: u64,
}

/// All that was recorded.
#[derive(Debug)]
pub struct Picture {
    pub rows: Vec<Row>,
    /// The parked slices of each worker.
    pub workers: Vec<Vec<Slice>>,
    pub lost: u64,
    /// How long the timeline was on.
    pub length: u64,
}

/// Draws what was recorded.
pub fn draw(record: Record) -> Picture {
    let mut pen = Pen::new(&record);
    for (id, event) in &record.events {
        pen.note(*id, event);
    }
    pen.finish(&record)
}
