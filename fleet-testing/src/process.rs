//! Processes that a test starts, and ends by their ids.

use std::process::{Child, Command, Stdio};

/// A process of a test: its own program, started again. Dropping it kills it.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts the test `name` of this program alone, with `words` in the environment variable `switch`.
    pub fn start(name: &str, switch: &str, words: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([name, "--exact", "--nocapture"]).env(switch, words);
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// Sends the process the signal `signal`, such as `libc::SIGSTOP`.
    pub fn signal(&self, signal: i32) {
        // SAFETY: plain call; the child has not been waited for, so its id is its own.
        assert_eq!(unsafe { libc::kill(self.0.id() as i32, signal) }, 0);
    }

    /// Kills the process at once, as `kill -9` does.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Closes the process's input, and waits until it ends by itself.
    pub fn end(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success(), "a worker has failed");
    }

    /// Returns true if the process has ended.
    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
