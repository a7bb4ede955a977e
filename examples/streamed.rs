//! A million lines through a job that takes three at once, without a queue of a million tasks.
//!
//! `cargo run --release --example streamed`

use tollgate::{BuildError, Pool};

fn main() -> Result<(), BuildError> {
    let pool = Pool::builder().workers(4).build()?;
    let job = pool.job(3);

    // The job pulls a line only when a permit is free. Results come in the order of the lines.
    let lines = (1..=1_000_000_u64).map(|number| format!("{number}"));
    let sum: u64 = job.map(lines, |line| line.len() as u64).map(Result::unwrap).sum();
    println!("1,000,000 lines, {sum} digits");
    assert_eq!(sum, 5_888_896);

    // A task that panics is one failed result; the other tasks run.
    let results: Vec<_> = job.map(0..5, |number| 12 / (number - 2)).collect();
    for (number, result) in results.iter().enumerate() {
        match result {
            Ok(twelfth) => println!("12 / {}: {twelfth}", number as i32 - 2),
            Err(error) => println!("12 / {}: {error}", number as i32 - 2),
        }
    }
    assert!(job.stats().most_running <= 3);
    Ok(())
}
