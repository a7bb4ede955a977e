//! The timer's thread: it ends beside an entry that is armed, and hands the timer over before it waits. Liveness without a bound is
//! the model `timer` in Promela.

#![cfg(tollgate_loom)]

use loom::thread;
use loom_tests::check;
use loom_tests::check::Bound;
use loom_tests::instruments::Door;
use std::io;
use std::sync::Arc;
use tollgate::model::sync::let_time_pass;
use tollgate::model::sync::thread::{Builder, JoinHandle};
use tollgate::model::sync::time::Instant;
use tollgate::model::timer::Timer;

/// A timer of two entries, each of which is due at once. With `waits` the act of the first entry waits until the second was fired.
struct World {
    timer: Timer<usize>,
    fired: [Arc<Door>; 2],
    waits: bool,
}

impl World {
    fn new(waits: bool) -> Arc<Self> {
        Arc::new(Self { timer: Timer::new(), fired: [Door::new(), Door::new()], waits })
    }

    fn start(self: &Arc<Self>) -> io::Result<JoinHandle<()>> {
        let theirs = self.clone();
        Builder::new().spawn(move || theirs.serve())
    }

    fn arm(self: &Arc<Self>, entry: usize) {
        let key = self.timer.key(Instant::now());
        self.timer.arm(key, entry, Some(|| self.start())).expect("the timer is open");
    }

    /// The life of the timer's thread.
    fn serve(self: &Arc<Self>) {
        let mut serves = true;
        while serves && self.timer.wait_until_due(Instant::now) {
            while let Some((_, entry)) = self.timer.take_due(Instant::now()) {
                if entry == 0 && self.waits {
                    serves = serves && !self.timer.change_thread(|| self.start());
                    self.fired[1].pass();
                }
                self.fired[entry].open();
            }
        }
    }
}

#[test]
fn nothing_lost_when_an_entry_is_armed_as_the_timers_thread_ends() {
    check(Bound::Preemptions(3), || {
        let_time_pass(true);
        let world = World::new(false);
        for entry in [0, 1] {
            world.arm(entry);
            world.fired[entry].pass();
        }
    });
}

#[test]
fn nothing_lost_when_an_entry_is_armed_as_the_timers_thread_waits() {
    check(Bound::Preemptions(3), || {
        let_time_pass(false);
        let world = World::new(false);
        for entry in [0, 1] {
            world.arm(entry);
            world.fired[entry].pass();
        }
        assert!(world.timer.close().is_empty());
    });
}

#[test]
fn nothing_lost_when_the_timer_is_handed_over() {
    check(Bound::Preemptions(2), || {
        let_time_pass(false);
        let world = World::new(true);
        world.arm(0);
        let theirs = world.clone();
        let other = thread::spawn(move || theirs.arm(1));
        world.fired[0].pass();
        other.join().unwrap();
        assert!(world.timer.close().is_empty());
    });
}
