//! Tells a test that hangs from one that has not had a processor: `Watch` looks at what the threads of this process do, and
//! not at the clock on the wall.
//!
//! A test hangs if all other threads of its process slept through [`QUIET`] looks in a row, or if the process has used
//! more processor time than the test may. A thread that is ready to run and waits for a processor counts as awake.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a watching thread sleeps between two looks.
pub const PAUSE: Duration = Duration::from_millis(250);

/// How many looks in a row must find all threads asleep.
const QUIET: u32 = 80;

/// Threads that watch, and whose own steps say nothing.
static WATCHING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// Watches the threads of this process for the sake of the thread that made it, and that must not pass it on.
pub struct Watch {
    this: u32,
    next: Instant,
    quiet: u32,
    most_quiet: u32,
    seen: Vec<Seen>,
    begin: Duration,
    most: Duration,
}

/// What the system says of one thread: its number, and its time on a processor and in wait for one.
type Seen = (u32, String);

impl Watch {
    /// Lets the process use as much processor time from now on as all its processors have in `time`.
    pub fn new(time: Duration) -> Self {
        let this = this_thread();
        WATCHING.lock().unwrap().push(this);
        let processors = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
        Self {
            this,
            next: Instant::now() + PAUSE,
            quiet: 0,
            most_quiet: QUIET,
            seen: Vec::new(),
            begin: processor_time(),
            most: time.saturating_mul(processors),
        }
    }

    /// Takes threads that sleep through as few as four looks for hanging.
    pub fn impatient(mut self) -> Self {
        self.most_quiet = 4;
        self
    }

    /// Returns the reason if the test hangs. It may be called at any rate: it looks once in [`PAUSE`].
    pub fn hangs(&mut self) -> Option<String> {
        let now = Instant::now();
        if now < self.next {
            return None;
        }
        self.next = now + PAUSE;
        let (seen, runs) = look();
        let moved = runs || seen != self.seen;
        self.seen = seen;
        self.quiet = if moved { 0 } else { self.quiet + 1 };
        if self.quiet >= self.most_quiet {
            return Some(format!("all threads slept for {:?}", PAUSE * self.quiet));
        }
        let used = processor_time().saturating_sub(self.begin);
        (used > self.most).then(|| format!("not over after {used:?} of processor time"))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watching = WATCHING.lock().unwrap();
        if let Some(this) = watching.iter().position(|thread| *thread == self.this) {
            watching.swap_remove(this);
        }
    }
}

/// What each thread that does not watch has done so far, and whether one of them runs or is ready to.
#[cfg(target_os = "linux")]
fn look() -> (Vec<Seen>, bool) {
    let watching = WATCHING.lock().unwrap().clone();
    let (mut seen, mut runs) = (Vec::new(), false);
    for entry in std::fs::read_dir("/proc/self/task").expect("/proc is mounted").flatten() {
        let Some(thread) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if watching.contains(&thread) {
            continue;
        }
        let read = |name| std::fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        // The state is the first field behind the name, which stands in brackets.
        let stat = read("stat");
        runs |= stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('R'));
        seen.push((thread, read("schedstat")));
    }
    (seen, runs)
}

#[cfg(target_os = "linux")]
fn this_thread() -> u32 {
    let link = std::fs::read_link("/proc/thread-self").expect("/proc is mounted");
    let name = link.file_name().and_then(|name| name.to_str());
    name.and_then(|name| name.parse().ok()).expect("a thread has a number")
}

/// What all threads of this process have used, ended ones too, to a hundredth of a second.
#[cfg(target_os = "linux")]
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc is mounted");
    let fields = stat.rsplit(')').next().expect("the name stands in brackets").split_whitespace();
    // In user code and in the system: the fields 14 and 15, of which the first two are before the bracket's end.
    let ticks = |field: &str| field.parse::<u64>().expect("stat has figures");
    Duration::from_millis(fields.skip(11).take(2).map(ticks).sum::<u64>() * 10)
}

/// Elsewhere nothing is known of the threads, and hanging is left to the runner of the tests.
#[cfg(not(target_os = "linux"))]
fn look() -> (Vec<Seen>, bool) {
    (Vec::new(), true)
}

#[cfg(not(target_os = "linux"))]
fn this_thread() -> u32 {
    0
}

#[cfg(not(target_os = "linux"))]
fn processor_time() -> Duration {
    Duration::ZERO
}
