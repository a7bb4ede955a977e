//! A network of machines: a network namespace for each, and a bridge in the hub's.
//!
//! Each network has the same addresses, `10.77.0.x`. They exist in its namespaces only, so they collide neither with those of
//! another network nor with those of the machine that runs the tests. The names of the namespaces have the process's id and the
//! network's number in them, so tests may make networks at the same time.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

static NETWORKS: AtomicUsize = AtomicUsize::new(0);

/// Machines that reach each other over a bridge, and nothing else. Dropping this removes the namespaces.
///
/// Number 0 is the hub, where the servers run. The machines have the numbers from 1 on.
#[derive(Debug)]
pub struct Network {
    /// The names of the namespaces, the hub's first.
    names: Vec<String>,
}

impl Network {
    /// Makes a hub and `machines` machines. Prints the reason and returns `None` if this process may not make namespaces.
    ///
    /// # Panics
    ///
    /// Panics if a killed test has left a namespace with the same name.
    pub fn new(machines: u8) -> Option<Self> {
        // Ordering: Relaxed; a counter, for distinct names.
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let name = |at: u8| format!("tollgate-{}-{number}-{at}", std::process::id());
        let mut network = Self { names: Vec::new() };
        for at in 0..=machines {
            if let Err(words) = run("ip", &["netns", "add", &name(at)]) {
                assert!(
                    !words.contains("File exists"),
                    "{words}: remove it: ip netns del {}",
                    name(at)
                );
                println!("no network namespaces: {words}");
                return None;
            }
            network.names.push(name(at));
        }
        network.connect().unwrap();
        Some(network)
    }

    /// Adds a bridge to the hub, and a link from each machine to the bridge.
    fn connect(&self) -> Result<(), String> {
        let hub = self.names[0].as_str();
        let in_hub = |arguments: &[&str]| run("ip", &[&["-n", hub], arguments].concat());
        in_hub(&["link", "set", "lo", "up"])?;
        in_hub(&["link", "add", "bridge0", "type", "bridge"])?;
        in_hub(&["link", "set", "bridge0", "up"])?;
        in_hub(&["addr", "add", &format!("{}/24", Self::address(0)), "dev", "bridge0"])?;
        for (at, name) in self.names.iter().enumerate().skip(1) {
            let port = format!("port{at}");
            let in_machine = |arguments: &[&str]| run("ip", &[&["-n", name], arguments].concat());
            in_hub(&["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", name])?;
            in_hub(&["link", "set", &port, "master", "bridge0", "up"])?;
            in_machine(&["link", "set", "lo", "up"])?;
            let address = format!("{}/24", Self::address(at as u8));
            in_machine(&["addr", "add", &address, "dev", "eth0"])?;
            in_machine(&["link", "set", "eth0", "up"])?;
        }
        Ok(())
    }

    /// Returns the address of a machine, or of the hub.
    pub fn address(machine: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, if machine == 0 { 254 } else { machine })
    }

    /// Moves this thread to a machine, with the threads and processes that it starts afterwards.
    pub fn enter(&self, machine: u8) {
        let path = format!("/run/netns/{}", self.names[usize::from(machine)]);
        let namespace = File::open(path).unwrap();
        // SAFETY: plain call; the descriptor is open.
        assert_eq!(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }, 0);
    }

    /// Calls `start` on a new thread of a machine. Processes and threads that `start` makes stay on that machine.
    pub fn on<T: Send>(&self, machine: u8, start: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter(machine);
                start()
            });
            thread.join().unwrap()
        })
    }

    /// Cuts a machine off from the servers at `port`: drops its packets to them and theirs to it. Connections stay open.
    ///
    /// If `only_answers`, the machine's own packets still arrive.
    pub fn cut(&self, machine: u8, port: u16, only_answers: bool) {
        let requests = if only_answers { "" } else { "add rule ip cut out tcp dport PORT drop\n" };
        let rules = "add table ip cut\n\
                     add chain ip cut in { type filter hook input priority 0; }\n\
                     add chain ip cut out { type filter hook output priority 0; }\n\
                     add rule ip cut in tcp sport PORT drop\n";
        self.nft(machine, &format!("{rules}{requests}").replace("PORT", &port.to_string()));
    }

    /// Undoes a [`cut`](Self::cut).
    pub fn mend(&self, machine: u8) {
        self.nft(machine, "delete table ip cut");
    }

    fn nft(&self, machine: u8, rules: &str) {
        let name = &self.names[usize::from(machine)];
        run("ip", &["netns", "exec", name, "nft", rules]).unwrap();
    }
}

/// Runs a command. Returns what it printed as an error if it fails.
fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let said = Command::new(program).args(arguments).output();
    let said = said.map_err(|error| format!("{program}: {error}: is its package installed?"))?;
    if said.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&said.stderr);
    Err(format!("{program} {}: {}", arguments.join(" "), words.trim()))
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = run("ip", &["netns", "del", name]);
        }
    }
}
