//! Any text is a plan or one line that says where and what to change.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::any_plan;
use crate::plan::{AfterTimeout, Targets, Values, listed, parse};
use crate::plan_refusals::{refuses, refuses_plan};

/// Reads a plan without values.
pub(crate) fn parse_bytes(name: &str, bytes: &[u8]) -> Result<crate::plan::Plan, String> {
    crate::plan::parse_bytes(name, bytes, &Values::default()).map_err(|error| error.to_string())
}

/// A job with everything that it needs.
pub(crate) const JOB: &str = r#"[[job]]
name = "search"
limit = 2
base = "http://127.0.0.1:8080"
paths = ["/a", "/b"]
repeat = 3
"#;

/// A plan with every key.
pub(crate) const FULL: &str = r#"workers = 16
rate = "100/s"
burst = 3
[defaults]
expect = 201
headers = { x-more = "2" }
[[job]]
name = "search"
limit = 2
base = "http://127.0.0.1:8080/v1/"
paths = ["/search?q=a", "/search?q=b"]
repeat = 50
method = "POST"
headers = { accept = "*/*", x-key = "1" }
body = "soup"
expect = [200, 404]
rate = "20/s"
backoff = false
timeout = "250ms"
body_contains = "soup"
body_matches = "so+up"
json = { "/id" = 7 }
header = { content-type = "json" }
latency = "< 1s"
redirects = 3
thresholds = { p95 = "< 200ms", failed = "< 1%", rate = "> 50/s" }
ramp = [1, 2, 4]
[[job]]
name = "staged"
limit = 3
base = "http://127.0.0.1:8080"
paths = ["/"]
[[job.stage]]
for = "30s"
[[job.stage]]
limit = 7
rate = "5/s"
for = "1m"
[[job]]
name = "session"
limit = 2
base = "http://127.0.0.1:8080"
cookies = true
[[job.step]]
path = "/login"
method = "POST"
body = "$${x}"
capture = { id = { json = "/id" }, next = { header = "location" } }
[[job.step]]
path = "${next}?${id}"
headers = { x-id = "${id}" }
body_contains = "${id}"
json = { "/id" = "${id}" }
[host."127.0.0.1:8080"]
limit = 6
rate = "90/m"
[host."*"]
limit = 3
by = "name"
"#;

#[test]
fn reads_every_key() {
    let plan = parse("plan.toml", FULL).unwrap();
    assert_eq!(plan.workers, Some(16));
    let host = &plan.hosts[0];
    assert_eq!((host.host.to_string().as_str(), host.limit), ("127.0.0.1:8080", Some(6)));
    let job = &plan.jobs[0];
    assert_eq!(job.name, "search");
    assert_eq!(job.limits, [1, 2, 4]);
    let Targets::Paths { urls, repeat: 50, .. } = &job.targets else { panic!("{job:?}") };
    assert_eq!(urls[1], "http://127.0.0.1:8080/v1/search?q=b");
    assert_eq!(job.requests(), Some(100));
    assert_eq!(job.method, "POST");
    assert_eq!(job.headers["x-key"], "1");
    assert_eq!(job.body.as_deref(), Some("soup"));
    assert_eq!(job.expect.statuses, [200, 404]);
    assert_eq!(job.timeout, Duration::from_millis(250));
    let Targets::Session { steps, repeat: 1, .. } = &plan.jobs[2].targets else { panic!("{plan}") };
    assert_eq!(steps[1].label(), "GET ${next}?${id}");
    assert_eq!((steps[0].captures.len(), plan.jobs[2].cookies), (2, true));
}

#[test]
fn what_is_left_out_has_a_default() {
    let plan = parse("plan.toml", &JOB.replace("repeat = 3\n", "")).unwrap();
    assert_eq!(plan.workers, None);
    let job = &plan.jobs[0];
    assert_eq!(job.limits, [2]);
    assert_eq!(job.requests(), Some(2));
    assert_eq!(job.method, "GET");
    assert_eq!(job.expect.statuses, [200]);
    assert_eq!(job.timeout, Duration::from_secs(5));
    assert_eq!(job.after_timeout, AfterTimeout::Hold(Duration::from_secs(5)));
}

#[test]
fn each_plan_in_the_readme_is_a_plan() {
    let readme = include_str!("../../README.md");
    let plans: Vec<_> = readme.split("```toml\n").skip(1).collect();
    assert!(!plans.is_empty());
    for plan in plans {
        let plan = plan.split("```").next().unwrap();
        if let Err(error) = parse("README.md", plan) {
            panic!("{error} in\n{plan}");
        }
    }
}

#[test]
fn the_built_in_plan_is_a_plan() {
    let text = include_str!("../../src/built_in.toml");
    assert!(parse("built-in", text).is_ok());
}

#[test]
fn reads_a_job_with_a_list() {
    let text = "[[job]]\nname = 'a'\nlimit = 1\n\nurls = 'urls.txt'\n";
    let plan = parse("plan.toml", text).unwrap();
    let Targets::List(list) = &plan.jobs[0].targets else { panic!("{plan:?}") };
    assert_eq!((list.file.as_str(), list.line, &list.base), ("urls.txt", 5, &None));
    assert_eq!(plan.jobs[0].requests(), None);
}

#[test]
fn a_job_takes_what_it_does_not_say_from_the_defaults() {
    let defaults = "[defaults]\ntimeout = \"7s\"\nexpect = [204]\nrepeat = 9\nlimit = 5\n\
                    headers = { X-Key = \"default\", accept = \"a/b\" }\n\
                    base = \"http://127.0.0.1:9\"\nmethod = \"PUT\"\n";
    let bare = "[[job]]\nname = \"bare\"\npaths = [\"/\"]\n";
    let own = "headers = { x-key = \"own\" }\nmethod = \"GET\"\n";
    let text = format!("{defaults}{JOB}{own}{bare}[[job]]\nname = \"list\"\nurls = \"-\"\n");
    let plan = parse("plan.toml", &text).unwrap();
    let [own, bare, list] = &plan.jobs[..] else { panic!("{plan:?}") };
    assert_eq!((own.method.as_str(), own.limits[0], own.requests()), ("GET", 2, Some(6)));
    assert_eq!(
        (&own.headers["x-key"], &own.headers["accept"]),
        (&"own".parse().unwrap(), &"a/b".parse().unwrap())
    );
    assert_eq!(own.timeout, Duration::from_secs(7));
    assert_eq!((bare.method.as_str(), bare.limits[0], bare.requests()), ("PUT", 5, Some(9)));
    assert_eq!(
        (bare.expect.statuses[0].to_string().as_str(), &bare.headers["x-key"]),
        ("204", &"default".parse().unwrap())
    );
    assert!(list.requests().is_none() && list.limits == [5]);
    refuses_plan(
        &format!("[defaults]\ntimeout = \"x\"\n{JOB}"),
        "2: \"x\" is no time-out: write it like \"250ms\", \"1.5s\" or \"2m\"",
    );
    let error = parse("plan.toml", &format!("[defaults]\nname = \"x\"\n{JOB}")).unwrap_err();
    assert_eq!(error.to_string(), "plan.toml:2: name is no default: put it into a [[job]]");
}

#[test]
fn a_byte_order_mark_and_carriage_returns_do_not_move_the_line_of_a_mistake() {
    let text = format!("\u{feff}{JOB}").replace('\n', "\r\n");
    assert_eq!(parse_bytes("plan.toml", text.as_bytes()).unwrap().jobs[0].name, "search");
    refuses_plan(
        &text.replace("limit = 2", "limit = 0"),
        "3: limit is 0: make it a whole number from 1 to 100000",
    );
    let mut bytes = text.into_bytes();
    bytes.extend(b"# \xff");
    let error = parse_bytes("plan.toml", &bytes).unwrap_err().to_string();
    assert_eq!(error, "plan.toml:7: not UTF-8 text: save the plan as UTF-8");
}

#[test]
fn refuses_what_does_not_go_with_a_list() {
    let list = "[[job]]\nname = 'a'\nlimit = 1\nurls = '-'\n";
    for line in ["paths = ['/']", "repeat = 2", "ramp = [1, 2]"] {
        let key = line.split(' ').next().unwrap();
        let mend = "is for paths, not for urls: remove one of them";
        refuses_plan(&format!("{list}{line}\n"), &format!("5: {key} {mend}"));
    }
    refuses_plan(
        &format!("{list}{}", list.replace("'a'", "'b'")),
        "8: line 4 reads standard input already: give this job a file",
    );
}

#[test]
fn a_line_of_a_list_is_a_url_or_a_path_behind_the_base() {
    let url = |base, line| listed(base, line).map(|url| url.to_string());
    assert_eq!(url(None, "http://a/b?c").unwrap(), "http://a/b?c");
    assert_eq!(url(Some("http://a/b"), "/c").unwrap(), "http://a/b/c");
    assert_eq!(url(Some("http://a/b"), "http://a/b/c").unwrap(), "http://a/b/c");
    for line in ["/c", "c", "ftp://a/", "http://a:0/", "http://u@a/", "http://a/#c", "http://ä/"] {
        assert!(url(None, line).is_err(), "{line}");
    }
    for line in ["c", "http://a/c", "/#c", "/ä", "/ c"] {
        assert!(url(Some("http://a/b"), line).is_err(), "{line}");
    }
}

#[test]
fn refuses_hosts_that_are_none_or_that_no_job_sends_to() {
    let refuses_host = |host: &str, limit: &str, error: &str| {
        let table = format!("[host.\"{host}\"]\nlimit = {limit}\n");
        refuses_plan(&format!("{table}{JOB}"), error);
    };
    refuses_host("127.0.0.1", "0", "2: limit is 0: make it a whole number from 1 to 100000");
    let mend = "write it as in a job's base, or remove it";
    refuses_host("127.0.0.1:80", "2", &format!("1: no job sends to 127.0.0.1:80: {mend}"));
    refuses_host("127.0.0.2", "2", &format!("1: no job sends to 127.0.0.2: {mend}"));
    refuses_plan(
        &format!("[host.\"*\"]\nby = \"name\"\n[host.localhost]\nlimit = 2\n{JOB}"),
        &format!("3: no job sends to localhost: {mend}"),
    );
    refuses_plan(
        &format!("[host.\"127.0.0.1\"]\nby = \"name\"\n{JOB}"),
        "2: by is for all hosts: put it into [host.\"*\"]",
    );
    refuses_plan(
        &format!("[host.\"*\"]\nby = \"colour\"\n{JOB}"),
        "2: by is \"colour\": write \"address\" or \"name\"",
    );
    refuses_plan(
        &format!("[host.\"127.0.0.1\"]\n{JOB}"),
        "1: 127.0.0.1 has no limit: add limit = 6 or rate = \"20/s\"",
    );
    let mend = "write it as in base, \"127.0.0.1:8080\" or \"127.0.0.1\"";
    for host in ["", "a b", "http://127.0.0.1"] {
        refuses_host(host, "2", &format!("1: the host \"{host}\" is none: {mend}"));
    }
    refuses_plan(
        &format!(
            "[host]\nA = {{ limit = 1 }}\na = {{ limit = 2 }}\n{}",
            JOB.replace("127.0.0.1", "a")
        ),
        "3: a is here twice: keep one",
    );
    refuses_plan(
        &format!("[host]\na = 6\n{JOB}"),
        "2: a table with a limit such as { limit = 6 } belongs here, not integer `6`",
    );
}

#[test]
fn an_error_is_one_line_whatever_the_names_hold() {
    let error = parse("a\nb.toml", "[[job]]\n\"x\\ny\" = 1").unwrap_err().to_string();
    assert_eq!(error.lines().count(), 1);
    assert!(error.starts_with("a b.toml:2: there is no key"));
}

/// What may take the place of a value in a plan.
const ODD_VALUES: [&str; 22] = [
    "0",
    "-1",
    "1",
    "7",
    "1e400",
    "nan",
    "inf",
    "9223372036854775807",
    "99999999999999999999999",
    "\"\"",
    "\"\\u0000\"",
    "\"http://[::1\"",
    "\"https://a\"",
    "\"/\"",
    "\"GET\"",
    "\"1s\"",
    "[]",
    "[1, 2]",
    "[\"/\"]",
    "{}",
    "true",
    "1979-05-27T07:32:00Z",
];

proptest! {
    #[test]
    fn never_panics_on_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        any_plan::read(&bytes);
    }

    #[test]
    fn never_panics_on_a_plan_with_odd_values(
        changes in prop::collection::vec((any::<Index>(), select(&ODD_VALUES[..])), 1..4),
    ) {
        let mut lines: Vec<_> = FULL.lines().map(str::to_owned).collect();
        for (line, value) in changes {
            let line = line.get_mut(&mut lines);
            if let Some((key, _)) = line.split_once(" = ") {
                *line = format!("{key} = {value}");
            }
        }
        any_plan::read(lines.join("\n").as_bytes());
    }

    #[test]
    fn never_panics_on_a_damaged_plan(
        cuts in prop::collection::vec((any::<Index>(), any::<Index>(), any::<Option<u8>>()), 1..6),
    ) {
        let mut bytes = FULL.as_bytes().to_vec();
        for (from, to, byte) in cuts {
            let (from, to) = (from.index(bytes.len() + 1), to.index(bytes.len() + 1));
            bytes.splice(from.min(to)..from.max(to).min(from.min(to) + 4), byte);
        }
        any_plan::read(&bytes);
    }
}

#[test]
fn a_limit_may_find_itself() {
    let auto = |limit: &str| {
        let text = JOB.replace("limit = 2", &format!("limit = {limit}"));
        let plan = parse(
            "plan.toml",
            &format!("{text}[host.localhost]\nlimit = {limit}\n[host.\"*\"]\nlimit = 7\n"),
        );
        // The host is named, and the job sends to an address that has the name.
        let plan = plan.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(plan.hosts[0].auto, plan.jobs[0].auto);
        assert_eq!(plan.hosts[0].limit, plan.jobs[0].limits.first().copied());
        let other = plan.other_hosts.as_ref().unwrap();
        assert_eq!((other.limit, other.auto), (Some(7), None));
        (plan.jobs[0].auto.map(|auto| (auto.min, auto.max)), plan.to_string())
    };
    let (range, shown) = auto("\"auto\"");
    assert_eq!(range, Some((1, 64)));
    assert!(shown.contains("search: limit auto, from 1 to 64, GET"), "{shown}");
    assert_eq!(auto("{ min = 2, max = 9 }").0, Some((2, 9)));
    assert_eq!(auto("{ max = 9 }").0, Some((1, 9)));
    assert_eq!(auto("{ min = 80 }").0, Some((80, 80)));
    assert_eq!(auto("3").0, None);
    let wrong = |limit: &str, error: &str| {
        refuses("limit = 2", &format!("limit = {limit}"), &format!("3: {error}"));
    };
    wrong("\"atuo\"", "limit is \"atuo\": write a whole number, \"auto\" or { min = 1, max = 64 }");
    wrong("{ mim = 2 }", "there is no key \"mim\" here: did you mean \"min\"?");
    wrong("{ min = 0 }", "min is 0: make it a whole number from 1 to 100000");
    wrong("{ min = 9, max = 2 }", "min is 9 and max is 2: make max the greater one");
    wrong("{}", "limit has no min and no max: write \"auto\" or { min = 1, max = 64 }");
    wrong("{ max = \"9\" }", "a whole number belongs here, not string \"9\"");
    let staged = JOB.replace("limit = 2", "limit = \"auto\"").replace("repeat = 3\n", "");
    refuses_plan(
        &format!("{staged}[[job.stage]]\nfor = \"1s\"\n"),
        "6: this stage has no limit of its own, and the job's is no number: add limit = 2",
    );
}
