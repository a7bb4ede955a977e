//! A thread that keeps a core busy, as another program on the machine does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// Keeps a core busy until it is dropped.
pub(crate) struct Neighbour {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Neighbour {
    pub(crate) fn start() -> Neighbour {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let busy = move || {
            // Ordering: Relaxed; nothing else is passed on.
            while !stopped.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        };
        Neighbour { stop, thread: Some(thread::spawn(busy)) }
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}
