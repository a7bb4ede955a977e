//! The resource that the limit protects. It counts how many visits there are at the same time, which the tests check.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

#[derive(Debug, Default)]
struct Counts {
    now: usize,
    most: usize,
    visits: u64,
    /// The tasks that have begun, by number.
    begun: Vec<u64>,
}

/// A server. A visit lasts as long as its connection, so the visits of a killed process end with it.
#[derive(Debug)]
pub struct Resource {
    /// The port that the server listens on.
    pub port: u16,
    counts: Arc<Mutex<Counts>>,
}

impl Resource {
    /// Starts a resource on a free port of loopback.
    pub fn start() -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST)
    }

    /// Starts a resource on a free port of an address.
    pub fn start_at(address: Ipv4Addr) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let counts = Arc::new(Mutex::new(Counts::default()));
        let all = Arc::clone(&counts);
        std::thread::spawn(move || {
            for visitor in listener.incoming() {
                let counts = Arc::clone(&all);
                std::thread::spawn(move || receive(visitor.unwrap(), &counts));
            }
        });
        Self { port, counts }
    }

    /// Returns the number of visits at this moment.
    pub fn now(&self) -> usize {
        self.counts.lock().unwrap().now
    }

    /// The most visits at once since the last call of [`forget`](Self::forget).
    pub fn most(&self) -> usize {
        self.counts.lock().unwrap().most
    }

    /// Forgets the most visits so far.
    pub fn forget(&self) {
        let mut counts = self.counts.lock().unwrap();
        counts.most = counts.now;
    }

    /// Returns the number of all visits.
    pub fn visits(&self) -> u64 {
        self.counts.lock().unwrap().visits
    }

    /// Returns the numbers of all visits, in the order of their begins.
    pub fn begun(&self) -> Vec<u64> {
        self.counts.lock().unwrap().begun.clone()
    }
}

fn receive(mut visitor: TcpStream, counts: &Mutex<Counts>) {
    let mut number = [0; 8];
    if visitor.read_exact(&mut number).is_err() {
        return;
    }
    {
        let mut counts = counts.lock().unwrap();
        counts.now += 1;
        counts.visits += 1;
        counts.most = counts.most.max(counts.now);
        counts.begun.push(u64::from_le_bytes(number));
    }
    let _ = visitor.write_all(&[1]);
    let _ = visitor.read(&mut [0]); // until the visitor closes, or its process dies
    counts.lock().unwrap().now -= 1;
}

/// A visit. It ends when this is dropped, and the drop returns when the resource has counted the end.
#[derive(Debug)]
pub struct Visit(TcpStream);

impl Visit {
    /// Begins a visit, and returns when the resource has counted it.
    pub fn begin(port: u16, number: u64) -> Self {
        Self::begin_at(Ipv4Addr::LOCALHOST, port, number)
    }

    /// Begins a visit at a resource with this address, and returns when the resource has counted it.
    pub fn begin_at(address: Ipv4Addr, port: u16, number: u64) -> Self {
        let mut stream = TcpStream::connect((address, port)).unwrap();
        stream.write_all(&number.to_le_bytes()).unwrap();
        stream.read_exact(&mut [0]).unwrap();
        Self(stream)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let _ = self.0.shutdown(std::net::Shutdown::Write);
        let _ = self.0.read(&mut [0]);
    }
}
