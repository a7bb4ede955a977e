//! Visits pages under a limit of 3 over all processes. Start it in two terminals.
//!
//! ```text
//! nats-server -js -sd /tmp/fleet
//! cargo run -p tollgate-nats --example crawl_queue [nats://127.0.0.1:4222] [pages]
//! ```

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tollgate_nats::Fleet;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or("nats://127.0.0.1:4222".into());
    let pages: usize = arguments.next().map_or(Ok(40), |number| number.parse())?;

    let fleet = Fleet::connect(address).await?;
    let job = fleet.job("crawlers").limit(3).lease(Duration::from_secs(10)).open().await?;
    for page in 0..pages {
        job.push(&page).await?;
    }

    let pool = tollgate::Pool::builder().workers(2).build()?;
    let (now, most, done) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let counts = Arc::new((now, most, done));
    let (seen, own) = (Arc::clone(&counts), job.clone());
    job.serve(&pool.job(8), move |page: usize, lease| {
        let (counts, job) = (Arc::clone(&counts), own.clone());
        async move {
            let (now, most, done) = &*counts;
            // Ordering: SeqCst; an example, and nothing is lost.
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(100)).await; // the visit
            now.fetch_sub(1, Ordering::SeqCst);
            if lease.is_lost() {
                return Err(format!("page {page} ran without its lease"));
            }
            if page.is_multiple_of(10)
                && let Ok(state) = job.explain().await
            {
                print!("page {page} done. {state}");
            }
            done.fetch_add(1, Ordering::SeqCst);
            if let Ok(state) = job.explain().await
                && state.queued == 0
            {
                job.stop(); // nothing is left for this process
            }
            Ok(())
        }
    })
    .await?;

    // Ordering: SeqCst; as above.
    let (most, done) = (seen.1.load(Ordering::SeqCst), seen.2.load(Ordering::SeqCst));
    println!("{done} pages here, {most} at once");
    assert!(most <= 3, "more than the limit");
    Ok(())
}
