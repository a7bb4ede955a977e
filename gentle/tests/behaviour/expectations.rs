//! What a check can ask of an answer: status, header, body, latency, and where redirects lead.

use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use crate::program::{check, job, plan_job};
use crate::servers::{OK, Server, ok};

/// The first cause of failure of one request, or "" if it passes.
fn cause(server: &Server, more: &str) -> String {
    let (ended, results) = check(&plan_job("a", 1, &server.base(), 1, more));
    let cause = job(&results, "a")["failures"][0]["cause"].as_str().unwrap_or("").to_owned();
    assert_eq!(ended.status, Some(i32::from(!cause.is_empty())), "{ended:?}");
    cause
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

#[test]
fn a_status_may_be_one_a_class_or_a_list() {
    let server = Server::start(|_| answer("204 No Content", "", ""));
    assert_eq!(cause(&server, "expect = \"2xx\""), "");
    assert_eq!(cause(&server, "expect = [404, \"2xx\"]"), "");
    assert_eq!(cause(&server, "expect = [404, \"3xx\"]"), "status 204 instead of 404 or 3xx");
    assert_eq!(cause(&server, "expect = \"3xx\""), "status 204 instead of 3xx");
}

#[test]
fn a_body_must_contain_or_match_what_the_plan_says() {
    let server = Server::start(|_| answer("200 OK", "", "hot soup for 12"));
    assert_eq!(cause(&server, "body_contains = \"soup\""), "");
    assert_eq!(cause(&server, "body_contains = \"salad\""), "the body does not contain \"salad\"");
    assert_eq!(cause(&server, "body_matches = 'so+up for \\d\\d$'"), "");
    assert_eq!(cause(&server, "body_matches = '^soup'"), "the body does not match \"^soup\"");
}

#[test]
fn a_value_at_a_json_pointer_must_be_the_plans() {
    let body = r#"{"status": "up", "items": [{"id": 7, "share": 0.5, "on": true}], "a/b": [1, {"c": "d"}]}"#;
    let server = Server::start(move |_| answer("200 OK", "", body));
    let all = "json = { \"/status\" = \"up\", \"/items/0/id\" = 7, \"/items/0/share\" = 0.5, \
               \"/items/0/on\" = true, \"/a~1b\" = [1, { c = \"d\" }] }";
    assert_eq!(cause(&server, all), "");
    for (wanted, due) in [
        ("\"/status\" = \"down\"", "the JSON at \"/status\" is not \"down\""),
        ("\"/items/0/id\" = \"7\"", "the JSON at \"/items/0/id\" is not \"7\""),
        ("\"/items/1\" = 7", "the JSON has nothing at \"/items/1\""),
        ("\"/a~1b\" = [1]", "the JSON at \"/a~1b\" is not [1]"),
    ] {
        assert_eq!(cause(&server, &format!("json = {{ {wanted} }}")), due);
    }
    let server = Server::start(ok);
    assert_eq!(cause(&server, "json = { \"/a\" = 1 }"), "the body is no JSON");
}

#[test]
fn a_header_must_contain_what_the_plan_says() {
    let head = "content-type: application/json; charset=utf-8\r\nx-a: 1\r\nx-a: 2\r\n";
    let server = Server::start(move |_| answer("200 OK", head, "{}"));
    assert_eq!(cause(&server, "header = { Content-Type = \"json\", x-a = \"2\" }"), "");
    assert_eq!(cause(&server, "header = { x-a = \"\" }"), "");
    assert_eq!(
        cause(&server, "header = { content-type = \"html\" }"),
        "the header content-type does not contain \"html\""
    );
    assert_eq!(cause(&server, "header = { x-b = \"\" }"), "no header x-b");
}

#[test]
fn an_answer_that_is_slower_than_the_plan_says_fails() {
    let server = Server::start(|_| {
        sleep(Duration::from_millis(150));
        OK
    });
    assert_eq!(cause(&server, "latency = \"< 10s\""), "");
    assert_eq!(cause(&server, "latency = \"< 100ms\""), "not within 100ms");
}

#[test]
fn redirects_are_followed_as_far_as_the_plan_says_and_counted_apart() {
    let server = Server::start(|seen| match seen.path().as_str() {
        "/" => answer("302 Found", "location: a/b\r\n", ""),
        "/a/b" => answer("301 Moved", "location: ../c?d\r\n", ""),
        "/c?d" => answer("200 OK", "", "here"),
        _ => answer("404 Not Found", "", ""),
    });
    let (ended, results) =
        check(&plan_job("a", 2, &server.base(), 3, "redirects = 2\nbody_contains = \"here\""));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let results = job(&results, "a");
    assert_eq!((&results["requests"], &results["redirects"]), (&3.into(), &6.into()));
    assert_eq!(results["statuses"], serde_json::json!({ "200": 3 }));
    assert_eq!(server.seen().len(), 9);
    assert!(ended.stdout.contains("a: 6 redirects followed"), "{ended:?}");
    assert_eq!(cause(&server, "redirects = 1"), "status 301 instead of 200");
    assert_eq!(cause(&server, ""), "status 302 instead of 200");
}

#[test]
fn a_redirect_keeps_or_drops_the_method_and_drops_secrets_for_others() {
    let other = Server::start(ok);
    let elsewhere = format!("location: {}/x\r\n", other.base());
    for (status, keeps) in [("303 See Other", false), ("302 Found", false), ("307 Keep", true)] {
        let elsewhere = elsewhere.clone();
        let server = Server::start(move |_| answer(status, &elsewhere, ""));
        let more = "redirects = 1\nmethod = \"POST\"\nbody = \"soup\"\n\
                    headers = { authorization = \"secret\", x-a = \"1\" }";
        assert_eq!(cause(&server, more), "");
        assert!(server.seen()[0].head.contains("authorization: secret"));
        let seen = other.seen().pop().unwrap();
        let method = if keeps { "post /x " } else { "get /x " };
        assert!(seen.head.starts_with(method), "{status}: {seen:?}");
        assert_eq!(seen.body, if keeps { "soup" } else { "" });
        assert!(seen.head.contains("x-a: 1") && !seen.head.contains("secret"), "{seen:?}");
    }
}

#[test]
fn two_limited_hosts_that_redirect_to_each_other_do_not_block() {
    // Each server redirects half of its requests, those for "/", to the other one.
    let base_of_other = Arc::new(Mutex::new(String::new()));
    let base = Arc::clone(&base_of_other);
    let one = Server::start(move |seen| match seen.path().as_str() {
        "/" => answer("302 Found", &format!("location: {}/x\r\n", base.lock().unwrap()), ""),
        _ => OK.to_owned(),
    });
    let base = one.base();
    let other = Server::start(move |seen| match seen.path().as_str() {
        "/" => answer("302 Found", &format!("location: {base}/x\r\n"), ""),
        _ => OK.to_owned(),
    });
    *base_of_other.lock().unwrap() = other.base();
    let limit = |server: &Server| {
        format!("[host.\"{}\"]\nlimit = 1\n", server.base().replace("http://", ""))
    };
    let plan = limit(&one)
        + &limit(&other)
        + &plan_job("a", 4, &one.base(), 40, "redirects = 1")
        + &plan_job("b", 4, &other.base(), 40, "redirects = 1");
    let (ended, results) = check(&plan);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert!(results["hosts"].as_array().unwrap().iter().all(|host| host["most_in_flight"] == 1));
    assert!(one.seen().iter().chain(&other.seen()).all(|seen| seen.inside == 1));
}
