//! How gentle a run stays when a server does not behave: time-outs, rates, refusals.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::program::{Scratch, check, end, interrupt, job, plan_job, start};
use crate::servers::{Latch, OK, Server};

/// When requests came, in order.
type Times = Arc<Mutex<Vec<Instant>>>;

/// A server that does not notice that a client has gone: each request stays in it until the process ends.
fn oblivious() -> (Server, Times) {
    let (times, never) = (Times::default(), Latch::default());
    let came = Arc::clone(&times);
    let server = Server::start(move |_| {
        came.lock().unwrap().push(Instant::now());
        never.wait();
        OK
    });
    (server, times)
}

/// The shortest time in which `count` requests more came.
fn shortest(times: &Times, count: usize) -> Duration {
    let times = times.lock().unwrap();
    times.windows(count + 1).map(|window| window[count] - window[0]).min().unwrap()
}

#[test]
fn a_request_that_timed_out_keeps_its_permit_for_a_grace() {
    for (after, least) in [("\"hold\"", 350), ("\"600ms\"", 700)] {
        let (server, times) = oblivious();
        let more = format!("timeout = \"200ms\"\nafter_timeout = {after}");
        let (ended, results) = check(&plan_job("a", 2, &server.base(), 6, &more));
        assert_eq!(ended.status, Some(1), "{ended:?}");
        let results = job(&results, "a");
        assert_eq!((&results["abandoned"], &results["most_in_hands"]), (&6.into(), &2.into()));
        // A third request comes only when the first one's time and grace are over. A connection may be slow, by little.
        let third_after = shortest(&times, 2);
        assert!(third_after >= Duration::from_millis(least), "{after}: {third_after:?}");
        assert!(ended.stdout.contains("abandoned  in hands"), "{ended:?}");
    }
}

#[test]
fn a_permit_that_is_released_at_once_shows_in_the_report() {
    let (server, times) = oblivious();
    let more = "timeout = \"200ms\"\nafter_timeout = \"release\"";
    let plan = plan_job("a", 2, &server.base(), 6, more) + "[host.\"127.0.0.1\"]\nlimit = 2\n";
    let (_, results) = check(&plan);
    assert_eq!(job(&results, "a")["most_in_flight"], 2);
    // Those that were given up, and those that were sent since.
    assert!(job(&results, "a")["most_in_hands"].as_u64() >= Some(4), "{results}");
    assert!(results["hosts"][0]["most_in_hands"].as_u64() >= Some(4), "{results}");
    assert!(shortest(&times, 2) < Duration::from_millis(350));
}

#[test]
fn a_signal_does_not_wait_for_a_grace() {
    let (server, _) = oblivious();
    let more = "timeout = \"100ms\"\nafter_timeout = \"60m\"";
    let plan = Scratch::file("plan.toml", &plan_job("a", 1, &server.base(), 9, more));
    let (child, mut stderr) = start(&[plan.path()]);
    stderr.find(|line| line.starts_with("a: 1 of 9 done")).unwrap();
    interrupt(&child);
    let ended = end(child);
    assert_eq!(ended.status, Some(130), "{ended:?}");
    assert!(ended.stdout.contains("a: 8 of 9 requests not sent"), "{ended:?}");
}
