//! Whether this process may have as many connections open as a plan needs.

use std::fs;

use crate::plan::{HttpVersion, JobPlan, Plan};

/// Descriptors that are needed beside the connections: runtimes, name look-ups, signals.
const BESIDE: u64 = 24;

/// Raises the process's limit on open files as far as the plan needs, if `threads` send.
///
/// # Errors
///
/// If the system allows fewer: how many are needed, how many are allowed, and the mend.
pub(crate) fn make_room(plan: &Plan, threads: usize) -> Result<(), String> {
    // HTTP/2 needs a connection for each server and thread only.
    let counted = plan.jobs.iter().filter(|job| job.http != HttpVersion::Two);
    let connections: u64 = counted.map(|job| job.most_at_once() as u64).sum();
    let open = fs::read_dir("/proc/self/fd").map_or(8, |files| files.count() as u64);
    let needed = connections + open + BESIDE + 4 * threads as u64;
    let shared: usize = plan.jobs.iter().map(most_shared).sum();
    // A list may keep these beside the others, and can do with fewer.
    let wished = needed + shared as u64;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a `rlimit` that outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Ok(());
    }
    if wished > limit.rlim_cur {
        limit.rlim_cur = wished.min(limit.rlim_max);
        // SAFETY: the pointer is to a `rlimit` that outlives the call.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    }
    if needed <= limit.rlim_max {
        return Ok(());
    }
    let allowed = limit.rlim_max;
    let need = format!("{connections} requests at once need {needed} open files");
    Err(format!("{need}, and the system allows {allowed}: lower the limits, or raise ulimit -Hn"))
}

/// How many connections of HTTP/2 a job may have at once, if it sends to many servers.
fn most_shared(job: &JobPlan) -> usize {
    let to_one_server = job.origin().is_some() && job.redirects == 0;
    let may_speak_two = match job.http {
        HttpVersion::One => false,
        HttpVersion::Two => true,
        HttpVersion::Any => job.may_speak_tls(),
    };
    if may_speak_two && !to_one_server { job.most_at_once() } else { 0 }
}
