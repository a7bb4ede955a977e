//! The resource that the limit protects. It counts its visits at once: the oracle of these tests.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct Counts {
    now: usize,
    most: usize,
    visits: u64,
    /// The tasks that have begun, by number.
    begun: Vec<u64>,
}

/// A server on loopback. A visit lasts as long as its connection, so the visits of a killed process end with it.
pub struct Resource {
    pub port: u16,
    counts: Arc<Mutex<Counts>>,
}

impl Resource {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
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

    pub fn now(&self) -> usize {
        self.counts.lock().unwrap().now
    }

    /// The most visits at once since the last call of [`forget`](Self::forget).
    pub fn most(&self) -> usize {
        self.counts.lock().unwrap().most
    }

    pub fn forget(&self) {
        let mut counts = self.counts.lock().unwrap();
        counts.most = counts.now;
    }

    pub fn visits(&self) -> u64 {
        self.counts.lock().unwrap().visits
    }

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
pub struct Visit(TcpStream);

impl Visit {
    pub fn begin(port: u16, number: u64) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
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
