use super::Build;
use std::sync::Arc;
use tollgate::Pool;

/// Runs the build, and returns its steps in the order of their ends.
pub fn run(pool: &Pool, build: &Arc<Build>) -> Result<Vec<usize>, String> {
    let resources = build.limits.map(|limit| pool.job(limit));
    let (mut open, mut ready) = build.at_start();
    let (mut set, mut ended) = (pool.job(usize::MAX).set(), Vec::new());
    loop {
        for step in ready.drain(..) {
            let (build, resource) = (Arc::clone(build), &resources[build.steps[step].resource]);
            set.spawn_in(resource, move || build.run(step));
        }
        // On an error the set is dropped, and cancels what has not started.
        let Some(result) = set.join_next() else { return Ok(ended) };
        let step = result.map_err(|error| error.to_string())??;
        ready = build.ready_after(step, &mut open);
        ended.push(step);
    }
}
