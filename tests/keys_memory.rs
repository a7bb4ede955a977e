//! *keys_are_free*: what an idle key takes; alone in its process, whose allocations are counted.

#[path = "common/allocated.rs"]
mod allocated;
mod common;

use std::thread::sleep;
use std::time::Duration;

use allocated::allocated;
use common::{LONG, pool, within};

/// The figure at its worst, just after maps have grown, counts. What the keys took is given back: a little that the pool and its
/// threads keep may stay.
#[test]
fn an_idle_key_of_16_bytes_takes_at_most_200_bytes_and_leaves_nothing() {
    const KEYS: usize = 50_000;
    within(LONG, || {
        let pool = pool(1);
        let jobs = pool.job_builder().keyed::<[u8; 16]>(|_, builder| builder.limit(1));
        // The handles keep the keys, and are not counted.
        let mut handles = Vec::with_capacity(KEYS);
        let (before, mut most) = (allocated(), 0);
        for number in 1..=KEYS {
            handles.push(jobs.job(&(number as u128).to_ne_bytes()));
            if number >= KEYS / 10 {
                most = most.max((allocated() - before) / number as isize);
            }
        }
        let last = (allocated() - before) / KEYS as isize;
        eprintln!("{most} bytes for a key at most, {last} at last");
        assert!(most <= 200, "{most} bytes for a key");

        handles.clear();
        assert_eq!(jobs.evict_idle(), KEYS);
        // A worker that finds nothing to do gives slabs back, and then parks.
        while allocated() - before > 4 << 20 {
            pool.job(1).spawn(|| ()).join().unwrap();
            while pool.stats().parked == 0 {
                sleep(Duration::from_millis(1));
            }
        }
    });
}
