//! What does a look-up by key add to a push?
//!
//! Both push the same tasks into the same jobs, in the same order: once by handles that are at hand, and once by keys. They run in turn,
//! round by round, in one process; figures are medians, and the median of the rounds' differences. `--quick` takes fewer rounds. Each
//! line says how many keys there are, and how much processor time one push takes the pushing thread, in nanoseconds; a worker runs the
//! tasks meanwhile.
//!
//! The last line pushes one task into each of a million keys, most of which are dropped again meanwhile.

use std::hint::black_box;
use std::time::Duration;

use benches::median;
use tollgate::{Job, Keyed, Pool};

const PUSHES: usize = 200_000;

/// The processor time of this thread so far. Other programs disturb it less than the time of day.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a time that lives here.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(result, 0, "the system has a clock for each thread");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn timed(parent: &Job, count: usize, push: impl Fn(usize)) -> Duration {
    let start = processor_time();
    (0..count).for_each(push);
    let time = processor_time() - start;
    parent.wait();
    time / count as u32
}

fn task(number: usize) -> impl FnOnce() + Send + 'static {
    move || _ = black_box(number)
}

/// Compares both ways into these many keys.
fn compare<K>(name: &str, pool: &Pool, count: usize, rounds: usize, key: impl Fn(usize) -> K)
where
    K: std::hash::Hash + Eq + Clone,
{
    let keyed: Keyed<K> = pool.job_builder().keyed(|_, builder| builder.limit(2));
    let keys: Vec<_> = (0..count).map(key).collect();
    let jobs: Vec<_> = keys.iter().map(|key| keyed.job(key)).collect();
    // A stride that visits all keys, and no two neighbours in turn.
    let at = |number: usize| number.wrapping_mul(7_919) % count;
    let by_handle = || timed(keyed.parent(), PUSHES, |i| jobs[at(i)].execute(task(i)));
    let by_key = || timed(keyed.parent(), PUSHES, |i| keyed.job(&keys[at(i)]).execute(task(i)));
    let _warm = (by_handle(), by_key());
    let (mut handles, mut looked, mut more) = (vec![], vec![], vec![]);
    for round in 0..rounds {
        let (a, b) = if round % 2 == 0 {
            let a = by_handle();
            (a, by_key())
        } else {
            let b = by_key();
            (by_handle(), b)
        };
        let (a, b) = (a.as_nanos() as i128, b.as_nanos() as i128);
        handles.push(a);
        looked.push(b);
        more.push(b - a);
    }
    let (handle, look) = (median(handles), median(looked));
    println!(
        "{name:12} {count:7} keys   by handle {handle:4} ns   by key {look:4} ns   more {:4} ns",
        median(more)
    );
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick" || arg == "--test");
    let rounds = if quick { 3 } else { 25 };
    let pool = Pool::builder().workers(1).build().expect("a pool");
    for count in [1, 10, 1_000, 100_000] {
        compare("16 bytes", &pool, count, rounds, |i| (i as u128).to_ne_bytes());
        compare("a host", &pool, count, rounds, |i| format!("host-{i:07}.example"));
    }
    let keyed = pool.job_builder().keyed::<[u8; 16]>(|_, builder| builder.limit(2));
    let count = if quick { 100_000 } else { 1_000_000 };
    let time = timed(keyed.parent(), count, |i| {
        keyed.job(&(i as u128).to_ne_bytes()).execute(task(i));
    });
    println!(
        "new keys     {count:7} keys   {:4} ns a push, {} keys left",
        time.as_nanos(),
        keyed.len()
    );
}
