//! What a run does for a server that refuses: which requests go first, whom the back-off concerns, and when it ends.

use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use crate::program::{check, job, plan_job};
use crate::servers::{Latch, OK, Server, down};

#[test]
fn one_request_goes_first_after_a_refusal_and_the_time_is_doubled() {
    const AT_ONCE: usize = 8;
    let (all, times) = (Barrier::new(AT_ONCE), Arc::<Mutex<Vec<_>>>::default());
    let came = Arc::clone(&times);
    let server = Server::start(move |seen| {
        came.lock().unwrap().push(Instant::now());
        if seen.number < AT_ONCE {
            all.wait();
        }
        // All that are on their way are refused, and the first one after them.
        OK.replace("200 OK", if seen.number <= AT_ONCE { "503 Busy" } else { "200 OK" })
    });
    let plan = plan_job("a", AT_ONCE, &server.base(), 40, "timeout = \"60s\"");
    let (ended, results) = check(&format!("workers = 2\n{plan}"));
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert_eq!(job(&results, "a")["failed"], AT_ONCE + 1, "{results}");
    let (seen, times) = (server.seen(), times.lock().unwrap());
    for (first, pause) in [(AT_ONCE, 500), (AT_ONCE + 1, 1_000)] {
        assert_eq!(seen[first].inside, 1, "{seen:?}");
        let before = times[..first].iter().max().unwrap();
        let paused = times[first].saturating_duration_since(*before);
        assert!(paused >= Duration::from_millis(pause), "{paused:?} of {pause} ms");
    }
    let address = server.base().replace("http://", "");
    assert_eq!(results["held_off"][address], 2, "{results}");
}

#[test]
fn a_job_that_does_not_back_off_is_not_held_off_with_the_others() {
    let refused = Latch::default();
    let server = Server::start(move |seen| {
        if seen.path() == "/refuse" {
            refused.open();
            return OK.replace("200 OK", "503 Busy\r\nretry-after: 3600");
        }
        refused.wait();
        OK.to_owned()
    });
    // A request of each job holds a permit of the host. The host's other requests come after the refusal.
    let plan = "[host.\"127.0.0.1\"]\nlimit = 2\n".to_owned()
        + &plan_job("a", 1, &server.base(), 1, "").replace("\"/\"", "\"/refuse\"")
        + &plan_job("b", 1, &server.base(), 40, "timeout = \"60s\"\nbackoff = false");
    let (ended, results) = check(&plan);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert_eq!(job(&results, "b")["ok"], 40, "{results}");
}

#[test]
fn a_job_that_lasts_for_a_time_ends_when_its_server_gets_no_more() {
    for redirects in ["", "redirects = 3"] {
        let plan = plan_job("a", 1, &down(), 1, &format!("for = \"1h\"\n{redirects}"));
        let (ended, results) = check(&plan.replace("repeat = 1\n", ""));
        assert_eq!(ended.status, Some(1), "{ended:?}");
        let failures = job(&results, "a")["failures"].as_array().unwrap();
        let counts: Vec<_> = failures.iter().map(|failure| failure["count"].as_u64()).collect();
        assert_eq!(counts, [Some(4), Some(1)], "{results}");
        assert_eq!(failures[1]["cause"], "not sent: the server has refused too often");
    }
}

#[test]
fn a_job_goes_on_if_only_the_targets_of_its_redirects_get_no_more() {
    let to = format!("302 Found\r\nlocation: {}/", down());
    let server = Server::start(move |_| OK.replace("200 OK", &to));
    let plan = plan_job("a", 1, &server.base(), 9, "redirects = 1");
    let (ended, results) = check(&plan.replace("[\"/\"]", "[\"/a\", \"/b\"]"));
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let results = job(&results, "a");
    let failures = results["failures"].as_array().unwrap();
    let counts: Vec<_> = failures.iter().map(|failure| failure["count"].as_u64()).collect();
    assert_eq!(counts, [Some(4), Some(14)], "{results}");
    let cause = "redirected to a server that has refused too often, and gets no more";
    assert_eq!(failures[1]["cause"], cause);
    // All were sent as far as to the first server, and four redirects were followed.
    let of_paths = results["paths"].as_array().unwrap().iter();
    let of_paths: Vec<_> = of_paths.map(|path| path["requests"].as_u64()).collect();
    assert_eq!(of_paths, [Some(9), Some(9)], "{results}");
    assert_eq!(results["redirects"], 4, "{results}");
    assert_eq!(server.seen().len(), 18);
}
