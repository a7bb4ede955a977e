//! Values from the command line and the environment, sessions that carry values on, and cookies.

use std::fs;

use serde_json::{Value, json};

use crate::program::{Ended, Scratch, check, command, end, interrupt, job, plan_job, run, start};
use crate::servers::{OK, Seen, Server, ok};

/// Runs the command with a value in its environment.
fn with_token(arguments: &[&str]) -> Ended {
    let mut command = command();
    command.args(arguments).env("GENTLE_TOKEN", "s3cr3t/1");
    run(command)
}

fn ok_with(headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

#[test]
fn values_come_from_the_command_line_and_the_environment() {
    let server = Server::start(ok);
    let more =
        "method = \"POST\"\nheaders = { x-key = \"<${GENTLE_TOKEN}>\" }\nbody = \"$${a} ${a}\"";
    let plan = plan_job("a", 1, "${BASE}", 1, more).replace("[\"/\"]", "[\"/${a}/b\"]");
    let plan = Scratch::file("plan.toml", &plan);
    let (plan, base) = (plan.path().to_str().unwrap(), format!("BASE={}", server.base()));
    let ended = with_token(&[plan, "--set", &base, "--set", "a=soup"]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let ended = with_token(&[plan, "--set", &base, "--set", "a=b=c", "--set", "GENTLE_TOKEN=7"]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let seen = server.seen();
    assert_eq!((seen[0].path().as_str(), seen[0].body.as_str()), ("/soup/b", "${a} soup"));
    assert!(seen[0].head.contains("x-key: <s3cr3t/1>\r\n"), "{seen:?}");
    assert_eq!((seen[1].path().as_str(), seen[1].body.as_str()), ("/b=c/b", "${a} b=c"));
    assert!(seen[1].head.contains("x-key: <7>\r\n"), "{seen:?}");
}

#[test]
fn a_value_that_is_missing_or_not_used_is_one_line_and_exit_status_2() {
    let server = Server::start(ok);
    let plan = plan_job("a", 1, &server.base(), 1, "body = \"${GENTLE_UNSET}\"");
    let plan = Scratch::file("plan.toml", &plan);
    let plan = plan.path().to_str().unwrap();
    for (more, error) in [
        (
            &[][..],
            format!("{plan}:7: ${{GENTLE_UNSET}} has no value: add --set GENTLE_UNSET=VALUE"),
        ),
        (
            &["--set", "GENTLE_UNSET=1", "--set", "b=s3cr3t"],
            format!("--set b: {plan} has no ${{b}}: "),
        ),
        (&["--set", "s3cr3t"], "--set has no name: write it like --set NAME=VALUE".to_owned()),
        (&["--set", "1=s3cr3t"], "--set has no name: ".to_owned()),
        (&["--set", "a=1", "--set", "a=s3cr3t"], "--set a is here twice: keep one".to_owned()),
    ] {
        let arguments: Vec<_> = [plan].iter().chain(more).copied().collect();
        let ended = with_token(&arguments);
        assert_eq!((ended.status, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
        assert!(ended.stderr.starts_with(&error), "{error}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        assert!(!ended.stderr.contains("s3cr3t"), "{ended:?}");
    }
    let ended = with_token(&["--set", "a=s3cr3t"]);
    assert_eq!(ended.stderr, "--set: the built-in plan has no values: give a PLAN\n");
    assert!(server.seen().is_empty());
}

/// Asserts that a plan is refused, and that the error shows the plan's spelling and no value.
fn refuses_without_secret(line: &str, value: &str, error: &str) {
    let plan = "[[job]]\nname = \"a\"\nlimit = 1\n".to_owned() + line;
    let plan = Scratch::file("plan.toml", &plan);
    let ended = with_token(&[plan.path().to_str().unwrap(), "--set", &format!("a={value}")]);
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
    assert!(ended.stderr.contains(error), "{ended:?}");
    assert!(!ended.stderr.contains("s3cr3t"), "{ended:?}");
}

#[test]
fn a_mistake_in_a_value_does_not_show_the_value() {
    let base = "base = \"http://127.0.0.1:1\"\n";
    let paths = |rest: &str| format!("{base}paths = [\"${{a}}\"]\n{rest}");
    refuses_without_secret(&paths(""), "s3cr3t", "the path \"${a}\" has no slash at its start");
    refuses_without_secret(&paths(""), "/#s3cr3t", "the path \"${a}\" has a #");
    let header = format!("{base}paths = [\"/\"]\nheaders = {{ x = \"${{a}}\" }}");
    refuses_without_secret(&header, "s3cr3t\n", "the header value \"${a}\" will not do");
    let long = "/s3cr3t\n".repeat(100);
    refuses_without_secret(&header, &long, "the header value \"${a}\" will not do");
    for base in
        ["s3cr3t", "ftp://s3cr3t", "http://u:s3cr3t@a", "http://a:s3cr3t", "http://a/?s3cr3t"]
    {
        refuses_without_secret("base = \"${a}\"\npaths = [\"/\"]\n", base, ": base ");
    }
    let name = format!("{base}paths = [\"/\"]\n[[job]]\nname = \"${{a}}\"\nlimit = 1\n");
    let name = name.as_str();
    refuses_without_secret(name, "s3cr3t", "the name \"${a}\" is shown as it is: write it without");
    refuses_without_secret(
        &paths("body = \"${a b}\""),
        "/s3cr3t",
        "is no value: write it like ${NAME}",
    );
}

/// Everything that a run says and writes.
fn all_that_is_said(plan: &str, more: &[&str]) -> (Ended, String) {
    let plan = Scratch::file("plan.toml", plan);
    let outputs = ["--json", "--csv", "--junit", "--html", "--failures", "--hdr"];
    let files = outputs.map(|option| Scratch::file(&option[2..], ""));
    let mut arguments = vec![plan.path().to_str().unwrap()];
    for (option, file) in outputs.iter().zip(&files) {
        arguments.extend([*option, file.path().to_str().unwrap()]);
    }
    arguments.extend(more);
    let ended = with_token(&arguments);
    let written = files.iter().map(|file| fs::read_to_string(file.path()).unwrap());
    let said = written.collect::<String>() + &ended.stdout + &ended.stderr;
    (ended, said)
}

#[test]
fn a_secret_is_sent_and_never_printed_or_written() {
    let server = Server::start(|_| ok_with("x: 1\r\n", "{\"a\": \"b\"}"));
    let wanted = [
        "expect = 404",
        "header = { x = \"${GENTLE_TOKEN}\" }",
        "body_contains = \"${GENTLE_TOKEN}\"",
        "json = { \"/a\" = \"${GENTLE_TOKEN}\" }",
    ];
    for more in wanted {
        let more = more.to_owned()
            + "\nmethod = \"POST\"\nheaders = { x-key = \"${GENTLE_TOKEN}\" }\nbody = \"${GENTLE_TOKEN}\"";
        let base = server.base() + "/${GENTLE_TOKEN}";
        let paths = "[\"/a?${GENTLE_TOKEN}\", \"/${GENTLE_TOKEN}\"]";
        let plan = plan_job("a", 1, &base, 1, &more).replace("[\"/\"]", paths);
        let (ended, said) = all_that_is_said(&plan, &[]);
        assert_eq!(ended.status, Some(1), "{ended:?}");
        assert!(!said.contains("s3cr3t"), "{said}");
        // The URL is named, as the plan spells it.
        assert!(said.contains("/${GENTLE_TOKEN}/a?${GENTLE_TOKEN}"), "{said}");
        let seen = server.seen().pop().unwrap();
        assert_eq!((seen.path().as_str(), seen.body.as_str()), ("/s3cr3t/1/s3cr3t/1", "s3cr3t/1"));
        let (_, said) = all_that_is_said(&plan, &["--dry-run"]);
        assert!(said.contains("/${GENTLE_TOKEN}/a?") && !said.contains("s3cr3t"), "{said}");
    }
    let plan = plan_job("a", 1, "${B}", 1, "expect = 404");
    let (_, said) = all_that_is_said(&plan, &["--set", &format!("B={}", server.base())]);
    assert!(said.contains(&format!("first {}/", server.base())), "a server is no secret: {said}");
}

/// A shop: a session signs in, puts something into its basket and orders.
fn shop(seen: &Seen) -> String {
    let id = |text: &str| text.split("id-").nth(1).unwrap_or("none").to_owned();
    match seen.path().split('/').nth(1).unwrap() {
        "sign-in" => {
            let number = seen.number;
            ok_with("", &format!("{{\"user\": {{\"token\": \"id-{number}s\", \"age\": 7}}}}"))
        }
        "basket" => {
            let id = id(&seen.path());
            ok_with(&format!("location: /orders/{id}\r\nx-odd: a b#c\r\n"), "")
        }
        "orders" => {
            let token = seen.head.split("authorization: bearer id-").nth(1).unwrap_or("none");
            let owner = token.split("\r\n").next().unwrap();
            let is_own = seen.path().ends_with(owner) && seen.body.contains(owner);
            ok_with("", if is_own { "{\"owner\": \"you\"}" } else { "{\"owner\": \"another\"}" })
        }
        _ => OK.to_owned(),
    }
}

/// The steps of such a session.
const STEPS: &str = r#"
[[job.step]]
path = "/sign-in"
capture = { token = { json = "/user/token" }, age = { json = "/user/age" } }
[[job.step]]
path = "/basket/${age}/${token}"
method = "PUT"
capture = { order = { header = "location" }, odd = { header = "x-odd" } }
[[job.step]]
path = "${order}"
method = "POST"
headers = { authorization = "Bearer ${token}" }
body = "order for ${token}"
json = { "/owner" = "you" }
[[job.step]]
path = "/end?${odd}"
"#;

fn session_job(base: &str, limit: usize, more: &str, steps: &str) -> String {
    plan_job("shop", limit, base, 20, more).replace("paths = [\"/\"]\n", "") + steps
}

#[test]
fn a_session_carries_values_from_answers_to_later_requests() {
    let server = Server::start(shop);
    let (ended, results) = check(&session_job(&server.base(), 3, "", STEPS));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let shop = job(&results, "shop");
    assert_eq!(
        (&shop["requests"], &shop["planned"], &shop["skipped"]),
        (&json!(80), &json!(80), &json!(0))
    );
    let paths: Vec<_> =
        shop["paths"].as_array().unwrap().iter().map(|path| &path["path"]).collect();
    let labels =
        ["GET /sign-in", "PUT /basket/${age}/${token}", "POST ${order}", "GET /end?${odd}"];
    assert_eq!(paths, labels);
    assert!(shop["most_in_flight"].as_u64() <= Some(3), "{shop}");
    let seen = server.seen();
    let count = |start: &str| seen.iter().filter(|seen| seen.path().starts_with(start)).count();
    let counts = ["/sign-in", "/basket/7/id-", "/orders/", "/end?a%20b%23c"].map(count);
    assert_eq!(counts, [20; 4]);
    assert!(seen.iter().all(|seen| seen.inside <= 3));
}

#[test]
fn a_step_that_fails_ends_its_session() {
    let server = Server::start(|seen| match seen.number {
        0 => ok_with("", "{}"),
        _ => shop(seen),
    });
    let (ended, results) = check(&session_job(&server.base(), 1, "", STEPS));
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let results = job(&results, "shop");
    assert_eq!((&results["failed"], &results["skipped"]), (&json!(1), &json!(3)), "{results}");
    assert_eq!(results["requests"], 77, "{results}");
    assert_eq!(results["failures"][0]["cause"], "no text or number to capture at \"/user/age\"");
    assert!(ended.stdout.contains("shop: 3 steps not sent behind one that failed"), "{ended:?}");
    assert!(!ended.stdout.contains("requests not sent"), "{ended:?}");
    let missing = |answer: String, capture: &str| {
        let server = Server::start(move |_| answer.clone());
        let steps = format!(
            "[[job.step]]\npath = \"/\"\ncapture = {{ a = {capture} }}\n[[job.step]]\npath = \"${{a}}\"\nheaders = {{ x = \"${{a}}\" }}"
        );
        let (_, results) = check(&session_job(&server.base(), 1, "", &steps));
        job(&results, "shop")["failures"][0]["cause"].as_str().unwrap().to_owned()
    };
    assert_eq!(missing(ok_with("", "soup"), "{ json = \"\" }"), "no JSON to capture from");
    assert_eq!(missing(ok_with("", ""), "{ header = \"x\" }"), "no header x to capture");
    let no_path = missing(ok_with("x: soup\r\n", ""), "{ header = \"x\" }");
    assert!(
        no_path.starts_with("not sent: the path \"${a}\" has no slash at its start"),
        "{no_path}"
    );
    let no_header = missing(ok_with("", "\"/a\\n\""), "{ json = \"\" }");
    assert_eq!(no_header, "not sent: a captured value does not fit the header x");
}

#[test]
fn a_captured_value_is_never_printed_or_written() {
    let server =
        Server::start(|seen| ok_with("", if seen.path() == "/" { "\"s3cr3t\"" } else { "" }));
    let steps = "[[job.step]]\npath = \"/\"\ncapture = { a = { json = \"\" } }\n\
                 [[job.step]]\npath = \"/x/${a}\"\nbody = \"${a}\"\nbody_contains = \"${a}\"\n";
    let (ended, said) = all_that_is_said(&session_job(&server.base(), 2, "", steps), &[]);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert_eq!(server.seen().pop().unwrap().body, "s3cr3t");
    assert!(said.contains("/x/${a}") && !said.contains("s3cr3t"), "{said}");
}

#[test]
fn a_signal_cuts_a_session_short() {
    let server = Server::start(shop);
    let plan = session_job(&server.base(), 2, "", STEPS).replace("repeat = 20", "for = \"24h\"");
    let plan = Scratch::file("plan.toml", &plan);
    let (child, stderr) = start(&[plan.path()]);
    server.wait_for(6);
    interrupt(&child);
    stderr.for_each(drop);
    let ended = end(child);
    assert_eq!(ended.status, Some(130), "{ended:?}");
    assert!(ended.stdout.contains(" requests, 0 failed"), "{ended:?}");
    assert!(!ended.stdout.contains("not sent"), "{ended:?}");
}

/// Sets a cookie with the number of the first request, and counts the cookies that come back.
fn baker(seen: &Seen) -> String {
    let cookie = seen.head.lines().find_map(|line| line.strip_prefix("cookie: "));
    match (seen.path().as_str(), cookie) {
        ("/start", None) => ok_with(&format!("set-cookie: s={}\r\n", seen.number), ""),
        ("/moved", Some(cookie)) => {
            format!(
                "HTTP/1.1 302 Found\r\nset-cookie: t=1\r\nlocation: /end?{cookie}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
        }
        (path, Some(cookie)) => ok_with("", &format!("{path} {cookie}")),
        (path, None) => ok_with("", &format!("{path} none")),
    }
}

#[test]
fn each_session_has_its_own_cookies() {
    let server = Server::start(baker);
    let steps = "[[job.step]]\npath = \"/start\"\n[[job.step]]\npath = \"/moved\"\n";
    let more = "cookies = true\nredirects = 1";
    let (ended, _) = check(&session_job(&server.base(), 4, more, steps));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let seen = server.seen();
    let ends: Vec<_> = seen.iter().filter(|seen| seen.path().starts_with("/end")).collect();
    let mut numbers = std::collections::BTreeSet::new();
    for end in &ends {
        let number = end.path().replace("/end?s=", "");
        assert!(end.head.contains(&format!("cookie: s={number}; t=1\r\n")), "{end:?}");
        numbers.insert(number);
    }
    assert_eq!((ends.len(), numbers.len()), (20, 20));
}

#[test]
fn a_job_without_steps_has_one_set_of_cookies_if_the_plan_says_so() {
    for (more, cookies) in [("cookies = true", 9), ("", 0), ("cookies = false", 0)] {
        let server = Server::start(baker);
        let plan =
            plan_job("a", 1, &server.base(), 5, more).replace("[\"/\"]", "[\"/start\", \"/then\"]");
        let (ended, _) = check(&plan);
        assert_eq!(ended.status, Some(0), "{ended:?}");
        let has_cookie = |seen: &&Seen| seen.head.contains("cookie: s=0\r\n");
        assert_eq!(server.seen().iter().filter(has_cookie).count(), cookies, "{more}");
    }
}

#[test]
fn the_plan_is_told_what_is_wrong_with_its_steps() {
    let plan = |more: &str, steps: &str| {
        let plan = session_job("http://127.0.0.1:1", 1, more, steps);
        crate::plan::parse("plan.toml", &plan).map(|_| ()).unwrap_err().to_string()
    };
    let step = "[[job.step]]\npath = \"/\"\n";
    for (more, steps, error) in [
        ("", "[[job.step]]\n", "7: this step has no path: add path = \"/\""),
        ("step = []", "", "6: step is empty: add a table that starts with [[job.step]]"),
        ("paths = [\"/x\"]", step, "6: paths does not go with step: remove one of them"),
        ("urls = \"a\"", step, "6: urls does not go with step: remove one of them"),
        ("ramp = [1, 2]", step, "6: ramp does not go with step: remove one of them"),
        (
            "",
            "[[job.step]]\npath = \"/\"\ncapture = { a = {} }",
            "9: a has not one place: give it json = \"/id\" or header = \"location\"",
        ),
        (
            "",
            "[[job.step]]\npath = \"/\"\ncapture = { a = { json = \"x\" } }",
            "9: \"x\" is no JSON pointer: write it like \"/items/0/name\"",
        ),
        (
            "",
            "[[job.step]]\npath = \"/\"\ncapture = { \"a b\" = { json = \"\" } }",
            "9: the name \"a b\" will not do: use letters, digits and _, and no digit at the start",
        ),
        (
            "",
            "[[job.step]]\npath = \"/${later}\"\ncapture = { later = { json = \"\" } }",
            "8: ${later} has no value: add --set later=VALUE, or put it into the environment",
        ),
        (
            "",
            "[[job.step]]\npath = \"/\"\nlimit = 2",
            "9: there is no key \"limit\" here: use one of path, method, headers, body, expect, body_contains, body_matches, json, header, latency, capture",
        ),
    ] {
        assert_eq!(plan(more, steps), format!("plan.toml:{error}"));
    }
    let no_base = "[[job]]\nname = \"a\"\nlimit = 1\n".to_owned() + step;
    let error = crate::plan::parse("plan.toml", &no_base).unwrap_err().to_string();
    assert!(error.starts_with("plan.toml:1: this job has no base: add base = "), "{error}");
    let error = crate::plan::parse("plan.toml", "[defaults]\nstep = []\n").unwrap_err().to_string();
    assert_eq!(error, "plan.toml:2: step is no default: put it into a [[job]]");
}

#[test]
fn steps_take_the_keys_of_their_job() {
    let server = Server::start(|seen| match seen.path().as_str() {
        "/b" => ok_with("x-own: 1\r\n", ""),
        _ => OK.replace("200 OK", "201 Made"),
    });
    let more = "expect = 201\nheaders = { x-a = \"1\", x-b = \"1\" }";
    let steps = "[[job.step]]\npath = \"/a\"\nheaders = { X-B = \"2\" }\n\
                 [[job.step]]\npath = \"/b\"\nexpect = 200\nheader = { x-own = \"1\" }\n";
    let (ended, results) = check(&session_job(&server.base(), 1, more, steps));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(job(&results, "shop")["statuses"], json!({ "200": 20, "201": 20 }) as Value);
    let head = &server.seen()[0].head;
    assert!(head.contains("x-a: 1\r\n") && head.contains("x-b: 2\r\n"), "{head}");
}
