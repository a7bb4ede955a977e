//! Checks a model at its bound, says how far that went, and fails one that was cut short.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How many preemptions a model is checked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Every interleaving.
    None,
    /// Those with so many preemptions at most.
    Preemptions(usize),
}

/// Checks every interleaving of `model` within the bound, or within `LOOM_MAX_PREEMPTIONS` if that is set.
///
/// loom counts a model as passed that it has cut short by `LOOM_MAX_DURATION` or `LOOM_MAX_PERMUTATIONS`;
/// here such a model fails.
///
/// At the end of each iteration no waiter may be left in the parking lot, and no future in flight.
pub fn check(bound: Bound, model: impl Fn() + Send + Sync + 'static) {
    check_at_most(usize::MAX, bound, model);
}

/// The most preemptions of any model, for a quick run: `TOLLGATE_PREEMPTION_CAP`. Unlike
/// `LOOM_MAX_PREEMPTIONS` it raises no model above its own bound.
fn cap() -> Option<usize> {
    let cap = std::env::var("TOLLGATE_PREEMPTION_CAP").ok()?;
    Some(cap.parse().expect("TOLLGATE_PREEMPTION_CAP is a number"))
}

/// As `check`; a model of more than `most` iterations fails.
pub fn check_at_most(most: usize, bound: Bound, model: impl Fn() + Send + Sync + 'static) {
    check_within(Duration::MAX, most, bound, model);
}

/// As `check_at_most`; a model that takes longer fails, too.
pub fn check_within(
    longest: Duration,
    most: usize,
    bound: Bound,
    model: impl Fn() + Send + Sync + 'static,
) {
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 20_000;
    builder.checkpoint_interval = usize::MAX;
    if builder.preemption_bound.is_none() {
        let own = match bound {
            Bound::None => None,
            Bound::Preemptions(most) => Some(most),
        };
        builder.preemption_bound = own.into_iter().chain(cap()).min();
    }
    let most = builder.max_permutations.take().unwrap_or(most);
    let longest = builder.max_duration.take().unwrap_or(longest);
    let said = builder.preemption_bound.map_or("none".to_owned(), |bound| bound.to_string());

    let iterations = Arc::new(AtomicUsize::new(0));
    let count = iterations.clone();
    let start = Instant::now();
    builder.check(move || {
        let done = count.fetch_add(1, Ordering::Relaxed);
        let spent = start.elapsed();
        assert!(done < most && spent < longest, "CUT after {done} iterations in {spent:.1?}");
        model();
        tollgate::model::assert_none_waits();
    });
    let iterations = iterations.load(Ordering::Relaxed);
    eprintln!("bound {said}: {iterations} iterations in {:.1?}", start.elapsed());
}
