//! Visits pages under a limit of 3 over all processes. Start it in two terminals.
//!
//! ```text
//! redis-server --appendonly yes --appendfsync always
//! cargo run -p tollgate-redis --example crawlers [redis://127.0.0.1:6379/] [pages]
//! ```

use std::error::Error;
use std::time::Duration;

use tollgate_redis::{Gate, redis};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let client = redis::Client::open(arguments.next().unwrap_or("redis://127.0.0.1:6379/".into()))?;
    let pages: u32 = arguments.next().map_or(Ok(40), |number| number.parse())?;

    let gate = Gate::open(client, "crawlers").limit(3).lease(Duration::from_secs(10)).build()?;
    let pool = tollgate::Pool::builder().workers(8).build()?;
    let job = pool.job(8);
    let tasks: Vec<_> = (0..pages)
        .map(|page| {
            gate.spawn(&job, move |lease| {
                std::thread::sleep(Duration::from_millis(250)); // the visit
                if lease.is_lost() {
                    return Err(format!("page {page} ran without its lease"));
                }
                Ok(page)
            })
        })
        .collect();
    for task in tasks {
        let page = task.join()???;
        if page % 10 == 0 {
            print!("page {page} done. {}", gate.explain()?);
        }
    }
    Ok(())
}
