//! Criterion's figures and plots: a group a question, a tenth of the summary's sizes.

use std::time::Duration;

use criterion::{Criterion, SamplingMode, Throughput};

use crate::contender::Which;
use crate::workloads::{ALL, Plot, Scale, Workload};

/// Runs all groups that the command line does not filter out.
pub(crate) fn run(test: bool) {
    let mut criterion = Criterion::default().configure_from_args();
    let scale = if test { Scale::Tiny } else { Scale::Plot };
    for workload in ALL.iter().filter(|workload| workload.plot != Plot::None) {
        plot(&mut criterion, workload, scale);
    }
    criterion.final_summary();
}

fn plot(criterion: &mut Criterion, workload: &Workload, scale: Scale) {
    let mut group = criterion.benchmark_group(format!("{} - {}", workload.name, workload.question));
    group
        .sample_size(10)
        .sampling_mode(SamplingMode::Flat)
        .warm_up_time(Duration::from_millis(200));
    // A latency is a small part of the time that its run takes: a shorter time keeps the number of runs sane.
    let latency = workload.plot == Plot::Latency;
    group.measurement_time(if latency {
        Duration::from_millis(1)
    } else {
        Duration::from_millis(1_000)
    });
    for which in workload.contenders.iter().copied() {
        if !latency {
            group.throughput(Throughput::Elements(tasks(workload, which, scale)));
        }
        group.bench_function(which.name(), |bencher| {
            bencher
                .iter_custom(|runs| (0..runs).map(|_| (workload.run)(which, scale).elapsed).sum());
        });
    }
    group.finish();
}

/// How many tasks a run has.
fn tasks(workload: &Workload, which: Which, scale: Scale) -> u64 {
    (workload.run)(which, scale).tasks
}
