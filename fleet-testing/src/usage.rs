//! The memory and the processor time of a process.

use std::fs;
use std::time::Duration;

/// Memory and processor time of a process.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// The memory that is resident, in bytes.
    pub memory: u64,
    /// The processor time of all threads. The kernel counts it in hundredths of a second.
    pub time: Duration,
}

impl Usage {
    /// Reads the figures of the process with this id.
    pub fn of(process: u32) -> Self {
        let read = |file: &str| fs::read_to_string(format!("/proc/{process}/{file}")).unwrap();
        let pages: u64 = read("statm").split(' ').nth(1).unwrap().parse().unwrap();
        let stat = read("stat");
        // The name of the program may have spaces, and ends with the last bracket.
        let words = stat[stat.rfind(')').unwrap()..].split(' ');
        let ticks: u64 = words.skip(12).take(2).map(|word| word.parse::<u64>().unwrap()).sum();
        Self { memory: pages * 4096, time: Duration::from_millis(10 * ticks) }
    }
}
