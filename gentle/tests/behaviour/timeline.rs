//! The timeline: it has each permit, and says what its sender waited for.

use std::fs;
use std::path::Path;

use crate::program::{Scratch, gentle, plan_job};
use crate::servers::{Server, ok};

/// Runs a plan, and gives what `--timeline` writes to a file of this name.
fn timeline(name: &str) -> Vec<u8> {
    let server = Server::start(ok);
    let plan = Scratch::file("plan.toml", &plan_job("search", 2, &server.base(), 20, ""));
    let file = Scratch::file(name, "");
    let ended = gentle([plan.path(), Path::new("--timeline"), file.path(), Path::new("--quiet")]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    fs::read(file.path()).unwrap()
}

#[test]
fn a_file_that_ends_in_html_is_a_page() {
    let page = String::from_utf8(timeline("timeline.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"), "{page}");
    // Each permit is a task.
    let slices = |word| page.matches(&format!("[\"{word}\",")).count();
    assert!(slices("queued") >= 2 && slices("running") >= 2, "{page}");
    assert!(page.contains("job \\\"search\\\""), "{page}");
}

#[test]
fn any_other_file_is_a_trace() {
    let trace = timeline("timeline.trace");
    let count = |text: &[u8]| trace.windows(text.len()).filter(|bytes| *bytes == text).count();
    // Each packet is a field of the whole file, of number 1 and with a length.
    assert_eq!(trace[0], 0x0a);
    assert_eq!(count(b"\x12\x0cjob \"search\""), 1, "the name of one track");
    assert!(count(b"queued") >= 2 && count(b"running") >= 2);
}
