//! A job that counts weights, and children of it of several weights. Each task and each permit stands on the scales while it has its
//! permits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use tollgate::{Job, Pool};

use crate::common::rng::Rng;
use crate::world::World;

const LIMIT: usize = 4;
/// The last one is above the limit.
const WEIGHTS: [usize; 5] = [1, 1, 2, 4, 7];

pub struct Weights {
    gate: Job,
    jobs: [Job; WEIGHTS.len()],
    scales: Arc<Scales>,
    pushed: AtomicUsize,
}

#[derive(Default)]
struct Scales {
    inside: AtomicUsize,
    ran: AtomicUsize,
}

impl Scales {
    fn stand(&self, weight: usize) {
        let inside = self.inside.fetch_add(weight, SeqCst) + weight;
        assert!(inside <= LIMIT || inside == weight, "{inside} of {LIMIT}");
        thread::yield_now();
        self.inside.fetch_sub(weight, SeqCst);
    }
}

impl Weights {
    pub fn new(pool: &Pool) -> Self {
        let gate = pool.job_builder().limit(LIMIT).weighted().build();
        let jobs = WEIGHTS.map(|weight| gate.weigh(weight));
        Self { gate, jobs, scales: Arc::default(), pushed: AtomicUsize::new(0) }
    }

    /// Pushes tasks of one weight, some of which wait inside, or acquires a permit.
    pub fn use_some(&self, world: &Arc<World>, rng: &mut Rng) {
        let which = rng.below(WEIGHTS.len());
        let (job, weight) = (&self.jobs[which], WEIGHTS[which]);
        if rng.one_in(4) {
            if let Ok(permit) = job.try_acquire() {
                self.scales.stand(weight);
                drop(permit);
            }
            _ = job.explain().to_string();
            return;
        }
        for _ in 0..1 + rng.below(6) {
            self.pushed.fetch_add(1, SeqCst);
            let (scales, waits) = (Arc::clone(&self.scales), rng.one_in(6));
            let (world, light) = (Arc::clone(world), self.jobs[0].clone());
            let task = move || {
                scales.stand(weight);
                if waits {
                    world.if_spares_are_left(|| _ = light.spawn(|| ()).join());
                    scales.stand(weight);
                }
                scales.ran.fetch_add(1, SeqCst);
            };
            if !rng.one_in(6) {
                job.execute(task);
            } else if job.spawn(task).cancel() {
                self.pushed.fetch_sub(1, SeqCst);
            }
        }
    }

    /// Waits until no task is left. Returns the number of tasks.
    pub fn check(&self, all_ran: bool) -> usize {
        self.gate.wait();
        let (ran, pushed) = (self.scales.ran.load(SeqCst), self.pushed.load(SeqCst));
        assert!(if all_ran { ran == pushed } else { ran <= pushed }, "{ran} of {pushed} ran");
        assert_eq!(self.gate.stats().running, 0);
        pushed
    }
}
