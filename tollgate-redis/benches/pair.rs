//! What does a lease cost, against a bare semaphore in Lua? And an idle gate?
//!
//! A pair is one request and one release. The bare semaphore has no renewal, no wake-up, no fencing number and no safety after a
//! lost answer: it is what a pair cannot be cheaper than. Both run in turn, in each round, against one server that the bench starts.
//!
//! ```text
//! cargo bench -p tollgate-redis             # the table
//! cargo bench -p tollgate-redis -- --test   # every workload once, as small as possible
//! ```

#[path = "../tests/common/server.rs"]
mod server;

use std::time::{Duration, Instant};

use fleet_testing::Usage;
use server::Server;
use tollgate_redis::{Gate, redis};

const ACQUIRE: &str = "
    local t = redis.call('TIME')
    local now = t[1] * 1000000 + t[2]
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
    if redis.call('ZCARD', KEYS[1]) < tonumber(ARGV[2]) then
        redis.call('ZADD', KEYS[1], now + 30000000, ARGV[1])
        return 1
    end
    return 0";

/// The bare semaphore: two scripts, and a pause of a millisecond while it is full.
struct Bare {
    connection: redis::Connection,
    acquire: String,
    release: String,
    limit: u32,
}

impl Bare {
    fn open(server: &Server, limit: u32) -> Self {
        let mut connection = server.client().get_connection().unwrap();
        let mut load = |text: &str| {
            redis::cmd("SCRIPT").arg("LOAD").arg(text).query::<String>(&mut connection).unwrap()
        };
        let (acquire, release) =
            (load(ACQUIRE), load("return redis.call('ZREM', KEYS[1], ARGV[1])"));
        Self { connection, acquire, release, limit }
    }

    fn acquire(&mut self, id: &str) {
        let mut call = redis::cmd("EVALSHA");
        call.arg(&self.acquire).arg(1).arg("bare").arg(id).arg(self.limit);
        while call.query::<u32>(&mut self.connection).unwrap() == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn release(&mut self, id: &str) {
        redis::cmd("EVALSHA")
            .arg(&self.release)
            .arg(1)
            .arg("bare")
            .arg(id)
            .exec(&mut self.connection)
            .unwrap();
    }
}

/// Runs `pairs` on each of `threads`. Returns the pairs in a second, and the sorted times of the requests.
fn measure(
    threads: usize,
    pairs: usize,
    thread: impl Fn(usize, &mut Vec<Duration>) + Sync,
) -> (f64, Vec<Duration>) {
    let start = Instant::now();
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|number| {
                let thread = &thread;
                scope.spawn(move || {
                    let mut times = Vec::with_capacity(pairs);
                    thread(number, &mut times);
                    times
                })
            })
            .collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let rate = times.len() as f64 / start.elapsed().as_secs_f64();
    times.sort_unstable();
    (rate, times)
}

fn gates(
    server: &Server,
    limit: u32,
    processes: usize,
    pairs: usize,
    hold: Duration,
) -> (f64, Vec<Duration>) {
    let open =
        || Gate::open(server.client(), format!("limit-{limit}")).limit(limit).build().unwrap();
    let gates: Vec<Gate> = (0..processes).map(|_| open()).collect();
    measure(processes, pairs, |number, times| {
        for _ in 0..pairs {
            let asked = Instant::now();
            let lease = gates[number].acquire().unwrap();
            times.push(asked.elapsed());
            pause(hold);
            drop(lease);
        }
    })
}

fn bare(
    server: &Server,
    limit: u32,
    processes: usize,
    pairs: usize,
    hold: Duration,
) -> (f64, Vec<Duration>) {
    measure(processes, pairs, |number, times| {
        let mut bare = Bare::open(server, limit);
        for pair in 0..pairs {
            let id = format!("{number}-{pair}");
            let asked = Instant::now();
            bare.acquire(&id);
            times.push(asked.elapsed());
            pause(hold);
            bare.release(&id);
        }
    })
}

fn pause(hold: Duration) {
    if !hold.is_zero() {
        std::thread::sleep(hold);
    }
}

/// Opens gates, lets them be idle, and tells what one costs: one that never had a lease, and one that holds a lease.
fn idle(test: bool) {
    let (count, time) = if test { (2, 1) } else { (100, 20) };
    println!("\nan idle gate, of {count} that are open for {time} s\n");
    println!("| | memory, client | memory, server | CPU a second, client | CPU a second, server |");
    println!("|---|---|---|---|---|");
    let server = Server::start();
    let both = || [std::process::id(), server.id()].map(Usage::of);
    for holds in [false, true] {
        let before = both();
        let open = |number| {
            let name = format!("idle-{holds}-{number}");
            Gate::open(server.client(), name).limit(4).build().unwrap()
        };
        let gates: Vec<Gate> = (0..count).map(open).collect();
        let leases: Vec<_> =
            gates.iter().filter(|_| holds).map(|gate| gate.acquire().unwrap()).collect();
        std::thread::sleep(Duration::from_secs(time));
        let settled = both();
        std::thread::sleep(Duration::from_secs(time));
        let end = both();
        let memory = |process: usize| {
            end[process].memory.saturating_sub(before[process].memory) / count / 1024
        };
        let cpu = |process: usize| {
            (end[process].time - settled[process].time).div_f64((count * time) as f64)
        };
        let what = if holds { "holds a lease" } else { "open" };
        let (client, server) = (cpu(0), cpu(1));
        println!(
            "| {what} | {} KiB | {} KiB | {client:.0?} | {server:.0?} |",
            memory(0),
            memory(1)
        );
        drop(leases);
    }
}

fn main() {
    let test = std::env::args().any(|argument| argument == "--test");
    let (rounds, scale) = if test { (1, 100) } else { (5, 1) };
    println!(
        "medians of {rounds} rounds; p50 and p99 are times of one request, until it is granted\n"
    );
    println!("| workload | | pairs a second | p50 | p99 |\n|---|---|---|---|---|");
    for sync in ["everysec", "always"] {
        let server = Server::with(&["--appendonly", "yes", "--appendfsync", sync]);
        // (name, limit, processes, pairs of each, time that a lease is held)
        for (name, limit, processes, pairs, hold) in [
            ("one process, always room", 64, 1, 4_000, 0),
            ("four processes, always room", 64, 4, 1_000, 0),
            ("four processes, limit 1, held for 2 ms", 1, 4, 100, 2_000),
        ] {
            let (pairs, hold) = ((pairs / scale).max(4), Duration::from_micros(hold));
            let mut figures = [Vec::new(), Vec::new()];
            for _round in 0..rounds {
                for (contender, run) in [gates, bare].into_iter().enumerate() {
                    let (rate, times) = run(&server, limit, processes, pairs, hold);
                    let at = |share: usize| times[(times.len() - 1) * share / 100];
                    figures[contender].push((rate, at(50), at(99)));
                }
            }
            for (contender, mut rounds) in ["gate", "bare Lua"].into_iter().zip(figures) {
                rounds.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
                let (rate, half, most) = rounds[rounds.len() / 2];
                println!(
                    "| {name}, fsync {sync} | {contender} | {rate:.0} | {half:.0?} | {most:.0?} |"
                );
            }
        }
    }
    idle(test);
}
