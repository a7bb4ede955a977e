//! How gentle a run stays when a server does not behave: time-outs, rates, refusals.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Barrier, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::ports::{listen, listen_no_more, silent};
use crate::program::{Scratch, check, end, gentle, interrupt, job, plan_job, start};
use crate::servers::{Latch, OK, Server, down, ok};

/// A server that does not notice that a client has gone: each request stays in it until the process ends.
fn oblivious() -> Server {
    let never = Latch::default();
    Server::start(move |_| {
        never.wait();
        OK
    })
}

/// The column `in hands` forgets a request once its connection is closed and its grace is over. This server works on for longer: it ends
/// up with all requests, and the column says two.
#[test]
fn a_request_that_timed_out_keeps_its_permit_for_a_grace() {
    for (after, seconds) in
        [("", 1.4), ("after_timeout = \"hold\"", 1.4), ("after_timeout = \"600ms\"", 2.6)]
    {
        let server = oblivious();
        let more = format!("timeout = \"200ms\"\n{after}");
        let (ended, results) = check(&plan_job("a", 2, &server.base(), 8, &more));
        assert_eq!(ended.status, Some(1), "{ended:?}");
        let results = job(&results, "a");
        assert_eq!((&results["abandoned"], &results["most_in_hands"]), (&8.into(), &2.into()));
        // Three times and graces of two requests at once, and the time of the last two.
        assert!(results["elapsed_seconds"].as_f64() >= Some(seconds), "{after}: {results}");
        assert!(ended.stdout.contains("abandoned  in hands"), "{ended:?}");
        // On a busy machine some requests may time out before they leave.
        server.wait_for(3);
        assert!(server.seen().iter().any(|seen| seen.inside > 2));
    }
}

#[test]
fn a_permit_that_is_released_at_once_shows_in_the_report() {
    let server = oblivious();
    let more = "timeout = \"200ms\"\nafter_timeout = \"release\"";
    let plan = plan_job("a", 2, &server.base(), 6, more) + "[host.\"127.0.0.1\"]\nlimit = 2\n";
    let (_, results) = check(&plan);
    assert_eq!(job(&results, "a")["most_in_flight"], 2);
    // Those that timed out and are within their grace, and those that were sent since.
    assert!(job(&results, "a")["most_in_hands"].as_u64() >= Some(4), "{results}");
    assert!(results["hosts"][0]["most_in_hands"].as_u64() >= Some(4), "{results}");
}

#[test]
fn the_end_of_a_jobs_time_does_not_end_a_grace() {
    let never = Latch::default();
    let (times, came) = (Arc::<Mutex<Vec<_>>>::default(), Instant::now());
    let noted = Arc::clone(&times);
    let server = Server::start(move |seen| {
        noted.lock().unwrap().push((seen.path(), came.elapsed()));
        match seen.path().as_str() {
            "/stall" => never.wait(),
            _ => sleep(Duration::from_millis(5)),
        }
        OK
    });
    // The two jobs share one permit. The first one is over before its grace is.
    let more = "timeout = \"300ms\"\nafter_timeout = \"2s\"\nfor = \"600ms\"";
    let plan = "[host.\"127.0.0.1\"]\nlimit = 1\n".to_owned()
        + &plan_job("a", 1, &server.base(), 1, more)
            .replace("repeat = 1\n", "")
            .replace("\"/\"", "\"/stall\"")
        + &plan_job("b", 1, &server.base(), 200, "timeout = \"60s\"");
    let (_, results) = check(&plan);
    assert_eq!(job(&results, "b")["ok"], 200, "{results}");
    assert_eq!(results["hosts"][0]["most_in_hands"], 1, "{results}");
    let times = times.lock().unwrap();
    let stalls = || times.iter().filter(|(path, _)| path == "/stall");
    assert!(stalls().count() > 0, "{times:?}");
    for (_, stalled) in stalls() {
        let grace = *stalled..*stalled + Duration::from_millis(1_500);
        let early = times.iter().find(|(path, time)| path == "/" && grace.contains(time));
        assert_eq!(early, None, "{times:?}");
    }
}

#[test]
fn a_signal_does_not_wait_for_a_grace() {
    let server = oblivious();
    let more = "timeout = \"100ms\"\nafter_timeout = \"60m\"";
    let plan = Scratch::file("plan.toml", &plan_job("a", 1, &server.base(), 9, more));
    let (child, mut stderr) = start(&[plan.path()]);
    stderr.find(|line| line.starts_with("a: 1 of 9 done")).unwrap();
    interrupt(&child);
    let ended = end(child);
    assert_eq!(ended.status, Some(130), "{ended:?}");
    assert!(ended.stdout.contains("a: 8 of 9 requests not sent"), "{ended:?}");
}

/// Asserts that a run of `requests` took as long as the rate says. A thread that was late may catch up with its burst, and may then
/// be one interval ahead.
fn keeps_to(seconds: &Value, interval: Duration, burst: u32, requests: u32) {
    let due = interval * (requests - burst - 2);
    assert!(seconds.as_f64() >= Some(due.as_secs_f64()), "{seconds} s, not {due:?}");
}

#[test]
fn a_job_keeps_to_its_rate_and_its_burst() {
    for (burst, count) in [(1, 30), (10, 40)] {
        let server = Server::start(ok);
        let more = format!("rate = \"50/s\"\nburst = {burst}");
        let (ended, results) = check(&plan_job("a", 8, &server.base(), count, &more));
        assert_eq!(ended.status, Some(0), "{ended:?}");
        let seconds = &job(&results, "a")["elapsed_seconds"];
        keeps_to(seconds, Duration::from_millis(20), burst, count as u32);
    }
}

#[test]
fn a_burst_comes_at_once_and_a_job_ends_with_its_last_answer() {
    // Else this would take hours. A list tells its end, too.
    let server = Server::start(ok);
    let rate = "rate = \"1/h\"\nburst = 10";
    let list = Scratch::file("urls.txt", &format!("{}/\n", server.base()).repeat(10));
    let list = format!("[[job]]\nname = \"list\"\nlimit = 8\nurls = {:?}\n{rate}\n", list.path());
    let steps = plan_job("steps", 8, &server.base(), 5, rate).replace("paths = [\"/\"]\n", "")
        + "[[job.step]]\npath = \"/\"\n[[job.step]]\npath = \"/\"\n";
    for plan in [plan_job("a", 8, &server.base(), 10, rate), list, steps] {
        let (ended, results) = check(&plan);
        assert_eq!(ended.status, Some(0), "{ended:?}");
        assert_eq!(results["jobs"][0]["ok"], 10, "{results}");
    }
}

#[test]
fn the_burst_of_a_host_and_of_the_plan_comes_at_once_and_no_more_does() {
    // The next request is due in some minutes.
    let rate = "rate = \"10/h\"\nburst = 10\n";
    for (before, after) in [
        (rate.to_owned(), String::new()),
        (String::new(), format!("[host.\"127.0.0.1\"]\n{rate}")),
        (String::new(), format!("[host.\"*\"]\n{rate}")),
    ] {
        let server = Server::start(ok);
        let jobs =
            plan_job("a", 8, &server.base(), 50, "") + &plan_job("b", 8, &server.base(), 50, "");
        let plan = Scratch::file("plan.toml", &format!("{before}{jobs}{after}"));
        let (child, stderr) = start(&[plan.path()]);
        server.wait_for(10);
        interrupt(&child);
        stderr.for_each(drop);
        let ended = end(child);
        assert!(ended.stdout.contains("interrupted: 10 requests, 0 failed"), "{ended:?}");
        assert_eq!(server.seen().len(), 10);
    }
}

#[test]
fn a_host_and_the_plan_keep_to_their_rates_over_all_jobs() {
    for (before, after) in
        [("rate = \"50/s\"\n", ""), ("", "[host.\"127.0.0.1\"]\nrate = \"3000/m\"\n")]
    {
        let server = Server::start(ok);
        let plan = before.to_owned()
            + &plan_job("a", 4, &server.base(), 10, "")
            + &plan_job("b", 4, &server.base(), 10, "")
            + after;
        let (ended, results) = check(&plan);
        assert_eq!(ended.status, Some(0), "{ended:?}");
        assert_eq!(server.seen().len(), 20);
        keeps_to(&results["elapsed_seconds"], Duration::from_millis(20), 1, 20);
    }
}

#[test]
fn a_request_keeps_to_the_rates_of_its_job_its_host_and_the_plan_at_once() {
    // One of the three is the slowest in turn. A list may send anywhere, so its permits are others than those of a job with a base.
    for slowest in 0..3 {
        let rate = |at| if at == slowest { "rate = \"50/s\"\n" } else { "rate = \"500/s\"\n" };
        let server = Server::start(ok);
        let (_list, list) = list_over(&[server.base()], 20);
        let host = "[host.\"*\"]\n".to_owned() + rate(1);
        for jobs in [plan_job("a", 4, &server.base(), 20, rate(0)), list + rate(0)] {
            let before = server.seen().len();
            let (ended, results) = check(&format!("{}{jobs}{host}", rate(2)));
            assert_eq!(ended.status, Some(0), "{ended:?}");
            assert_eq!(server.seen().len() - before, 20);
            // A rate of 500 a second has a burst of 5, one of 50 a burst of 1.
            keeps_to(&results["elapsed_seconds"], Duration::from_millis(20), 1, 20);
        }
    }
}

#[test]
fn a_stall_shows_in_the_latencies_that_are_corrected_for_the_rate() {
    let server = Server::start(|seen| {
        if seen.number == 50 {
            sleep(Duration::from_secs(1));
        }
        OK
    });
    let (ended, results) = check(&plan_job("a", 1, &server.base(), 150, "rate = \"100/s\""));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let results = job(&results, "a");
    let of = |table: &str, key: &str| results[table][key].as_f64().unwrap();
    // One request of 150 was slow. Those that were due meanwhile, about 100, were not sent at all. A slow machine misses others, too.
    assert!(of("corrected_latency", "p99_ms") > 600.0, "{results}");
    assert!(of("corrected_latency", "p95_ms") > of("latency", "p95_ms"), "{results}");
    assert!(ended.stdout.contains("a: corrected for the rate: p50 "), "{ended:?}");
    let server = Server::start(ok);
    let (_, results) = check(&plan_job("a", 1, &server.base(), 2, ""));
    assert!(job(&results, "a")["corrected_latency"].is_null());
}

/// Serves so many requests, a connection each.
fn serve(listener: &TcpListener, requests: usize) {
    for stream in listener.incoming().take(requests) {
        let mut stream = stream.unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap_or(0) > 2 {
            line.clear();
        }
        _ = stream.write_all(OK.as_bytes());
    }
}

#[test]
fn a_restart_of_the_server_costs_tens_of_failures() {
    // Both sockets have the port from the start, so no other server gets it while neither listens, and with it these requests.
    let after = silent(0);
    let address = after.local_addr().unwrap();
    let before = silent(address.port());
    listen(&before);
    thread::spawn(move || {
        serve(&before, 500);
        listen_no_more(&before);
        sleep(Duration::from_millis(1_200));
        listen(&after);
        serve(&after, usize::MAX);
    });
    let (ended, results) = check(&plan_job("a", 16, &format!("http://{address}"), 5_000, ""));
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let failed = job(&results, "a")["failed"].as_u64().unwrap();
    // The requests that were on their way, and one for each time that was too short.
    assert!((1..60).contains(&failed), "{results}");
    assert_eq!(job(&results, "a")["requests"], 5_000);
    assert!(results["held_off"][address.to_string()].as_u64() >= Some(1), "{results}");
}

#[test]
fn a_server_stops_listening_while_a_process_is_started() {
    let after = silent(0);
    let address = after.local_addr().unwrap();
    let before = silent(address.port());
    listen(&before);
    // What such a process has: a descriptor of the same socket.
    let _copy = before.try_clone().unwrap();
    listen_no_more(&before);
    drop(before);
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    listen(&after);
    drop(TcpStream::connect(address).unwrap());
}

#[test]
fn a_server_that_is_busy_is_left_alone_unless_the_plan_says_otherwise() {
    for (status, backoff) in [("503 Busy", ""), ("429 Slow", ""), ("503 Busy", "backoff = false")] {
        let server = Server::start(move |seen| {
            let is_busy = (50..53).contains(&seen.number);
            OK.replace("200 OK", if is_busy { status } else { "200 OK" })
        });
        let (ended, results) = check(&plan_job("a", 8, &server.base(), 400, backoff));
        assert_eq!(ended.status, Some(1), "{ended:?}");
        assert_eq!(job(&results, "a")["failed"], 3, "{results}");
        assert_eq!(results["held_off"].as_object().unwrap().is_empty(), !backoff.is_empty());
        // Behind the requests that were on their way there is a pause.
        let seconds = job(&results, "a")["elapsed_seconds"].as_f64().unwrap();
        assert!(seconds >= 0.5 || !backoff.is_empty(), "{results}");
    }
}

#[test]
fn a_server_that_says_for_how_long_is_left_alone_for_so_long() {
    let statuses = ["429 Slow", "503 Busy"];
    for (status, is_date) in
        statuses.into_iter().flat_map(|status| [(status, false), (status, true)])
    {
        // When the server said for how long, until when, and when it got the next request.
        let times = Arc::<Mutex<Vec<SystemTime>>>::default();
        let noted = Arc::clone(&times);
        let server = Server::start(move |seen| {
            let now = SystemTime::now();
            if seen.number > 0 {
                noted.lock().unwrap().push(now);
                return OK.to_owned();
            }
            let (wish, until) = if is_date {
                // A date has whole seconds.
                let date = httpdate::fmt_http_date(now + Duration::from_secs(3));
                let until = httpdate::parse_http_date(&date).unwrap();
                (date, until)
            } else {
                ("1".to_owned(), now + Duration::from_secs(1))
            };
            noted.lock().unwrap().extend([now, until]);
            OK.replace("200 OK", &format!("{status}\r\nretry-after: {wish}"))
        });
        let (_, results) = check(&plan_job("a", 1, &server.base(), 3, ""));
        assert_eq!(job(&results, "a")["failed"], 1, "{results}");
        let times = times.lock().unwrap();
        // The clock of the calendar may be set a little while the other one runs on.
        assert!(times[2] + Duration::from_millis(50) >= times[1], "{times:?}");
        let address = server.base().replace("http://", "");
        assert_eq!(results["held_off"][address], 1, "{results}");
    }
}

#[test]
fn a_status_that_the_plan_expects_is_no_refusal() {
    let server = Server::start(|_| OK.replace("200 OK", "503 Busy\r\nretry-after: 60"));
    let (ended, results) = check(&plan_job("a", 2, &server.base(), 20, "expect = 503"));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert!(results["held_off"].as_object().unwrap().is_empty());
}

#[test]
fn a_server_that_has_never_answered_is_given_up() {
    let (ended, results) = check(&plan_job("a", 1, &down(), 200, ""));
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let failures = job(&results, "a")["failures"].as_array().unwrap();
    let counts: Vec<_> =
        failures.iter().map(|failure| failure["count"].as_u64().unwrap()).collect();
    assert_eq!(counts, [4, 196], "{results}");
    assert_eq!(failures[1]["cause"], "not sent: the server has refused too often");
    // The requests that were not sent are in no rate.
    for rate in [&results["requests_per_second"], &job(&results, "a")["requests_per_second"]] {
        let seconds = job(&results, "a")["elapsed_seconds"].as_f64().unwrap();
        assert!((rate.as_f64().unwrap() * seconds - 4.0).abs() < 1e-6, "{results}");
    }
}

#[test]
fn a_signal_does_not_wait_until_a_server_is_ready_again() {
    let server = Server::start(|_| OK.replace("200 OK", "503 Busy\r\nretry-after: 600"));
    let plan = Scratch::file("plan.toml", &plan_job("a", 1, &server.base(), 9, ""));
    let (child, mut stderr) = start(&[plan.path()]);
    stderr.find(|line| line.starts_with("a: 1 of 9 done")).unwrap();
    interrupt(&child);
    let ended = end(child);
    assert_eq!(ended.status, Some(130), "{ended:?}");
    assert_eq!(server.seen().len(), 1);
}

/// A list job over some servers.
fn list_over(servers: &[String], requests: usize) -> (Scratch, String) {
    let lines = servers.iter().map(|base| format!("{base}/\n")).collect::<String>();
    let list = Scratch::file("urls.txt", &lines.repeat(requests));
    let plan = format!("[[job]]\nname = \"list\"\nlimit = 12\nurls = {:?}\n", list.path());
    (list, plan)
}

#[test]
fn hosts_that_the_plan_does_not_name_have_the_limit_of_the_star() {
    let slow = |_: &crate::servers::Seen| {
        sleep(Duration::from_millis(5));
        OK
    };
    let (one, other, named) = (Server::start(slow), Server::start(slow), Server::start(slow));
    let (_list, list) = list_over(&[one.base(), other.base(), named.base()], 30);
    let port = named.base().replace("http://", "");
    let plan = format!("[host.\"*\"]\nlimit = 2\n[host.\"{port}\"]\nlimit = 3\n{list}");
    let (ended, results) = check(&plan);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let hosts = results["hosts"].as_array().unwrap();
    let limits: Vec<_> = hosts.iter().map(|host| host["limit"].as_u64().unwrap()).collect();
    assert_eq!(limits, [3, 2, 2], "{results}");
    for (server, limit) in [(&one, 2), (&other, 2), (&named, 3)] {
        assert!(server.seen().iter().all(|seen| seen.inside <= limit));
        assert_eq!(server.seen().len(), 30);
    }
}

#[test]
fn names_of_one_address_and_port_are_one_host_unless_the_plan_says_otherwise() {
    for (by, hosts) in [("", 1), ("by = \"name\"\n", 2)] {
        // Where three may be inside, the first ones wait until they are.
        let three = Barrier::new(3);
        let server = Server::start(move |seen| {
            if hosts > 1 && seen.number < 3 {
                three.wait();
            }
            sleep(Duration::from_millis(5));
            OK
        });
        let by_name = server.base().replace("127.0.0.1", "localhost");
        let plan = format!("[host.\"*\"]\nlimit = 2\n{by}")
            + &plan_job("a", 6, &server.base(), 30, "timeout = \"60s\"")
            + &plan_job("b", 6, &by_name, 30, "timeout = \"60s\"");
        let (ended, results) = check(&plan);
        assert_eq!(ended.status, Some(0), "{ended:?}");
        assert_eq!(results["hosts"].as_array().unwrap().len(), hosts, "{results}");
        let inside = server.seen().iter().map(|seen| seen.inside).max().unwrap();
        assert_eq!(inside > 2, hosts > 1, "{by}: {inside}");
    }
}

#[test]
fn a_host_under_another_name_that_no_job_sends_to_is_refused() {
    let server = Server::start(ok);
    let by_name = server.base().replace("127.0.0.1", "localhost");
    let limit = "[host.\"127.0.0.1\"]\nlimit = 1\n";
    let (ended, results) = check(&(limit.to_owned() + &plan_job("a", 2, &by_name, 9, "")));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(results["hosts"][0]["most_in_flight"], 1);
    let plan = limit.replace("127.0.0.1", "localhost")
        + &plan_job("a", 2, &server.base().replace("127.0.0.1", "127.0.0.9"), 9, "");
    let ended = gentle([Scratch::file("plan.toml", &plan).path()]);
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert!(
        ended.stderr.contains("no job sends to localhost: write it as in a job's base"),
        "{ended:?}"
    );
}

/// The most that a server serves at once which [`with_a_knee`] starts.
const KNEE: usize = 4;

/// A server that takes a while for a request, and refuses while more are inside than it serves.
fn with_a_knee() -> Server {
    Server::start(|seen| {
        sleep(Duration::from_millis(20));
        if seen.inside > KNEE {
            return "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        }
        OK
    })
}

/// With a fixed limit of 64 all 64 would be inside. The limit that finds itself rises by one until the server refuses, and falls then.
#[test]
fn a_limit_that_finds_itself_stays_near_the_knee() {
    let more = "backoff = false\nthresholds = { failed = \"< 100%\" }";
    for of_host in [false, true] {
        let server = with_a_knee();
        let auto = "limit = { max = 64 }";
        let plan = if of_host {
            plan_job("a", 64, &server.base(), 400, more) + "[host.\"127.0.0.1\"]\n" + auto
        } else {
            plan_job("a", 64, &server.base(), 400, more).replace("limit = 64", auto)
        };
        let (ended, results) = check(&plan);
        assert_eq!(ended.status, Some(0), "{ended:?}");
        let (job, host) = (job(&results, "a"), &results["hosts"][0]);
        let limited = if of_host { host } else { job };
        let auto = &limited["auto"];
        assert_eq!((&auto["min"], &auto["max"]), (&1.into(), &64.into()), "{results}");
        // A limit above the knee is refused, and lowered. On a slow machine fewer requests are inside than are in flight.
        let settled = auto["settled"].as_u64().unwrap() as usize;
        assert!((1..=32).contains(&settled), "{results}");
        let most = limited["most_in_flight"].as_u64().unwrap() as usize;
        assert!((KNEE..=32).contains(&most), "{results}");
        assert!(ended.stdout.contains(&format!("auto:{settled}")), "{ended:?}");
        assert!(job["ok"].as_u64() > Some(100), "{results}");
    }
}

/// Each request times out, so the limit must not rise, although no time differs from the others.
#[test]
fn time_outs_keep_a_limit_that_finds_itself_low() {
    for lasts in ["repeat = 12", "for = \"1s\""] {
        let server = oblivious();
        let more = "timeout = \"100ms\"\nafter_timeout = \"release\"";
        let plan = plan_job("a", 2, &server.base(), 12, more).replace("repeat = 12", lasts);
        let (ended, results) = check(&plan.replace("limit = 2", "limit = \"auto\""));
        assert_eq!(ended.status, Some(1), "{ended:?}");
        let job = job(&results, "a");
        let most = (&job["auto"]["settled"], &job["most_in_flight"]);
        assert_eq!(most, (&1.into(), &1.into()), "{job}");
    }
}
