//! The page of HTML: it is whole, it shows what happened, and it needs nothing beside itself.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use roxmltree::{Document, Node};

use crate::program::{Scratch, gentle, plan_job};
use crate::servers::{OK, Server, ok};

/// Runs a plan and gives the page.
fn page(plan: &str) -> String {
    let (plan, html) = (Scratch::file("plan.toml", plan), Scratch::file("page.html", ""));
    let ended = gentle([plan.path(), Path::new("--html"), html.path(), Path::new("--quiet")]);
    assert!(ended.status < Some(2), "{ended:?}");
    fs::read_to_string(html.path()).unwrap()
}

/// Reads the page as XML, in which each tag has an end.
fn parsed(page: &str) -> Document<'_> {
    let page = page.strip_prefix("<!DOCTYPE html>\n").unwrap();
    Document::parse(page).unwrap_or_else(|error| panic!("{error} in {page}"))
}

fn all<'a>(node: Node<'a, 'a>, tag: &'static str) -> Vec<Node<'a, 'a>> {
    node.descendants().filter(|node| node.has_tag_name(tag)).collect()
}

fn text(node: Node<'_, '_>) -> String {
    node.descendants().filter_map(|node| node.text().filter(|_| node.is_text())).collect()
}

#[test]
fn the_page_needs_no_network_and_no_script() {
    let server = Server::start(ok);
    let page = page(&plan_job("a", 2, &server.base(), 20, "rate = \"400/s\""));
    let document = parsed(&page);
    for node in document.descendants().filter(Node::is_element) {
        let tag = node.tag_name().name();
        assert!(!["script", "link", "img", "iframe", "object", "image"].contains(&tag), "{tag}");
        for attribute in node.attributes().filter(|attribute| attribute.name() == "href") {
            assert!(attribute.value().starts_with('#'), "{attribute:?}");
        }
    }
    assert!(!page.contains("url(") && !page.contains("@import"));
    assert!(page.contains("content=\"default-src 'none'; style-src 'unsafe-inline'\""));
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("@media print"));
}

#[test]
fn the_page_shows_each_job_host_and_cause() {
    let server = Server::start(|seen| match seen.path().as_str() {
        "/b" => OK.replace("200 OK", "500 No"),
        _ => OK.to_owned(),
    });
    let more = "ramp = [1, 2]\nthresholds = { p50 = \"< 1m\", failed = \"< 1\" }";
    let plan = plan_job("a <b> & \\\"c\\\"", 2, &server.base(), 10, more)
        .replace("[\"/\"]", "[\"/a\", \"/b\"]")
        + &plan_job("second", 1, &server.base(), 2, "rate = \"2/s\"")
        + "[host.\"127.0.0.1\"]\nlimit = 2\n";
    let page = page(&plan);
    let document = parsed(&page);
    let sections: Vec<_> =
        document.descendants().filter(|node| node.attribute("class") == Some("job")).collect();
    assert_eq!(sections.len(), 2);
    let titles = |node| all(node, "figcaption").into_iter().map(text).collect::<Vec<_>>();
    for section in &sections {
        let titles = titles(*section);
        let starts = ["In flight", "Ended requests", "Latency", "How many took how long"];
        assert_eq!(titles.len(), 4, "{titles:?}");
        assert!(
            titles.iter().zip(starts).all(|(title, start)| title.starts_with(start)),
            "{titles:?}"
        );
    }
    let first = text(sections[0]);
    assert!(first.starts_with("a <b> & \"c\"\nnot as expected"), "{first}");
    for part in [
        "status 500 instead of 200",
        &format!("{}/b", server.base()),
        "Thresholds",
        "not held",
        "Stages",
        "Paths",
        "/a",
    ] {
        assert!(first.contains(part), "{part} in {first}");
    }
    assert!(titles(sections[1])[1].contains("rate of the plan"));
    let host = document.descendants().find(|node| node.attribute("class") == Some("host")).unwrap();
    let figures = titles(host);
    assert_eq!(figures.len(), 4, "{figures:?}");
    assert_eq!(figures[0], "In flight requests limit");
    // The first job fails for one of its two paths, ten times.
    let host = text(host);
    let cause = "status 500 instead of 20010unexpected answer";
    assert!(host.starts_with("127.0.0.1") && host.contains(cause), "{host}");
    assert!(all(document.root(), "h2").into_iter().any(|title| text(title) == "All jobs"));
}

/// How many requests of a section took how long: from so many milliseconds on, and how many.
fn distribution(section: Node<'_, '_>) -> Vec<(f64, u64)> {
    let titles = all(section, "title").into_iter().map(text);
    let bar = |title: String| {
        let (from, rest) = title.split_once(" ms to ")?;
        let (_, count) = rest.split_once(": ")?;
        Some((from.parse().unwrap(), count.parse().unwrap()))
    };
    titles.filter_map(bar).filter(|(_, count)| *count > 0).collect()
}

#[test]
fn the_charts_of_a_host_show_the_part_of_a_redirected_request_that_it_had() {
    const SLOW: Duration = Duration::from_secs(1);
    let second = Server::start(ok);
    let redirect = format!("302 Found\r\nlocation: {}/", second.base());
    let first = Server::start(move |_| {
        sleep(SLOW);
        OK.replace("200 OK", &redirect)
    });
    let name = |server: &Server| server.base().replace("http://", "");
    let host = |server: &Server| format!("[host.\"{}\"]\nlimit = 1\n", name(server));
    let plan = plan_job("a", 1, &first.base(), 2, "redirects = 1") + &host(&first) + &host(&second);
    let page = page(&plan);
    let document = parsed(&page);
    let hosts = [&first, &second].map(|server| {
        let is_host = |node: &Node<'_, '_>| {
            node.attribute("class") == Some("host") && text(*node).starts_with(&name(server))
        };
        distribution(document.descendants().find(is_host).unwrap())
    });
    let counts = |host: &Vec<(f64, u64)>| host.iter().map(|(_, count)| count).sum::<u64>();
    assert_eq!(hosts.each_ref().map(counts), [2, 2], "{hosts:?}");
    // A bar begins a little before what it counts. The second host had no part in the second that the first one took.
    let slow = SLOW.as_secs_f64() * 1_000.0 * 0.9;
    assert!(hosts[0][0].0 > slow && hosts[1][0].0 < slow, "{hosts:?}");
}

#[test]
fn a_run_without_answers_has_a_page() {
    let page = page(&plan_job("a", 2, &crate::servers::down(), 3, ""));
    let document = parsed(&page);
    assert!(text(document.root()).contains("connection refused"));
    assert_eq!(all(document.root(), "figure").len(), 3, "no distribution of nothing");
}
