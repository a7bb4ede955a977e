//! Keeps the schedule that runs, and writes it down when something panics: shuttle can only print it.

use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Once;

/// One schedule: its seed, and at each step the thread that goes on, or a number drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// How many schedules came before it in the same run.
    pub before: usize,
    seed: u64,
    /// `None` is a number drawn.
    steps: Vec<Option<usize>>,
}

impl Recording {
    /// Reads what `write` has written.
    pub fn read(file: &Path) -> Self {
        let text = std::fs::read_to_string(file)
            .unwrap_or_else(|error| panic!("no schedule in {}: {error}", file.display()));
        let mut words = text.split_whitespace();
        let seed = words.next().and_then(|word| word.parse().ok()).expect("a schedule has a seed");
        let step = |word: &str| match word {
            "r" => None,
            thread => Some(thread.parse().expect("a step is `r` or a thread")),
        };
        Self { before: 0, seed, steps: words.map(step).collect() }
    }

    /// The seed, and then the steps: a thread's number each, or `r`.
    pub fn write(&self, file: &Path) {
        let mut text = self.seed.to_string();
        for step in &self.steps {
            text += &step.map_or(" r".to_owned(), |thread| format!(" {thread}"));
        }
        let folder = file.parent().expect("it lies in a folder");
        std::fs::create_dir_all(folder).expect("the target folder is ours");
        std::fs::write(file, text).expect("the target folder is ours");
    }

    /// As shuttle has it.
    pub fn schedule(&self) -> Schedule {
        let mut schedule = Schedule::new(self.seed);
        for step in &self.steps {
            match step {
                Some(thread) => schedule.push_task(TaskId::from(*thread)),
                None => schedule.push_random(),
            }
        }
        schedule
    }
}

thread_local! {
    /// shuttle runs all of a scenario's threads on one thread of the system, and its scheduler, too.
    static RUNNING: RefCell<Option<(Recording, PathBuf)>> = const { RefCell::new(None) };
}

/// A scheduler whose choices are recorded. A panic writes them to a file, for it may end in an abort.
#[derive(Debug)]
pub struct Recorded<S>(S);

impl<S> Recorded<S> {
    /// Records until `stop`, on this thread.
    pub fn new(scheduler: S, file: PathBuf) -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                RUNNING.with_borrow(|running| {
                    running.iter().for_each(|(recording, file)| recording.write(file));
                });
                before(info);
            }));
        });
        RUNNING.set(Some((Recording::default(), file)));
        Self(scheduler)
    }
}

/// Ends the recording; what was recorded last.
pub fn stop() -> Option<Recording> {
    RUNNING.take().map(|(recording, _)| recording)
}

fn record(step: Option<usize>) {
    RUNNING.with_borrow_mut(|running| {
        running.iter_mut().for_each(|(recording, _)| recording.steps.push(step));
    });
}

impl<S: Scheduler> Scheduler for Recorded<S> {
    fn new_execution(&mut self) -> Option<Schedule> {
        let schedule = self.0.new_execution()?;
        RUNNING.with_borrow_mut(|running| {
            for (recording, _) in running.iter_mut() {
                recording.before += usize::from(!recording.steps.is_empty());
                recording.seed = schedule.seed;
                recording.steps.clear();
            }
        });
        Some(schedule)
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        yields: bool,
    ) -> Option<TaskId> {
        let next = self.0.next_task(runnable, current, yields)?;
        record(Some(next.into()));
        Some(next)
    }

    fn next_u64(&mut self) -> u64 {
        record(None);
        self.0.next_u64()
    }
}
