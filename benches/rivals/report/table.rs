//! The table: a row a workload, a column a rival, ours over theirs; then the targets, and the figures behind the ratios.
//!
//! A ratio is taken round by round, from runs that were neighbours in time; what is shown is the median over the rounds, and
//! beside a target also the lowest and the highest.

use super::row::Row;
use crate::contender::Which;
use crate::measure::stats::median;
use crate::workloads::{Target, Workload};

const COLUMNS: &[Which] = &[
    Which::Flat,
    Which::Channels,
    Which::RayonGate,
    Which::Rayon,
    Which::Tokio,
    Which::Smol,
    Which::BufferUnordered,
    Which::SharedChannel,
    Which::One,
    Which::Floor,
    Which::Execute,
    Which::Buffered,
];

/// Prints what the rows say.
pub(crate) fn print(rows: &[(&Workload, Result<Row, String>)]) {
    let rows: Vec<(&Workload, &Row)> =
        rows.iter().filter_map(|(workload, row)| Some((*workload, row.as_ref().ok()?))).collect();
    println!("\nOurs over theirs: medians over the rounds, lower is better.\n");
    print_cells(
        &headed("ours", &["target", "reached", "best rounds", "processor"]),
        rows.iter().map(|(workload, row)| ratios(workload, row)),
    );
    println!("\nThe figures behind it: medians over the rounds.\n");
    print_cells(
        &headed("ours", &["unit", "shape"]),
        rows.iter().map(|(workload, row)| figures(workload, row)),
    );
    println!();
    for (workload, row) in &rows {
        for (contender, detail) in &row.details {
            println!("{} {contender}: {detail}", workload.name);
        }
    }
}

fn headed(ours: &str, last: &[&str]) -> Vec<String> {
    let rivals = COLUMNS.iter().map(|which| which.name());
    ["workload", ours]
        .into_iter()
        .chain(rivals)
        .chain(last.iter().copied())
        .map(str::to_owned)
        .collect()
}

fn ratios(workload: &Workload, row: &Row) -> Vec<String> {
    let ours = row.of(Which::Ours.name());
    let mut cells =
        vec![workload.name.to_owned(), format!("{} {}", short(median_or_nan(ours)), workload.unit)];
    cells.extend(COLUMNS.iter().map(|which| match over(ours, row.of(which.name())) {
        ratios if ratios.is_empty() => String::new(),
        ratios => short(median(&ratios)),
    }));
    let judged: Vec<Judged> = workload.targets.iter().map(|target| judge(*target, row)).collect();
    let joined = |part: fn(&Judged) -> &str| judged.iter().map(part).collect::<Vec<_>>().join("; ");
    cells.push(joined(|judged| &judged.wanted));
    cells.push(joined(|judged| &judged.reached));
    cells.push(joined(|judged| &judged.best_rounds));
    cells.push(joined(|judged| &judged.processor));
    cells
}

fn figures(workload: &Workload, row: &Row) -> Vec<String> {
    let cell = |which: &Which| match row.of(which.name()) {
        [] => String::new(),
        figures => short(median(figures)),
    };
    let mut cells = vec![workload.name.to_owned(), cell(&Which::Ours)];
    cells.extend(COLUMNS.iter().map(cell));
    cells.push(workload.unit.to_owned());
    cells.push(workload.shape.to_owned());
    cells
}

/// What became of a target.
struct Judged {
    wanted: String,
    reached: String,
    best_rounds: String,
    processor: String,
}

/// What a target asks for, whether it is met, and what the best round of each side would say.
fn judge(target: Target, row: &Row) -> Judged {
    let ours = row.of(Which::Ours.name());
    let (wanted, most, theirs, processor) = match target {
        Target::Of(which, most) => {
            let wanted = format!("≤ {} of {}", short(most), which.name());
            (wanted, most, row.of(which.name()).to_vec(), processor_over(which, row))
        }
        Target::OfBest(rivals, most) => {
            (best_of(rivals, most), most, best_figures(rivals, row), String::new())
        }
        Target::AtMost(most) => {
            (format!("≤ {}", short(most)), most, vec![1.0; ours.len()], String::new())
        }
    };
    let reached = over(ours, &theirs);
    if reached.is_empty() {
        return Judged {
            wanted,
            reached: "not run".to_owned(),
            best_rounds: String::new(),
            processor,
        };
    }
    let verdict = if median(&reached) <= most { "met" } else { "MISSED" };
    let spread = match reached.len() {
        1 => String::new(),
        _ => format!(" ({}–{})", short(lowest(&reached)), short(highest(&reached))),
    };
    let best_rounds = short(lowest(ours) / lowest(&theirs));
    let reached = format!("{}{spread} {verdict}", short(median(&reached)));
    Judged { wanted, reached, best_rounds, processor }
}

fn lowest(figures: &[f64]) -> f64 {
    figures.iter().copied().fold(f64::MAX, f64::min)
}

fn highest(figures: &[f64]) -> f64 {
    figures.iter().copied().fold(f64::MIN, f64::max)
}

/// Our processor time a task over theirs.
fn processor_over(which: Which, row: &Row) -> String {
    match over(row.processor_of(Which::Ours.name()), row.processor_of(which.name())) {
        ratios if ratios.is_empty() => String::new(),
        ratios => short(median(&ratios)),
    }
}

/// Ours over theirs, round by round.
fn over(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    // Over next to nothing a ratio says nothing.
    let pairs = ours.iter().zip(theirs).filter(|(_, theirs)| theirs.abs() > 1e-3);
    pairs.map(|(ours, theirs)| ours / theirs).collect()
}

/// The lowest figure of `rivals` in each round.
fn best_figures(rivals: &[Which], row: &Row) -> Vec<f64> {
    let all = || rivals.iter().map(|which| row.of(which.name()));
    let rounds = all().map(<[f64]>::len).max().unwrap_or(0);
    let best = |round: usize| {
        all().filter_map(|figures| figures.get(round)).copied().fold(f64::MAX, f64::min)
    };
    (0..rounds).map(best).collect()
}

fn best_of(rivals: &[Which], most: f64) -> String {
    let names: Vec<_> = rivals.iter().map(|which| which.name()).collect();
    format!("≤ {} of the best of {}", short(most), names.join(", "))
}

fn median_or_nan(figures: &[f64]) -> f64 {
    if figures.is_empty() { f64::NAN } else { median(figures) }
}

/// Two digits that say something.
fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 10.0 => format!("{figure:.0}"),
        size if size >= 0.1 => format!("{figure:.2}"),
        size if size >= 0.01 => format!("{figure:.3}"),
        0.0 => "0".to_owned(),
        _ => format!("{figure:.4}"),
    }
}

/// Prints a Markdown table with aligned columns.
fn print_cells(head: &[String], rows: impl Iterator<Item = Vec<String>>) {
    let rows: Vec<Vec<String>> = rows.collect();
    let filled = |column: &usize| rows.iter().any(|row| !row[*column].is_empty());
    let columns: Vec<usize> = (0..head.len()).filter(filled).collect();
    let wide = |column: &usize| {
        rows.iter().chain([&head.to_vec()]).map(|row| row[*column].chars().count()).max()
    };
    let widths: Vec<usize> = columns.iter().map(|column| wide(column).unwrap_or(0)).collect();
    let print_row = |row: &[String]| {
        let cells =
            columns.iter().zip(&widths).map(|(column, width)| format!("{:width$}", row[*column]));
        println!("| {} |", cells.collect::<Vec<_>>().join(" | "));
    };
    print_row(head);
    let rules = widths.iter().map(|width| "-".repeat(*width));
    println!("| {} |", rules.collect::<Vec<_>>().join(" | "));
    rows.iter().for_each(|row| print_row(row));
}
