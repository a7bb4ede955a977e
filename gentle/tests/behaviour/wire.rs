//! What goes over the wire: lengths of empty bodies, addresses, and connections that die while they are idle.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::program::{check, job, plan_job};
use crate::servers::{Server, ok};

const KEPT: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Reads one request without a body. False if the connection has ended.
fn read_head(reader: &mut impl BufRead) -> bool {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return false;
        }
    }
    true
}

/// A server that answers the first request of a connection, and closes the connection when the second one has come.
fn closes_after_one(at: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(at).unwrap();
    let address = listener.local_addr().unwrap();
    let answered = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&answered);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let count = Arc::clone(&count);
            thread::spawn(move || {
                let mut reader = BufReader::new(TcpStream::try_clone(&stream).unwrap());
                if read_head(&mut reader) {
                    count.fetch_add(1, Ordering::SeqCst);
                    (&stream).write_all(KEPT).unwrap();
                    read_head(&mut reader);
                }
            });
        }
    });
    (address, answered)
}

#[test]
fn sends_a_request_again_if_its_kept_connection_dies_before_an_answer() {
    let (address, answered) = closes_after_one((Ipv4Addr::LOCALHOST, 0).into());
    let (ended, results) = check(&plan_job("a", 2, &format!("http://{address}"), 50, ""));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(job(&results, "a")["statuses"]["200"], 50);
    let repeated = job(&results, "a")["repeated"].as_u64().unwrap();
    assert!(repeated >= 40, "each connection but the last ones died: {results}");
    let line = format!("a: {repeated} requests sent again, as a kept connection had died");
    assert!(ended.stdout.contains(&line), "{ended:?}");
    assert_eq!(answered.load(Ordering::SeqCst), 50);
}

#[test]
fn sends_a_request_that_may_not_be_repeated_once() {
    let (address, answered) = closes_after_one((Ipv4Addr::LOCALHOST, 0).into());
    let base = format!("http://{address}");
    let (ended, results) = check(&plan_job("a", 1, &base, 10, "method = \"POST\""));
    // Each answer leaves a connection that dies under the next request.
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert_eq!(job(&results, "a")["statuses"]["200"], 5, "{results}");
    assert_eq!(answered.load(Ordering::SeqCst), 5);
}

/// A server that answers the first request of a connection. The answer to the second one is a part of an answer, and the end.
fn ends_within_the_second_answer(part: &'static [u8]) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let came = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&came);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let count = Arc::clone(&count);
            thread::spawn(move || {
                let mut reader = BufReader::new(TcpStream::try_clone(&stream).unwrap());
                for answer in [KEPT, part] {
                    if read_head(&mut reader) {
                        count.fetch_add(1, Ordering::SeqCst);
                        (&stream).write_all(answer).unwrap();
                    }
                }
            });
        }
    });
    (format!("http://{address}"), came)
}

#[test]
fn a_request_whose_kept_connection_dies_after_the_first_byte_is_sent_once() {
    for part in [&b"H"[..], &KEPT[..KEPT.len() - 1]] {
        let (base, came) = ends_within_the_second_answer(part);
        let (ended, results) = check(&plan_job("a", 1, &base, 10, ""));
        assert_eq!(ended.status, Some(1), "{ended:?}");
        let results = job(&results, "a");
        assert_eq!((&results["ok"], &results["failed"]), (&5.into(), &5.into()), "{results}");
        assert_eq!((&results["repeated"], came.load(Ordering::SeqCst)), (&0.into(), 10));
        assert_eq!(results["failures"][0]["kind"], "closed", "{results}");
    }
}

#[test]
fn says_that_an_empty_body_is_empty_if_the_method_has_one() {
    let server = Server::start(ok);
    for (method, says) in [("POST", true), ("PUT", true), ("PATCH", true), ("GET", false)] {
        let more = format!("method = \"{method}\"");
        let (ended, _) = check(&plan_job("a", 1, &server.base(), 1, &more));
        assert_eq!(ended.status, Some(0), "{ended:?}");
        let head = server.seen().pop().unwrap().head;
        assert_eq!(head.contains("content-length: 0\r\n"), says, "{head}");
    }
}

#[test]
fn reaches_an_ipv6_address() {
    let (address, answered) = closes_after_one((Ipv6Addr::LOCALHOST, 0).into());
    let (ended, _) = check(&plan_job("a", 1, &format!("http://[::1]:{}", address.port()), 5, ""));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(answered.load(Ordering::SeqCst), 5);
}

/// A server that answers as if it kept the connection, and closes it at once.
fn answers_and_closes() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut reader = BufReader::new(TcpStream::try_clone(&stream).unwrap());
                if read_head(&mut reader) {
                    (&stream).write_all(KEPT).unwrap();
                }
            });
        }
    });
    format!("http://{address}")
}

#[test]
fn a_server_that_answers_and_closes_at_once_loses_no_request() {
    let (ended, results) = check(&plan_job("a", 4, &answers_and_closes(), 300, ""));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(job(&results, "a")["statuses"]["200"], 300);
}

#[test]
fn a_body_of_any_length_arrives_whole() {
    let server = Server::start(ok);
    for length in [1, 16 << 10, (16 << 10) + 1, 300_000] {
        let body = "x".repeat(length);
        let more = format!("method = \"POST\"\nbody = \"{body}\"");
        let (ended, _) = check(&plan_job("a", 1, &server.base(), 1, &more));
        assert_eq!(ended.status, Some(0), "{length}");
        assert!(server.seen().pop().unwrap().body == body, "{length}");
    }
}

#[test]
fn each_request_names_its_host() {
    let second = Server::start(ok);
    let to = second.base();
    let first = Server::start(move |_| {
        format!(
            "HTTP/1.1 302 Found\r\nlocation: {to}/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
    });
    let names = |server: &Server| -> Vec<String> {
        let host = |head: &str| {
            let lines = head.lines().filter_map(|line| line.strip_prefix("host: "));
            let [host] = lines.collect::<Vec<_>>()[..] else { panic!("not one host: {head}") };
            host.to_owned()
        };
        server.seen().iter().map(|seen| host(&seen.head)).collect()
    };
    let bare = |server: &Server| server.base().replace("http://", "");
    let (ended, _) = check(&plan_job("a", 1, &first.base(), 2, "redirects = 1"));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(names(&first), vec![bare(&first); 2]);
    assert_eq!(names(&second), vec![bare(&second); 2]);
    let more = "headers = { host = \"shop.example\" }";
    let (ended, _) = check(&plan_job("a", 1, &second.base(), 1, more));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(names(&second).pop().unwrap(), "shop.example");
}
