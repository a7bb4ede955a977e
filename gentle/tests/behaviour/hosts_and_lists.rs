//! Limits over all that is sent to a host, and lists of URLs that are read as they are sent.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Stdio};
use std::sync::Barrier;

use crate::program::{Scratch, check, command, end, gentle, interrupt, job, plan_job, start};
use crate::servers::{OK, Server, ok};

/// The host of a server, without its port.
const HOST: &str = "127.0.0.1";

#[test]
fn a_host_limit_holds_over_all_jobs_and_is_used() {
    // Answers the first requests only when five are inside, whichever jobs they are of. At the end a single job may be left.
    let five = Barrier::new(5);
    let server = Server::start(move |seen| {
        if seen.number < 30 {
            five.wait();
        }
        OK
    });
    let base = server.base();
    let plan = format!("workers = 2\n[host.\"{HOST}\"]\nlimit = 5\n")
        + &plan_job("a", 3, &base, 20, "timeout = \"60s\"")
        + &plan_job("b", 3, &base, 20, "timeout = \"60s\"")
        + &plan_job("c", 3, &base, 20, "timeout = \"60s\"");
    let (ended, results) = check(&plan);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(results["hosts"][0]["most_in_flight"], 5);
    assert!(server.seen().iter().all(|seen| seen.inside <= 5));
}

#[test]
fn a_limit_on_a_port_holds_inside_the_limit_on_its_host() {
    let (one, other) = (Server::start(ok), Server::start(ok));
    let port = one.base().replace("http://", "");
    let plan = format!("[host.\"{port}\"]\nlimit = 2\n[host.\"{HOST}\"]\nlimit = 3\n")
        + &plan_job("a", 4, &one.base(), 100, "")
        + &plan_job("b", 4, &other.base(), 100, "");
    let (ended, results) = check(&plan);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let most: Vec<_> = results["hosts"].as_array().unwrap().iter().collect();
    assert_eq!((&most[0]["host"], &most[0]["limit"]), (&HOST.into(), &3.into()));
    assert!(most[0]["most_in_flight"].as_u64() <= Some(3));
    assert!(most[1]["most_in_flight"].as_u64() <= Some(2));
    assert!(one.seen().iter().all(|seen| seen.inside <= 2));
}

/// A plan's job with a list.
fn list_job(limit: usize, file: &str, more: &str) -> String {
    format!("[[job]]\nname = \"list\"\nlimit = {limit}\nurls = \"{file}\"\n{more}\n")
}

#[test]
fn sends_to_each_line_of_a_list_once() {
    let server = Server::start(ok);
    let base = server.base();
    let mut lines: String = "\u{feff}".to_owned();
    lines.extend((0..50).map(|line| format!("{base}/{line}\r\n")));
    lines += &format!("\n# a remark\n  {base}/spaced \r\nno-url\n{base}/last");
    let list = Scratch::file("urls.txt", &lines);
    // The list is looked for beside the plan.
    let name = list.path().file_name().unwrap().to_str().unwrap();
    let (ended, results) = check(&list_job(3, name, ""));
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let results = job(&results, "list");
    assert_eq!((&results["ok"], &results["failed"]), (&52.into(), &1.into()), "{results}");
    assert_eq!(results["failures"][0]["first"], format!("{name}:54"));
    assert!(results["planned"].is_null());
    let mut paths: Vec<_> = server.seen().iter().map(|seen| seen.path()).collect();
    paths.sort();
    let mut wanted: Vec<_> = (0..50).map(|line| format!("/{line}")).collect();
    wanted.extend(["/spaced".to_owned(), "/last".to_owned()]);
    wanted.sort();
    assert_eq!(paths, wanted);
}

#[test]
fn a_list_of_paths_is_behind_the_base_and_its_host() {
    let server = Server::start(ok);
    let base = server.base();
    let lines: String = (0..50).map(|line| format!("/{line}\n")).collect();
    let list = Scratch::file("urls.txt", &lines);
    let list = list_job(5, list.path().to_str().unwrap(), &format!("base = \"{base}/v1\""));
    let (ended, results) = check(&format!("[host.\"{HOST}\"]\nlimit = 2\n{list}"));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert!(results["hosts"][0]["most_in_flight"].as_u64() <= Some(2));
    assert!(server.seen().iter().all(|seen| seen.path().starts_with("/v1/") && seen.inside <= 2));
}

#[test]
fn a_list_of_many_hosts_keeps_to_the_limit_of_each_and_to_its_own() {
    // The strong server answers only when two requests are inside, so both limits must be used.
    let two = Barrier::new(2);
    let strong = Server::start(move |_| {
        two.wait();
        OK
    });
    let weak = Server::start(ok);
    let lines: String =
        (0..40).map(|line| format!("{}/{line}\n{}/{line}\n", strong.base(), weak.base())).collect();
    let list = Scratch::file("urls.txt", &lines);
    let weak_host = weak.base().replace("http://", "");
    let plan = format!("workers = 1\n[host.\"{weak_host}\"]\nlimit = 1\n")
        + &list_job(4, list.path().to_str().unwrap(), "timeout = \"60s\"")
        + &plan_job("beside", 2, &weak.base(), 20, "");
    let (ended, results) = check(&plan);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(results["hosts"][0]["most_in_flight"], 1);
    assert!(job(&results, "list")["most_in_flight"].as_u64() <= Some(4));
    assert!(weak.seen().iter().all(|seen| seen.inside == 1));
    assert_eq!((strong.seen().len(), weak.seen().len()), (40, 60));
}

#[test]
fn reads_standard_input_as_it_comes() {
    let server = Server::start(ok);
    let plan = Scratch::file("plan.toml", &list_job(2, "-", ""));
    let mut child = command()
        .arg(plan.path())
        .args(["--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for number in 0..5 {
        // Each line is sent while the list is still open.
        writeln!(stdin, "{}/{number}", server.base()).unwrap();
        server.wait_for(number + 1);
    }
    drop(stdin);
    let ended = end(child);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("all as expected: 5 requests"), "{ended:?}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_does_not_wait_for_standard_input() {
    let server = Server::start(ok);
    let plan = Scratch::file("plan.toml", &list_job(2, "-", ""));
    let mut command = command();
    command.arg(plan.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{}/", server.base()).unwrap();
    // The run's own word: a request may come from a client that sends to a port that its server has left.
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    lines.find(|line| line.starts_with("list: 1 done")).unwrap();
    interrupt(&child);
    lines.for_each(drop);
    let ended = end(child);
    drop(stdin);
    assert_eq!(ended.status, Some(130), "{ended:?}");
    assert!(ended.stdout.contains("interrupted: "), "{ended:?}");
}

/// A named pipe, which this process can write to before another process reads from it.
fn pipe() -> (Scratch, File) {
    let pipe = Scratch::file("pipe", "");
    fs::remove_file(pipe.path()).unwrap();
    let path = CString::new(pipe.path().as_os_str().as_bytes()).unwrap();
    // SAFETY: the pointer is to a string with a zero at its end, which outlives the call.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    let writer = File::options().read(true).write(true).open(pipe.path()).unwrap();
    (pipe, writer)
}

#[test]
fn a_job_that_waits_for_a_line_keeps_no_permit_of_its_host() {
    let server = Server::start(ok);
    let ((one, mut to_one), (other, mut to_other)) = (pipe(), pipe());
    let base = format!("base = \"{}\"", server.base());
    let list = |name: &str, pipe: &Scratch, more: &str| {
        list_job(2, pipe.path().to_str().unwrap(), more).replace("\"list\"", name)
    };
    // The first job may send to one server only, the second one to any.
    let jobs = list("\"one\"", &one, &base) + &list("\"other\"", &other, "");
    let plan = Scratch::file("plan.toml", &format!("[host.\"{HOST}\"]\nlimit = 1\n{jobs}"));
    let (child, stderr) = start(&[plan.path()]);
    for turn in 0..3 {
        // Each line is sent while both jobs wait for the next one.
        writeln!(to_one, "/").unwrap();
        server.wait_for(2 * turn + 1);
        writeln!(to_other, "{}/", server.base()).unwrap();
        server.wait_for(2 * turn + 2);
    }
    drop((to_one, to_other, stderr));
    let ended = end(child);
    assert_eq!(ended.status, Some(0), "{ended:?}");
}

#[test]
fn a_line_that_is_no_url_takes_no_start_at_a_rate() {
    let server = Server::start(ok);
    let list = Scratch::file("urls.txt", &format!("no-url\n{}/\nno-url\n", server.base()));
    let paths = Scratch::file("paths.txt", "no-url\n/\nno-url\n");
    // Else the one start would be used up, and the next is in an hour.
    let rate = "rate = \"1/h\"\nburst = 1\n";
    for (list, base) in [(list, String::new()), (paths, format!("base = \"{}\"\n", server.base()))]
    {
        let (ended, results) = check(&list_job(1, list.path().to_str().unwrap(), &(base + rate)));
        assert_eq!(ended.status, Some(1), "{ended:?}");
        let results = job(&results, "list");
        assert_eq!((&results["ok"], &results["failed"]), (&1.into(), &2.into()), "{results}");
    }
}

#[test]
fn a_list_that_is_missing_or_empty_is_no_success() {
    let plan = Scratch::file("plan.toml", &list_job(2, "none.txt", ""));
    let ended = gentle([plan.path()]);
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(2), ""));
    let place = format!("{}:4: none.txt: ", plan.path().display());
    assert!(ended.stderr.starts_with(&place), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1);
    let plan = Scratch::file("plan.toml", &list_job(2, "-", ""));
    let ended = gentle([plan.path()]);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("list: no URL came from the list"), "{ended:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_long_list_and_a_line_without_end_need_little_memory() {
    let plan = Scratch::file("plan.toml", &list_job(4, "-", ""));
    let mut command = command();
    command.arg(plan.path()).arg("--quiet").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for _ in 0..1_000 {
        stdin.write_all("no-url\n".repeat(1_000).as_bytes()).unwrap();
    }
    for _ in 0..64 {
        stdin.write_all(&[b'x'; 1 << 20]).unwrap();
    }
    let most = most_memory_kib(&child);
    drop(stdin);
    let ended = end(child);
    assert!(ended.stdout.contains("not as expected: 1000001 requests"), "{ended:?}");
    assert!(most < 30 << 10, "{most} KiB");
}

/// The most memory that a run has had so far.
#[cfg(target_os = "linux")]
fn most_memory_kib(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    most.trim().trim_end_matches(" kB").parse().unwrap()
}
