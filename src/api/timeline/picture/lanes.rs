//! Divides the slices of one job's tasks into lanes. The slices of one lane do not overlap.

use crate::api::timeline::picture::{Slice, What};

/// The greatest number of lanes of one job that show queued tasks.
const LANES: usize = 40;

/// Places the tasks in lanes. Each task is a list of indices into `slices`. If `LANES` lanes are taken when a task is queued,
/// the task's queued slice is left out, and the task gets a lane at its start. Returns the lanes, and the number of queued
/// slices left out.
pub fn place(slices: &[Slice], mut tasks: Vec<Vec<usize>>) -> (Vec<Vec<Slice>>, u64) {
    let begin = |task: &Vec<usize>| slices[task[0]].from;
    tasks.sort_by_key(begin);
    let mut lanes = Lanes { slices, lanes: Vec::new() };
    let mut late: Vec<_> = tasks.into_iter().filter_map(|task| lanes.add(task, LANES)).collect();
    let hidden = late.len() as u64;
    late.iter_mut().for_each(|task| task.retain(|slice| slices[*slice].what != What::Queued));
    late.retain(|task| !task.is_empty());
    late.sort_by_key(begin);
    let mut more = Lanes { slices, lanes: Vec::new() };
    for task in late {
        let refused = more.add(task, usize::MAX);
        debug_assert_eq!(refused, None, "there is no bound");
    }
    lanes.lanes.append(&mut more.lanes);
    (lanes.lanes, hidden)
}

/// The lanes placed so far, and the slices of all tasks.
struct Lanes<'a> {
    slices: &'a [Slice],
    lanes: Vec<Vec<Slice>>,
}

impl Lanes<'_> {
    /// Adds a task to the first lane that is free when the task begins. If no lane is free, adds the task to a new lane. But if
    /// there are `most` lanes already, returns the task.
    fn add(&mut self, task: Vec<usize>, most: usize) -> Option<Vec<usize>> {
        let begin = self.slices[task[0]].from;
        let ends = |lane: &Vec<Slice>| lane.last().is_none_or(|last| last.to <= begin);
        let lane = match self.lanes.iter().position(ends) {
            Some(lane) => lane,
            None if self.lanes.len() == most => return Some(task),
            None => {
                self.lanes.push(Vec::new());
                self.lanes.len() - 1
            }
        };
        self.lanes[lane].extend(task.iter().map(|slice| self.slices[*slice].clone()));
        None
    }
}
