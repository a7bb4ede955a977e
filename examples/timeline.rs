//! Fetches pages of one host by two jobs under two limits, changes a limit meanwhile, and writes what happened: `timeline.trace` for
//! Perfetto, and `timeline.html` for any browser. Prints how to see one task in the page.
//!
//! `cargo run --release --features timeline --example timeline -- FOLDER`

use std::fs::File;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use tollgate::Pool;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let pool = Pool::builder().workers(4).build()?;
    pool.timeline().start();
    let host = pool.job_builder().name("host").limit(3).build();
    let search = host.job_builder().name("search").limit(2).build();
    let pages = host.job_builder().name("pages").build();
    for page in 0..12 {
        search.execute(move || sleep(Duration::from_millis(2 + page % 3)));
        pages.execute(move || sleep(Duration::from_millis(1 + page % 2)));
    }
    sleep(Duration::from_millis(8));
    search.set_limit(1); // gentler
    host.wait();
    pool.timeline().stop();
    pool.timeline().write(File::create(folder.join("timeline.trace"))?)?;
    pool.timeline().write_html(File::create(folder.join("timeline.html"))?)?;
    assert_eq!(pool.timeline().lost(), 0);
    println!("see timeline.html#task=20 and timeline.trace in {}", folder.display());
    Ok(())
}
