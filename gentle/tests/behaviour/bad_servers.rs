//! Servers that do not behave fail their own checks, and no others.

use std::sync::Arc;

use crate::program::{check, job, plan_job};
use crate::servers::{Latch, OK, Server, down, ok, resetting, stalling};

/// Runs a job against a server that does not behave, beside one that does. Gives the cause that the failures have.
fn cause_of_failure(bad_base: &str, timeout: &str) -> String {
    let good = Server::start(ok);
    let plan = plan_job("bad", 2, bad_base, 4, &format!("timeout = \"{timeout}\""))
        + &plan_job("good", 2, &good.base(), 20, "");
    let (ended, results) = check(&plan);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert_eq!(job(&results, "good")["ok"], 20);
    let bad = job(&results, "bad");
    assert_eq!((&bad["ok"], &bad["failed"]), (&0.into(), &4.into()), "{bad}");
    assert_eq!(bad["failures"].as_array().unwrap().len(), 1, "{bad}");
    bad["failures"][0]["cause"].as_str().unwrap().to_owned()
}

#[test]
fn a_server_that_is_down_fails_its_own_checks() {
    assert_eq!(cause_of_failure(&down(), "60s"), "connection refused");
}

#[test]
fn a_server_that_resets_fails_its_own_checks() {
    assert_eq!(cause_of_failure(&resetting(), "60s"), "connection reset");
}

#[test]
fn a_server_that_never_answers_fails_its_own_checks() {
    assert_eq!(cause_of_failure(&stalling(""), "300ms"), "no whole answer within 300ms");
}

#[test]
fn a_server_that_stalls_within_its_answer_fails_its_own_checks() {
    for start in ["HTTP/1.1 200 OK\r\ncontent-", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok"] {
        assert_eq!(cause_of_failure(&stalling(start), "300ms"), "no whole answer within 300ms");
    }
}

#[test]
fn a_server_that_answers_garbage_fails_its_own_checks() {
    let server = Server::start(|_| b"\x00\xff\x16garbage\r\n\r\n");
    let cause = cause_of_failure(&server.base(), "60s");
    assert!(cause.starts_with("the answer is not HTTP"), "{cause}");
}

#[test]
fn a_server_that_sends_bad_chunks_fails_its_own_checks() {
    let start = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (chunks, cause) in [
        ("zz\r\nok\r\n0\r\n\r\n", "the answer is not HTTP: "),
        ("ffffffffffffffffff\r\nok\r\n", "the answer is not HTTP: "),
        ("2\r\nok\r\n", "connection closed before the answer was whole"),
        ("9\r\nok", "connection closed before the answer was whole"),
    ] {
        let server = Server::start(move |_| format!("{start}{chunks}"));
        let found = cause_of_failure(&server.base(), "60s");
        assert!(found.starts_with(cause), "{chunks:?}: {found}");
    }
}

#[test]
fn a_server_that_closes_early_fails_its_own_checks() {
    let server = Server::start(|_| "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok");
    assert_eq!(
        cause_of_failure(&server.base(), "60s"),
        "connection closed before the answer was whole"
    );
}

#[test]
fn a_stalled_server_delays_no_other_job() {
    // The stalled server answers only when the other job has had all its answers, on a single worker.
    let rest = Arc::new(Latch::default());
    let open = Arc::clone(&rest);
    let good = Server::start(move |seen| {
        if seen.number == 49 {
            open.open();
        }
        OK
    });
    let stalled = Server::start(move |_| {
        rest.wait();
        OK
    });
    let plan = "workers = 1\n".to_owned()
        + &plan_job("stalled", 8, &stalled.base(), 16, "timeout = \"60s\"")
        + &plan_job("good", 2, &good.base(), 50, "timeout = \"60s\"");
    let (ended, _) = check(&plan);
    assert_eq!(ended.status, Some(0), "{ended:?}");
}
