//! The files that results are written to: their forms, and that no file is lost.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Barrier};

use serde_json::Value;

use crate::program::{Scratch, command, end, gentle, interrupt, plan_job, start};
use crate::servers::{Latch, OK, Server, ok};

/// A name in the folder for temporary files that no other test uses, and which is deleted with this value.
struct Free(Scratch);

impl Free {
    fn new(name: &str) -> Self {
        let scratch = Scratch::file(name, "");
        fs::remove_file(scratch.path()).unwrap();
        Free(scratch)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

/// The temporary files beside a target.
fn leftovers(target: &Path) -> Vec<PathBuf> {
    let name = target.file_name().unwrap().to_str().unwrap();
    let files = fs::read_dir(target.parent().unwrap()).unwrap().map(|file| file.unwrap().path());
    let is_temporary = |path: &PathBuf| {
        let other = path.file_name().unwrap().to_str().unwrap();
        other.starts_with(&format!(".{name}")) && other.ends_with(".tmp")
    };
    files.filter(is_temporary).collect()
}

#[test]
fn an_output_that_is_an_input_is_refused_whatever_its_spelling() {
    let server = Server::start(ok);
    let list = Scratch::file("urls.txt", &format!("{}/\n", server.base()));
    let [authority, certificate, key, of_option] =
        ["ca.pem", "cert.pem", "key.pem", "option.pem"].map(|name| Scratch::file(name, "PEM"));
    let list_name = list.path().file_name().unwrap().to_str().unwrap();
    let job = format!(
        "[[job]]\nname = \"a\"\nlimit = 1\nurls = \"{list_name}\"\ncacert = CA\ncert = CERT\nkey = KEY\n"
    );
    let named = [("CA", &authority), ("CERT", &certificate), ("KEY", &key)];
    let name_file = |job: String, (word, file): (&str, &Scratch)| {
        job.replace(&format!(" = {word}\n"), &format!(" = {:?}\n", file.path()))
    };
    let job = named.into_iter().fold(job, name_file);
    let plan = Scratch::file("plan.toml", &job);
    let (linked, hard) = (Free::new("link"), Free::new("hard"));
    symlink(plan.path(), linked.path()).unwrap();
    fs::hard_link(plan.path(), hard.path()).unwrap();
    let spelled = |path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        format!("{}/./{name}", path.parent().unwrap().display())
    };
    let cases = [
        (spelled(plan.path()), "the plan".to_owned()),
        (linked.path().display().to_string(), "the plan".to_owned()),
        (hard.path().display().to_string(), "the plan".to_owned()),
        (spelled(list.path()), format!("{list_name}, which a reads")),
        (spelled(authority.path()), format!("{}, which a reads", authority.path().display())),
        (spelled(certificate.path()), format!("{}, which a reads", certificate.path().display())),
        (spelled(key.path()), format!("{}, which a reads", key.path().display())),
        (spelled(of_option.path()), "the file of --cacert".to_owned()),
    ];
    let cacert = of_option.path().to_str().unwrap();
    for option in options() {
        for (path, what) in &cases {
            let plan = plan.path().to_str().unwrap();
            let ended = gentle([plan, "--cacert", cacert, option, path]);
            let message = format!("{option} {path} would overwrite {what}: name another file\n");
            assert_eq!((ended.status, ended.stderr), (Some(2), message));
        }
    }
    assert_eq!(fs::read_to_string(plan.path()).unwrap(), job);
    assert!(fs::read_to_string(list.path()).unwrap().starts_with("http"));
    for file in [authority, certificate, key, of_option] {
        assert_eq!(fs::read_to_string(file.path()).unwrap(), "PEM");
    }
    assert!(server.seen().is_empty());
}

#[test]
fn a_list_on_standard_input_is_an_input_too() {
    let list = Scratch::file("urls.txt", "http://127.0.0.1:1/\n");
    let plan = Scratch::file("plan.toml", "[[job]]\nname = \"a\"\nlimit = 1\nurls = \"-\"\n");
    let output = command()
        .args([plan.path(), Path::new("--json"), list.path()])
        .stdin(fs::File::open(list.path()).unwrap())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(fs::read_to_string(list.path()).unwrap(), "http://127.0.0.1:1/\n");
}

#[test]
fn two_outputs_to_one_file_are_refused_before_anything_is_touched() {
    let server = Server::start(ok);
    let plan = Scratch::file("plan.toml", &plan_job("a", 1, &server.base(), 1, ""));
    let (old, new) = (Scratch::file("old", "before"), Free::new("new"));
    for path in [old.path(), new.path()] {
        let other = path.display().to_string().replacen('/', "/./", 1);
        let path = path.to_str().unwrap();
        let plan = plan.path().to_str().unwrap();
        let ended = gentle([plan, "--json", path, "--csv", &other]);
        let message = format!("--csv {other} would overwrite --json: name another file\n");
        assert_eq!((ended.status, ended.stderr), (Some(2), message));
    }
    let wrong = ["--json", old.path().to_str().unwrap(), "--csv", "/none/a.csv"];
    let ended = gentle([plan.path().to_str().unwrap()].into_iter().chain(wrong));
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert_eq!(fs::read_to_string(old.path()).unwrap(), "before");
    assert!(!new.path().exists());
    assert!(leftovers(old.path()).is_empty() && server.seen().is_empty());
}

#[test]
fn a_second_signal_leaves_the_earlier_file_whole() {
    let came = Arc::new(Barrier::new(2));
    let (tell, never) = (Arc::clone(&came), Latch::default());
    let server = Server::start(move |_| {
        tell.wait();
        never.wait();
        OK
    });
    let plan =
        Scratch::file("plan.toml", &plan_job("a", 1, &server.base(), 1, "timeout = \"60m\""));
    let json = Scratch::file("results.json", "the run before");
    let (child, mut stderr) =
        start(&[plan.path().to_str().unwrap(), "--json", json.path().to_str().unwrap()]);
    came.wait();
    assert_eq!(leftovers(json.path()).len(), 1);
    interrupt(&child);
    stderr.find(|line| line.starts_with("interrupted: waiting")).unwrap();
    interrupt(&child);
    assert_eq!(end(child).status, Some(130));
    assert_eq!(fs::read_to_string(json.path()).unwrap(), "the run before");
    assert!(leftovers(json.path()).is_empty());
}

#[test]
fn a_file_is_replaced_where_a_link_points_to_with_its_rights() {
    let server = Server::start(ok);
    let plan = Scratch::file("plan.toml", &plan_job("a", 1, &server.base(), 1, ""));
    let (json, linked) = (Scratch::file("results.json", "old"), Free::new("link"));
    fs::set_permissions(json.path(), fs::Permissions::from_mode(0o640)).unwrap();
    symlink(json.path(), linked.path()).unwrap();
    let before = fs::metadata(json.path()).unwrap().ino();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let ended = gentle([path(plan.path()), "--json".into(), path(linked.path())]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert!(fs::symlink_metadata(linked.path()).unwrap().is_symlink());
    let file = fs::metadata(json.path()).unwrap();
    assert_ne!(file.ino(), before, "renamed into place");
    assert_eq!(file.permissions().mode() & 0o777, 0o640);
    serde_json::from_str::<Value>(&fs::read_to_string(json.path()).unwrap()).unwrap();
    let ended = gentle([&path(plan.path()), "--json", "/dev/null", "--csv", "/dev/null"]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
}

#[test]
fn a_dash_is_standard_output() {
    let server = Server::start(ok);
    let plan = Scratch::file("plan.toml", &plan_job("a", 1, &server.base(), 3, ""));
    let plan = plan.path().to_str().unwrap();
    let ended = gentle([plan, "--quiet", "--json", "-"]);
    let results: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&results["schema"], &results["jobs"][0]["ok"]), (&1.into(), &3.into()));
    assert!(ended.stderr.contains("all as expected: 3 requests"), "{ended:?}");
    let ended = gentle([plan, "--json", "-", "--csv", "-"]);
    assert_eq!(ended.status, Some(2), "{ended:?}");
    let fails = Scratch::file("plan.toml", &plan_job("a", 1, &server.base(), 3, "expect = 404"));
    let ended = gentle([fails.path().to_str().unwrap(), "--quiet", "--failures", "-"]);
    let kinds = |line: &str| serde_json::from_str::<Value>(line).unwrap()["kind"].clone();
    assert_eq!(ended.stdout.lines().map(kinds).collect::<Vec<_>>(), ["unexpected"; 3], "{ended:?}");
    assert!(ended.stderr.contains("not as expected: 3 requests"), "{ended:?}");
}

/// The options that name a file to write.
fn options() -> Vec<&'static str> {
    let options = ["--json", "--csv", "--junit", "--html", "--failures", "--hdr"];
    options.into_iter().chain(cfg!(feature = "timeline").then_some("--timeline")).collect()
}

#[test]
fn a_file_that_cannot_be_written_whole_is_exit_status_1() {
    let server = Server::start(ok);
    let plan = plan_job("a", 1, &server.base(), 2, "")
        + &plan_job("b", 1, &server.base(), 2, "expect = 404\nthresholds = { failed = \"< 9\" }");
    let plan = Scratch::file("plan.toml", &plan);
    let plan = plan.path().to_str().unwrap();
    for option in options() {
        let ended = gentle([plan, "--quiet", option, "/dev/full"]);
        assert_eq!(ended.status, Some(1), "{ended:?}");
        let what = match option {
            "--failures" => "not all failures are written",
            _ => "the results are not written",
        };
        assert!(ended.stderr.starts_with(&format!("{option}: {what}: No space left")), "{ended:?}");
        // The table is written all the same, and says that nothing was wrong with the servers.
        assert!(ended.stdout.contains("all as expected: 4 requests, 2 failed"), "{ended:?}");
        let mut command = command();
        command.args([plan, "--quiet", option, "-"]);
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = command.stdin(Stdio::null()).stdout(full).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(&format!("{option}: {what}: No space left")), "{stderr}");
    }
}

#[test]
fn each_form_may_go_to_standard_output() {
    let server = Server::start(ok);
    let plan = Scratch::file("plan.toml", &plan_job("a", 1, &server.base(), 3, ""));
    let page_end = "</body></html>\n";
    for (option, start, end) in [
        ("--html", "<!DOCTYPE html>", page_end),
        ("--hdr", "#[StartTime: ", "\n"),
        ("--csv", "plan,started,job,", "\r\n"),
        ("--junit", "<?xml ", "</testsuites>\n"),
    ] {
        let ended = gentle([plan.path().to_str().unwrap(), "--quiet", option, "-"]);
        assert_eq!(ended.status, Some(0), "{ended:?}");
        assert!(ended.stdout.starts_with(start) && ended.stdout.ends_with(end), "{ended:?}");
        assert!(ended.stderr.contains("all as expected: 3 requests"), "{ended:?}");
    }
    let ended = gentle([plan.path().to_str().unwrap(), "--html", "-", "--hdr", "-"]);
    let message = "--hdr - would overwrite --html: name another file\n";
    assert_eq!((ended.status, ended.stderr.as_str()), (Some(2), message));
}

/// A plan with odd names and a job that fails.
fn odd_plan(base: &str) -> String {
    plan_job("a, \\\"b\\\" <c>", 2, base, 4, "")
        + &plan_job("fails", 1, base, 2, "expect = 404")
        + "[host.\"127.0.0.1\"]\nlimit = 2\n"
}

#[test]
fn the_comma_separated_values_have_a_row_for_each_job() {
    let server = Server::start(ok);
    let plan = Scratch::file("plan.toml", &odd_plan(&server.base()));
    let ended = gentle([plan.path().to_str().unwrap(), "--csv", "-"]);
    let lines: Vec<_> = ended.stdout.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 3, "{ended:?}");
    let titles: Vec<_> = lines[0].split(',').collect();
    assert!(lines[1].contains(",\"a, \"\"b\"\" <c>\",2,4,4,4,0,"), "{}", lines[1]);
    let cells: Vec<_> = lines[2].split(',').collect();
    assert_eq!(cells.len(), titles.len());
    let cell = |title| cells[titles.iter().position(|other| *other == title).unwrap()];
    assert_eq!((cell("job"), cell("ok"), cell("failed")), ("fails", "0", "2"));
    assert!(cell("started").ends_with('Z') && cell("limit_held") == "true");
}

#[test]
fn junit_has_a_case_for_each_job_and_host() {
    let server = Server::start(ok);
    let plan = Scratch::file("plan.toml", &odd_plan(&server.base()));
    let ended = gentle([plan.path().to_str().unwrap(), "--junit", "-"]);
    assert_eq!(ended.status, Some(1));
    let xml = roxmltree::Document::parse(&ended.stdout).unwrap();
    let suite = xml.root_element().first_element_child().unwrap();
    assert_eq!((suite.attribute("tests"), suite.attribute("failures")), (Some("3"), Some("1")));
    let cases: Vec<_> = suite.children().filter(roxmltree::Node::is_element).collect();
    assert_eq!(cases[0].attribute("name"), Some("a, \"b\" <c>"));
    assert_eq!(cases[2].attribute("name"), Some("127.0.0.1"));
    let failed: Vec<_> = cases.iter().map(|case| case.has_children()).collect();
    assert_eq!(failed, [false, true, false]);
    let failure = cases[1].first_element_child().unwrap();
    assert!(
        failure.attribute("message").unwrap().starts_with("2 failed: status 200 instead of 404")
    );
}

#[test]
fn junit_fails_exactly_if_the_exit_status_does() {
    for (thresholds, of_plan, status, cases) in [
        ("", "", 1, [true, false].as_slice()),
        ("failed = \"< 3\"", "", 0, &[false, false]),
        ("failed = \"< 3\"", "failed = \"< 50%\"", 0, &[false, false, false]),
        ("", "failed = \"< 50%\", p50 = \"> 1m\"", 1, &[false, false, true]),
        ("failed = \"< 3\", p50 = \"> 1m\"", "", 1, &[true, false]),
    ] {
        let server = Server::start(|seen| {
            OK.replace("200 OK", if seen.path() == "/bad" { "500 No" } else { "200 OK" })
        });
        let fails = format!("thresholds = {{ {thresholds} }}");
        let plan = format!("thresholds = {{ {of_plan} }}\n")
            + &plan_job("fails", 1, &server.base(), 2, &fails).replace("\"/\"", "\"/bad\", \"/\"")
            + &plan_job("passes", 1, &server.base(), 2, "");
        let plan = Scratch::file("plan.toml", &plan);
        let ended = gentle([plan.path().to_str().unwrap(), "--junit", "-"]);
        assert_eq!(ended.status, Some(status), "{ended:?}");
        let xml = roxmltree::Document::parse(&ended.stdout).unwrap();
        let suite = xml.root_element().first_element_child().unwrap();
        let failed: Vec<_> = suite
            .children()
            .filter(|case| case.is_element())
            .map(|case| case.has_children())
            .collect();
        assert_eq!(failed, cases, "{thresholds}, {of_plan}: {ended:?}");
        let failures = cases.iter().filter(|failed| **failed).count().to_string();
        assert_eq!(suite.attribute("failures"), Some(failures.as_str()));
        assert_eq!(suite.attribute("tests"), Some(cases.len().to_string().as_str()));
    }
}

/// The keys of all tables in a value, but for those that are data.
fn keys(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(table) => {
            for (key, value) in table {
                found.insert(key.clone());
                if key != "statuses" {
                    keys(value, found);
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

#[test]
fn the_readme_has_each_key_of_the_json() {
    let readme = include_str!("../../README.md");
    let server = Server::start(ok);
    let more = "ramp = [1, 2]\nrate = \"500/s\"\nthresholds = { p50 = \"< 1m\" }\nexpect = 404";
    let plan = plan_job("a", 1, &server.base(), 3, more).replace("[\"/\"]", "[\"/\", \"/b\"]");
    let plan = Scratch::file("plan.toml", &(plan + "[host.\"*\"]\nlimit = 2\n"));
    let ended = gentle([plan.path().to_str().unwrap(), "--quiet", "--json", "-"]);
    let results: Value = serde_json::from_str(&ended.stdout).unwrap();
    let mut found = BTreeSet::new();
    keys(&results, &mut found);
    assert!(found.len() > 45, "{found:?}");
    let missing: Vec<_> =
        found.iter().filter(|key| !readme.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "not in the README: {missing:?}");
    let moment = |key: &str| results[key].as_str().unwrap().to_owned();
    assert!(moment("started") < moment("ended"));
    let output = Command::new("date")
        .args(["-u", "+%Y-%m-%dT%H"])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let now = String::from_utf8(output.stdout).unwrap();
    assert!(now.trim() >= &moment("started")[..13], "{now} {results}");
}
