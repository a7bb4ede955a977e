use super::Build;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};

/// Runs the build, and returns its steps in the order of their ends.
pub async fn run(build: &Arc<Build>) -> Result<Vec<usize>, String> {
    let resources = build.limits.map(|limit| Arc::new(Semaphore::new(limit)));
    let (mut open, mut ready) = build.at_start();
    let (mut set, mut ended) = (JoinSet::new(), Vec::new());
    loop {
        for step in ready.drain(..) {
            let build = Arc::clone(build);
            let resource = Arc::clone(&resources[build.steps[step].resource]);
            set.spawn(async move {
                let permit = resource.acquire_owned().await.expect("it is never closed");
                let run = move || (permit, build.run(step)).1;
                spawn_blocking(run).await.map_err(|error| error.to_string())?
            });
        }
        // On an error the set is dropped, and aborts what has not started.
        let Some(result) = set.join_next().await else { return Ok(ended) };
        let step = result.map_err(|error| error.to_string())??;
        ready = build.ready_after(step, &mut open);
        ended.push(step);
    }
}
