//! What Linux says of this process: its resident memory, its threads, and what those have used.

use std::fs;

/// Memory of this process that is in RAM.
pub fn resident_bytes() -> usize {
    statm(1)
}

/// Address space of this process that is taken.
pub fn mapped_bytes() -> usize {
    statm(0)
}

fn statm(figure: usize) -> usize {
    let text = fs::read_to_string("/proc/self/statm").expect("/proc is mounted");
    let pages: usize =
        text.split(' ').nth(figure).and_then(|n| n.parse().ok()).expect("statm has figures");
    pages * 4096
}

/// The ids of the live threads whose name starts with `prefix` (the system keeps 15 bytes of a name).
pub fn threads_named(prefix: &str) -> Vec<u32> {
    let mut ids: Vec<u32> = fs::read_dir("/proc/self/task")
        .expect("/proc is mounted")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|id| {
            fs::read_to_string(format!("/proc/self/task/{id}/comm"))
                .is_ok_and(|name| name.starts_with(prefix))
        })
        .collect();
    ids.sort_unstable();
    ids
}

/// Returns true if a thread of this process sleeps. Takes the thread's number, as `threads_named` gives it.
pub fn sleeps(thread: u32) -> bool {
    let text =
        fs::read_to_string(format!("/proc/self/task/{thread}/stat")).expect("the thread lives");
    // The state is the first field behind the name, which is in brackets.
    text.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('S'))
}

/// Nanoseconds that these threads of ours have been on a processor.
pub fn cpu_time_of(threads: &[u32]) -> u64 {
    let time_of = |id: &u32| -> u64 {
        let text = fs::read_to_string(format!("/proc/self/task/{id}/schedstat"))
            .expect("the thread lives");
        text.split(' ').next().and_then(|n| n.parse().ok()).expect("schedstat starts with a figure")
    };
    threads.iter().map(time_of).sum()
}

/// How often these threads of ours have gone to sleep by themselves.
pub fn switches_of(threads: &[u32]) -> u64 {
    let switches_of = |id: &u32| -> u64 {
        let text =
            fs::read_to_string(format!("/proc/self/task/{id}/status")).expect("the thread lives");
        let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|n| n.trim().parse().ok()).expect("status counts switches")
    };
    threads.iter().map(switches_of).sum()
}
