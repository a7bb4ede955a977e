//! Steps of a build that depend on each other and need resources, run in two ways: by a set of tasks with a job for each
//! resource (`ours.rs`), and by tokio's `JoinSet` with a semaphore for each resource (`on_tokio.rs`). The first step that fails
//! cancels the rest.
//!
//! `cargo run --release --example dag`

mod on_tokio;
mod ours;

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// One step of a build.
struct Step {
    name: &'static str,
    /// The steps that must have ended before.
    after: &'static [usize],
    /// The resource that it needs, by its index in [`Build::limits`].
    resource: usize,
}

/// A build, and how many steps may use each resource at once.
struct Build {
    steps: Vec<Step>,
    limits: [usize; 2],
    /// The step that fails, if one does.
    fails: Option<usize>,
    using: [AtomicUsize; 2],
    started: AtomicUsize,
}

impl Build {
    /// Runs one step on a thread that may block. Checks that no more steps use its resource than may.
    fn run(&self, step: usize) -> Result<usize, String> {
        let Step { name, resource, .. } = self.steps[step];
        let using = self.using[resource].fetch_add(1, Ordering::SeqCst) + 1;
        assert!(using <= self.limits[resource], "{using} steps use resource {resource}");
        self.started.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(2));
        self.using[resource].fetch_sub(1, Ordering::SeqCst);
        if self.fails == Some(step) { Err(format!("{name} fails")) } else { Ok(step) }
    }

    /// Returns the steps that are ready now that `step` has ended. `open` counts what each step still waits for.
    fn ready_after(&self, step: usize, open: &mut [usize]) -> Vec<usize> {
        let followers =
            (0..self.steps.len()).filter(|next| self.steps[*next].after.contains(&step));
        followers
            .filter(|next| {
                open[*next] -= 1;
                open[*next] == 0
            })
            .collect()
    }

    /// Returns what each step waits for at the start, and the steps that wait for nothing.
    fn at_start(&self) -> (Vec<usize>, Vec<usize>) {
        let open: Vec<_> = self.steps.iter().map(|step| step.after.len()).collect();
        let ready = (0..open.len()).filter(|step| open[*step] == 0).collect();
        (open, ready)
    }
}

fn build(fails: Option<usize>) -> Arc<Build> {
    let step = |name, resource, after| Step { name, after, resource };
    let steps = vec![
        step("fetch a", 0, &[][..]),
        step("fetch b", 0, &[]),
        step("fetch c", 0, &[]),
        step("compile a", 1, &[0]),
        step("compile b", 1, &[1, 3]),
        step("compile c", 1, &[2]),
        step("link", 1, &[3, 4, 5]),
    ];
    Arc::new(Build {
        steps,
        limits: [2, 1],
        fails,
        using: Default::default(),
        started: AtomicUsize::new(0),
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let pool = tollgate::Pool::builder().workers(4).build()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build()?;
    for fails in [None, Some(3)] {
        let (one, two) = (build(fails), build(fails));
        let results = [ours::run(&pool, &one), runtime.block_on(on_tokio::run(&two))];
        for (result, build) in results.iter().zip([&one, &two]) {
            println!("{result:?}, {} of 7 steps started", build.started.load(Ordering::SeqCst));
            match result {
                Ok(order) => {
                    let place = |step| order.iter().position(|ended| *ended == step);
                    let in_order = |step: usize| {
                        build.steps[step].after.iter().all(|before| place(*before) < place(step))
                    };
                    assert!(fails.is_none() && order.len() == 7 && (0..7).all(in_order));
                }
                Err(message) => assert_eq!((message.as_str(), fails), ("compile a fails", Some(3))),
            }
        }
    }
    let lines = |source: &str| source.lines().filter(|line| !line.trim().is_empty()).count();
    let (ours, theirs) = (lines(include_str!("ours.rs")), lines(include_str!("on_tokio.rs")));
    println!("{ours} lines with a set of tasks, {theirs} with a JoinSet");
    assert!(ours <= theirs);
    Ok(())
}
