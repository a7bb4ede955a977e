//! Servers that behave, and servers that do not.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::{mem, thread};

/// The answer of a server that behaves.
pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";

/// Answers as a server that behaves.
pub(crate) fn ok(_: &Seen) -> &'static str {
    OK
}

/// One request, as it came over the wire.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// How many requests came before it.
    pub(crate) number: usize,
    /// How many were inside when it came, itself included.
    pub(crate) inside: usize,
    /// The request line and the headers, in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A server that answers each request on a thread of its own, with whatever bytes `answer` gives.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    record: Arc<Record>,
}

/// What a server saw so far.
#[derive(Debug, Default)]
struct Record {
    seen: Mutex<Vec<Seen>>,
    came: Condvar,
}

impl Seen {
    /// The path and the query.
    pub(crate) fn path(&self) -> String {
        self.head.split(' ').nth(1).unwrap().to_owned()
    }
}

impl Server {
    pub(crate) fn start<A>(answer: impl Fn(&Seen) -> A + Send + Sync + 'static) -> Self
    where
        A: AsRef<[u8]>,
    {
        let record = Arc::<Record>::default();
        let recorder = Arc::clone(&record);
        let inside = AtomicUsize::new(0);
        let address = accept_each(move |mut stream| {
            let inside_with_this = inside.fetch_add(1, Ordering::SeqCst) + 1;
            let answer = read_request(&stream).map(|(head, body)| {
                let seen = recorder.add(inside_with_this, head, body);
                answer(&seen)
            });
            inside.fetch_sub(1, Ordering::SeqCst);
            if let Some(answer) = answer {
                let _ = stream.write_all(answer.as_ref());
            }
        });
        Server { address, record }
    }

    /// What came so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.record.seen.lock().unwrap().clone()
    }

    /// Waits until so many requests have come.
    pub(crate) fn wait_for(&self, requests: usize) {
        let seen = self.record.seen.lock().unwrap();
        drop(self.record.came.wait_while(seen, |seen| seen.len() < requests).unwrap());
    }

    pub(crate) fn base(&self) -> String {
        base(self.address)
    }
}

impl Record {
    fn add(&self, inside: usize, head: String, body: String) -> Seen {
        let mut seen = self.seen.lock().unwrap();
        let this = Seen { number: seen.len(), inside, head, body };
        seen.push(this.clone());
        self.came.notify_all();
        this
    }
}

/// Opens once and for all.
#[derive(Debug, Default)]
pub(crate) struct Latch {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Latch {
    pub(crate) fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    pub(crate) fn wait(&self) {
        let shut = self.open.lock().unwrap();
        drop(self.opened.wait_while(shut, |open| !*open).unwrap());
    }
}

/// The base of a server that is down: a port that is taken, so that no other server gets it, and does not listen.
pub(crate) fn down() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let address = client.local_addr().unwrap();
    mem::forget((listener, client));
    base(address)
}

/// The base of a server that resets each connection: it closes it with the request unread.
pub(crate) fn resetting() -> String {
    let reset = |stream: TcpStream| {
        let mut first = [0];
        let _ = stream.peek(&mut first);
    };
    base(accept_each(reset))
}

/// The base of a server that starts each answer with `start` and never goes on.
pub(crate) fn stalling(start: &'static str) -> String {
    let kept = Mutex::new(Vec::new());
    base(accept_each(move |mut stream| {
        // Behind the request: before it, nothing is an answer.
        let _ = read_request(&stream);
        let _ = stream.write_all(start.as_bytes());
        kept.lock().unwrap().push(stream);
    }))
}

fn base(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// Serves each connection on a thread of its own until the process ends.
fn accept_each(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// The head, in lower case, and the body.
fn read_request(stream: &TcpStream) -> Option<(String, String)> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8(body).unwrap()))
}
