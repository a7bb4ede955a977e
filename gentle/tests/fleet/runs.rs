//! Runs over three workers.

use std::fs;
use std::time::Duration;

use fleet_testing::within;
use serde_json::Value;

use crate::program::{Ended, Scratch, command, job, run, signal, start};
use crate::servers::{Running, Servers};
use crate::tls::Authority;

/// A limit for what happens soon, however busy the machine is.
const SOON: Duration = Duration::from_secs(120);

/// Returns a plan with a job that sends one request to each of `paths` paths below `/slow/`.
fn slow(servers: &Servers, paths: usize, limit: usize, host: usize) -> String {
    let web = servers.web();
    let paths: Vec<_> = (0..paths).map(|path| format!("\"/slow/{path}\"")).collect();
    format!(
        "[host.\"{web}\"]\nlimit = {host}\n[[job]]\nname = \"slow\"\nlimit = {limit}\n\
         base = \"http://{web}\"\npaths = [{}]\nbackoff = false\ntimeout = \"60s\"\n",
        paths.join(", ")
    )
}

/// Runs a plan over the workers of the fleet.
fn coordinate(servers: &Servers, plan: &str) -> (Ended, Value) {
    let plan = Scratch::file("plan.toml", plan);
    let json = Scratch::file("results.json", "");
    let mut command = command();
    command.arg(plan.path()).arg("--json").arg(json.path()).args(["--fleet", &servers.address()]);
    let ended = run(command);
    let results = fs::read_to_string(json.path()).unwrap();
    let results = serde_json::from_str(&results)
        .unwrap_or_else(|error| panic!("{error} in {results:?} of {ended:?}"));
    (ended, results)
}

#[test]
fn three_machines_share_a_host_s_limit_and_none_is_refused() {
    let servers = Servers::start(3);
    let _workers = [1, 2, 3].map(|machine| servers.worker(machine, 4));
    let (ended, results) = coordinate(&servers, &slow(&servers, 30, 12, 6));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let found = job(&results, "slow");
    assert_eq!((&found["requests"], &found["ok"]), (&30.into(), &30.into()));
    assert_eq!(results["hosts"][0]["most_in_flight"], 6);
    assert_eq!(servers.by_path(200).len(), 30);
    let visits = servers.visits();
    assert!(visits.iter().all(|visit| visit.status == 200));
    if servers.has_network() {
        let mut machines: Vec<_> = visits.into_iter().map(|visit| visit.from).collect();
        machines.sort();
        machines.dedup();
        // Each takes at most four of the six.
        assert!(machines.len() >= 2, "{machines:?}");
    }
    // The worker measures, so the time in the fleet's queue is in no latency. An answer takes more than half a second.
    assert!(found["latency"]["p50_ms"].as_f64().unwrap() > 500.0, "{found}");
}

#[test]
fn a_limit_that_is_too_high_is_seen_by_the_host() {
    let servers = Servers::start(3);
    let _workers = [1, 2, 3].map(|machine| servers.worker(machine, 4));
    let (ended, results) = coordinate(&servers, &slow(&servers, 30, 12, 8));
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let refused = job(&results, "slow")["statuses"]["503"].as_u64().unwrap();
    assert!(refused > 0, "{results}");
    assert_eq!(servers.by_path(503).values().sum::<usize>() as u64, refused);
}

#[test]
fn what_a_killed_machine_had_is_checked_by_another() {
    let servers = Servers::start(3);
    let mut workers: Vec<_> = [1, 2, 3].map(|machine| servers.worker(machine, 4)).into();
    let plan = &slow(&servers, 60, 12, 6);
    let (ended, results) = std::thread::scope(|scope| {
        let run = scope.spawn(|| coordinate(&servers, plan));
        within(SOON, "the workers send", || servers.visits().len() >= 10);
        // Each of two has at most four of the six requests that are out, so the killed one has some.
        drop(workers.remove(0));
        run.join().unwrap()
    });
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let found = job(&results, "slow");
    assert_eq!((&found["requests"], &found["ok"]), (&60.into(), &60.into()));
    assert!(servers.visits().iter().all(|visit| visit.status == 200));
    assert_eq!(servers.by_path(200).len(), 60, "a path was not checked");
}

#[test]
fn a_worker_ends_after_what_it_has() {
    let servers = Servers::start(1);
    let mut first = servers.worker(1, 12);
    let plan = &slow(&servers, 40, 12, 6);
    let (ended, results) = std::thread::scope(|scope| {
        let run = scope.spawn(|| coordinate(&servers, plan));
        within(SOON, "the workers send", || servers.visits().len() >= 2);
        signal(&first.0, libc::SIGTERM);
        assert!(first.0.wait().unwrap().success());
        // Each request that it had was answered. The rest waits for a worker.
        let counts = servers.by_path(200);
        assert!(counts.len() < 40 && counts.values().all(|count| *count == 1), "{counts:?}");
        let _second = servers.worker(1, 12);
        run.join().unwrap()
    });
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(job(&results, "slow")["ok"], 40);
    assert!(servers.by_path(200).values().all(|count| *count == 1));
}

#[test]
fn sessions_cookies_redirects_rates_and_stages_go_over_a_fleet() {
    let servers = Servers::start(2);
    let _workers = [1, 2].map(|machine| servers.worker(machine, 4));
    let base = format!("base = \"http://{}\"", servers.web());
    let plan = format!(
        "[[job]]\nname = \"session\"\nlimit = 2\n{base}\nrepeat = 3\ncookies = true\n\
         [[job.step]]\npath = \"/sign-in\"\ncapture = {{ token = {{ json = \"/token\" }} }}\n\
         [[job.step]]\npath = \"/quick/${{token}}\"\nheaders = {{ x-name = \"${{token}}\" }}\n\
         header = {{ x-seen = \"t1\" }}\nbody_contains = \"GET id=7\"\n\
         [[job]]\nname = \"away\"\nlimit = 1\n{base}\npaths = [\"/away\"]\nredirects = 1\n\
         [[job]]\nname = \"post\"\nlimit = 1\n{base}\npaths = [\"/quick/a\"]\nrepeat = 5\nmethod = \"POST\"\n\
         body = \"soup\"\nbody_contains = \"POST\"\nrate = \"100/s\"\n\
         [[job]]\nname = \"stages\"\nlimit = 1\n{base}\npaths = [\"/quick/b\"]\n\
         [[job.stage]]\nlimit = 2\nfor = \"300ms\"\n[[job.stage]]\nrate = \"20/s\"\nfor = \"300ms\"\n\
         [[job]]\nname = \"missing\"\nlimit = 1\n{base}\npaths = [\"/slow\"]\n"
    );
    let (ended, results) = coordinate(&servers, &plan);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    for name in ["session", "away", "post", "stages"] {
        assert_eq!(job(&results, name)["failed"], 0, "{results}");
    }
    assert_eq!(job(&results, "session")["ok"], 6);
    assert_eq!(job(&results, "away")["redirects"], 1);
    assert_eq!(job(&results, "post")["ok"], 5);
    assert!(!job(&results, "post")["corrected_latency"].is_null());
    assert_eq!(job(&results, "missing")["statuses"]["404"], 1);
    assert_eq!(servers.by_path(200)["/quick/t1"], 3);
}

#[test]
fn a_run_outlives_a_restart_of_its_server_of_nats() {
    let mut servers = Servers::start(2);
    let _workers = [1, 2].map(|machine| servers.worker(machine, 4));
    let (plan, address) = (slow(&servers, 24, 12, 6), servers.address());
    let run = std::thread::spawn(move || {
        let (plan, json) = (Scratch::file("plan.toml", &plan), Scratch::file("results.json", ""));
        let mut command = command();
        command.arg(plan.path()).arg("--json").arg(json.path()).args(["--fleet", &address]);
        (run(command), fs::read_to_string(json.path()).unwrap())
    });
    within(SOON, "the workers send", || servers.visits().len() >= 6);
    // The server has written what it knows.
    std::thread::sleep(Duration::from_secs(1));
    servers.nats.kill();
    servers.nats.restart();
    let (ended, results) = run.join().unwrap();
    assert_eq!(ended.status, Some(0), "{ended:?} {results}");
    assert_eq!(servers.by_path(200).len(), 24);
}

#[test]
fn a_request_above_a_mebibyte_fails_and_an_answer_above_it_has_no_body() {
    let servers = Servers::start(1);
    let _worker = servers.worker(1, 4);
    let plan_job = |name: &str, path: &str, more: &str| {
        let base = format!("base = \"http://{}\"", servers.web());
        format!("[[job]]\nname = \"{name}\"\nlimit = 1\n{base}\npaths = [\"{path}\"]\n{more}\n")
    };
    let post = |length: usize| format!("method = \"POST\"\nbody = \"{}\"", "x".repeat(length));
    let plan = plan_job("short", "/quick/a", &post(900_000))
        + &plan_job("long", "/quick/b", &post(1_100_000))
        + &plan_job("unread", "/large", "")
        + &plan_job("read", "/large", "body_contains = \"xx\"");
    let (ended, results) = coordinate(&servers, &plan);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    for name in ["short", "unread"] {
        assert_eq!(job(&results, name)["ok"], 1, "{results}");
    }
    let long = job(&results, "long");
    assert_eq!((&long["own_failures"], &long["failures"][0]["kind"]), (&1.into(), &"own".into()));
    let cause = "the body is too long to be checked";
    assert_eq!(job(&results, "read")["failures"][0]["cause"], cause, "{results}");
    assert!(!servers.by_path(200).contains_key("/quick/b"));
}

#[test]
fn a_worker_sends_sixteen_requests_to_a_host_if_it_is_told_no_number() {
    let servers = Servers::start(1);
    let (child, mut stderr) = start(&["--fleet", &servers.address()]);
    let _worker = Running(child);
    let said = stderr.next().unwrap();
    assert_eq!(said, "sends for coordinators, 16 requests to a host at once");
}

#[test]
fn a_fleet_goes_over_tls_with_a_password() {
    let authority = Authority::new();
    let identity = authority.identity("localhost");
    let [certificate, key] =
        [&identity.certificate, &identity.key].map(|file| file.path().to_str().unwrap());
    let tls = ["--tls", "--tlscert", certificate, "--tlskey", key];
    let user = ["--user", "ann", "--pass", "s3cr3t/1"];
    let servers = Servers::start_with(1, &[&tls[..], &user].concat());
    let fleet = |password: &str, trusts: bool| {
        let mut command = command();
        let address = format!("tls://ann:{password}@localhost:{}", servers.nats.port);
        command.args(["--fleet", &address, "--quiet"]);
        if trusts {
            command.env("SSL_CERT_FILE", authority.file.path());
        }
        command
    };
    let _worker = Running(fleet("s3cr3t%2F1", true).spawn().unwrap());
    let base = format!("base = \"http://{}\"", servers.web());
    let plan =
        format!("[[job]]\nname = \"a\"\nlimit = 2\n{base}\npaths = [\"/quick/a\"]\nrepeat = 5\n");
    let plan = Scratch::file("plan.toml", &plan);
    for (password, trusts, status) in
        [("s3cr3t%2F1", true, 0), ("s3cr3t", true, 2), ("s3cr3t%2F1", false, 2)]
    {
        let mut coordinator = fleet(password, trusts);
        coordinator.arg(plan.path());
        let ended = run(coordinator);
        assert_eq!(ended.status, Some(status), "{ended:?}");
        assert!(!ended.stderr.contains("s3cr3t"), "{ended:?}");
    }
    assert_eq!(servers.by_path(200)["/quick/a"], 5);
}
