//! What the threads outside of the pool do: each as it pleases.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use tollgate::Rate;

use crate::common::rng::Rng;
use crate::work::{self, Spawned, push};
use crate::world::{Slot, World, limit};
use crate::{groups, permits};

/// Tasks that may wait at once; pushers hold back beyond it.
const MOST_OUTSTANDING: usize = 50_000;

/// The life of the actor with this number.
pub fn act(world: &Arc<World>, number: usize, mut rng: Rng) {
    let mut handles: Vec<Spawned> = Vec::new();
    while !world.stop.load(SeqCst) {
        world.progress[number].fetch_add(1, SeqCst);
        let slot =
            if rng.one_in(20) { Arc::clone(rng.pick(&world.hosts)) } else { world.slot(&mut rng) };
        let rng = &mut rng;
        match rng.below(1000) {
            0..480 => {
                if world.outstanding.load(SeqCst) > MOST_OUTSTANDING {
                    slot.let_go();
                    thread::yield_now();
                    continue;
                }
                for _ in 0..1 + rng.below(30) {
                    handles.extend(push(world, &slot, rng));
                }
                handles.truncate(100);
            }
            480..560 => slot.set_limit(limit(rng)),
            560..590 => slot.job.pause(),
            590..600 => slot.job.hold_off(Duration::from_micros(rng.next() % 2_000)),
            600..604 => slot.job.set_rate(Rate::per_second(20_000).burst(50)),
            604..605 => slot.job.set_rate(Rate::gap_after_end(Duration::from_micros(50))),
            605..615 => slot.job.set_rates(&[]),
            615..660 => slot.let_go(),
            660..760 => slot.sharpen(),
            760..800 => _ = slot.job.wait_timeout(Duration::from_micros(rng.next() % 3_000)),
            800..820 => {
                _ = (
                    slot.job.stats(),
                    slot.job.is_closed(),
                    slot.job.is_paused(),
                    slot.job.is_idle(),
                    format!("{:?} {}", slot.job, slot.job.explain()),
                );
                handles.iter().take(3).for_each(Spawned::explain);
            }
            820..830 => {
                _ = slot.job.settled().wait_timeout(Duration::from_micros(rng.next() % 500))
            }
            830 => world.list_jobs(),
            831..833 => poll_once(&slot),
            833..836 => permits::acquire(world, &slot, rng),
            836..840 => groups::set(&slot, rng),
            840..846 => groups::scope(&slot, rng),
            846..852 => groups::for_each(&slot, rng),
            852..856 => groups::map(&slot, rng),
            856..858 => groups::fallible(&slot, rng),
            #[cfg(feature = "futures")]
            858..864 => work::futures::map_async(&slot, rng),
            864..870 => work::push_and_cancel(world, &slot, rng),
            870..872 => groups::nothing(&slot, rng),
            872 => groups::circle(&slot, rng),
            873 => groups::begun(&slot, rng),
            #[cfg(feature = "timeline")]
            965..967 => world.use_timeline(rng),
            967..972 => world.slot(rng).clear(),
            873..875 => (0..20).for_each(|_| work::retry(world, &slot, rng)),
            967..975 => world.weights.use_some(world, rng),
            945..965 => world.keys.use_some(rng),
            875..895 => replace_after(world, rng, |slot| {
                slot.job.close();
                slot.let_go();
            }),
            895..915 => replace_after(world, rng, Slot::cancel),
            915..945 => {
                if let Some(old) = world.replace(rng) {
                    world.drop_handle_of(old);
                }
            }
            _ => {
                for _ in 0..handles.len().min(10) {
                    let spawned = handles.swap_remove(rng.below(handles.len()));
                    match rng.below(3) {
                        0 => handles.extend(spawned.cancel()),
                        1 => drop(spawned),
                        _ => handles
                            .extend(spawned.join_for(Duration::from_micros(rng.next() % 500))),
                    }
                }
            }
        }
    }
}

/// Polls what waits for the job, as a future, and gives it up.
fn poll_once(slot: &Slot) {
    use std::pin::pin;
    use std::task::{Context, Waker};

    let mut cx = Context::from_waker(Waker::noop());
    _ = pin!(slot.job.idle()).poll(&mut cx);
    _ = pin!(slot.job.settled()).poll(&mut cx);
    _ = pin!(slot.job.reserve()).poll(&mut cx);
}

fn replace_after(world: &World, rng: &mut Rng, end: impl FnOnce(&Slot)) {
    if let Some(old) = world.replace(rng) {
        end(&old);
        world.closed.lock().unwrap().push(old);
    }
}
