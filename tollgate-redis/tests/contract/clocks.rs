//! The server's clock, stepped by a small library that is preloaded into it.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use fleet_testing::within;
use tollgate_redis::Gate;

use crate::server::Server;

/// A server whose clock is ahead by what a file says.
struct Stepped {
    server: Server,
    folder: PathBuf,
    file: fs::File,
}

impl Stepped {
    fn start(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("tollgate-redis-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (library, path) = (folder.join("step.so"), folder.join("ahead"));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/contract/step.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(source)
            .status();
        assert!(built.expect("a C compiler is needed").success());
        fs::write(&path, 0_i64.to_ne_bytes()).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        let words = [
            "env".to_owned(),
            format!("LD_PRELOAD={}", library.display()),
            format!("STEP_FILE={}", path.display()),
        ];
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let server = Server::wrapped(&words, &["--appendonly", "yes", "--appendfsync", "always"]);
        Self { server, folder, file }
    }

    fn step(&self, seconds: i64) {
        self.file.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }
}

impl Drop for Stepped {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn clocks_a_forward_step_of_the_server_ends_all_leases_and_each_client_learns_it() {
    let stepped = Stepped::start("forward");
    let lease = Duration::from_secs(6);
    let open =
        || Gate::open(stepped.server.client(), "fleet").limit(1).lease(lease).build().unwrap();
    let (here, there) = (open(), open());
    let held = here.acquire().unwrap();
    assert!(there.try_acquire().unwrap().is_none());
    stepped.step(5);
    assert!(there.try_acquire().unwrap().is_none(), "a step of less than a lease ends nothing");
    stepped.step(12);
    let second = there.try_acquire().unwrap().expect("a step by a lease ends it");
    assert!(second.fence() > held.fence());
    // The next renewal is refused: the first task is told before two thirds of its lease have passed.
    let took = within(lease, "the lease is lost", || held.is_lost());
    assert!(took < lease / 3 + Duration::from_secs(1), "after {took:?}");
    assert!(!second.is_lost());
}

#[test]
fn clocks_a_backward_step_of_the_server_grants_nothing_too_much() {
    let stepped = Stepped::start("backward");
    let lease = Duration::from_secs(2);
    let open =
        || Gate::open(stepped.server.client(), "fleet").limit(2).lease(lease).build().unwrap();
    let (here, there) = (open(), open());
    let held = [here.acquire().unwrap(), here.acquire().unwrap()];
    stepped.step(-30);
    std::thread::sleep(lease * 3 / 2); // the leases are renewed
    assert!(held.iter().all(|lease| !lease.is_lost()));
    assert!(there.try_acquire().unwrap().is_none());
    drop(held);
    assert!(there.acquire_timeout(lease).unwrap().is_some());
}
