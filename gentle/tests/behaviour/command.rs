//! The command: what it sends, what it makes of the answers, and how it ends.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::{Arc, Barrier};
use std::{fs, iter};

use crate::program::{
    Scratch, check, command, end, gentle, interrupt, job, plan_job, signal, start, start_command,
};
use crate::servers::{Latch, OK, Server, ok};

#[test]
fn without_a_plan_it_checks_its_own_server() {
    let json = Scratch::file("results.json", "");
    let ended = gentle(["--json", json.path().to_str().unwrap()]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("server saw"), "{ended:?}");
    let text = std::fs::read_to_string(json.path()).unwrap();
    let results: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(results["as_expected"], true);
    assert_eq!(results["jobs"].as_array().unwrap().len(), 5);
    for job in results["jobs"].as_array().unwrap() {
        let limits = job["limits"].as_array().unwrap();
        let greatest = limits.iter().map(|limit| limit.as_u64().unwrap()).max();
        let most = |key: &str| job[key].as_u64();
        assert!(most("server_saw") <= most("most_in_flight"), "{job}");
        assert!(most("most_in_flight") <= greatest, "{job}");
        assert!(job["latency"]["p50_ms"].as_f64().unwrap() > 5.0, "{job}");
        assert!(job["latency"]["p50_ms"].as_f64() <= job["latency"]["p99_ms"].as_f64(), "{job}");
    }
    assert_eq!(job(&results, "flaky")["statuses"]["500"], 20);
    let host = &results["hosts"][0];
    assert!(host["server_saw"].as_u64() <= host["most_in_flight"].as_u64(), "{host}");
    assert!(host["most_in_flight"].as_u64() <= host["limit"].as_u64(), "{host}");
}

#[test]
fn sends_each_path_as_often_as_the_plan_says() {
    let server = Server::start(ok);
    let plan = plan_job("a", 3, &server.base(), 20, "").replace("[\"/\"]", "[\"/x?q=1\", \"/y\"]");
    let (ended, results) = check(&plan);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(job(&results, "a")["requests"], 40);
    assert_eq!(job(&results, "a")["statuses"]["200"], 40);
    let seen = server.seen();
    let count = |line: &str| seen.iter().filter(|seen| seen.head.starts_with(line)).count();
    assert_eq!((count("get /x?q=1 http"), count("get /y http")), (20, 20));
}

#[test]
fn sends_the_method_the_headers_and_the_body() {
    let server = Server::start(ok);
    for method in ["POST", "GET", "DELETE", "PURGE"] {
        let more = format!("method = \"{method}\"\nheaders = {{ X-Key = \"7\" }}\nbody = \"soup\"");
        let (ended, _) = check(&plan_job("a", 1, &server.base(), 1, &more));
        assert_eq!(ended.status, Some(0), "{ended:?}");
        let last = server.seen().pop().unwrap();
        assert!(last.head.starts_with(&format!("{} / http", method.to_ascii_lowercase())));
        assert!(last.head.contains("x-key: 7\r\n"), "{last:?}");
        assert_eq!(last.body, "soup");
    }
}

#[test]
fn uses_its_limit_and_no_more() {
    // Answers only when three requests are inside, so that the run ends only if the limit is used.
    let three = Barrier::new(3);
    let server = Server::start(move |_| {
        three.wait();
        OK
    });
    let (ended, results) = check(&plan_job("a", 3, &server.base(), 12, ""));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(job(&results, "a")["most_in_flight"], 3);
    assert!(server.seen().iter().all(|seen| seen.inside <= 3));
}

#[test]
fn steps_through_a_ramp() {
    let three = Barrier::new(3);
    let server = Server::start(move |seen| {
        if (3..6).contains(&seen.number) {
            three.wait();
        }
        OK
    });
    let plan = plan_job("a", 9, &server.base(), 9, "ramp = [1, 3, 1]");
    let (ended, results) = check(&plan);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(job(&results, "a")["limits"], serde_json::json!([1, 3, 1]));
    let inside: Vec<_> = server.seen().iter().map(|seen| seen.inside).collect();
    assert_eq!(inside[..3], [1, 1, 1]);
    assert!(inside[3..].iter().all(|&inside| inside <= 3));
    assert_eq!(inside[8], 1);
}

#[test]
fn a_status_that_is_not_expected_fails_the_check() {
    let server = Server::start(|seen| {
        let status = if seen.number < 2 { "503 Busy" } else { "200 OK" };
        format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    });
    let (ended, results) = check(&plan_job("a", 1, &server.base(), 5, ""));
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let results = job(&results, "a");
    assert_eq!((&results["ok"], &results["failed"]), (&3.into(), &2.into()));
    assert_eq!(results["failures"][0]["cause"], "status 503 instead of 200");
    assert!(ended.stdout.contains("a: 2 failed: status 503 instead of 200; first http://"));
}

#[test]
fn a_redirect_is_an_answer_and_is_not_followed() {
    let server = Server::start(
        |_| "HTTP/1.1 302 Found\r\nlocation: /b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    );
    let (ended, _) = check(&plan_job("a", 1, &server.base(), 1, "expect = [302]"));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn says_where_it_is_in_plain_lines_where_there_is_no_terminal() {
    let answer = Arc::new(Latch::default());
    let wait = Arc::clone(&answer);
    let server = Server::start(move |_| {
        wait.wait();
        OK
    });
    let plan =
        Scratch::file("plan.toml", &plan_job("a", 2, &server.base(), 3, "timeout = \"60s\""));
    let (child, mut stderr) = start(&[plan.path()]);
    stderr.find(|line| line == "a: 0 of 3 done, 2/2 running, 0 failed").unwrap();
    answer.open();
    assert_eq!(stderr.last().unwrap(), "a: 3 of 3 done, 0/2 running, 0 failed");
    assert_eq!(end(child).status, Some(0));
}

/// A server that answers no request before the latch is open. The test and the first `at_once` requests meet at the barrier.
fn server_that_holds(at_once: usize) -> (Server, Arc<Barrier>, Arc<Latch>) {
    let (came, answer) = (Arc::new(Barrier::new(at_once + 1)), Arc::new(Latch::default()));
    let (tell, wait) = (Arc::clone(&came), Arc::clone(&answer));
    let server = Server::start(move |_| {
        tell.wait();
        wait.wait();
        OK
    });
    (server, came, answer)
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_sending_waits_and_prints_the_table_so_far() {
    let (server, came, answer) = server_that_holds(2);
    let plan =
        Scratch::file("plan.toml", &plan_job("a", 2, &server.base(), 50, "timeout = \"60s\""));
    let options = ["--json", "--junit", "--csv", "--html"];
    let files = options.map(|option| Scratch::file(&option[2..], "before"));
    let named = options.iter().zip(&files);
    let named = named.flat_map(|(option, file)| [*option, file.path().to_str().unwrap()]);
    let arguments: Vec<_> = iter::once(plan.path().to_str().unwrap()).chain(named).collect();
    let (child, mut stderr) = start(&arguments);
    came.wait();
    interrupt(&child);
    stderr.find(|line| line.starts_with("interrupted: waiting")).unwrap();
    answer.open();
    stderr.for_each(drop);
    let ended = end(child);
    assert_eq!(ended.status, Some(130), "{ended:?}");
    assert!(ended.stdout.contains("a: 48 of 50 requests not sent"), "{ended:?}");
    assert!(ended.stdout.contains("interrupted: 2 requests, 0 failed"), "{ended:?}");
    assert_eq!(server.seen().len(), 2);
    let [json, junit, csv, html] = files.map(|file| fs::read_to_string(file.path()).unwrap());
    let results: serde_json::Value = serde_json::from_str(&json).unwrap();
    let verdict = (&results["interrupted"], &results["as_expected"]);
    assert_eq!(verdict, (&true.into(), &false.into()), "{json}");
    let counts =
        ["planned", "requests", "ok", "failed"].map(|key| job(&results, "a")[key].as_u64());
    assert_eq!(counts, [Some(50), Some(2), Some(2), Some(0)], "{json}");
    let xml = roxmltree::Document::parse(&junit).unwrap();
    let failures = xml.descendants().filter(|node| node.has_tag_name("failure"));
    let failures: Vec<_> = failures.map(|node| node.attribute("message").unwrap()).collect();
    assert_eq!(failures, ["48 of 50 requests not sent", "interrupted by a signal"], "{junit}");
    assert!(csv.contains(",a,2,50,2,2,0,") && html.contains(">interrupted<"), "{csv} {html}");
}

#[cfg(unix)]
#[test]
fn no_redirect_is_followed_after_ctrl_c() {
    let (came, answer) = (Arc::new(Barrier::new(2)), Arc::new(Latch::default()));
    let (tell, wait) = (Arc::clone(&came), Arc::clone(&answer));
    let server = Server::start(move |seen| {
        if seen.number == 0 {
            tell.wait();
        }
        wait.wait();
        OK.replace("200 OK", "302 Found\r\nlocation: /")
    });
    let more = "timeout = \"60s\"\nredirects = 10";
    let plan = Scratch::file("plan.toml", &plan_job("a", 1, &server.base(), 9, more));
    let (child, mut stderr) = start(&[plan.path()]);
    came.wait();
    interrupt(&child);
    stderr.find(|line| line.starts_with("interrupted: waiting")).unwrap();
    answer.open();
    stderr.for_each(drop);
    let ended = end(child);
    assert_eq!(ended.status, Some(130), "{ended:?}");
    assert_eq!(server.seen().len(), 1);
}

/// What `nohup` does: the run must outlive its terminal.
#[cfg(unix)]
#[test]
fn a_run_that_was_started_to_ignore_sighup_ignores_it() {
    let (server, came, answer) = server_that_holds(1);
    let plan =
        Scratch::file("plan.toml", &plan_job("a", 1, &server.base(), 5, "timeout = \"60s\""));
    let mut command = command();
    command.arg(plan.path());
    // SAFETY: `signal` is allowed between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGHUP, libc::SIG_IGN);
            Ok(())
        })
    };
    let (child, mut stderr) = start_command(command);
    came.wait();
    // SIGTERM comes after SIGHUP, and a second signal that a run heeds ends it at once, without its results.
    signal(&child, libc::SIGHUP);
    signal(&child, libc::SIGTERM);
    stderr.find(|line| line.starts_with("interrupted: waiting")).unwrap();
    answer.open();
    stderr.for_each(drop);
    let ended = end(child);
    assert_eq!(ended.status, Some(143), "{ended:?}");
    assert!(ended.stdout.contains("interrupted: 1 requests, 0 failed"), "{ended:?}");
}

#[cfg(unix)]
#[test]
fn sigterm_and_sighup_stop_a_run_as_ctrl_c_does() {
    for (number, status) in [(libc::SIGTERM, 143), (libc::SIGHUP, 129)] {
        let (server, came, answer) = server_that_holds(1);
        let plan =
            Scratch::file("plan.toml", &plan_job("a", 1, &server.base(), 50, "timeout = \"60s\""));
        let (child, mut stderr) = start(&[plan.path()]);
        came.wait();
        signal(&child, number);
        stderr.find(|line| line.starts_with("interrupted: waiting")).unwrap();
        answer.open();
        stderr.for_each(drop);
        let ended = end(child);
        assert_eq!(ended.status, Some(status), "{ended:?}");
        assert!(ended.stdout.contains("a: 49 of 50 requests not sent"), "{ended:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_second_ctrl_c_ends_at_once() {
    let came = Arc::new(Barrier::new(2));
    let (tell, never) = (Arc::clone(&came), Latch::default());
    let server = Server::start(move |_| {
        tell.wait();
        never.wait();
        OK
    });
    let plan =
        Scratch::file("plan.toml", &plan_job("a", 1, &server.base(), 1, "timeout = \"60m\""));
    let (child, mut stderr) = start(&[plan.path()]);
    came.wait();
    interrupt(&child);
    stderr.find(|line| line.starts_with("interrupted: waiting")).unwrap();
    interrupt(&child);
    assert_eq!(end(child).status, Some(130));
}

#[test]
fn a_plan_mistake_is_one_line_and_exit_status_2() {
    let plan = Scratch::file("plan.toml", "workers = 2\n\n[[job]]\nname = 'a'\nlimit = 0\n");
    let ended = gentle([plan.path()]);
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(2), ""));
    let place = format!("{}:5: limit is 0: ", plan.path().display());
    assert!(ended.stderr.starts_with(&place), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1);
}

#[test]
fn an_option_mistake_is_one_line_and_exit_status_2() {
    let plan = Scratch::file("plan.toml", &plan_job("a", 1, "http://127.0.0.1:1", 1, ""));
    let plan = plan.path().to_str().unwrap();
    for (arguments, message) in [
        (&["--bogus"][..], "unexpected argument '--bogus' found (see gentle --help)"),
        (&["--jsn", "a"], "unexpected argument '--jsn' found: did you mean '--json'?"),
        (&["a.toml", "b.toml"], "unexpected argument 'b.toml' found (see gentle --help)"),
        (&["--json"], "a value is required for '--json <FILE>' but none was supplied"),
        (&["/none/plan.toml"], "/none/plan.toml: "),
        (&["--json", "/none/out.json"], "--json /none/out.json: "),
        (
            &[plan, "--json", plan],
            &format!("--json {plan} would overwrite the plan: name another file"),
        ),
    ] {
        let ended = gentle(arguments);
        assert_eq!((ended.status, ended.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(ended.stderr.starts_with(message), "{arguments:?}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{arguments:?}: {ended:?}");
    }
}

#[test]
fn a_dry_run_says_what_it_would_send_and_sends_nothing() {
    let server = Server::start(ok);
    let plan = Scratch::file("plan.toml", &plan_job("a", 2, &server.base(), 7, ""));
    let ended = gentle([plan.path().to_str().unwrap(), "--dry-run"]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(
        ended.stdout,
        format!("a: limit [2], GET {}/ and 0 more, 7 times each\n", server.base())
    );
    let stages =
        "[[job.stage]]\nfor = \"1s\"\n[[job.stage]]\nlimit = 3\nrate = \"1800/h\"\nfor = \"2m\"\n";
    let plan = "rate = \"100/s\"\n".to_owned()
        + &plan_job("a", 2, &server.base(), 7, "rate = \"7/m\"\nburst = 2")
        + &plan_job("b", 2, &server.base(), 7, "").replace("repeat = 7\n", "")
        + stages
        + "[host.\"*\"]\nlimit = 9\nrate = \"12.5/s\"\n";
    let plan = Scratch::file("plan.toml", &plan);
    let ended = gentle([plan.path().to_str().unwrap(), "--dry-run"]);
    let base = server.base();
    assert_eq!(
        ended.stdout,
        format!(
            "all jobs together: rate 100/s, burst 1\n\
             a: limit [2], rate 7/m, burst 2, GET {base}/ and 0 more, 7 times each\n\
             b: limit [2, 3], GET {base}/ and 0 more, for 1s, for 120s at 30/m, burst 1\n\
             *: limit 9 rate 12.5/s, burst 1 for all jobs together\n"
        )
    );
    assert!(server.seen().is_empty());
}

#[test]
fn prints_help_and_a_plan_to_start_from() {
    let help = gentle(["-h"]);
    assert_eq!((help.status, help.stderr.as_str()), (Some(0), ""));
    assert!(help.stdout.contains("Exit status:"));
    let plan = gentle(["--print-plan"]);
    assert_eq!(plan.status, Some(0));
    assert!(crate::plan::parse("printed", &plan.stdout).is_ok());
}

#[test]
fn a_reader_that_goes_away_is_no_crash() {
    let mut child =
        command().arg("--quiet").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{output:?}");
}

#[test]
fn says_its_version() {
    let ended = gentle(["--version"]);
    let version = concat!("gentle ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(0), version));
}

#[test]
fn a_plan_comes_from_standard_input_if_it_is_a_dash() {
    let server = Server::start(ok);
    let run = |plan: &str| {
        let mut child = command();
        child.args(["-", "--quiet"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = child.stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(plan.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let output = run(&plan_job("a", 2, &server.base(), 7, ""));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(server.seen().len(), 7);
    let output = run("[[job]]\nname = \"a\"\nlimit = 1\n");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text, "standard input:1: this job has no paths: add paths = [\"/\"]\n");
    let output = run("[[job]]\nname = \"a\"\nlimit = 1\nurls = \"-\"\n");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("standard input has the plan already: give the job a file"), "{text}");
}

#[test]
fn a_dry_run_opens_every_file() {
    let server = Server::start(ok);
    let list = Scratch::file("urls.txt", "");
    let list = list.path().to_str().unwrap();
    let list_job = |file: &str| format!("[[job]]\nname = \"a\"\nlimit = 1\nurls = \"{file}\"\n");
    let with = |line: &str| plan_job("a", 1, &server.base(), 1, line);
    let json = Scratch::file("results.json", "before");
    let json = json.path().to_str().unwrap();
    for (plan, more, status) in [
        (list_job(list), vec!["--json", json], 0),
        (list_job("none.txt"), vec![], 2),
        (with("cacert = \"none.pem\""), vec![], 2),
        (with("cert = \"none.pem\"\nkey = \"none.pem\""), vec![], 2),
        (with(""), vec!["--cacert", "/none.pem"], 2),
        (with(""), vec!["--json", "/none/out.json"], 2),
    ] {
        let plan = Scratch::file("plan.toml", &plan);
        let ended = gentle([plan.path().to_str().unwrap(), "--dry-run"].into_iter().chain(more));
        assert_eq!(ended.status, Some(status), "{ended:?}");
        assert!(status == 0 || ended.stderr.contains("none"), "{ended:?}");
    }
    assert_eq!(std::fs::read_to_string(json).unwrap(), "before");
    assert!(server.seen().is_empty());
}
