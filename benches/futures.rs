//! How do futures of a job compare with tokio's own, side by side?
//!
//! Contenders run in turn, round by round, in one process; figures are medians, and ratios of them. `--quick` takes
//! fewer rounds, `--json` prints one line of JSON at the end. What each line measures:
//!
//! - *empty, limit 2*: 200,000 futures that are ready at once, pushed by one thread into one job of limit 2 on 2
//!   workers; ns each. Rivals: tokio + `Semaphore`, smol's executor + `Semaphore`.
//! - *yield once, limit 100*: the same, pending once.
//! - *round trip*: from a future on a tokio runtime, spawn a closure, run it, await it; ns each. Rival: tokio's
//!   `spawn_blocking`.
//! - *sleeps*: 10,000 futures of one job that each sleep 10 ms on tokio's timer, limit 100, 2 workers; seconds. Rival:
//!   tokio + `Semaphore`. tokio's timer has a resolution of 1 ms and rounds up; the floor is what 100 loops of plain
//!   tokio tasks take for it.

use std::future::Future;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tollgate::Pool;

/// Opens when it was counted down; the last one wakes the thread that waits.
struct Latch {
    left: AtomicUsize,
    waiter: Thread,
}

impl Latch {
    fn new(count: usize) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(count), waiter: thread::current() })
    }

    fn count_down(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.waiter.unpark();
        }
    }

    fn wait(&self) {
        while self.left.load(Ordering::Acquire) > 0 {
            thread::park();
        }
    }
}

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
    let latch = Latch::new(count);
    let start = Instant::now();
    for _ in 0..count {
        let (latch, future) = (latch.clone(), make());
        drop(job.spawn_future(async move {
            future.await;
            latch.count_down();
        }));
    }
    latch.wait();
    start.elapsed()
}

fn on_tokio<F: Future<Output = ()> + Send + 'static>(
    runtime: &Runtime,
    limit: usize,
    count: usize,
    make: impl Fn() -> F,
) -> Duration {
    let permits = Arc::new(Semaphore::new(limit));
    let latch = Latch::new(count);
    let start = Instant::now();
    for _ in 0..count {
        let (latch, permits, future) = (latch.clone(), permits.clone(), make());
        drop(runtime.spawn(async move {
            let _permit = permits.acquire().await.expect("nobody closes the semaphore");
            future.await;
            latch.count_down();
        }));
    }
    latch.wait();
    start.elapsed()
}

fn on_smol<F: Future<Output = ()> + Send + 'static>(
    executor: &'static async_executor::StaticExecutor,
    limit: usize,
    count: usize,
    make: impl Fn() -> F,
) -> Duration {
    let permits = Arc::new(async_lock::Semaphore::new(limit));
    let latch = Latch::new(count);
    let start = Instant::now();
    for _ in 0..count {
        let (latch, permits, future) = (latch.clone(), permits.clone(), make());
        executor
            .spawn(async move {
                let _permit = permits.acquire().await;
                future.await;
                latch.count_down();
            })
            .detach();
    }
    latch.wait();
    start.elapsed()
}

/// 100 loops of plain tokio tasks: what its timer takes for 10,000 sleeps, 100 at a time.
fn sleeps_floor(runtime: &Runtime, loops: usize, each: usize) -> Duration {
    let latch = Latch::new(loops);
    let start = Instant::now();
    for _ in 0..loops {
        let latch = latch.clone();
        drop(runtime.spawn(async move {
            for _ in 0..each {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            latch.count_down();
        }));
    }
    latch.wait();
    start.elapsed()
}

fn round_trips(
    runtime: &Runtime,
    count: usize,
    trip: impl AsyncFn(u64) -> u64 + Send + 'static,
) -> Duration {
    let start = Instant::now();
    runtime.block_on(async move {
        for i in 0..count as u64 {
            assert_eq!(black_box(trip(i).await), i + 1);
        }
    });
    start.elapsed()
}

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
        mut contenders: Vec<(&'static str, Box<dyn FnMut() -> f64 + '_>)>,
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

    fn medians(&self) -> Vec<(&'static str, f64)> {
        let median = |rounds: &Vec<f64>| {
            let mut sorted = rounds.clone();
            sorted.sort_by(f64::total_cmp);
            sorted[sorted.len() / 2]
        };
        self.contenders.iter().map(|(name, rounds)| (*name, median(rounds))).collect()
    }

    fn print(&self) {
        let medians = self.medians();
        let ours = medians[0].1;
        println!("{} ({})", self.name, self.unit);
        for (name, median) in medians {
            println!("  {name:<24} {median:>10.3}   ours is {:.2} of it", ours / median);
        }
    }

    fn json(&self) -> String {
        let medians = self.medians();
        let figures: Vec<_> =
            medians.iter().map(|(name, median)| format!("\"{name}\":{median:.4}")).collect();
        format!("\"{} ({})\":{{{}}}", self.name, self.unit, figures.join(","))
    }
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick" || arg == "--test");
    let (rounds, count) = if quick { (3, 20_000) } else { (9, 200_000) };
    let each = |time: Duration, count: usize| time.as_nanos() as f64 / count as f64;
    let tokio = runtime(2);
    let pool = pool_inside(&tokio);
    let smol: &'static async_executor::StaticExecutor =
        Box::leak(Box::new(async_executor::StaticExecutor::new()));
    for _ in 0..2 {
        thread::spawn(|| futures_lite::future::block_on(smol.run(std::future::pending::<()>())));
    }
    let empty = Question::ask(
        "empty, limit 2",
        "ns a future",
        rounds,
        vec![
            ("ours", Box::new(|| each(on_pool(&pool, 2, count, || async {}), count))),
            (
                "tokio + Semaphore",
                Box::new(|| each(on_tokio(&tokio, 2, count, || async {}), count)),
            ),
            ("smol + Semaphore", Box::new(|| each(on_smol(smol, 2, count, || async {}), count))),
        ],
    );
    let yields = Question::ask(
        "yield once, limit 100",
        "ns a future",
        rounds,
        vec![
            ("ours", Box::new(|| each(on_pool(&pool, 100, count, yield_once), count))),
            (
                "tokio + Semaphore",
                Box::new(|| each(on_tokio(&tokio, 100, count, yield_once), count)),
            ),
            ("smol + Semaphore", Box::new(|| each(on_smol(smol, 100, count, yield_once), count))),
        ],
    );
    let job = pool.job(2);
    let trips = count / 10;
    let round_trip = Question::ask(
        "round trip from tokio",
        "ns each",
        rounds,
        vec![
            (
                "ours",
                Box::new(|| {
                    let job = job.clone();
                    let trip = async move |i| job.spawn(move || i + 1).await.expect("it ran");
                    each(round_trips(&tokio, trips, trip), trips)
                }),
            ),
            (
                "spawn_blocking",
                Box::new(|| {
                    let trip =
                        async |i| tokio::task::spawn_blocking(move || i + 1).await.expect("it ran");
                    each(round_trips(&tokio, trips, trip), trips)
                }),
            ),
        ],
    );
    let sleeps_of = if quick { 1_000 } else { 10_000 };
    let sleeps = Question::ask(
        "sleeps of 10 ms, limit 100",
        "seconds",
        if quick { 1 } else { 5 },
        vec![
            ("ours", Box::new(|| on_pool(&pool, 100, sleeps_of, sleep_now).as_secs_f64())),
            (
                "tokio + Semaphore",
                Box::new(|| on_tokio(&tokio, 100, sleeps_of, sleep_now).as_secs_f64()),
            ),
            (
                "100 loops on tokio",
                Box::new(|| sleeps_floor(&tokio, 100, sleeps_of / 100).as_secs_f64()),
            ),
        ],
    );
    if std::env::args().any(|arg| arg == "--json") {
        let all: Vec<_> = [empty, yields, round_trip, sleeps].iter().map(Question::json).collect();
        println!("{{{}}}", all.join(","));
    }
    drop(job);
    drop(pool);
}

async fn sleep_now() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}
