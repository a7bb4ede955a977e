//! Charts as SVG. Colours and strokes are the page's style sheet's.

use std::fmt::Write;

/// The size of a chart, and the room around what is drawn.
const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 180.0;
const LEFT: f64 = 48.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;

/// About so many marks has an axis.
const MARKS: f64 = 5.0;

/// An axis of a chart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    from: f64,
    to: f64,
    unit: Unit,
    is_log: bool,
}

/// What the numbers of an axis are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Count,
    PerSecond,
    Seconds,
    Milliseconds,
}

/// A chart that is being drawn.
#[derive(Debug)]
pub(crate) struct Chart {
    title: String,
    x: Axis,
    y: Axis,
    legend: Vec<(&'static str, &'static str)>,
    drawn: String,
}

impl Axis {
    /// From 0 to the first mark above `most`.
    pub(crate) fn linear(most: f64, unit: Unit) -> Self {
        let most = if most > 0.0 { most } else { 1.0 };
        let axis = Axis { from: 0.0, to: most, unit, is_log: false };
        let step = axis.step();
        Axis { to: (most / step).ceil() * step, ..axis }
    }

    /// From 0 to `most`.
    pub(crate) fn exactly(most: f64, unit: Unit) -> Self {
        Axis { from: 0.0, to: most.max(1e-3), unit, is_log: false }
    }

    /// From below `least` to above `most`, each power of ten as long as the other.
    pub(crate) fn log(least: f64, most: f64, unit: Unit) -> Self {
        let (from, to) = (least.max(1e-3) / 1.15, most.max(1e-3) * 1.15);
        // What is close together stays in the middle.
        let wider = (2.0 / (to / from)).max(1.0).sqrt();
        Axis { from: from / wider, to: to * wider, unit, is_log: true }
    }

    /// The edges of so many parts, each as long as the other where they are drawn.
    pub(crate) fn edges(&self, parts: usize) -> Vec<f64> {
        let share = |part: usize| part as f64 / parts as f64;
        let edge = |part| match self.is_log {
            true => self.from * (self.to / self.from).powf(share(part)),
            false => self.from + (self.to - self.from) * share(part),
        };
        (0..=parts).map(edge).collect()
    }

    /// Where a value is, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let place = if self.is_log {
            (value.max(self.from) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        place.clamp(0.0, 1.0)
    }

    fn step(&self) -> f64 {
        let rough = (self.to - self.from) / MARKS;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power);
        let step = step.into_iter().find(|step| *step >= rough * 0.999).unwrap_or(rough);
        if self.unit == Unit::Count { step.max(1.0).round() } else { step }
    }

    fn marks(&self) -> Vec<f64> {
        if !self.is_log {
            let step = self.step();
            let count = ((self.to - self.from) / step + 0.001) as usize;
            return (0..=count).map(|mark| self.from + step * mark as f64).collect();
        }
        let decades = (self.to / self.from).log10();
        let within: &[f64] = match decades {
            _ if decades < 0.6 => &[1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0],
            _ if decades < 1.5 => &[1.0, 2.0, 5.0],
            _ if decades < 3.0 => &[1.0, 3.0],
            _ => &[1.0],
        };
        let powers = self.from.log10().floor() as i32..=self.to.log10().ceil() as i32;
        let marks = powers.flat_map(|power| within.iter().map(move |w| w * 10_f64.powi(power)));
        marks.filter(|mark| (self.from..=self.to).contains(mark)).collect()
    }

    fn label(&self, value: f64) -> String {
        match self.unit {
            Unit::Seconds if self.to >= 180.0 => {
                format!("{}:{:02}", value as u64 / 60, value as u64 % 60)
            }
            Unit::Seconds => format!("{} s", short(value)),
            Unit::Milliseconds if value >= 1_000.0 => format!("{} s", short(value / 1_000.0)),
            Unit::Milliseconds => format!("{} ms", short(value)),
            Unit::PerSecond => format!("{}/s", short(value)),
            Unit::Count => short(value),
        }
    }
}

/// The number with a letter for thousands and millions, and with no more digits than tell it from its neighbours.
fn short(value: f64) -> String {
    let (value, letter) = match value {
        _ if value >= 1e6 => (value / 1e6, "M"),
        _ if value >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = format!("{value:.3}");
    format!("{}{letter}", text.trim_end_matches('0').trim_end_matches('.'))
}

impl Chart {
    pub(crate) fn new(title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Chart { title: title.into(), x, y, legend: Vec::new(), drawn: String::new() }
    }

    /// Says what the marks of a class are.
    pub(crate) fn explain(&mut self, class: &'static str, text: &'static str) {
        self.legend.push((class, text));
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(value) * (HEIGHT - TOP - BOTTOM)
    }

    /// Draws values that hold from one place to the next, with the room below them filled.
    pub(crate) fn steps(&mut self, class: &str, steps: &[(f64, f64, f64)], filled: bool) {
        let Some(first) = steps.first() else { return };
        let last = steps[steps.len() - 1];
        let mut path = format!("M{:.1},{:.1}", self.x(first.0), self.y(first.2));
        for (at, (from, to, value)) in steps.iter().enumerate() {
            if at > 0 && steps[at - 1].2 != *value {
                _ = write!(path, "V{:.1}", self.y(*value));
            }
            if at > 0 && steps[at - 1].1 < *from {
                _ = write!(path, "H{:.1}", self.x(*from));
            }
            // A run of equal values is one stroke.
            if steps.get(at + 1).is_none_or(|next| next.2 != *value) {
                _ = write!(path, "H{:.1}", self.x(*to));
            }
        }
        if filled {
            let (bottom, left, right) = (self.y(0.0), self.x(first.0), self.x(last.1));
            let area = format!("{path}L{right:.1},{bottom:.1}H{left:.1}Z");
            _ = write!(self.drawn, "<path class=\"area {class}\" d=\"{area}\"/>");
        }
        _ = write!(self.drawn, "<path class=\"line {class}\" d=\"{path}\"/>");
    }

    /// Draws a line through the points. The line has a gap where a point is missing.
    pub(crate) fn line(&mut self, class: &str, points: &[(f64, Option<f64>)]) {
        let mut path = String::new();
        let mut dots = String::new();
        for (at, (x, y)) in points.iter().enumerate() {
            let Some(y) = y else { continue };
            let (x, y) = (self.x(*x), self.y(*y));
            let has = |other: Option<&(f64, Option<f64>)>| other.is_some_and(|(_, y)| y.is_some());
            let before = has(at.checked_sub(1).and_then(|at| points.get(at)));
            if !before && !has(points.get(at + 1)) {
                _ = write!(
                    dots,
                    "<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"1.6\"/>"
                );
            }
            _ = write!(path, "{}{x:.1},{y:.1}", if before { 'L' } else { 'M' });
        }
        if !path.is_empty() {
            _ = write!(self.drawn, "<path class=\"line {class}\" d=\"{path}\"/>{dots}");
        }
    }

    /// Draws bars, one from each `bottom` to its `top`, with what each of them says.
    pub(crate) fn bars(&mut self, class: &str, bars: &[Bar]) {
        for bar in bars.iter().filter(|bar| bar.top > bar.bottom) {
            let (left, right) = (self.x(bar.from), self.x(bar.to));
            let (top, bottom) = (self.y(bar.top), self.y(bar.bottom));
            let (width, height) = ((right - left - 0.6).max(0.4), (bottom - top).max(0.5));
            _ = write!(
                self.drawn,
                "<rect class=\"bar {class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" \
                 height=\"{height:.1}\"><title>{}</title></rect>",
                bar.says
            );
        }
    }

    /// Draws a line across at a value.
    pub(crate) fn across(&mut self, class: &str, value: f64) {
        let y = self.y(value);
        let right = WIDTH - RIGHT;
        _ = write!(self.drawn, "<path class=\"line {class}\" d=\"M{LEFT},{y:.1}H{right}\"/>");
    }

    /// Draws a line upwards at a value, with a name at its top. Each `row` of names is below the one before.
    pub(crate) fn upwards(&mut self, value: f64, name: &str, row: usize) {
        let (x, bottom, top) = (self.x(value), HEIGHT - BOTTOM, TOP + 11.0 * row as f64);
        let is_right = x > WIDTH * 0.8;
        let (at, anchor) = if is_right { (x - 3.0, "end") } else { (x + 3.0, "start") };
        _ = write!(
            self.drawn,
            "<path class=\"mark\" d=\"M{x:.1},{bottom}V{top}\"/>\
             <text class=\"name\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{name}</text>",
            top + 8.0
        );
    }

    /// The chart with its title and its legend.
    pub(crate) fn figure(&self) -> String {
        let mut text = format!("<figure><figcaption>{}", self.title);
        for (class, what) in &self.legend {
            _ = write!(
                text,
                " <span class=\"key\"><svg viewBox=\"0 0 22 10\"><path class=\"line {class}\" d=\"M1,5H21\"/>\
                 </svg>{what}</span>"
            );
        }
        _ = write!(
            text,
            "</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            self.title
        );
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for mark in self.y.marks() {
            let y = self.y(mark);
            _ = write!(
                text,
                "<path class=\"grid\" d=\"M{LEFT},{y:.1}H{right}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 5.0,
                y + 3.5,
                self.y.label(mark)
            );
        }
        for mark in self.x.marks() {
            let x = self.x(mark);
            let anchor = if x > right - 12.0 { "end" } else { "middle" };
            _ = write!(
                text,
                "<path class=\"tick\" d=\"M{x:.1},{bottom}v4\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                bottom + 15.0,
                self.x.label(mark)
            );
        }
        text += &self.drawn;
        _ = writeln!(text, "<path class=\"axis\" d=\"M{LEFT},{bottom}H{right}\"/></svg></figure>");
        text
    }
}

/// A bar of a chart.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) bottom: f64,
    pub(crate) top: f64,
    /// What is shown when it is pointed at.
    pub(crate) says: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_round_marks() {
        let labels = |axis: Axis| {
            axis.marks().into_iter().map(|mark| axis.label(mark)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(labels(Axis::linear(9.3, Unit::Count)), "0 2 4 6 8 10");
        assert_eq!(labels(Axis::linear(1.0, Unit::Count)), "0 1");
        assert_eq!(
            labels(Axis::linear(23_456.0, Unit::PerSecond)),
            "0/s 5000/s 10k/s 15k/s 20k/s 25k/s"
        );
        assert_eq!(labels(Axis::exactly(0.9, Unit::Seconds)), "0 s 0.2 s 0.4 s 0.6 s 0.8 s");
        assert_eq!(labels(Axis::exactly(300.0, Unit::Seconds)), "0:00 1:40 3:20 5:00");
        assert_eq!(labels(Axis::log(9.0, 11.0, Unit::Milliseconds)), "8 ms 10 ms 12 ms");
        assert_eq!(labels(Axis::log(2.0, 40.0, Unit::Milliseconds)), "2 ms 5 ms 10 ms 20 ms");
        assert_eq!(
            labels(Axis::log(0.5, 9_000.0, Unit::Milliseconds)),
            "1 ms 10 ms 100 ms 1 s 10 s"
        );
    }

    #[test]
    fn places_are_within_the_chart() {
        for axis in [Axis::linear(10.0, Unit::Count), Axis::log(1.0, 100.0, Unit::Milliseconds)] {
            for value in [-1.0, 0.0, 1.0, 50.0, 1e9] {
                assert!((0.0..=1.0).contains(&axis.place(value)), "{axis:?} {value}");
            }
        }
        assert!(Axis::linear(0.0, Unit::Count).place(0.0).abs() < 1e-9);
    }
}
