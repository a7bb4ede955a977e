//! nginx and nats-server, in a network of their own if this process may make one, else on loopback.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use fleet_testing::{Launch, Network, Server};

use crate::program::command;

/// A process that is killed when this value is dropped.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A line of nginx's log.
pub(crate) struct Visit {
    pub(crate) from: String,
    pub(crate) status: u16,
    pub(crate) path: String,
}

/// nginx and nats-server, and where they are.
pub(crate) struct Servers {
    pub(crate) nginx: Server,
    pub(crate) nats: Server,
    network: Option<Network>,
}

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

impl Servers {
    /// Starts both servers, and moves this thread into their network.
    pub(crate) fn start(machines: u8) -> Self {
        Self::start_with(machines, &[])
    }

    /// Starts both servers, nats-server with more arguments.
    pub(crate) fn start_with(machines: u8, more: &[&str]) -> Self {
        let more: Vec<_> = more.iter().map(|argument| (*argument).to_owned()).collect();
        let network = Network::new(machines);
        if let Some(network) = &network {
            network.enter(0);
        }
        // Only a network that nothing outside reaches is served on all addresses.
        let at = if network.is_some() { "0.0.0.0" } else { "127.0.0.1" };
        let nginx = Launch {
            package: "nginx",
            command: Box::new(move |port, folder| nginx(at, port, folder)),
            answers: listens,
        };
        let nats = Launch {
            package: "nats-server",
            command: Box::new(move |port, folder| {
                let mut command = Command::new("nats-server");
                command.args(["-js", "-a", at, "-p", &port.to_string(), "-sd"]);
                command.arg(folder).args(&more);
                command
            }),
            answers: listens,
        };
        Servers { nginx: Server::start(nginx), nats: Server::start(nats), network }
    }

    fn host(&self) -> String {
        match self.network {
            Some(_) => Network::address(0).to_string(),
            None => "127.0.0.1".to_owned(),
        }
    }

    /// The host of nginx, as a plan names it.
    pub(crate) fn web(&self) -> String {
        format!("{}:{}", self.host(), self.nginx.port)
    }

    pub(crate) fn address(&self) -> String {
        format!("nats://{}:{}", self.host(), self.nats.port)
    }

    /// Starts a worker on a machine.
    pub(crate) fn worker(&self, machine: u8, at_once: usize) -> Running {
        let mut command = command();
        command.args(["--fleet", &self.address(), "--at-once", &at_once.to_string(), "--quiet"]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Running(match &self.network {
            Some(network) => network.on(machine, || command.spawn().unwrap()),
            None => command.spawn().unwrap(),
        })
    }

    /// Returns the lines of nginx's log so far: a line for each answer.
    pub(crate) fn visits(&self) -> Vec<Visit> {
        let log = fs::read_to_string(self.nginx.folder.join("access.log")).unwrap_or_default();
        // The last line may not be whole.
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        let visit = |line: &str| {
            let words: Vec<_> = line.split(' ').collect();
            let status = words[1].parse().unwrap();
            Visit { from: words[0].to_owned(), status, path: words[2].to_owned() }
        };
        whole.lines().map(visit).collect()
    }

    /// Returns for each path how often nginx has answered it with this status.
    pub(crate) fn by_path(&self, status: u16) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for visit in self.visits().into_iter().filter(|visit| visit.status == status) {
            *counts.entry(visit.path).or_default() += 1;
        }
        counts
    }

    pub(crate) fn has_network(&self) -> bool {
        self.network.is_some()
    }
}

/// nginx of one process. `/slow/…` takes about a second, and six at once are the most; `/quick/…` is answered at once. The answer of
/// `/large` is longer than a message of NATS.
fn nginx(at: &str, port: u16, folder: &Path) -> Command {
    let place = folder.display();
    let temporaries = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {place}/{kind};\n"))
        .concat();
    let configuration = format!(
        "daemon off; master_process off; pid {place}/pid; error_log {place}/error.log;\n\
         events {{ worker_connections 256; }}\n\
         http {{ {temporaries}\n\
         log_format visits '$remote_addr $status $request_uri'; access_log {place}/access.log visits;\n\
         limit_conn_zone $server_name zone=all:1m; limit_conn_status 503;\n\
         server {{ listen {at}:{port}; server_name all; root {place};\n\
         location /slow/ {{ limit_conn all 6; limit_rate 20k; try_files /page =404; }}\n\
         location /quick/ {{ add_header x-seen $http_x_name; return 200 '$request_method $http_cookie'; }}\n\
         location /large {{ }}\n\
         location /sign-in {{ add_header set-cookie 'id=7'; return 200 '{{\"token\": \"t1\"}}'; }}\n\
         location /away {{ return 302 /quick/home; }} }} }}\n"
    );
    fs::write(folder.join("nginx.conf"), configuration).unwrap();
    fs::write(folder.join("page"), vec![b'x'; 22_500]).unwrap();
    fs::write(folder.join("large"), vec![b'x'; 1_100_000]).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).args(["-c", "nginx.conf"]);
    command
}
