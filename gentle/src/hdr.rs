//! The latencies as a log of HDR histograms, which the tools of HdrHistogram read.

use std::time::Duration;

use hdrhistogram::serialization::V2Serializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::run::Outcome;

/// A histogram of the requests that passed, in microseconds, for each job; the tag is the job's name.
pub(crate) fn log(outcome: &Outcome) -> String {
    let (mut text, mut serializer) = (Vec::new(), V2Serializer::new());
    let names: Vec<_> =
        outcome.checks.iter().map(|check| check.plan.name.replace([',', ' '], "_")).collect();
    let written = (|| {
        let mut builder = IntervalLogWriterBuilder::new();
        let mut log = builder
            .with_start_time(outcome.started)
            .begin_log_with(&mut text, &mut serializer)
            .ok()?;
        for (check, name) in outcome.checks.iter().zip(&names) {
            let tally = check.tally();
            let (passed, elapsed) = (tally.all.passed().histogram(), tally.all.elapsed());
            log.write_histogram(passed, Duration::ZERO, elapsed, Tag::new(name)).ok()?;
        }
        Some(())
    })();
    // Writing to memory does not fail, and the names fit a tag.
    debug_assert!(written.is_some());
    String::from_utf8_lossy(&text).into_owned()
}
