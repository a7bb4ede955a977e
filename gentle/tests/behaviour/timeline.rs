//! The timeline: it has each permit, and says what its sender waited for.

use std::fs;
use std::path::Path;

use crate::program::{Scratch, command, gentle, plan_job};
use crate::servers::{OK, Seen, Server, ok};

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

/// Returns true if the bytes have this text.
fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

#[test]
fn no_form_has_a_secret() {
    let server = Server::start(|seen: &Seen| {
        let is_first = seen.path().contains("/first");
        let answer =
            "HTTP/1.1 200 OK\r\nx-id: s3cr3t-2\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
        if is_first { answer } else { OK }
    });
    let base = server.base() + "/${GENTLE_TOKEN}";
    let more = "headers = { x-key = \"${GENTLE_TOKEN}\" }\nrate = \"500/s\"\nexpect = 404";
    let steps = "[[job.step]]\npath = \"/first\"\nexpect = 200\ncapture = { id = { header = \"x-id\" } }\n\
                 [[job.step]]\npath = \"/${id}\"\n";
    let session = plan_job("session", 2, &base, 3, more).replace("paths = [\"/\"]\n", "") + steps;
    let plan = plan_job("paths", 2, &base, 5, more).replace("\"/\"", "\"/?${GENTLE_TOKEN}\"");
    let plan = Scratch::file("plan.toml", &(plan + &session + "[host.\"*\"]\nlimit = 2\n"));
    for name in ["timeline.html", "timeline.trace"] {
        let file = Scratch::file(name, "");
        let mut command = command();
        command.arg(plan.path()).arg("--timeline").arg(file.path());
        let output = command.env("GENTLE_TOKEN", "s3cr3t/1").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let timeline = fs::read(file.path()).unwrap();
        assert!(has(&timeline, "session") && has(&timeline, "paths"), "{name}");
        assert!(!has(&timeline, "s3cr3t"), "{name}");
    }
    let sent = server.seen();
    assert!(sent.iter().any(|seen| seen.path() == "/s3cr3t/1/s3cr3t-2"), "{sent:?}");
}

#[test]
fn a_dash_is_a_trace_on_standard_output() {
    let server = Server::start(ok);
    let plan = Scratch::file("plan.toml", &plan_job("search", 2, &server.base(), 20, ""));
    let mut command = command();
    let output = command.arg(plan.path()).args(["--quiet", "--timeline", "-"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stdout[0] == 0x0a && has(&output.stdout, "job \"search\""));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("all as expected: 20 requests"), "{stderr}");
}
