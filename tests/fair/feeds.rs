//! A job whose tasks push tasks of the same job: its workers' deques are never empty.

use super::*;
use std::sync::Condvar;
use std::sync::atomic::AtomicBool;

/// The number of tasks after which a trial ends without its lone task.
const LAST: usize = 3_000;

/// Lets tasks go on in step: each waits until as many have met as there are workers. So a worker that the system stops holds up all
/// others, and none of them runs ahead.
struct Steps {
    parties: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    started: usize,
    met: usize,
    rounds: usize,
    over: bool,
    /// The number of tasks that had started when the lone task was pushed.
    pushed: Option<usize>,
    /// The number of tasks that had started when the lone task started.
    lone: Option<usize>,
}

impl Steps {
    fn new(parties: usize) -> Arc<Self> {
        Arc::new(Self { parties, state: Mutex::default(), changed: Condvar::new() })
    }

    /// Counts a start. Returns its number, or `None` if the trial is over.
    fn start(&self) -> Option<usize> {
        let mut state = self.state.lock().unwrap();
        state.over |= state.started == LAST;
        if state.over {
            self.changed.notify_all();
            return None;
        }
        state.started += 1;
        Some(state.started - 1)
    }

    /// Waits until as many tasks have come here as there are workers, or the trial is over.
    fn meet(&self) {
        let mut state = self.state.lock().unwrap();
        let round = state.rounds;
        state.met += 1;
        if state.met == self.parties {
            (state.met, state.rounds) = (0, round + 1);
            self.changed.notify_all();
        }
        drop(self.changed.wait_while(state, |state| state.rounds == round && !state.over).unwrap());
    }

    /// Pushes the lone task, which ends the trial.
    fn push_lone(self: &Arc<Self>, small: &Job) {
        let mut state = self.state.lock().unwrap();
        state.pushed = Some(state.started);
        drop(state);
        let steps = Arc::clone(self);
        small.execute(move || {
            let mut state = steps.state.lock().unwrap();
            (state.lone, state.over) = (Some(state.started), true);
            steps.changed.notify_all();
        });
    }
}

/// What the tasks of one trial share.
struct Trial {
    steps: Arc<Steps>,
    big: Job,
    small: Job,
    /// The task with this number pushes the lone task.
    at: usize,
}

impl Trial {
    /// Pushes a task that pushes `width` further tasks, and then waits for the other tasks of its step. From task number `at / 2` on, a
    /// task pushes only one, so that a tree keeps its width.
    fn grow(self: &Arc<Self>, width: usize) {
        let trial = Arc::clone(self);
        self.big.execute(move || {
            let Some(number) = trial.steps.start() else { return };
            if number == trial.at {
                trial.steps.push_lone(&trial.small);
            }
            let width = if number < trial.at / 2 { width } else { 1 };
            (0..width).for_each(|_| trial.grow(width));
            trial.steps.meet();
        });
    }
}

/// Returns how many tasks of a large job that feeds itself start between the push of a lone task and its start.
fn before_a_lone_one(pool: &Pool, limit: usize, chains: usize, width: usize, at: usize) -> usize {
    let (big, small) = (pool.job(limit), pool.job(1));
    let trial = Arc::new(Trial { steps: Steps::new(pool.workers()), big, small, at });
    (0..chains).for_each(|_| trial.grow(width));
    trial.big.wait();
    trial.small.wait();
    let state = trial.steps.state.lock().unwrap();
    state.lone.unwrap() - state.pushed.unwrap()
}

/// A task that pushes itself again, or a tree of tasks, does not keep its worker: at each stage a lone task waits for at most the rest
/// of one turn of each worker. All workers are busy with the large job, so it must have as many permits and tasks.
#[test]
fn a_job_that_feeds_itself_does_not_starve_others() {
    with_workers(|pool, workers| {
        let limits = [workers, workers + 2, usize::MAX];
        for limit in limits {
            for (chains, width) in [(workers, 1), (2 * workers, 1), (1, 2)] {
                for stage in (0..40).chain([100, 200]) {
                    let at = 8 * workers + stage;
                    let before = before_a_lone_one(pool, limit, chains, width, at);
                    assert!(
                        before <= TURN * workers,
                        "a lone task waited for {before} tasks of {chains} chains of width {width}, limit {limit}; it was \
                         pushed by task {at}"
                    );
                }
            }
        }
    });
}

/// While the large job leaves workers idle, one of them starts the lone task, whatever the large job does.
#[test]
fn a_job_that_feeds_itself_leaves_idle_workers_to_others() {
    with_workers(|pool, workers| {
        for limit in 1..workers {
            let (big, small) = (pool.job(limit), pool.job(1));
            let (stop, started) = (Arc::new(AtomicBool::new(false)), Started::default());
            fn go_on(big: &Job, started: &Started, stop: &Arc<AtomicBool>) {
                let (own, count, stopped) = (big.clone(), started.clone(), Arc::clone(stop));
                big.execute(move || {
                    count.task()();
                    if !stopped.load(SeqCst) {
                        go_on(&own, &count, &stopped);
                    }
                });
            }
            (0..limit).for_each(|_| go_on(&big, &started, &stop));
            while started.so_far() < 1_000 {
                std::hint::spin_loop();
            }
            small.spawn(|| ()).join().unwrap();
            stop.store(true, SeqCst);
            big.wait();
        }
    });
}
