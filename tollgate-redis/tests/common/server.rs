// A redis-server of a test's own: on loopback, in a folder of its own, ended by its process id.
// Included by the examples of the documentation, too, so it must stand alone.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

static SERVERS: AtomicUsize = AtomicUsize::new(0);

/// A running server. Dropping it kills it and removes its folder.
pub struct Server {
    child: Option<Child>,
    folder: PathBuf,
    pub port: u16,
    options: Vec<String>,
    wrapper: Vec<String>,
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
        // Ordering: Relaxed; a counter, for distinct names.
        let number = SERVERS.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("tollgate-redis-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let mut server =
            Self { child: None, folder, port: 0, options: owned(options), wrapper: owned(wrapper) };
        for _attempt in 0..5 {
            server.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if server.launch() {
                return server;
            }
        }
        panic!("redis-server does not start; is Debian's package redis-server installed?");
    }

    /// Starts the process on the port. Returns false if it ends at once, for instance as the port is taken.
    fn launch(&mut self) -> bool {
        let mut words = self.wrapper.clone();
        words.push("redis-server".to_owned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args([
            "--port",
            &self.port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
        ]);
        command.args(["--dir", self.folder.to_str().unwrap()]).args(&self.options);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("Debian's package redis-server is needed");
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(30) {
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            let answers =
                self.client().get_connection_with_timeout(Duration::from_secs(1)).is_ok_and(
                    |mut connection| redis::cmd("PING").query::<String>(&mut connection).is_ok(),
                );
            if answers {
                self.child = Some(child);
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = child.kill();
        let _ = child.wait();
        false
    }

    pub fn client(&self) -> redis::Client {
        redis::Client::open(format!("redis://127.0.0.1:{}/", self.port)).unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Kills the server at once, as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts a killed server again, on the same port and files.
    pub fn restart(&mut self) {
        for _attempt in 0..50 {
            if self.launch() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("the server does not start again");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
