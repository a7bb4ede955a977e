//! A crawler over hosts that it discovers while it runs: one page of a host at a time, a delay between two pages of a host, 8 pages in
//! all at once, and a rest when a host says `Retry-After`. The web is simulated, and checks all of that.
//!
//! `cargo run --release --example crawler`

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tollgate::{BuildError, Keyed, Pool, Rate};

const HOSTS: usize = 30;
const PAGES: usize = 6;
const DELAY: Duration = Duration::from_millis(4);
const RETRY_AFTER: Duration = Duration::from_millis(30);

type Page = (String, usize);

struct Crawl {
    hosts: Keyed<String>,
    seen: Mutex<HashSet<Page>>,
    /// The web: how often each host was asked, and from when on it may be asked again.
    web: Mutex<HashMap<String, (usize, Instant)>>,
}

impl Crawl {
    /// Pushes a task that gets the page, and visits what the page links to.
    fn visit(self: &Arc<Self>, (host, page): Page) {
        let crawl = self.clone();
        self.hosts.job(&host).execute(move || match crawl.get(&host, page) {
            Ok(links) => {
                let is_new = |link: &Page| crawl.seen.lock().unwrap().insert(link.clone());
                links.into_iter().filter(is_new).for_each(|link| crawl.visit(link));
            }
            Err(retry_after) => {
                crawl.hosts.job(&host).hold_off(retry_after);
                crawl.visit((host.clone(), page));
            }
        });
    }

    /// Answers as the server of the host, which is tired at its third page.
    fn get(&self, host: &str, page: usize) -> Result<Vec<Page>, Duration> {
        let server = self.web.lock().unwrap().remove(host);
        let (mut asked, open_from) = server.unwrap_or_else(|| (0, Instant::now()));
        assert!(Instant::now() >= open_from, "{host} was not left alone");
        tollgate::blocking(|| thread::sleep(Duration::from_millis(1)));
        asked += 1;
        let rests = asked == 3;
        let server = (asked, Instant::now() + if rests { RETRY_AFTER } else { DELAY });
        assert!(self.web.lock().unwrap().insert(host.to_owned(), server).is_none(), "two at once");
        let number: usize = host[5..7].parse().expect("the host has a number");
        let next = format!("host-{:02}.example", (number + 1) % HOSTS);
        let links = vec![(host.to_owned(), (page + 1) % PAGES), (next, page)];
        if rests { Err(RETRY_AFTER) } else { Ok(links) }
    }
}

fn main() -> Result<(), BuildError> {
    let pool = Pool::builder().workers(4).build()?;
    let hosts = pool
        .job_builder()
        .limit(8)
        .keyed::<String>(|_, host| host.limit(1).rate(Rate::gap_after_end(DELAY)));
    let crawl = Arc::new(Crawl { hosts, seen: Mutex::default(), web: Mutex::default() });
    let first = ("host-00.example".to_owned(), 0);
    crawl.seen.lock().unwrap().insert(first.clone());
    crawl.visit(first);
    crawl.hosts.parent().wait();

    let (seen, web) = (crawl.seen.lock().unwrap().len(), crawl.web.lock().unwrap());
    let asked: usize = web.values().map(|(asked, _)| asked).sum();
    let most = crawl.hosts.parent().stats().most_running;
    println!("{seen} pages of {} hosts, {asked} requests, {most} at most at once", web.len());
    assert_eq!((seen, web.len(), asked), (HOSTS * PAGES, HOSTS, HOSTS * (PAGES + 1)));
    assert!(most <= 8);
    Ok(())
}
