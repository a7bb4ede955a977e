//! A plan that is wrong is refused in one line that says where and what to change.

use std::time::Duration;

use crate::plan::parse;
use crate::plan_reader::{FULL, JOB, parse_bytes};

/// The error for [`JOB`] with `old` replaced by `new`.
#[track_caller]
pub(crate) fn refuses(old: &str, new: &str, error: &str) {
    assert!(JOB.contains(old));
    refuses_plan(&JOB.replacen(old, new, 1), error);
}

/// The error for [`JOB`] with a line added.
#[track_caller]
pub(crate) fn refuses_line(line: &str, error: &str) {
    refuses_plan(&format!("{JOB}{line}\n"), &format!("7: {error}"));
}

#[track_caller]
pub(crate) fn refuses_plan(text: &str, error: &str) {
    let found = parse("plan.toml", text).unwrap_err().to_string();
    assert_eq!(found, format!("plan.toml:{error}"));
}

#[test]
fn refuses_what_is_no_toml() {
    refuses_plan("[[job]\n", "1: unclosed array table, expected `]`");
    refuses_plan("workers = 1\nworkers = 2\n", "2: duplicate key");
    refuses_plan(
        &format!("workers = {}", "[".repeat(100_000)),
        "1: cannot recurse further; max recursion depth met",
    );
    let error = parse_bytes("plan.toml", b"workers = 2\n# \xff\n").unwrap_err();
    assert_eq!(error.to_string(), "plan.toml:2: not UTF-8 text: save the plan as UTF-8");
}

#[test]
fn refuses_a_plan_without_jobs() {
    let mend = "no job: add a table that starts with [[job]]";
    refuses_plan("", &format!("1: {mend}"));
    refuses_plan("workers = 2\njob = []", &format!("1: {mend}"));
    refuses("[[job]]", "[job]", "1: a list such as [1, 2] or [[job]] belongs here, not map");
    refuses_plan("job = [3]", "1: a table that starts with [[job]] belongs here, not integer `3`");
}

#[test]
fn refuses_a_job_that_lacks_something() {
    refuses("name = \"search\"\n", "", "1: this job has no name: add name = \"search\"");
    refuses("limit = 2\n", "", "1: this job has no limit: add limit = 2");
    refuses("paths = [\"/a\", \"/b\"]\n", "", "1: this job has no paths: add paths = [\"/\"]");
    refuses(
        "base = \"http://127.0.0.1:8080\"\n",
        "",
        "1: this job has no base: add base = \"http://127.0.0.1:8080\"",
    );
}

#[test]
fn refuses_unknown_keys_and_names_the_known() {
    refuses_plan("worker = 1\n", "1: there is no key \"worker\" here: did you mean \"workers\"?");
    refuses_line("limt = 2", "there is no key \"limt\" here: did you mean \"limit\"?");
    refuses_line("time_out = 2", "there is no key \"time_out\" here: did you mean \"timeout\"?");
    let known = "use one of workers, defaults, thresholds, job, host, rate, burst";
    refuses_plan("zzzz = 1\n", &format!("1: there is no key \"zzzz\" here: {known}"));
    let error = parse("plan.toml", &format!("{JOB}zzzz = 2\n")).unwrap_err().to_string();
    assert!(
        error.contains("use one of name, limit, ramp, for, stage, rate, burst, backoff, base"),
        "{error}"
    );
}

#[test]
fn refuses_numbers_out_of_range() {
    let mend = "make it a whole number from 1 to 1024";
    for (workers, found) in [("0", "0"), ("-1", "-1"), ("0x401", "1025")] {
        let error = format!("1: workers is {found}: {mend}");
        refuses_plan(&format!("workers = {workers}\n{JOB}"), &error);
    }
    let huge = "99999999999999999999";
    refuses_plan(&format!("workers = {huge}\n{JOB}"), &format!("1: workers is {huge}: {mend}"));
    let mend = "make it a whole number from 1 to 100000";
    refuses("limit = 2", "limit = 0", &format!("3: limit is 0: {mend}"));
    refuses("limit = 2", "limit = 100_001", &format!("3: limit is 100001: {mend}"));
    assert!(parse("plan.toml", &JOB.replace("limit = 2", "limit = 100_000")).is_ok());
    let mend = "make it a whole number from 1 to 1000000000";
    refuses("repeat = 3", "repeat = 0", &format!("6: repeat is 0: {mend}"));
    refuses(
        "repeat = 3",
        "repeat = 1_000_000_000",
        "1: 2000000000 requests are too many for a job: \
         lower repeat until there are at most 1000000000",
    );
}

#[test]
fn refuses_numbers_that_are_not_whole() {
    refuses(
        "limit = 2",
        "limit = \"two\"",
        "3: limit is \"two\": write a whole number, \"auto\" or { min = 1, max = 64 }",
    );
    refuses(
        "limit = 2",
        "limit = 1.5",
        "3: a whole number, \"auto\" or { min = 1, max = 64 } belongs here, not floating point `1.5`",
    );
    refuses(
        "limit = 2",
        "limit = nan",
        "3: a whole number, \"auto\" or { min = 1, max = 64 } belongs here, not floating point `NaN`",
    );
    refuses(
        "limit = 2",
        "limit = inf",
        "3: a whole number, \"auto\" or { min = 1, max = 64 } belongs here, not floating point `inf`",
    );
}

#[test]
fn refuses_ramps_that_cannot_be_stepped_through() {
    let mend = "make it a whole number from 1 to 100000";
    refuses_line("ramp = [1, 0, 2]", &format!("a limit in ramp is 0: {mend}"));
    refuses_line("ramp = []", "ramp is empty: list the limits to step through, such as [1, 2, 4]");
    refuses(
        "repeat = 3",
        "ramp = [1, 2, 4]",
        "1: a ramp of 3 limits needs 3 requests, not 2: raise repeat or shorten the ramp",
    );
}

#[test]
fn refuses_names_that_repeat_or_do_not_fit_a_table() {
    refuses_plan(
        &format!("{JOB}\n{JOB}"),
        "9: line 2 has a job named \"search\" already: name each job differently",
    );
    let mend = "will not do: use 1 to 40 printable characters";
    refuses("\"search\"", "\" \"", &format!("2: the name \" \" {mend}"));
    refuses("\"search\"", r#""a\u001b[2J""#, &format!("2: the name \"a\\u{{1b}}[2J\" {mend}"));
    let (long, cut) = ("x".repeat(100), "x".repeat(60));
    refuses("search", &long, &format!("2: the name \"{cut}\"... {mend}"));
}

#[test]
fn refuses_bases_that_are_no_http_url() {
    let refuses_base =
        |base: &str, what: &str| refuses("http://127.0.0.1:8080", base, &format!("4: base {what}"));
    let malformed = "is no URL: write it like \"http://127.0.0.1:8080\"";
    for base in ["", "not a url", "/x", "localhost", "127.0.0.1:80", "ftp://a", "http://"] {
        refuses_base(base, malformed);
    }
    let port = "has a port that is none: use one from 1 to 65535";
    for base in ["http://a:0", "http://a:", "http://a:99999", "http://[::1]:0"] {
        refuses_base(base, port);
    }
    refuses_base("http://a/?q=1", "has a query: put it into paths");
    refuses_base("http://a/ä", "does not fit into a URL: percent-encode it, or shorten it");
    let user = "has a user in it: use headers = { authorization = \"...\" }";
    refuses_base("http://me:secret@127.0.0.1", user);
    assert!(parse("plan.toml", &JOB.replace("127.0.0.1", "[::1]")).is_ok());
}

#[test]
fn refuses_paths_that_fit_into_no_url() {
    refuses("[\"/a\", \"/b\"]", "[]", "5: paths is empty: list at least one, such as [\"/\"]");
    refuses(
        "[\"/a\", \"/b\"]",
        "\"/a\"",
        "5: a list such as [1, 2] or [[job]] belongs here, not string \"/a\"",
    );
    let refuses_path = |path: &str, mend: &str| {
        refuses("\"/b\"", &format!("\n\"{path}\""), &format!("6: the path \"{path}\" {mend}"));
    };
    refuses_path("b", "has no slash at its start: write it like \"/search?q=a\"");
    refuses_path("/b#c", "has a #, which is not sent to servers: cut it off, or write %23");
    refuses_path("/b c", "does not fit into a URL: percent-encode it, or shorten it");
    refuses_path("/ä", "does not fit into a URL: percent-encode it, or shorten it");
}

#[test]
fn refuses_methods_headers_and_bodies_that_cannot_be_sent() {
    let mend = "write a single word in capitals, such as \"GET\" or \"POST\"";
    refuses_line("method = \"get\"", &format!("the method \"get\" will not do: {mend}"));
    refuses_line("method = \"\"", &format!("the method \"\" will not do: {mend}"));
    refuses_line(
        "method = \"CONNECT\"",
        "the method \"CONNECT\" will not do: CONNECT is for proxies, which are not used here",
    );
    refuses_line(
        "headers = { \"a b\" = \"x\" }",
        "the header \"a b\" will not do: use letters, digits and hyphens",
    );
    refuses_line(
        "headers = { a = \"x\\ny\" }",
        "the header value \"x\\ny\" will not do: use printable ASCII characters on one line",
    );
    refuses_line(
        "headers = { content-length = \"3\" }",
        "the header \"content-length\" will not do: leave it out, it follows from body",
    );
    refuses_line("headers = { A = \"x\", a = \"y\" }", "the header \"a\" is here twice: keep one");
    refuses_line(
        "headers = \"a: b\"",
        "a table such as { accept = \"*/*\" } belongs here, not string \"a: b\"",
    );
    refuses_line("body = 3", "a string belongs here, not integer `3`");
}

#[test]
fn refuses_statuses_that_no_answer_has() {
    for number in ["42", "100", "1000", "-1"] {
        refuses_line(
            &format!("expect = {number}"),
            &format!("{number} is no status to expect: use one from 200 to 999"),
        );
    }
    refuses_line("expect = []", "expect is empty: give a status, such as 200");
    refuses_line("expect = \"ok\"", "\"ok\" is no class of statuses: write it like \"2xx\"");
    refuses_line("expect = true", "expected a status such as 200 or \"2xx\", or a list of them");
    refuses_line(
        "expect = [200, \"1xx\"]",
        "\"1xx\" is no class of statuses: write it like \"2xx\"",
    );
}

#[test]
fn refuses_expectations_that_no_answer_meets() {
    refuses_line("latency = \"200ms\"", "latency is \"200ms\": write it like \"< 200ms\"");
    refuses_line(
        "latency = \"< soon\"",
        "\"soon\" is no time-out: write it like \"250ms\", \"1.5s\" or \"2m\"",
    );
    for pointer in ["id", "/a~2"] {
        refuses_line(
            &format!("json = {{ \"{pointer}\" = 7 }}"),
            &format!("\"{pointer}\" is no JSON pointer: write it like \"/items/0/name\""),
        );
    }
    let error =
        parse("plan.toml", &format!("{JOB}body_matches = \"(\"\n")).unwrap_err().to_string();
    assert!(error.starts_with("plan.toml:7: \"(\" is no regular expression: "), "{error}");
    refuses_line("redirects = 11", "redirects is 11: make it a whole number from 0 to 10");
    refuses_line(
        "header = { \"a b\" = \"x\" }",
        "the header \"a b\" will not do: use letters, digits and hyphens",
    );
}

#[test]
fn refuses_thresholds_that_are_none() {
    let refuses_bound = |key: &str, bound: &str, example: &str| {
        refuses_line(
            &format!("thresholds = {{ {key} = \"{bound}\" }}"),
            &format!("the bound \"{bound}\" of {key} will not do: write it like {example}"),
        );
    };
    for bound in ["200ms", "< 200", "< fast", "= 200ms", "<"] {
        refuses_bound("p95", bound, "\"< 200ms\"");
    }
    for bound in ["1%", "< x%", "< -1", "< inf"] {
        refuses_bound("failed", bound, "\"< 1%\" or \"< 3\"");
    }
    refuses_bound("rate", "> 50", "\"> 50/s\"");
    refuses_line(
        "thresholds = { p33 = \"< 1s\" }",
        "there is no measure \"p33\": use p50, p90, p95, p99, p999, max, mean, failed or rate",
    );
}

#[test]
fn refuses_rates_that_are_none() {
    for rate in ["20", "20/x", "0/s", "-1/s", "fast/s", "/s", "inf/s", "9999999/s"] {
        refuses_line(
            &format!("rate = \"{rate}\""),
            &format!("\"{rate}\" is no rate: write it like \"20/s\", \"90/m\" or \"5/h\""),
        );
    }
    refuses_line("burst = 2", "burst needs a rate: add rate = \"20/s\"");
    let mend = "make it a whole number from 1 to 100000";
    refuses("repeat = 3", "rate = \"1/s\"\nburst = 0", &format!("7: burst is 0: {mend}"));
}

#[test]
fn refuses_stages_and_times_that_do_not_fit() {
    let error = "repeat does not go with for: remove one of them";
    refuses_plan(&format!("{JOB}for = \"30s\"\n"), &format!("6: {error}"));
    let job = JOB.replace("repeat = 3\n", "");
    refuses_plan(
        &format!("{job}for = \"25h\"\n"),
        "6: a time of \"25h\" is too long: use at most \"1440m\"",
    );
    let error = "for does not go with ramp: remove one of them";
    refuses_plan(&format!("{job}for = \"30s\"\nramp = [1, 2]\n"), &format!("6: {error}"));
    refuses_plan(
        &format!("{job}[[job.stage]]\nlimit = 2\n"),
        "6: this stage has no for: add for = \"30s\"",
    );
    refuses_plan(
        &format!("{job}stage = []\n"),
        "6: stage is empty: add a table that starts with [[job.stage]]",
    );
    let no_limit = job.replace("limit = 2\n", "");
    refuses_plan(
        &format!("{no_limit}[[job.stage]]\nfor = \"1s\"\n"),
        "1: this job has no limit: add limit = 2",
    );
    let stage = parse("plan.toml", FULL).unwrap().jobs.swap_remove(1);
    let times: Vec<_> = stage.times.unwrap().iter().map(|time| time.lasts.as_secs()).collect();
    assert_eq!((stage.limits, times), (vec![3, 7], vec![30, 60]));
}

#[test]
fn refuses_time_outs_that_are_none() {
    for timeout in [
        "",
        "5",
        "s",
        "0s",
        "-1s",
        ".5s",
        "1.s",
        "1.2.3s",
        "0.5ms",
        "5 s",
        "5d",
        "99999999999999999999s",
    ] {
        refuses_line(
            &format!("timeout = \"{timeout}\""),
            &format!("\"{timeout}\" is no time-out: write it like \"250ms\", \"1.5s\" or \"2m\""),
        );
    }
    for (timeout, milliseconds) in
        [("1.5s", 1_500), ("0.001s", 1), ("0.25m", 15_000), ("1h", 3_600_000), ("2.50s", 2_500)]
    {
        let plan = parse("plan.toml", &format!("{JOB}timeout = \"{timeout}\"\n")).unwrap();
        assert_eq!(plan.jobs[0].timeout, Duration::from_millis(milliseconds), "{timeout}");
    }
    refuses_line("timeout = \"61m\"", "a time-out of \"61m\" is too long: use at most \"60m\"");
    refuses_line(
        "after_timeout = \"5\"",
        "\"5\" is no time to hold a permit: write it like \"250ms\", \"1.5s\" or \"2m\", or \"hold\" or \"release\"",
    );
    refuses_line("timeout = 5", "a string belongs here, not integer `5`");
}
