//! A server of a test's own: on loopback, in a folder of its own, ended by its process id.

use std::fmt;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

static SERVERS: AtomicUsize = AtomicUsize::new(0);

type MakeCommand = dyn Fn(u16, &Path) -> Command + Send + Sync;

/// How to start a server, and how to see that it answers.
pub struct Launch {
    /// The name of the program and of its Debian package.
    pub package: &'static str,
    /// Makes the command for a port and a folder.
    pub command: Box<MakeCommand>,
    /// Returns true if a server on the port answers.
    pub answers: fn(u16) -> bool,
}

impl fmt::Debug for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Launch").field("package", &self.package).finish_non_exhaustive()
    }
}

/// A running server. Dropping it kills it and removes its folder.
#[derive(Debug)]
pub struct Server {
    child: Option<Child>,
    /// Where the server keeps its files.
    pub folder: PathBuf,
    launch: Launch,
    /// The port on loopback.
    pub port: u16,
    /// The lock that keeps the port from the servers of other tests.
    port_lock: Option<File>,
}

/// Returns a free port, and a lock that keeps the port from other callers in any process.
///
/// Without the lock, two tests may start their servers on one port. The second server ends, but only after a while. Until then its
/// test reaches the other test's server, and takes it for its own.
fn free_port() -> (u16, File) {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file =
            File::create(std::env::temp_dir().join(format!("tollgate-port-{port}"))).unwrap();
        if file.try_lock().is_ok() {
            return (port, file);
        }
    }
}

impl Server {
    /// Starts a server on a free port.
    pub fn start(launch: Launch) -> Self {
        // Ordering: Relaxed; a counter, for distinct names.
        let number = SERVERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!(
            "{}-{}-{number}",
            launch.package,
            std::process::id()
        ));
        std::fs::create_dir_all(&folder).unwrap();
        let mut server = Self { child: None, folder, launch, port: 0, port_lock: None };
        for _attempt in 0..5 {
            let (port, lock) = free_port();
            (server.port, server.port_lock) = (port, Some(lock));
            if server.launch() {
                return server;
            }
        }
        panic!("{0} does not start; is Debian's package {0} installed?", server.launch.package);
    }

    /// Starts the process on the port. Returns false if it ends before it answers, for instance because the port is taken.
    fn launch(&mut self) -> bool {
        let mut command = (self.launch.command)(self.port, &self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command
            .spawn()
            .unwrap_or_else(|_| panic!("Debian's package {} is needed", self.launch.package));
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(30) {
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            if (self.launch.answers)(self.port) {
                self.child = Some(child);
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = child.kill();
        let _ = child.wait();
        false
    }

    /// Returns the id of the process.
    pub fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) {
        let pid = self.child.as_ref().unwrap().id() as i32;
        // SAFETY: plain call; the child has not been waited for, so its id is its own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
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
