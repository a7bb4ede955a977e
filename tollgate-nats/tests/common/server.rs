// A nats-server of a test's own. Included by the examples of the documentation, too, so it must stand alone.

use std::io::Read;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use fleet_testing::{Launch, Server};

/// The address of the server on this port of loopback.
pub fn address(port: u16) -> String {
    format!("nats://127.0.0.1:{port}")
}

/// Returns true if a server on the port sends the greeting of NATS.
fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut hello = [0; 4];
    stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
        && stream.read_exact(&mut hello).is_ok()
        && &hello == b"INFO"
}

/// Starts a server as the README says.
pub fn start() -> Server {
    with(true)
}

/// Starts a server, with JetStream or without.
pub fn with(jetstream: bool) -> Server {
    at("127.0.0.1", jetstream)
}

/// Starts a server on `address`, which must be loopback or all addresses: the test waits for the server on loopback.
pub fn at(address: &'static str, jetstream: bool) -> Server {
    let command = move |port: u16, folder: &std::path::Path| {
        let mut command = Command::new("nats-server");
        command.args(["-a", address, "-p", &port.to_string()]);
        if jetstream {
            command.arg("-js").arg("-sd").arg(folder);
        }
        command
    };
    Server::start(Launch { package: "nats-server", command: Box::new(command), answers })
}
