//! Writes a picture of the timeline as one page of HTML. The page has the picture's data, and a script that draws the data
//! on a canvas.

use crate::api::timeline::picture::{Picture, Row, Slice};
use std::fmt::Write as _;
use std::io::{self, Write};

/// Writes a picture of the timeline as a page of HTML.
pub fn write(picture: &Picture, mut out: impl Write) -> io::Result<()> {
    let page = include_str!("page.html");
    let (head, tail) = page.split_once("/*DATA*/").expect("the page has a place for the data");
    out.write_all(head.as_bytes())?;
    let (length, lost) = (picture.length, picture.lost);
    write!(out, "{{\"length\":{length},\"lost\":{lost},\"jobs\":[")?;
    for (number, row) in picture.rows.iter().enumerate() {
        let comma = if number > 0 { "," } else { "" };
        write!(out, "{comma}\n{}", job(row))?;
    }
    out.write_all(b"],\n\"workers\":[")?;
    for (number, parked) in picture.workers.iter().enumerate() {
        let comma = if number > 0 { "," } else { "" };
        write!(out, "{comma}{}", list(parked, parked_slice))?;
    }
    out.write_all(b"]}")?;
    out.write_all(tail.as_bytes())?;
    out.flush()
}

fn job(row: &Row) -> String {
    let lanes = list(&row.lanes, |lane| list(lane, slice));
    let figures = list(&row.figures, |figures| {
        let limit = figures.limit.map_or("null".to_owned(), |limit| limit.to_string());
        format!("[{},{},{limit},{}]", figures.at, figures.running, figures.backlog)
    });
    let (name, track, parent, hidden) = (text(&row.name), row.track, row.parent, row.hidden);
    format!(
        "{{\"name\":{name},\"track\":{track},\"parent\":{parent},\"hidden\":{hidden},\n\"figures\":{figures},\n\"lanes\":{lanes}}}"
    )
}

/// Returns a slice as a JSON list of its fields in the order: what, from, to, task, why, waited, worker, flow_in,
/// flows_out, name.
fn slice(slice: &Slice) -> String {
    let number =
        |number: Option<u64>| number.map_or("null".to_owned(), |number| number.to_string());
    format!(
        "[{},{},{},{},{},{},{},{},{:?},{}]",
        text(slice.what.word()),
        slice.from,
        slice.to,
        slice.task,
        text(&slice.why),
        number(slice.waited),
        number(slice.worker.map(u64::from)),
        number(slice.flow_in),
        slice.flows_out,
        slice.name.as_deref().map_or("null".to_owned(), text)
    )
}

fn parked_slice(slice: &Slice) -> String {
    format!("[{},{}]", slice.from, slice.to)
}

fn list<T>(items: &[T], each: impl Fn(&T) -> String) -> String {
    format!("[{}]", items.iter().map(each).collect::<Vec<_>>().join(","))
}

/// Returns `text` as a JSON string that a script inside a page may contain.
fn text(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // These characters are escaped, because a tag in the text would end the script of the page, and a line separator
            // would end a line of the script.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => _ = write!(out, "\\u{:04x}", c as u32),
            c if c.is_control() => _ = write!(out, "\\u{:04x}", c as u32),
            c => out.push(c),
        }
    }
    out + "\""
}
