//! Load in stages, by time and by number, and what the report says of each stage and path.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::program::{Scratch, check, end, interrupt, job, plan_job, start};
use crate::servers::{Latch, OK, Seen, Server};

/// Answers after 10 ms.
fn slow(_: &Seen) -> &'static str {
    sleep(Duration::from_millis(10));
    OK
}

/// A job without repeat.
fn timed_job(base: &str, more: &str) -> String {
    plan_job("a", 2, base, 1, "").replace("repeat = 1\n", "") + more + "\n"
}

#[test]
fn a_job_sends_for_a_time() {
    let server = Server::start(slow);
    let began = Instant::now();
    let (ended, results) = check(&timed_job(&server.base(), "for = \"600ms\""));
    let took = began.elapsed();
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert!(took >= Duration::from_millis(600), "{took:?}");
    let results = job(&results, "a");
    assert!(results["requests"].as_u64() > Some(0) && results["planned"].is_null(), "{results}");
}

#[test]
fn stages_set_limits_and_rates_one_after_the_other() {
    let server = Server::start(slow);
    let stages = "[[job.stage]]\nfor = \"400ms\"\n\
                  [[job.stage]]\nlimit = 6\nfor = \"400ms\"\n\
                  [[job.stage]]\nlimit = 1\nrate = \"20/s\"\nfor = \"600ms\"\n";
    let (ended, results) = check(&timed_job(&server.base(), stages));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let results = job(&results, "a");
    assert_eq!(results["limits"], serde_json::json!([2, 6, 1]));
    let stages = results["stages"].as_array().unwrap();
    let requests: Vec<_> = stages.iter().map(|stage| stage["requests"].as_u64().unwrap()).collect();
    assert_eq!(requests.iter().sum::<u64>(), results["requests"].as_u64().unwrap());
    // A stage that begins or ends late lasts longer, but the rate holds: 20/s, in what the first two stages leave of the time.
    let last = results["elapsed_seconds"].as_f64().unwrap() - 0.8;
    assert!(requests[2] as f64 <= 2.0 + 20.0 * last, "{last} s: {requests:?}");
    assert_eq!((&stages[2]["rate"], &stages[0]["rate"]), (&20.0.into(), &().into()));
    let inside = |seen: &[Seen]| seen.iter().map(|seen| seen.inside).max().unwrap_or(0);
    let seen = server.seen();
    let first = (requests[0] as usize).saturating_sub(2);
    assert!(inside(&seen[..first]) <= 2 && inside(&seen) <= 6);
    let rows = ended.stdout.lines().filter(|line| line.starts_with("  stage")).count();
    assert_eq!(rows, 3, "{ended:?}");
}

#[test]
fn a_ramp_has_a_row_for_each_step_that_shows_where_a_server_refuses() {
    // The last step's requests wait in the server until six are in it.
    let six = Latch::default();
    let server = Server::start(move |seen| {
        if seen.inside == 6 {
            six.open();
        }
        if seen.number >= 44 {
            six.wait();
        }
        if seen.inside > 3 { OK.replace("200 OK", "500 Full") } else { OK.to_owned() }
    });
    let plan = plan_job("a", 1, &server.base(), 60, "timeout = \"60s\"\nramp = [1, 3, 6]");
    let (_, results) = check(&plan);
    let stages = job(&results, "a")["stages"].as_array().unwrap();
    let failed: Vec<_> = stages.iter().map(|stage| stage["failed"].as_u64().unwrap()).collect();
    // Two requests of the second step may still be on their way to the server when the third one begins.
    assert!(failed[0] == 0 && failed[1] <= 2, "{stages:?}");
    assert!(failed[2] >= 3 && stages.iter().all(|stage| stage["requests"] == 20), "{stages:?}");
}

#[test]
fn each_path_has_a_row() {
    let server = Server::start(|seen| match seen.path().as_str() {
        "/b?c" => OK.replace("200 OK", "404 No"),
        _ => OK.to_owned(),
    });
    let plan = plan_job("a", 2, &server.base(), 5, "").replace("[\"/\"]", "[\"/a\", \"/b?c\"]");
    let (ended, results) = check(&plan);
    let paths = job(&results, "a")["paths"].as_array().unwrap();
    let row = |at: usize| ["path", "ok", "failed"].map(|key| paths[at][key].clone());
    assert_eq!(serde_json::json!(row(0)), serde_json::json!(["/a", 5, 0]));
    assert_eq!(serde_json::json!(row(1)), serde_json::json!(["/b?c", 0, 5]));
    assert!(ended.stdout.lines().any(|line| line.starts_with("  /b?c ")), "{ended:?}");
}

#[test]
fn a_signal_ends_a_job_that_has_time_left() {
    let server = Server::start(slow);
    let plan = Scratch::file("plan.toml", &timed_job(&server.base(), "for = \"24h\""));
    let (child, mut stderr) = start(&[plan.path()]);
    stderr.find(|line| line.starts_with("a: ")).unwrap();
    interrupt(&child);
    assert_eq!(end(child).status, Some(130));
}
