//! What the results of a job or of all jobs must be.

use std::fmt;

use super::values::{self, quoted};

/// A bound of one measure.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// What is measured.
    pub measure: Measure,
    /// Whether the measure must be below the bound, or above it.
    pub below: bool,
    /// The bound: milliseconds, a share, a count, or requests a second.
    pub bound: f64,
    /// The key and the bound, as the plan spells them.
    text: String,
}

/// A measure of the results.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    /// The latency that this share of the requests that passed stayed within.
    Quantile(f64),
    /// The longest latency of the requests that passed.
    Max,
    /// The mean latency of the requests that passed.
    Mean,
    /// The share of the requests that failed.
    FailedShare,
    /// How many requests failed.
    Failed,
    /// Requests a second.
    Rate,
}

impl Threshold {
    /// Returns true if a value of the measure is within the bound.
    pub fn holds(&self, found: f64) -> bool {
        if self.below { found < self.bound } else { found > self.bound }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Measure {
    /// A value of the measure, with its unit.
    pub fn spelled(self, value: f64) -> String {
        match self {
            Measure::Quantile(_) | Measure::Max | Measure::Mean => format!("{value:.1}ms"),
            Measure::FailedShare => format!("{:.2}%", value * 100.0),
            Measure::Failed => format!("{value}"),
            Measure::Rate => format!("{value:.1}/s"),
        }
    }
}

/// A key of the table `thresholds`, without what its bound is.
pub(super) fn measure(key: &str) -> Result<Measure, String> {
    Ok(match key {
        "p50" => Measure::Quantile(0.5),
        "p90" => Measure::Quantile(0.9),
        "p95" => Measure::Quantile(0.95),
        "p99" => Measure::Quantile(0.99),
        "p999" => Measure::Quantile(0.999),
        "max" => Measure::Max,
        "mean" => Measure::Mean,
        "failed" => Measure::Failed,
        "rate" => Measure::Rate,
        _ => {
            let known = "p50, p90, p95, p99, p999, max, mean, failed or rate";
            return Err(format!("there is no measure {}: use {known}", quoted(key)));
        }
    })
}

/// A bound such as "< 200ms", "< 1%", "< 3" or "> 50/s".
pub(super) fn threshold(key: &str, measure: Measure, text: &str) -> Result<Threshold, String> {
    let example = match measure {
        Measure::Failed | Measure::FailedShare => "\"< 1%\" or \"< 3\"",
        Measure::Rate => "\"> 50/s\"",
        _ => "\"< 200ms\"",
    };
    let wrong =
        || format!("the bound {} of {key} will not do: write it like {example}", quoted(text));
    let (below, rest) = match (text.strip_prefix('<'), text.strip_prefix('>')) {
        (Some(rest), _) => (true, rest.trim()),
        (_, Some(rest)) => (false, rest.trim()),
        _ => return Err(wrong()),
    };
    let number = |text: &str| {
        let number = text.trim_end().parse::<f64>().ok();
        number.filter(|number| number.is_finite() && *number >= 0.0).ok_or_else(wrong)
    };
    let (measure, bound) = match measure {
        Measure::Failed => match rest.strip_suffix('%') {
            Some(percent) => (Measure::FailedShare, number(percent)? / 100.0),
            None => (Measure::Failed, number(rest)?),
        },
        Measure::Rate => (measure, number(rest.strip_suffix("/s").ok_or_else(wrong)?)?),
        _ => {
            let time = values::timeout(rest).map_err(|_| wrong())?;
            (measure, time.as_secs_f64() * 1_000.0)
        }
    };
    Ok(Threshold { measure, below, bound, text: format!("{key} {text}") })
}
