// A redis-server of a test's own. Included by the examples of the documentation, too, so it must stand alone.

use std::process::Command;
use std::time::Duration;

use fleet_testing::Launch;

/// A running redis-server. Dropping it kills it and removes its folder.
pub struct Server(fleet_testing::Server);

/// Returns a client of the server on this port of loopback.
pub fn client(port: u16) -> redis::Client {
    redis::Client::open(format!("redis://127.0.0.1:{port}/")).unwrap()
}

fn answers(port: u16) -> bool {
    client(port)
        .get_connection_with_timeout(Duration::from_secs(1))
        .is_ok_and(|mut connection| redis::cmd("PING").query::<String>(&mut connection).is_ok())
}

#[allow(dead_code)]
impl Server {
    /// Starts a server as the README says.
    pub fn start() -> Self {
        Self::with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// Starts a server with these options.
    pub fn with(options: &[&str]) -> Self {
        Self::wrapped(&[], options)
    }

    /// Starts a server through another command, such as faketime.
    pub fn wrapped(wrapper: &[&str], options: &[&str]) -> Self {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let (mut words, options): (Vec<String>, Vec<String>) = (owned(wrapper), owned(options));
        words.push("redis-server".to_owned());
        let command = move |port: u16, folder: &std::path::Path| {
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]).args(["--bind", "127.0.0.1", "--save", ""]);
            command.args(["--port", &port.to_string(), "--dir"]).arg(folder).args(&options);
            command
        };
        let command = Box::new(command);
        Self(fleet_testing::Server::start(Launch { package: "redis-server", command, answers }))
    }

    pub fn client(&self) -> redis::Client {
        client(self.port)
    }
}

impl std::ops::Deref for Server {
    type Target = fleet_testing::Server;

    fn deref(&self) -> &fleet_testing::Server {
        &self.0
    }
}

impl std::ops::DerefMut for Server {
    fn deref_mut(&mut self) -> &mut fleet_testing::Server {
        &mut self.0
    }
}
