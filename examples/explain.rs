//! Why does a task not run? A visit of a page meets one gate after the other, and `explain_task` names each of them.
//!
//! `cargo run --release --example explain`

use std::error::Error;
use std::sync::mpsc;
use std::time::Duration;
use tollgate::{Job, ManualClock, Pool, Rate, Reason, TaskHandle};

/// Prints why the task does not run, and returns the most binding reason.
fn ask(job: &Job, task: &TaskHandle<&str>) -> Reason {
    let why = job.explain_task(task);
    println!("{why}");
    why.first().clone()
}

fn main() -> Result<(), Box<dyn Error>> {
    // A clock that the program moves itself, so that no second must pass. Leave it out for the real time.
    let (clock, second) = (ManualClock::new(), Duration::from_secs(1));
    let pool = Pool::builder().workers(1).clock(&clock).build()?;
    let host = pool.job_builder().name("example.org").limit(2).rate(Rate::every(second)).build();
    let pages = host.job_builder().name("pages").build();

    // Another visit has just begun, and holds the only worker and the only start of this second.
    let (go, wait_for_go) = mpsc::channel::<()>();
    let (begin, wait_for_begin) = mpsc::channel();
    let first = pages.spawn_named("front page", move || {
        begin.send(()).unwrap();
        wait_for_go.recv().unwrap();
        "the front page"
    });
    wait_for_begin.recv()?;
    assert_eq!(ask(&pages, &first), Reason::Running { running: 1 });

    let visit = pages.spawn_named("imprint", || "the imprint");
    let until = clock.now() + second;
    assert_eq!(ask(&pages, &visit), Reason::Rate { job: host.clone(), until });

    // The server asks for a pause of 30 seconds.
    host.hold_off(30 * second);
    let until = clock.now() + 30 * second;
    assert_eq!(ask(&pages, &visit), Reason::HeldOff { job: host.clone(), until });

    host.set_limit(0);
    assert_eq!(ask(&pages, &visit), Reason::Limit { job: host.clone(), running: 1, limit: 0 });

    pages.pause();
    assert_eq!(ask(&pages, &visit), Reason::Paused { job: pages.clone() });

    // All gates open, one after the other.
    pages.resume();
    clock.advance(30 * second);
    host.set_limit(1);
    assert_eq!(ask(&pages, &visit), Reason::Limit { job: host.clone(), running: 1, limit: 1 });

    host.set_limit(2);
    assert_eq!(ask(&pages, &visit), Reason::NoWorker { busy: 1, workers: 1 });

    go.send(())?;
    println!("{} and {} are here", first.join()?, visit.join()?);
    pages.wait();
    assert_eq!(pages.explain().first(), &Reason::Idle);
    Ok(())
}
