//! Ten tasks under a limit of 1 print in order; under a limit of 3 they come back mixed.
//!
//! ```text
//! cargo run --release --example in_order
//! ```

use std::thread;
use std::time::Duration;

use tollgate::{BuildError, Job, Pool};

fn main() -> Result<(), BuildError> {
    let pool = Pool::builder().workers(4).build()?;
    for limit in [1, 3] {
        println!("limit {limit}");
        print_ten(&pool.job(limit));
    }
    Ok(())
}

/// Pushes ten tasks, the odd ones quicker than the even ones, and waits for them.
fn print_ten(job: &Job) {
    for number in 0..10 {
        job.execute(move || {
            thread::sleep(Duration::from_millis(if number % 2 == 0 { 30 } else { 10 }));
            println!("  task {number}");
        });
    }
    job.wait();
}
