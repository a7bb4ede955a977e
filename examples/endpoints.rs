//! Two endpoints of one host, each with a limit of its own inside the host's, and a limit that changes while tasks run.
//!
//! `cargo run --release --example endpoints`

use std::thread;
use std::time::Duration;

use tollgate::{BuildError, Job, Pool};

fn main() -> Result<(), BuildError> {
    let pool = Pool::builder().workers(4).build()?;
    let host = pool.job_builder().name("host").limit(3).build();
    let search = pool.job_builder().name("search").parent(&host).limit(1).build();
    let pages = pool.job_builder().name("pages").parent(&host).limit(8).build();

    for number in 0..20 {
        search.execute(move || fetch("/search", number));
        pages.execute(move || fetch("/page", number));
    }

    // The host has recovered: from now on it takes more, and so does the search.
    thread::sleep(Duration::from_millis(50));
    host.set_limit(8);
    search.set_limit(4);

    for job in [&search, &pages, &host] {
        job.wait();
        print(job);
    }
    assert!(host.stats().most_running <= 8 && search.stats().most_running <= 4);
    Ok(())
}

/// Stands for a request. The worker lends its place while the task waits for the server.
fn fetch(path: &str, number: u32) {
    tollgate::blocking(|| thread::sleep(Duration::from_millis(5)));
    if number == 19 {
        println!("{path}?n={number} was the last one pushed to {path}");
    }
}

fn print(job: &Job) {
    let (name, stats) = (job.name().unwrap_or("?"), job.stats());
    println!(
        "{name}: {} done, at most {} of {} at once",
        stats.completed, stats.most_running, stats.limit
    );
}
