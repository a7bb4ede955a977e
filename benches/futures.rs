//! How do futures of a job compare with tokio's own, side by side?
//!
//! Contenders run in turn, round by round, in one process; figures are medians and best rounds, and ratios of them.
//! `--quick` takes fewer rounds, `--json` prints one line of JSON at the end (median and best), any other argument picks
//! the questions that contain it. What each line measures:
//!
//! - *empty, limit 2*: 200,000 futures that are ready at once, pushed by one thread into one job of limit 2 on 2
//!   workers; ns each. Rivals: tokio + `Semaphore`, smol's executor + `Semaphore`.
//! - *yield once, limit 100*: the same, pending once.
//! - *round trip*: from a future on a tokio runtime, spawn a closure, run it, await it; ns each. Rival: tokio's
//!   `spawn_blocking`.
//! - *sleeps*: 10,000 futures of one job that each sleep 10 ms on tokio's timer, limit 100, 2 workers; seconds. Rival:
//!   tokio + `Semaphore`. tokio's timer has a resolution of 1 ms and rounds up; the floor is what 100 loops of plain
//!   tokio tasks take for it.

#[path = "rivals/measure/count.rs"]
#[allow(dead_code, reason = "shared with the rivals' bench, which uses all of it")]
mod count;

use std::future::Future;
use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tollgate::Pool;

use count::{Tally, done};

/// Pending once, after having woken itself.
async fn yield_once() {
    let mut woken = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut woken, true) {
            return std::task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

fn runtime(workers: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(workers).enable_all().build().expect("a runtime")
}

fn pool_inside(runtime: &Runtime) -> Pool {
    let handle = runtime.handle().clone();
    Pool::builder()
        .workers(2)
        .on_worker_start(move |_| std::mem::forget(handle.enter()))
        .build()
        .expect("a pool")
}

/// Runs `count` futures under `limit`, each counting the latch down: how long until the last has ended.
fn on_pool<F: Future<Output = ()> + Send + 'static>(
    pool: &Pool,
    limit: usize,
    count: usize,
    make: impl Fn() -> F,
) -> Duration {
    let job = pool.job(limit);
    let tally = Tally::now();
    let start = Instant::now();
    for i in 0..count as u64 {
        let future = make();
        drop(job.spawn_future(async move {
            future.await;
            done(i);
        }));
    }
    tally.wait_for(count as u64);
    start.elapsed()
}

fn on_tokio<F: Future<Output = ()> + Send + 'static>(
    runtime: &Runtime,
    limit: usize,
    count: usize,
    make: impl Fn() -> F,
) -> Duration {
    let permits = Arc::new(Semaphore::new(limit));
    let tally = Tally::now();
    let start = Instant::now();
    for i in 0..count as u64 {
        let (permits, future) = (permits.clone(), make());
        drop(runtime.spawn(async move {
            let _permit = permits.acquire().await.expect("nobody closes the semaphore");
            future.await;
            done(i);
        }));
    }
    tally.wait_for(count as u64);
    start.elapsed()
}

fn on_smol<F: Future<Output = ()> + Send + 'static>(
    executor: &'static async_executor::StaticExecutor,
    limit: usize,
    count: usize,
    make: impl Fn() -> F,
) -> Duration {
    let permits = Arc::new(async_lock::Semaphore::new(limit));
    let tally = Tally::now();
    let start = Instant::now();
    for i in 0..count as u64 {
        let (permits, future) = (permits.clone(), make());
        executor
            .spawn(async move {
                let _permit = permits.acquire().await;
                future.await;
                done(i);
            })
            .detach();
    }
    tally.wait_for(count as u64);
    start.elapsed()
}

/// 100 loops of plain tokio tasks: what its timer takes for 10,000 sleeps, 100 at a time.
fn sleeps_floor(runtime: &Runtime, loops: usize, each: usize) -> Duration {
    let tally = Tally::now();
    let start = Instant::now();
    for i in 0..loops as u64 {
        drop(runtime.spawn(async move {
            for _ in 0..each {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            done(i);
        }));
    }
    tally.wait_for(loops as u64);
    start.elapsed()
}

/// So many round trips, one after the other, from a task on the runtime's workers.
fn round_trips<F>(
    runtime: &Runtime,
    count: usize,
    trip: impl Fn(u64) -> F + Send + 'static,
) -> Duration
where
    F: Future<Output = u64> + Send + 'static,
{
    let start = Instant::now();
    let trips = runtime.spawn(async move {
        for i in 0..count as u64 {
            assert_eq!(black_box(trip(i).await), i + 1);
        }
    });
    runtime.block_on(trips).expect("no trip fails");
    start.elapsed()
}

/// Who answers a question, and how it is asked.
type Contenders<'a> = Vec<(&'static str, Box<dyn FnMut() -> f64 + 'a>)>;

/// The figures of one question: a name and the rounds of each contender, ours first.
struct Question {
    name: &'static str,
    unit: &'static str,
    contenders: Vec<(&'static str, Vec<f64>)>,
}

impl Question {
    fn ask(
        name: &'static str,
        unit: &'static str,
        rounds: usize,
        mut contenders: Contenders<'_>,
    ) -> Self {
        let mut figures: Vec<_> = contenders.iter().map(|(name, _)| (*name, Vec::new())).collect();
        for _ in 0..rounds {
            for ((_, run), (_, rounds)) in contenders.iter_mut().zip(&mut figures) {
                rounds.push(run());
            }
        }
        let question = Self { name, unit, contenders: figures };
        question.print();
        question
    }

    /// Each contender's median and best round.
    fn figures(&self) -> Vec<(&'static str, f64, f64)> {
        let figures = |rounds: &Vec<f64>| {
            let mut sorted = rounds.clone();
            sorted.sort_by(f64::total_cmp);
            (sorted[sorted.len() / 2], sorted[0])
        };
        let all = self.contenders.iter();
        all.map(|(name, rounds)| (*name, figures(rounds).0, figures(rounds).1)).collect()
    }

    fn print(&self) {
        let figures = self.figures();
        let (_, median_of_ours, best_of_ours) = figures[0];
        println!(
            "{:<28}{:>12}{:>12}{:>26}",
            self.name, "median", "best", "ours is, by median, best"
        );
        for (name, median, best) in figures {
            let (by_median, by_best) = (median_of_ours / median, best_of_ours / best);
            println!("  {name:<26}{median:>12.3}{best:>12.3}{by_median:>18.2}{by_best:>8.2}");
        }
    }

    fn json(&self) -> String {
        let figures: Vec<_> = self
            .figures()
            .iter()
            .map(|(name, median, best)| format!("\"{name}\":[{median:.4},{best:.4}]"))
            .collect();
        format!("\"{} ({})\":{{{}}}", self.name, self.unit, figures.join(","))
    }
}

/// Everybody's workers, two each.
struct Stage {
    tokio: Runtime,
    pool: Pool,
    smol: &'static async_executor::StaticExecutor,
    rounds: usize,
    count: usize,
}

impl Stage {
    fn new(quick: bool) -> Self {
        let smol: &'static async_executor::StaticExecutor =
            Box::leak(Box::new(async_executor::StaticExecutor::new()));
        for _ in 0..2 {
            let forever = std::future::pending::<()>();
            thread::spawn(|| futures_lite::future::block_on(smol.run(forever)));
        }
        let (rounds, count) = if quick { (3, 20_000) } else { (9, 200_000) };
        let tokio = runtime(2);
        let pool = pool_inside(&tokio);
        Self { tokio, pool, smol, rounds, count }
    }

    /// The same futures on each.
    fn side_by_side<F: Future<Output = ()> + Send + 'static>(
        &self,
        name: &'static str,
        limit: usize,
        make: impl Fn() -> F + Copy,
    ) -> Question {
        let each = |time: Duration| time.as_nanos() as f64 / self.count as f64;
        let ours = || each(on_pool(&self.pool, limit, self.count, make));
        let tokio = || each(on_tokio(&self.tokio, limit, self.count, make));
        let smol = || each(on_smol(self.smol, limit, self.count, make));
        Question::ask(
            name,
            "ns a future",
            self.rounds,
            vec![
                ("ours", Box::new(ours)),
                ("tokio + Semaphore", Box::new(tokio)),
                ("smol + Semaphore", Box::new(smol)),
            ],
        )
    }

    fn round_trip(&self, name: &'static str) -> Question {
        let job = self.pool.job(2);
        let trips = self.count / 10;
        let each = |time: Duration| time.as_nanos() as f64 / trips as f64;
        let ours = || {
            let job = job.clone();
            let trip = move |i| {
                let task = job.spawn(move || i + 1);
                async { task.await.expect("it ran") }
            };
            each(round_trips(&self.tokio, trips, trip))
        };
        let theirs = || {
            let trip = |i| {
                let task = tokio::task::spawn_blocking(move || i + 1);
                async { task.await.expect("it ran") }
            };
            each(round_trips(&self.tokio, trips, trip))
        };
        let contenders: Contenders<'_> =
            vec![("ours", Box::new(ours)), ("spawn_blocking", Box::new(theirs))];
        Question::ask(name, "ns each", self.rounds, contenders)
    }

    fn sleeps(&self, name: &'static str) -> Question {
        let count = self.count / 20;
        let ours = || on_pool(&self.pool, 100, count, sleep).as_secs_f64();
        let theirs = || on_tokio(&self.tokio, 100, count, sleep).as_secs_f64();
        let floor = || sleeps_floor(&self.tokio, 100, count / 100).as_secs_f64();
        Question::ask(
            name,
            "seconds",
            self.rounds.min(5),
            vec![
                ("ours", Box::new(ours)),
                ("tokio + Semaphore", Box::new(theirs)),
                ("100 loops on tokio", Box::new(floor)),
            ],
        )
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let has = |option: &str| args.iter().any(|arg| arg == option);
    let picks: Vec<&String> = args.iter().filter(|arg| !arg.starts_with("--")).collect();
    let stage = Stage::new(has("--quick") || has("--test"));
    type Ask = fn(&Stage, &'static str) -> Question;
    let questions: [(&'static str, Ask); 4] = [
        ("empty, limit 2", |stage, name| stage.side_by_side(name, 2, || async {})),
        ("yield once, limit 100", |stage, name| stage.side_by_side(name, 100, yield_once)),
        ("round trip from tokio", Stage::round_trip),
        ("sleeps of 10 ms, limit 100", Stage::sleeps),
    ];
    let mut all = Vec::new();
    for (name, ask) in questions {
        if picks.is_empty() || picks.iter().any(|pick| name.contains(pick.as_str())) {
            all.push(ask(&stage, name).json());
        }
    }
    if has("--json") {
        println!("{{{}}}", all.join(","));
    }
    // Before the runtime, whose timers its futures use.
    drop(stage.pool);
}

async fn sleep() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}
