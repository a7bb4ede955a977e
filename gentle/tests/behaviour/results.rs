//! What a report says: thresholds, latencies of successes and failures apart, each failure in a file, this machine's own failures.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Barrier};
use std::thread::sleep;
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use serde_json::Value;

use crate::peers::{Speaks, serve_at_ports};
use crate::program::{Scratch, check, command, end, gentle, job, plan_job, start};
use crate::servers::{OK, Server, down, ok};

#[test]
fn a_threshold_that_is_not_held_fails_the_run_and_each_has_a_line() {
    for (job_bounds, plan_bounds, status) in [
        ("p95 = \"< 10s\", failed = \"< 2\", rate = \"> 1/s\"", "failed = \"< 50%\"", 0),
        ("p95 = \"< 10ms\", failed = \"< 2\"", "failed = \"< 50%\"", 1),
        ("max = \"> 10ms\", mean = \"> 10ms\", failed = \"< 1\"", "", 1),
        ("failed = \"< 2\"", "p50 = \"< 1ms\"", 1),
        ("rate = \"> 100000/s\", failed = \"< 2\"", "", 1),
        ("p95 = \"< 10s\"", "", 1),
    ] {
        let server = Server::start(|seen| {
            sleep(Duration::from_millis(20));
            if seen.number == 0 { OK.replace("200 OK", "500 No") } else { OK.to_owned() }
        });
        let plan = format!("[thresholds]\n{plan_bounds}\n")
            + &plan_job("a", 2, &server.base(), 10, &format!("thresholds = {{ {job_bounds} }}"));
        let (ended, results) = check(&plan);
        assert_eq!(ended.status, Some(status), "{job_bounds}: {ended:?}");
        let lines = ended.stdout.lines().filter(|line| line.contains(": threshold ")).count();
        let bounds = job_bounds.matches('=').count() + plan_bounds.matches('=').count();
        assert_eq!(lines, bounds, "{ended:?}");
        let thresholds = job(&results, "a")["thresholds"].as_array().unwrap();
        assert_eq!(thresholds.len(), job_bounds.matches('=').count());
    }
}

#[test]
fn each_measure_can_bound_a_job_and_the_plan() {
    let latencies = ["p50", "p90", "p95", "p99", "p999", "max", "mean"];
    let bounds = |latency: &str, rate: &str| {
        let each = latencies.map(|key| format!("{key} = \"{latency}\""));
        format!("{{ {}, failed = \"< 1\", rate = \"{rate}\" }}", each.join(", "))
    };
    // Each answer takes 20 ms or more, and the run less than an hour.
    let held = bounds("> 10ms", "< 100/s");
    let missed = bounds("< 10ms", "> 100/s");
    for (of_job, of_plan) in [(&held, &held), (&held, &missed), (&missed, &held)] {
        let server = Server::start(|_| {
            sleep(Duration::from_millis(20));
            OK
        });
        let job_bounds = format!("thresholds = {of_job}");
        let plan =
            format!("thresholds = {of_plan}\n") + &plan_job("a", 1, &server.base(), 5, &job_bounds);
        let (ended, results) = check(&plan);
        assert_eq!(ended.status, Some(i32::from(of_job != of_plan)), "{ended:?}");
        for (thresholds, bounds) in
            [(&results["thresholds"], of_plan), (&job(&results, "a")["thresholds"], of_job)]
        {
            let thresholds = thresholds.as_array().unwrap();
            assert_eq!(thresholds.len(), latencies.len() + 2, "{results}");
            for threshold in thresholds {
                let is_about_failures = threshold["threshold"] == "failed < 1";
                assert_eq!(threshold["held"], *bounds == held || is_about_failures, "{results}");
            }
        }
    }
}

#[test]
fn one_measure_of_the_plan_that_is_not_held_fails_the_run() {
    let server = Server::start(|_| {
        sleep(Duration::from_millis(20));
        OK
    });
    for bound in ["p90 = \"< 10ms\"", "p99 = \"< 10ms\"", "p999 = \"< 10ms\"", "rate = \"> 100/s\""]
    {
        let plan = format!("[thresholds]\n{bound}\n") + &plan_job("a", 1, &server.base(), 3, "");
        let (ended, results) = check(&plan);
        assert_eq!((ended.status, &results["as_expected"]), (Some(1), &false.into()), "{bound}");
        assert!(ended.stdout.contains("all jobs: threshold "), "{ended:?}");
    }
}

#[test]
fn a_latency_that_was_never_measured_is_not_within_its_bound() {
    let (ended, results) = check(&plan_job(
        "a",
        1,
        &down(),
        2,
        "thresholds = { p95 = \"< 10s\", failed = \"< 200%\" }",
    ));
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let threshold = &job(&results, "a")["thresholds"][1];
    assert_eq!((&threshold["found"], &threshold["held"]), (&Value::Null, &false.into()));
    assert!(ended.stdout.contains("a: threshold p95 < 10s: not held, nothing to measure"));
}

#[test]
fn latencies_are_of_successes_and_failures_have_their_own() {
    let server = Server::start(|seen| {
        if seen.number < 12 {
            sleep(Duration::from_secs(3));
            return OK.replace("200 OK", "500 No");
        }
        sleep(Duration::from_millis(20));
        OK.to_owned()
    });
    let (_, results) = check(&plan_job("a", 12, &server.base(), 20, ""));
    let results = job(&results, "a");
    let of = |table: &str, key: &str| results[table][key].as_f64().unwrap();
    // Of all 20, more than half are failures. One success may be slow.
    let median = of("latency", "p50_ms");
    assert!((20.0..3_000.0).contains(&median), "{results}");
    assert!(
        of("latency", "mean_ms") >= 20.0 && of("latency", "p999_ms") <= of("latency", "max_ms")
    );
    assert!(of("failed_latency", "p50_ms") >= 3_000.0, "{results}");
    let server = Server::start(ok);
    let (_, results) = check(&plan_job("a", 5, &server.base(), 20, ""));
    assert!(job(&results, "a")["failed_latency"].is_null());
}

#[test]
fn a_line_that_is_no_url_is_in_no_rate() {
    let server = Server::start(|_| {
        sleep(Duration::from_millis(100));
        OK
    });
    let list = "no-url\n".repeat(10_000) + &format!("{}/\n", server.base()).repeat(5);
    let list = Scratch::file("urls.txt", &list);
    let plan = format!("[[job]]\nname = \"a\"\nlimit = 1\nurls = {:?}\n", list.path());
    let (_, results) = check(&plan);
    assert!(results["requests_per_second"].as_f64().unwrap() < 11.0, "{results}");
    let results = job(&results, "a");
    assert_eq!((&results["requests"], &results["ok"]), (&10_005.into(), &5.into()));
    assert!(results["requests_per_second"].as_f64().unwrap() < 11.0, "{results}");
}

#[test]
fn each_failure_is_a_line_of_the_file() {
    let server = Server::start(|seen| {
        if seen.path() == "/bad" {
            sleep(Duration::from_millis(50));
            return OK.replace("200 OK", "500 No");
        }
        OK.to_owned()
    });
    let list =
        Scratch::file("urls.txt", &format!("{0}/bad\n{0}/\nno-url\n{0}/bad\n", server.base()));
    let plan = format!("[[job]]\nname = \"list\"\nlimit = 2\nurls = {:?}\n", list.path())
        + &plan_job("down", 1, &down(), 30, "");
    let (plan, file) = (Scratch::file("plan.toml", &plan), Scratch::file("failures", "before"));
    let began = Instant::now();
    let ended =
        gentle([plan.path().to_str().unwrap(), "--failures", file.path().to_str().unwrap()]);
    let most = began.elapsed().as_secs_f64() * 1_000.0;
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let text = fs::read_to_string(file.path()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).collect::<Vec<_>>();
    assert_eq!((lines.len(), of("refused").len()), (33, 30));
    let unexpected = of("unexpected");
    assert_eq!(unexpected.len(), 2);
    assert_eq!(unexpected[0]["target"], format!("{}/bad", server.base()));
    assert_eq!((&unexpected[0]["job"], &unexpected[0]["status"]), (&"list".into(), &500.into()));
    assert_eq!(of("line")[0]["target"], format!("{}:3", list.path().display()));
    assert!(lines.iter().all(|line| line["at"].as_str().unwrap().ends_with('Z')));
    let causes = |lines: &[&Value]| {
        lines.iter().map(|line| line["cause"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(causes(&unexpected), ["status 500 instead of 200"; 2]);
    let refused = of("refused");
    assert_eq!(causes(&refused[..4]), ["connection refused"; 4]);
    let (not_sent, given_up) = ("not sent: the server has refused too often", &refused[4..]);
    assert_eq!(causes(given_up), vec![not_sent; 26]);
    assert!(causes(&of("line"))[0].starts_with("the line "), "{text}");
    let took = |line: &Value| line["took_ms"].as_f64().unwrap();
    assert!(unexpected.iter().all(|line| (50.0..most).contains(&took(line))), "{text}");
    assert!(refused[..4].iter().all(|line| (0.0..most).contains(&took(line))), "{text}");
    // No request was sent for these.
    assert!(given_up.iter().chain(&of("line")).all(|line| took(line) == 0.0), "{text}");
    assert!(refused.iter().all(|line| line["status"].is_null()), "{text}");
}

#[test]
fn the_hdr_file_has_the_latencies_of_each_job() {
    let server = Server::start(|_| {
        sleep(Duration::from_millis(30));
        OK
    });
    let plan =
        plan_job("a job", 2, &server.base(), 10, "") + &plan_job("b", 1, &server.base(), 3, "");
    let (plan, file) = (Scratch::file("plan.toml", &plan), Scratch::file("hdr", ""));
    let ended = gentle([plan.path().to_str().unwrap(), "--hdr", file.path().to_str().unwrap()]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let log = fs::read(file.path()).unwrap();
    let mut found = Vec::new();
    for entry in IntervalLogIterator::new(&log) {
        if let LogEntry::Interval(interval) = entry.unwrap() {
            let bytes = BASE64_STANDARD.decode(interval.encoded_histogram()).unwrap();
            let histogram: Histogram<u64> =
                Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
            let tag = interval.tag().map(|tag| tag.as_str().to_owned());
            found.push((tag.unwrap(), histogram.len(), histogram.min() >= 29_000));
        }
    }
    assert_eq!(found, [("a_job".to_owned(), 10, true), ("b".to_owned(), 3, true)]);
}

/// At most `most` of a resource, which the process cannot raise.
fn at_most(most: u64) -> libc::rlimit {
    libc::rlimit { rlim_cur: most, rlim_max: most }
}

/// What the program that a command starts may have.
#[derive(Clone, Copy)]
enum Resource {
    /// Open files.
    Files,
    /// Bytes of addresses.
    Memory,
}

/// Lets the program that `command` starts have at most `most` of `resource`.
fn limit(command: &mut Command, resource: Resource, most: u64) {
    // SAFETY: `setrlimit` is allowed between fork and exec; the pointer is to a value that outlives the call.
    unsafe {
        command.pre_exec(move || {
            let resource = match resource {
                Resource::Files => libc::RLIMIT_NOFILE,
                Resource::Memory => libc::RLIMIT_AS,
            };
            match libc::setrlimit(resource, &at_most(most)) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        })
    };
}

#[test]
fn a_limit_above_what_the_system_allows_is_refused_before_the_start() {
    let server = Server::start(ok);
    let run = |requests: usize, more: &str| {
        let plan = Scratch::file("plan.toml", &plan_job("a", requests, &server.base(), 500, more));
        let mut command = command();
        command.arg(plan.path());
        limit(&mut command, Resource::Files, 200);
        command.output().unwrap()
    };
    let output = run(400, "");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("400 requests at once need 4"), "{stderr}");
    assert!(stderr.contains("and the system allows 200: lower the limits"), "{stderr}");
    assert!(server.seen().is_empty());
    assert_eq!(run(20, "").status.code(), Some(0));
}

#[test]
fn too_little_memory_for_the_threads_is_found_before_the_start() {
    let server = Server::start(ok);
    let plan = format!("workers = 1000\n{}", plan_job("a", 2, &server.base(), 5, ""));
    let plan = Scratch::file("plan.toml", &plan);
    let mut command = command();
    command.arg(plan.path());
    // A thread's stack takes 2 MiB of addresses.
    limit(&mut command, Resource::Memory, 768 << 20);
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("a thread does not start: "), "{stderr}");
    assert!(server.seen().is_empty());
}

#[test]
fn a_timer_that_does_not_start_is_an_error_before_the_start() {
    let server = Server::start(ok);
    let plan = Scratch::file("plan.toml", &plan_job("a", 1, &server.base(), 1, ""));
    let mut all = String::new();
    // Somewhere between no thread and all threads, the timer's is the first one that does not start.
    for mebibytes in 8..80 {
        let mut command = command();
        command.arg(plan.path()).arg("--quiet");
        limit(&mut command, Resource::Memory, mebibytes << 20);
        let output = command.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        all += &format!("{mebibytes}: {:?} {stderr}\n", output.status);
    }
    assert!(all.contains("timer does not start: "), "{all}");
    assert!(!all.contains("panicked"), "{all}");
}

/// Leaves a run so little memory that it can start no thread.
fn may_start_no_thread(child: &Child) {
    let id = i32::try_from(child.id()).unwrap();
    let pages = fs::read_to_string(format!("/proc/{id}/statm")).unwrap();
    let pages: u64 = pages.split(' ').next().unwrap().parse().unwrap();
    // Room for small things, and for no stack.
    let most = at_most((pages << 12) + (1 << 20));
    // SAFETY: the pointers are null or to a value that outlives the call; the child has not been waited for.
    let set = unsafe { libc::prlimit(id, libc::RLIMIT_AS, &most, std::ptr::null_mut()) };
    assert_eq!(set, 0);
}

/// A server that gives the answer `first` to its first request, and `OK` to all others. The test meets the first request at the
/// barrier when it has come, and once more to let the server answer.
fn server_that_holds_the_first(first: String) -> (Server, Arc<Barrier>) {
    let begun = Arc::new(Barrier::new(2));
    let wait = Arc::clone(&begun);
    let server = Server::start(move |seen| {
        if seen.number == 0 {
            wait.wait();
            wait.wait();
            return first.clone();
        }
        OK.to_owned()
    });
    (server, begun)
}

/// A server that refuses gets no request until a timer fires. The timer's thread must start before the run: this run may make none.
#[test]
fn a_refusal_during_a_run_needs_no_new_thread() {
    let busy = OK.replace("200 OK", "503 Busy\r\nretry-after: 1");
    let (server, begun) = server_that_holds_the_first(busy);
    let plan =
        Scratch::file("plan.toml", &plan_job("a", 1, &server.base(), 2, "timeout = \"60s\""));
    let (child, stderr) = start(&[plan.path().to_str().unwrap(), "--quiet"]);
    begun.wait();
    // A timer that nothing waits for would be gone by then.
    sleep(Duration::from_millis(1_500));
    may_start_no_thread(&child);
    begun.wait();
    let said: Vec<_> = stderr.collect();
    let ended = end(child);
    assert_eq!(ended.status, Some(1), "{ended:?} {said:?}");
    assert_eq!(server.seen().len(), 2);
}

/// A name is looked up by a thread. It must have started before the run: this run may make none.
#[test]
fn a_look_up_of_a_name_during_a_run_needs_no_new_thread() {
    let (server, begun) = server_that_holds_the_first(OK.to_owned());
    let list = "[[job]]\nname = \"a\"\nlimit = 1\nurls = \"-\"\ntimeout = \"60s\"\n";
    let plan = Scratch::file("plan.toml", list);
    let mut command = command();
    command.arg(plan.path()).arg("--quiet");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{}/", server.base()).unwrap();
    begun.wait();
    // A thread that starts takes more for a moment than it keeps.
    sleep(Duration::from_millis(1_000));
    may_start_no_thread(&child);
    begun.wait();
    writeln!(stdin, "{}/", server.base().replace("127.0.0.1", "localhost")).unwrap();
    drop(stdin);
    let ended = end(child);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn open_connections_of_http_2_are_no_more_than_requests_at_once() {
    let serves = Speaks { tls: None, asks_for_certificate: false, protocols: &["h2"] };
    let (servers, visits) = serve_at_ports(100, &serves);
    let urls: String = servers.iter().map(|server| format!("http://{server}/\n")).collect();
    let list = Scratch::file("urls.txt", &urls);
    let list = list.path().display();
    let plan = format!("[[job]]\nname = \"a\"\nlimit = 2\nurls = \"{list}\"\nhttp = \"2\"\n");
    let plan = Scratch::file("plan.toml", &plan);
    let mut command = command();
    command.arg(plan.path());
    limit(&mut command, Resource::Files, 60);
    let output = command.output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stdout}");
    assert_eq!(visits.connections(), 100);
}

#[test]
fn too_few_files_during_a_run_are_this_machines_failure() {
    let begun = Arc::new(Barrier::new(2));
    let wait = Arc::clone(&begun);
    let server = Server::start(move |seen| {
        if seen.number == 0 {
            wait.wait();
            wait.wait();
        }
        OK
    });
    let plan = Scratch::file("plan.toml", &plan_job("a", 1, &server.base(), 10, ""));
    let [json, html] = ["results.json", "page.html"].map(|name| Scratch::file(name, ""));
    let [plan_file, json_file, html_file] =
        [&plan, &json, &html].map(|file| file.path().to_str().unwrap());
    let (child, stderr) = start(&[plan_file, "--json", json_file, "--html", html_file]);
    begun.wait();
    let id = i32::try_from(child.id()).unwrap();
    // SAFETY: the pointers are null or to a value that outlives the call; the child has not been waited for.
    let set = unsafe { libc::prlimit(id, libc::RLIMIT_NOFILE, &at_most(3), std::ptr::null_mut()) };
    assert_eq!(set, 0);
    begun.wait();
    drop(stderr);
    let ended = end(child);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let results: Value = serde_json::from_str(&fs::read_to_string(json.path()).unwrap()).unwrap();
    let results = job(&results, "a");
    let counts = ["ok", "failed", "own_failures"].map(|key| results[key].as_u64().unwrap());
    assert_eq!(counts, [1, 0, 9], "{results}");
    assert_eq!(results["failures"][0]["kind"], "own");
    // They are in no rate.
    let of = |key: &str| results[key].as_f64().unwrap();
    let sent = of("requests_per_second") * of("elapsed_seconds");
    assert!((sent - 1.0).abs() < 1e-6, "{results}");
    assert!(
        ended
            .stdout
            .contains("a: 9 not sent by this machine: on this machine: Too many open files")
    );
    // None of them is in the chart of what ended when.
    let page = fs::read_to_string(html.path()).unwrap();
    let ended: Vec<_> = page.split(" passed, ").skip(1).collect();
    assert!(!ended.is_empty() && ended.iter().all(|rest| rest.starts_with("0 failed")), "{page}");
}
