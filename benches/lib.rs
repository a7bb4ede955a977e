//! What several benches share: both contenders of a line in turn, and medians.

use std::time::Duration;

/// Returns the median.
///
/// # Panics
/// If there is no value, or one that cannot be compared.
pub fn median<T: PartialOrd + Copy>(mut values: Vec<T>) -> T {
    values.sort_by(|one, other| one.partial_cmp(other).expect("it is a number"));
    values[values.len() / 2]
}

/// Runs ours and the other contender in turn, each first in every other round, after one round that does not count. Prints a line.
pub fn compare(
    name: &str,
    other: &str,
    rounds: usize,
    mut ours: impl FnMut() -> Duration,
    mut theirs: impl FnMut() -> Duration,
) {
    let (_, _) = (ours(), theirs());
    let (mut own, mut others, mut ratios) = (vec![], vec![], vec![]);
    for round in 0..rounds {
        let (a, b) = if round % 2 == 0 {
            let a = ours();
            (a, theirs())
        } else {
            let b = theirs();
            (ours(), b)
        };
        own.push(a);
        others.push(b);
        ratios.push(a.as_secs_f64() / b.as_secs_f64());
    }
    let (own, others) = (median(own).as_nanos(), median(others).as_nanos());
    println!("{name:36} ours {own:8} ns   {other} {others:8} ns   ratio {:.2}", median(ratios));
}
