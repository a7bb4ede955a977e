//! What does a parent cost? Jobs under one or two levels of parents that bind, and in the column `flat` our own pool with the
//! same jobs at the top.
//!
//! All jobs are made first, and the tasks are pushed round robin, so that all siblings compete from the first task to the
//! last. Making the jobs and dropping their handles is part of the time.
//!
//! The sleepers are judged by the utilisation of the top job's limit: the time until all tasks are complete over the sum of
//! the sleeps divided by that limit.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Plot, Sample, Scale, Target, Workload, throughput};
use crate::contender::{Contender, Which, with_contender};
use crate::measure::allocator::Allocator;
use crate::measure::clock;
use crate::measure::clock::Stopwatch;
use crate::measure::count::{self, Tally};

/// The contenders that nest limits, and ours without the parents.
const NEST: &[Which] = &[Which::Ours, Which::Flat, Which::RayonGate, Which::Tokio];
const NEST_FOR_SLEEPERS: &[Which] = &[Which::Ours, Which::RayonGate, Which::Tokio];

/// How long the tasks of the rows named `…_1us` take.
const WORK: Duration = Duration::from_micros(1);
const SLEEP: Duration = Duration::from_millis(1);
/// One of the captures, so that they differ from job and index alone.
const SALT: u64 = 0x5EED;

/// Two or three levels of jobs; only those of the innermost level have tasks.
#[derive(Clone, Copy)]
struct Tree {
    workers: usize,
    /// The limit of the one job at the top.
    top: usize,
    /// How many jobs stand between the top and the children, and their limit.
    hosts: Option<(u64, usize)>,
    /// How many children there are in all, and their limit.
    children: (u64, usize),
    /// Tasks of all children together.
    tasks: u64,
}

const ONE: Tree = Tree { workers: 2, top: 2, hosts: None, children: (1, 2), tasks: 1_000_000 };
const TEN: Tree = Tree { workers: 2, top: 2, hosts: None, children: (10, 1), tasks: 500_000 };
const THOUSAND: Tree =
    Tree { workers: 2, top: 8, hosts: None, children: (1_000, 1), tasks: 500_000 };
const HOSTS: Tree =
    Tree { workers: 2, top: 64, hosts: Some((10, 6)), children: (100, 2), tasks: 500_000 };
/// 200 permits of children and 80 of hosts for 64 at the top, which are as many as there are workers.
const SLEEPERS: Tree =
    Tree { workers: 64, top: 64, hosts: Some((10, 8)), children: (100, 2), tasks: 64 * 300 };

/// The jobs of a tree.
struct Jobs<C: Contender> {
    children: Vec<C::Job>,
    _above: Vec<C::Job>,
}

impl Tree {
    fn make<C: Contender>(self, pool: &C) -> Jobs<C> {
        let mut above = vec![pool.job(self.top)];
        let (count, limit) = self.hosts.unwrap_or((0, 0));
        (0..count).for_each(|_| above.push(pool.child(&above[0], limit)));
        let (count, limit) = self.children;
        let child =
            |number| pool.child(&above[self.host_of(number).map_or(0, |host| host + 1)], limit);
        Jobs { children: (0..count).map(child).collect(), _above: above }
    }

    /// The host that a child stands under.
    fn host_of(self, child: u64) -> Option<usize> {
        self.hosts.map(|(hosts, _)| (child % hosts) as usize)
    }

    /// Pushes `tasks` tasks round robin, each made from the number of its child and its own.
    fn push<C: Contender, F: FnOnce() + Send + 'static>(
        jobs: &Jobs<C>,
        tasks: u64,
        task: impl Fn(u64, u64) -> F,
    ) {
        let mut index = 0;
        while index < tasks {
            for (job, child) in jobs.children.iter().zip(0..) {
                C::push(job, task(child, index));
                index += 1;
            }
        }
    }

    /// As many tasks for each child.
    fn at(self, scale: Scale) -> u64 {
        scale.of(self.tasks).next_multiple_of(self.children.0)
    }
}

fn run<C: Contender>(tree: Tree, work: Duration, scale: Scale) -> Sample {
    let tasks = tree.at(scale);
    let pool = throughput::warm_pool::<C>(tree.workers, scale);
    let before = Tally::now();
    let stopwatch = Stopwatch::start();
    let jobs = tree.make(&pool);
    if work.is_zero() {
        Tree::push(&jobs, tasks, |child, index| count::task(child, index, SALT));
    } else {
        Tree::push(&jobs, tasks, |child, index| {
            move || {
                clock::spin(WORK);
                count::done(child ^ index ^ SALT);
            }
        });
    }
    drop(jobs);
    before.wait_for(tasks);
    let span = stopwatch.stop();
    let captures = |index: u64| (index % tree.children.0) ^ index ^ SALT;
    before.check(tasks, (0..tasks).map(captures).fold(0, u64::wrapping_add));
    Sample::each(span, tasks)
}

fn run_sleepers<C: Contender>(tree: Tree, scale: Scale) -> Sample {
    let tasks = tree.at(scale);
    let pool = throughput::warm_pool::<C>(tree.workers, scale);
    let asleep: &'static AtomicU64 = Box::leak(Box::default());
    let before = Tally::now();
    let start = Instant::now();
    let jobs = tree.make(&pool);
    Tree::push(&jobs, tasks, |_, _| {
        move || {
            let start = clock::now();
            thread::sleep(SLEEP);
            // Ordering: Relaxed, `count::done` publishes it.
            asleep.fetch_add(clock::now() - start, Ordering::Relaxed);
            count::done(1);
        }
    });
    drop(jobs);
    before.wait_for(tasks);
    let elapsed = start.elapsed();
    before.check(tasks, tasks);
    let ideal = asleep.load(Ordering::Relaxed) as f64 / tree.top as f64;
    let figure = elapsed.as_nanos() as f64 / ideal;
    Sample { elapsed, tasks, ..Sample::number(figure, String::new()) }
}

/// Checks that all tasks run, and that no job of the tree has more of them running than its limit; of the contender
/// without parents only the children.
fn check<C: Contender>(tree: Tree, nests: bool) {
    const TASKS: u64 = 3_000;
    let (hosts, host_limit) = tree.hosts.unwrap_or((0, 0));
    let gauges = |count: u64| -> Vec<&'static Gauge> {
        (0..count).map(|_| &*Box::leak(Box::default())).collect()
    };
    let (top, at_hosts, at_children) = (gauges(1), gauges(hosts), gauges(tree.children.0));
    let pool = C::start(tree.workers);
    let tasks = TASKS.next_multiple_of(tree.children.0);
    let before = Tally::now();
    let jobs = tree.make(&pool);
    Tree::push(&jobs, tasks, |child, _| {
        let host = tree.host_of(child).map(|host| at_hosts[host]);
        let gauges = [Some(top[0]), host, Some(at_children[child as usize])];
        move || {
            gauges.iter().flatten().for_each(|gauge| gauge.enter());
            thread::yield_now();
            gauges.iter().flatten().for_each(|gauge| gauge.leave());
            count::done(1);
        }
    });
    drop(jobs);
    before.wait_for(tasks);
    before.check(tasks, tasks);
    at_children.iter().for_each(|gauge| gauge.check(tree.children.1));
    if nests {
        at_hosts.iter().for_each(|gauge| gauge.check(host_limit));
        top[0].check(tree.top);
    }
}

#[derive(Default)]
struct Gauge {
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Gauge {
    fn enter(&self) {
        // Ordering: AcqRel orders the tasks of a job among themselves; `Tally` orders them before the check.
        let running = self.running.fetch_add(1, Ordering::AcqRel) + 1;
        self.most.fetch_max(running, Ordering::AcqRel);
    }

    fn leave(&self) {
        self.running.fetch_sub(1, Ordering::AcqRel);
    }

    fn check(&self, limit: usize) {
        let most = self.most.load(Ordering::Acquire);
        assert!(most <= limit, "{most} tasks of a job with limit {limit} ran at once");
    }
}

/// A workload of one tree and tasks that take so long.
macro_rules! workload {
    ($tree:expr, $work:expr, $($field:ident: $value:expr),* $(,)?) => {
        Workload {
            question: "what does a parent cost?",
            unit: "ns a task",
            contenders: NEST,
            allocator: Allocator::System,
            most_rounds: 5,
            run: |which, scale| with_contender!(which, C => run::<C>($tree, $work, scale)),
            check_limits: |which| {
                with_contender!(which, C => check::<C>($tree, which != Which::Flat));
            },
            $($field: $value,)*
        }
    };
}

/// What a task may cost, as a share of the same jobs' without parents and of tokio's.
const CHEAP: &[Target] = &[Target::Of(Which::Flat, 2.5), Target::Of(Which::Tokio, 0.25)];
/// Of the work itself no contender is spared anything.
const WORKING: &[Target] = &[Target::Of(Which::Flat, 1.1), Target::Of(Which::Tokio, 1.0)];

pub(super) const CHILDREN_1: Workload = workload!(ONE, Duration::ZERO,
    name: "children_1",
    shape: "1 child of 2 under 2, 1M tasks, 2 workers",
    targets: CHEAP,
    plot: Plot::Throughput,
);

pub(super) const CHILDREN_10: Workload = workload!(TEN, Duration::ZERO,
    name: "children_10",
    shape: "10 children of 1 under 2, 500k tasks, 2 workers",
    targets: CHEAP,
    plot: Plot::Throughput,
);

pub(super) const CHILDREN_1000: Workload = workload!(THOUSAND, Duration::ZERO,
    name: "children_1000",
    shape: "1,000 children of 1 under 8, 500k tasks, 2 workers",
    targets: CHEAP,
    plot: Plot::Throughput,
);

pub(super) const CHILDREN_HOSTS: Workload = workload!(HOSTS, Duration::ZERO,
    name: "children_hosts",
    shape: "100 children of 2 under 10 hosts of 6 under 64, 500k tasks, 2 workers",
    targets: CHEAP,
    plot: Plot::Throughput,
);

pub(super) const CHILDREN_1_1US: Workload = workload!(ONE, WORK,
    name: "children_1_1us",
    shape: "children_1, tasks of 1 µs",
    targets: WORKING,
    plot: Plot::None,
);

pub(super) const CHILDREN_10_1US: Workload = workload!(TEN, WORK,
    name: "children_10_1us",
    shape: "children_10, tasks of 1 µs",
    targets: WORKING,
    plot: Plot::None,
);

pub(super) const CHILDREN_1000_1US: Workload = workload!(THOUSAND, WORK,
    name: "children_1000_1us",
    shape: "children_1000, tasks of 1 µs",
    targets: WORKING,
    plot: Plot::None,
);

pub(super) const CHILDREN_HOSTS_1US: Workload = workload!(HOSTS, WORK,
    name: "children_hosts_1us",
    shape: "children_hosts, tasks of 1 µs",
    targets: WORKING,
    plot: Plot::None,
);

pub(super) const CHILDREN_SLEEPERS: Workload = Workload {
    name: "children_sleepers",
    question: "do as many run as the parents' limits allow?",
    shape: "100 children of 2 under 10 hosts of 8 under 64, 1 ms sleeps, 64 workers",
    unit: "of the ideal",
    contenders: NEST_FOR_SLEEPERS,
    targets: &[Target::AtMost(1.02)],
    allocator: Allocator::System,
    plot: Plot::None,
    most_rounds: 5,
    run: |which, scale| with_contender!(which, C => run_sleepers::<C>(SLEEPERS, scale)),
    check_limits: |which| with_contender!(which, C => check::<C>(SLEEPERS, true)),
};
