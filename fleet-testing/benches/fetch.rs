//! What do a fetch and an acknowledgement of tollgate-nats cost, against bare async-nats? And an idle job?
//!
//! The bare client asks for as many tasks as it has room for, and acknowledges each with a confirmation, as `serve` does. It has no
//! renewal, no clock, no local pool and no safety after a lost lease: it is what a task cannot be cheaper than. Both run in turn, in
//! each round, against one server that the bench starts.
//!
//! ```text
//! cargo bench -p fleet-testing --bench fetch             # the tables
//! cargo bench -p fleet-testing --bench fetch -- --test   # every workload once, as small as possible
//! ```

#[path = "../../tollgate-nats/tests/common/server.rs"]
mod server;

use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fleet_testing::{Server, Usage};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tollgate_nats::async_nats::{self, Client};
use tollgate_nats::{Fleet, FleetJob};

/// A pull that is open when `serve` must end lasts for a sixth of it.
const LEASE: Duration = Duration::from_secs(3);

/// Opens a job, and pushes its tasks.
async fn filled(fleet: &Fleet, name: &str, limit: u32, tasks: u64) -> FleetJob {
    let job = fleet.job(name).limit(limit).lease(LEASE).open().await.unwrap();
    let pushes = stream::iter((0..tasks).map(|number| {
        let job = job.clone();
        async move { job.push(&number).await }
    }));
    pushes.buffer_unordered(64).try_collect::<Vec<()>>().await.unwrap();
    job
}

/// Runs all tasks by `serve`. Returns when each started.
async fn served(job: &FleetJob, at_once: usize, tasks: usize) -> Vec<Instant> {
    let pool = tollgate::Pool::builder().workers(1).build().unwrap();
    let starts = Arc::new(Mutex::new(Vec::with_capacity(tasks)));
    let (all, stop) = (Arc::clone(&starts), job.clone());
    let task = move |_: u64, _| {
        let mut starts = all.lock().unwrap();
        starts.push(Instant::now());
        if starts.len() == tasks {
            stop.stop();
        }
        ready(())
    };
    job.serve(&pool.job(at_once), task).await.unwrap();
    starts.lock().unwrap().clone()
}

/// Runs all tasks by a bare client. Returns when each started.
async fn bare(client: &Client, name: &str, at_once: usize, tasks: usize) -> Vec<Instant> {
    let pull = format!("$JS.API.CONSUMER.MSG.NEXT.tollgate-{name}.workers");
    let inbox = client.new_inbox();
    let mut messages = client.subscribe(inbox.clone()).await.unwrap();
    let (mut starts, mut asked, mut running) = (Vec::with_capacity(tasks), 0, JoinSet::new());
    while starts.len() < tasks || !running.is_empty() {
        let room = (at_once - asked - running.len()).min(tasks - starts.len() - asked);
        if room > 0 {
            let body = format!("{{\"batch\":{room},\"expires\":60000000000}}");
            client.publish_with_reply(pull.clone(), inbox.clone(), body.into()).await.unwrap();
            asked += room;
        }
        tokio::select! {
            Some(message) = messages.next() => {
                let _number: u64 = serde_json::from_slice(&message.payload).unwrap();
                starts.push(Instant::now());
                asked -= 1;
                let client = client.clone();
                running.spawn(async move {
                    client.request(message.reply.unwrap(), "+ACK".into()).await.unwrap();
                });
            }
            Some(ended) = running.join_next() => ended.unwrap(),
        }
    }
    starts
}

/// Returns the starts in a second, and the sorted times from one start to the next. Where tasks run one at a time, such a time
/// is that of an acknowledgement and a fetch.
fn figures(mut starts: Vec<Instant>) -> (f64, Vec<Duration>) {
    starts.sort_unstable();
    let mut times: Vec<Duration> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let rate = times.len() as f64 / (starts[starts.len() - 1] - starts[0]).as_secs_f64();
    times.sort_unstable();
    (rate, times)
}

fn fetches(runtime: &Runtime, server: &Server, test: bool) {
    let (rounds, scale) = if test { (1, 100) } else { (7, 1) };
    println!(
        "medians of {rounds} rounds; p50 and p99 are times of one fetch and acknowledgement\n"
    );
    println!("| workload | | starts a second | p50 | p99 |\n|---|---|---|---|---|");
    let address = server::address(server.port);
    let fleet = runtime.block_on(Fleet::connect(address.as_str())).unwrap();
    let client = runtime.block_on(async_nats::connect(address)).unwrap();
    for (workload, at_once, tasks) in [("one at a time", 1, 2_000), ("64 at once", 64, 10_000)] {
        let tasks: usize = tasks / scale;
        let mut all = [Vec::new(), Vec::new()];
        for round in 0..rounds {
            for (contender, figures_of) in all.iter_mut().enumerate() {
                let name = format!("bench-{at_once}-{round}-{contender}");
                let starts = runtime.block_on(async {
                    let job = filled(&fleet, &name, at_once, tasks as u64).await;
                    let starts = match contender {
                        0 => served(&job, at_once as usize, tasks).await,
                        _ => bare(&client, &name, at_once as usize, tasks).await,
                    };
                    job.remove().await.unwrap();
                    starts
                });
                let (rate, times) = figures(starts);
                let at = |share: usize| times[(times.len() - 1) * share / 100];
                figures_of.push((rate, at(50), at(99)));
            }
        }
        for (contender, mut rounds) in ["tollgate-nats", "bare async-nats"].into_iter().zip(all) {
            rounds.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
            let (rate, half, most) = rounds[rounds.len() / 2];
            let times = format!("{half:.1?} | {most:.1?}");
            let times = if at_once == 1 { times } else { " | ".to_owned() };
            println!("| {workload} | {contender} | {rate:.0} | {times} |");
        }
    }
}

/// Opens jobs, lets them be idle, and tells what one costs.
fn idle(runtime: &Runtime, server: &Server, test: bool) {
    let (jobs, time) = if test { (2, 1) } else { (100, 20) };
    println!("\nan idle job, of {jobs} that are open for {time} s\n");
    println!("| | memory, client | memory, server | CPU a second, client | CPU a second, server |");
    println!("|---|---|---|---|---|");
    let both = || [std::process::id(), server.id()].map(Usage::of);
    let fleet = runtime.block_on(Fleet::connect(server::address(server.port))).unwrap();
    let pool = tollgate::Pool::builder().workers(1).build().unwrap();
    for is_served in [false, true] {
        let before = both();
        let mut services = JoinSet::new();
        let mut open = Vec::new();
        for number in 0..jobs {
            let name = format!("idle-{is_served}-{number}");
            let job = runtime.block_on(fleet.job(name).limit(4).open()).unwrap();
            open.push(job.clone());
            if is_served {
                let local = pool.job(4);
                let service = async move { job.serve(&local, |_: u64, _| ready(())).await };
                services.spawn_on(service, runtime.handle());
            }
        }
        std::thread::sleep(Duration::from_secs(time));
        let settled = both();
        std::thread::sleep(Duration::from_secs(time));
        let end = both();
        let memory = |process: usize| {
            (end[process].memory.saturating_sub(before[process].memory) / jobs / 1024).to_string()
        };
        let cpu = |process: usize| {
            (end[process].time - settled[process].time).div_f64((jobs * time) as f64)
        };
        let what = if is_served { "served" } else { "open" };
        println!(
            "| {what} | {} KiB | {} KiB | {:.0?} | {:.0?} |",
            memory(0),
            memory(1),
            cpu(0),
            cpu(1)
        );
        for job in open {
            job.stop();
            runtime.block_on(job.remove()).unwrap();
        }
    }
}

fn main() {
    let test = std::env::args().any(|argument| argument == "--test");
    let (runtime, server) = (Runtime::new().unwrap(), server::start());
    fetches(&runtime, &server, test);
    idle(&runtime, &server, test);
}
