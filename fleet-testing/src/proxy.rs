//! A TCP proxy between a client and its server, which delays, stalls, loses and resets.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// What the proxy does with what it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// Passes all on.
    Pass,
    /// Holds requests back until the mode changes, then delivers them, even if their client has closed its connection.
    KeepRequests,
    /// Throws answers away.
    LoseAnswers,
    /// Closes connections.
    Reset,
}

const MODES: [Mode; 4] = [Mode::Pass, Mode::KeepRequests, Mode::LoseAnswers, Mode::Reset];

/// The proxy. Its threads end with the test's process.
#[derive(Debug)]
pub struct Proxy {
    /// The port on loopback.
    pub port: u16,
    mode: Arc<AtomicU8>,
}

impl Proxy {
    /// Starts a proxy before the server on this port of loopback.
    pub fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mode = Arc::new(AtomicU8::new(Mode::Pass as u8));
        let shared = Arc::clone(&mode);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, Ok(server)) =
                    (client.unwrap(), TcpStream::connect(("127.0.0.1", server)))
                else {
                    continue;
                };
                for requests in [true, false] {
                    let (mut from, mut to) =
                        (client.try_clone().unwrap(), server.try_clone().unwrap());
                    if !requests {
                        (from, to) = (to, from);
                    }
                    let mode = Arc::clone(&shared);
                    std::thread::spawn(move || copy(from, to, requests, &mode));
                }
            }
        });
        Self { port, mode }
    }

    /// Changes what the proxy does, at once.
    pub fn set(&self, mode: Mode) {
        // Ordering: SeqCst; a test, and nothing is lost.
        self.mode.store(mode as u8, Ordering::SeqCst);
    }
}

/// Copies one direction of one connection.
fn copy(mut from: TcpStream, mut to: TcpStream, requests: bool, mode: &AtomicU8) {
    // Ordering: SeqCst; a test, and nothing is lost.
    let now = || MODES[mode.load(Ordering::SeqCst) as usize];
    from.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let mut bytes = [0; 4096];
    loop {
        let length = match from.read(&mut bytes) {
            Ok(0) => break,
            Ok(length) => length,
            Err(_) if now() == Mode::Reset => break,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => break,
        };
        while requests && now() == Mode::KeepRequests {
            std::thread::sleep(Duration::from_millis(1));
        }
        let lose = !requests && now() == Mode::LoseAnswers;
        if now() == Mode::Reset || !lose && to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
