//! TLS and HTTP/2: which certificates are trusted and shown, and which version is spoken.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::Ordering;
use std::thread;

use http::Version;
use serde_json::Value;

use crate::peers::{
    Authority, NO_ERROR, REFUSED_STREAM, Speaks, Unanswered, closes_under_the_second_request,
    leaves_unanswered, serve, stranger,
};
use crate::program::{Ended, Scratch, check, gentle, job, plan_job};

const BOTH: &[&str] = &["h2", "http/1.1"];

fn failure(ended: &Ended) -> String {
    format!("{}{}", ended.stdout, ended.stderr)
}

#[test]
fn a_private_authority_is_trusted_if_the_plan_names_it() {
    let authority = Authority::new();
    let speaks = Speaks { tls: Some(&authority), asks_for_certificate: false, protocols: BOTH };
    let (address, visits) = serve(&speaks);
    let base = format!("https://localhost:{}", address.port());
    let trusts = format!("cacert = \"{}\"", authority.file.path().display());
    let (ended, results) = check(&plan_job("a", 2, &base, 10, &trusts));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(job(&results, "a")["statuses"]["200"], 10);
    assert_eq!(visits.versions().len(), 10);
}

#[test]
fn a_certificate_of_another_authority_is_refused_in_words() {
    let authority = Authority::new();
    let speaks = Speaks { tls: Some(&authority), asks_for_certificate: false, protocols: BOTH };
    let (address, visits) = serve(&speaks);
    let base = format!("https://localhost:{}", address.port());
    let other = stranger();
    let trusts = format!("cacert = \"{}\"", other.path().display());
    let (ended, _) = check(&plan_job("a", 1, &base, 1, &trusts));
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(failure(&ended).contains("the server's certificate is not trusted"), "{ended:?}");
    assert!(visits.versions().is_empty());
    let (ended, _) = check(&plan_job("a", 1, &base, 1, "insecure = true"));
    assert_eq!(ended.status, Some(0), "{ended:?}");
}

#[test]
fn shows_the_certificate_that_the_plan_names() {
    let authority = Authority::new();
    let speaks = Speaks { tls: Some(&authority), asks_for_certificate: true, protocols: BOTH };
    let (address, visits) = serve(&speaks);
    let base = format!("https://127.0.0.1:{}", address.port());
    let trusts = format!("cacert = \"{}\"", authority.file.path().display());
    let (ended, _) = check(&plan_job("a", 1, &base, 1, &trusts));
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(visits.versions().is_empty());
    let client = authority.identity("client");
    let shows = format!(
        "{trusts}\ncert = \"{}\"\nkey = \"{}\"",
        client.certificate.path().display(),
        client.key.path().display()
    );
    let (ended, _) = check(&plan_job("a", 2, &base, 8, &shows));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(visits.versions().len(), 8);
}

#[test]
fn speaks_the_version_that_the_plan_names() {
    let authority = Authority::new();
    let trusts = format!("cacert = \"{}\"", authority.file.path().display());
    let cases = [
        ("2", BOTH, Version::HTTP_2),
        ("any", BOTH, Version::HTTP_2),
        ("1.1", BOTH, Version::HTTP_11),
        ("any", &["http/1.1"], Version::HTTP_11),
    ];
    for (asked, protocols, spoken) in cases {
        let speaks = Speaks { tls: Some(&authority), asks_for_certificate: false, protocols };
        let (address, visits) = serve(&speaks);
        let base = format!("https://localhost:{}", address.port());
        let more = format!("{trusts}\nhttp = \"{asked}\"");
        let (ended, _) = check(&plan_job("a", 4, &base, 40, &more));
        assert_eq!(ended.status, Some(0), "{asked}: {ended:?}");
        assert_eq!(visits.versions(), vec![spoken; 40], "{asked} of {protocols:?}");
        if spoken == Version::HTTP_2 {
            assert_eq!(visits.connections(), 1, "one connection carries all requests of a job");
        }
    }
}

#[test]
fn speaks_http_2_without_tls_if_the_plan_says_so() {
    let (address, visits) =
        serve(&Speaks { tls: None, asks_for_certificate: false, protocols: &["h2"] });
    let base = format!("http://{address}");
    let (ended, _) = check(&plan_job("a", 3, &base, 30, "http = \"2\""));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(visits.versions(), vec![Version::HTTP_2; 30]);
}

#[test]
fn the_options_about_certificates_are_for_jobs_that_say_nothing() {
    let authority = Authority::new();
    let speaks = Speaks { tls: Some(&authority), asks_for_certificate: false, protocols: BOTH };
    let (address, visits) = serve(&speaks);
    let base = format!("https://localhost:{}", address.port());
    let other = stranger();
    let own = format!("cacert = \"{}\"", other.path().display());
    let file = authority.file.path().to_str().unwrap();
    for (more, options, status) in [
        ("", vec![], 1),
        ("", vec!["--cacert", file], 0),
        ("", vec!["--insecure"], 0),
        // The job's own authority comes first.
        (own.as_str(), vec!["--cacert", file], 1),
        (own.as_str(), vec!["--insecure"], 0),
    ] {
        let before = visits.versions().len();
        let plan = Scratch::file("plan.toml", &plan_job("a", 1, &base, 3, more));
        let ended = gentle([plan.path().to_str().unwrap()].into_iter().chain(options.clone()));
        assert_eq!(ended.status, Some(status), "{more} {options:?}: {ended:?}");
        let sent = visits.versions().len() - before;
        assert_eq!(sent, if status == 0 { 3 } else { 0 }, "{more} {options:?}");
    }
}

#[test]
fn a_request_of_http_2_is_sent_again_if_its_kept_connection_dies_before_an_answer() {
    for (method, ok) in [("GET", 9), ("PUT", 9), ("POST", 5)] {
        let (address, answers) = closes_under_the_second_request();
        let more = format!("http = \"2\"\nmethod = \"{method}\"");
        let (ended, results) = check(&plan_job("a", 1, &format!("http://{address}"), 9, &more));
        let results = job(&results, "a");
        assert_eq!(results["ok"], ok, "{method}: {ended:?}");
        assert_eq!(answers.load(Ordering::SeqCst), ok, "{method}");
        let repeated = if method == "POST" { 0 } else { 8 };
        assert_eq!(results["repeated"], repeated, "{method}: {results}");
    }
}

/// Sends 9 requests, each after the one before.
fn send_nine(address: SocketAddr, method: &str) -> (Ended, Value) {
    let more = format!("http = \"2\"\nmethod = \"{method}\"");
    let (ended, results) = check(&plan_job("a", 1, &format!("http://{address}"), 9, &more));
    (ended, job(&results, "a").clone())
}

#[test]
fn a_request_that_goaway_does_not_cover_is_sent_again_whatever_its_method() {
    for method in ["GET", "POST"] {
        let (address, visits) = leaves_unanswered(Unanswered::GoesAway, |number| number == 0);
        let (ended, results) = send_nine(address, method);
        assert_eq!((&results["ok"], &results["repeated"]), (&9.into(), &8.into()), "{ended:?}");
        assert_eq!((visits.versions().len(), visits.connections()), (9, 9), "{method}");
    }
}

#[test]
fn a_refused_request_of_http_2_is_sent_again_over_the_same_connection() {
    let refuses = Unanswered::Resets(REFUSED_STREAM);
    // The server refuses the first request, too.
    let (address, visits) = leaves_unanswered(refuses, |number| number % 2 == 1);
    let (ended, results) = send_nine(address, "POST");
    assert_eq!((&results["ok"], &results["repeated"]), (&9.into(), &9.into()), "{ended:?}");
    assert_eq!((visits.versions().len(), visits.connections()), (9, 1));
}

#[test]
fn a_request_of_http_2_that_is_reset_without_a_refusal_is_sent_once() {
    let resets = Unanswered::Resets(NO_ERROR);
    let (address, visits) = leaves_unanswered(resets, |number| number % 2 == 0);
    let (ended, results) = send_nine(address, "GET");
    assert_eq!((&results["ok"], &results["repeated"]), (&5.into(), &0.into()), "{ended:?}");
    assert_eq!(visits.connections(), 1, "the connection is good for other requests");
}

#[test]
fn a_server_that_does_not_shake_hands_delays_no_other_server_of_a_list() {
    let authority = Authority::new();
    let speaks = Speaks { tls: Some(&authority), asks_for_certificate: false, protocols: BOTH };
    let (good, visits) = serve(&speaks);
    let stalled = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = stalled.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut stream, _) = stalled.accept().unwrap();
        // Until the client gives up.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let list = format!("https://localhost:{port}/\n") + &good_urls(good.port(), 5);
    let list = Scratch::file("urls.txt", &list);
    let (list, file) = (list.path().display(), authority.file.path().display());
    let plan = format!(
        "[[job]]\nname = \"a\"\nlimit = 2\nurls = \"{list}\"\ncacert = \"{file}\"\n\
         timeout = \"4s\"\nafter_timeout = \"release\"\nlatency = \"< 3s\"\n"
    );
    let (ended, results) = check(&plan);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let results = job(&results, "a");
    assert_eq!((&results["ok"], &results["failed"]), (&5.into(), &1.into()), "{results}");
    assert_eq!(results["failures"][0]["cause"], "no whole answer within 4s");
    assert_eq!(visits.versions().len(), 5);
}

/// A list of URLs on a server under TLS.
fn good_urls(port: u16, count: usize) -> String {
    format!("https://localhost:{port}/\n").repeat(count)
}
