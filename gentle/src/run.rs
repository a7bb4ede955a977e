//! Runs a plan: one pool, a job for each job of the plan, until all is sent or a signal stops it.

use std::io;
use std::num::NonZero;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tollgate::Pool;

use crate::check::Check;
use crate::client::tls::TlsFiles;
use crate::descriptors;
use crate::failure_log::FailureLog;
#[cfg(feature = "fleet")]
use crate::fleet::Coordinator;
use crate::hosts::Hosts;
use crate::options::Options;
use crate::output;
use crate::plan::{JobPlan, Plan};
use crate::progress::{Progress, say};

/// What is said after the first signal.
const WAITING: &str = "interrupted: waiting for the requests in flight, Ctrl-C again ends at once";

/// How often progress is shown.
const TICK: Duration = Duration::from_millis(100);

/// Ten years.
const LONGER_THAN_A_RUN: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// A plan has a thread for each so many lanes, which are many: fewer do not keep a thread busy.
const LANES_A_THREAD: usize = 32;

/// The most events that a thread takes from the system before it serves their lanes.
const EVENTS_A_PASS: usize = 64;

/// The most events of the timeline that each thread keeps.
#[cfg(feature = "timeline")]
const EVENTS: usize = 200_000;

/// What a run did.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The jobs in the plan's order, with no request in flight.
    pub(crate) checks: Vec<Arc<Check>>,
    /// The hosts that have a limit.
    pub(crate) hosts: Arc<Hosts>,
    /// From the first task to the end of the last.
    pub(crate) elapsed: Duration,
    /// When the run began.
    pub(crate) started: SystemTime,
    /// The pool, whose timeline was on if an output needs it.
    #[cfg_attr(not(feature = "timeline"), allow(dead_code, reason = "kept for the jobs"))]
    pub(crate) pool: Arc<Pool>,
    /// The exit status for the signal that cut it short.
    pub(crate) interrupted: Option<u8>,
}

/// A plan whose files are open, and that has sent nothing.
#[derive(Debug)]
pub(crate) struct Ready {
    name: String,
    checks: Vec<Arc<Check>>,
    hosts: Arc<Hosts>,
    threads: usize,
    /// The pool must outlive the jobs.
    pool: Arc<Pool>,
}

impl Ready {
    /// Opens all files that the plan names. `name` is the plan's in errors, `directory` is where the files are.
    ///
    /// # Errors
    ///
    /// If a file cannot be used, or a thread does not start.
    pub(crate) fn new(
        plan: Plan,
        name: &str,
        directory: &Path,
        options: &Options,
        log: Option<&Arc<FailureLog>>,
    ) -> Result<Self, String> {
        #[cfg(feature = "fleet")]
        if options.is_for_fleet() {
            crate::fleet::check_plan(&plan, name, options)?;
        }
        let threads = threads_for(&plan);
        if !options.is_for_fleet() {
            descriptors::make_room(&plan, threads).map_err(|short| format!("{name}: {short}"))?;
        }
        let pool = Pool::builder().workers(1).thread_name(|_| "permits".to_owned()).build();
        let pool = pool.map_err(|error| format!("{name}: the pool does not start: {error}"))?;
        let pool = Arc::new(pool);
        let noted_since = options.html.as_ref().map(|_| Instant::now());
        let hosts = Arc::new(Hosts::new(&pool, &plan, noted_since));
        let files =
            TlsFiles { directory, cacert: options.cacert.as_deref(), insecure: options.insecure };
        let checks = plan.jobs.into_iter().map(|job| {
            let check = Check::new(&pool, &hosts, job, directory, &files, log);
            check.map_err(|error| format!("{name}:{error}: name a file that can be read"))
        });
        let checks = checks.collect::<Result<Vec<_>, _>>()?;
        start_timer(&pool)
            .map_err(|error| format!("{name}: the pool's timer does not start: {error}"))?;
        let routes: Option<Vec<_>> = checks.iter().map(|check| check.route.as_ref()).collect();
        if let Some(unused) = routes.as_ref().and_then(|routes| hosts.unused(routes)) {
            let mend = "write it as in a job's base, or remove it";
            return Err(format!("{name}: no job sends to {}: {mend}", unused.host));
        }
        Ok(Ready { name: name.to_owned(), checks, hosts, threads, pool })
    }

    /// Sends what the plan says and waits for the answers.
    pub(crate) fn run(self, options: &Options) -> Result<Outcome, String> {
        let Ready { name, checks, hosts, threads, pool } = &self;
        let own = |what: &str, error: io::Error| format!("{name}: {what}: {error}");
        let runtime = runtime().map_err(|error| own("tokio's runtime does not start", error))?;
        // Before anything is sent: a signal must never end a run without results.
        let signals = runtime.block_on(async { Signals::new() });
        #[cfg(feature = "fleet")]
        if let Some(address) = &options.fleet {
            let coordinator =
                runtime.block_on(Coordinator::open(address, options, checks, hosts, pool));
            _ = hosts.coordinator.set(coordinator?);
        }
        let (over, is_over) = mpsc::channel(1);
        let (start, started) = (Instant::now(), SystemTime::now());
        #[cfg(feature = "timeline")]
        if options.timeline.is_some() {
            pool.timeline().start_with(EVENTS);
        }
        let threads = (0..*threads)
            .map(|thread| start_thread(thread, *threads, checks, &over))
            .collect::<io::Result<Vec<_>>>()
            .map_err(|error| own("a thread does not start", error))?;
        let threads = threads.into_iter().map(|thread| thread.send());
        let threads: Vec<_> = threads.collect();
        drop(over);
        let progress = Progress::new(options.quiet, checks);
        let interrupted = runtime.block_on(wait(checks, is_over, progress, signals));
        for thread in threads {
            if let Err(panic) = thread.join() {
                panic::resume_unwind(panic);
            }
        }
        let elapsed = start.elapsed();
        #[cfg(feature = "fleet")]
        if let Some(coordinator) = hosts.coordinator.get() {
            runtime.block_on(coordinator.end());
        }
        #[cfg(feature = "timeline")]
        pool.timeline().stop();
        // A server may be held off for longer than the run lasts.
        pool.shutdown_now();
        // A look-up of a name may not be over, and would be waited for.
        runtime.shutdown_background();
        let (checks, hosts, pool) = (checks.clone(), hosts.clone(), pool.clone());
        Ok(Outcome { checks, hosts, elapsed, started, pool, interrupted })
    }
}

/// Starts the thread of the pool's timer, and keeps it while the pool lasts: a run that has begun must not find that no thread can start.
fn start_timer(pool: &Pool) -> Result<(), String> {
    // The thread does not end before the hold-off, which lasts longer than any run.
    let begin = || pool.job(1).hold_off(LONGER_THAN_A_RUN);
    // The library panics if the thread does not start, and nothing else runs yet that could.
    quietly(begin).map_err(|text| {
        text.strip_prefix("no thread for the pool's timer: ").unwrap_or(&text).to_owned()
    })
}

/// Runs code that may panic, and gives the text of its panic. No other thread may run that could panic.
fn quietly(run: impl FnOnce()) -> Result<(), String> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    let done = panic::catch_unwind(AssertUnwindSafe(run));
    panic::set_hook(hook);
    done.map_err(|panic| {
        panic.downcast_ref::<String>().map_or("it panicked", String::as_str).into()
    })
}

/// Makes a runtime that drives the lanes of one thread.
///
/// With hundreds of connections, many answers arrive at once. The thread serves `EVENTS_A_PASS` of them before it takes more, so that the
/// server has new requests soon.
pub(crate) fn runtime() -> io::Result<Runtime> {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().max_io_events_per_tick(EVENTS_A_PASS);
    // A thread for look-ups of names, once there is one, lasts as long as the runtime.
    builder.thread_keep_alive(LONGER_THAN_A_RUN).build()
}

/// Starts the first thread that looks names up: a run that has begun must not find that no thread can start. With one thread, later
/// look-ups at least wait for it.
fn start_look_ups(runtime: &Runtime) -> io::Result<()> {
    // tokio panics if there is no thread and none starts.
    quietly(|| _ = runtime.spawn_blocking(|| ())).map_err(|text| {
        io::Error::other(text.strip_prefix("OS can't spawn worker thread: ").unwrap_or(&text))
    })
}

/// Returns how many threads send: as many as the plan says, or as its lanes keep busy, each on a core of its own.
fn threads_for(plan: &Plan) -> usize {
    plan.workers.unwrap_or_else(|| {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let lanes = plan.jobs.iter().map(JobPlan::most_at_once);
        (lanes.fold(0, usize::saturating_add) / LANES_A_THREAD).clamp(1, cores)
    })
}

/// Returns how many of a job's lanes one of `threads` has. All lanes of a run are dealt out in turn; `first` is the number of the job's
/// first lane.
fn dealt(first: usize, lanes: usize, thread: usize, threads: usize) -> usize {
    // The lanes of the thread up to the job's last one, without those before the job's first one.
    let up_to = |end: usize| (end + threads - 1 - thread) / threads;
    up_to(first + lanes) - up_to(first)
}

/// A thread that sends, once it is told to. It ends if this value is dropped before.
struct Started {
    thread: JoinHandle<()>,
    begin: std::sync::mpsc::Sender<()>,
}

impl Started {
    /// Lets the thread send.
    fn send(self) -> JoinHandle<()> {
        // A failure needs no action: the thread has panicked, which its handle tells.
        _ = self.begin.send(());
        self.thread
    }
}

/// Starts one of `threads` that send. None of them sends before all have started: if one does not start, the run must send nothing.
fn start_thread(
    thread: usize,
    threads: usize,
    checks: &[Arc<Check>],
    over: &mpsc::Sender<()>,
) -> io::Result<Started> {
    let (checks, over) = (checks.to_vec(), over.clone());
    let (begin, begins) = std::sync::mpsc::channel();
    let runtime = runtime()?;
    if checks.iter().any(|check| check.plan().may_look_names_up()) {
        start_look_ups(&runtime)?;
    }
    let name = format!("send-{thread}");
    let thread = thread::Builder::new().name(name).spawn(move || {
        if begins.recv().is_err() {
            return;
        }
        runtime.block_on(async {
            let mut lanes = JoinSet::new();
            if thread == 0 {
                checks.iter().for_each(|check| _ = tokio::spawn(Arc::clone(check).run_stages()));
            }
            let all = checks.iter().map(|check| check.plan.most_at_once()).sum();
            let has_many = dealt(0, all, thread, threads) >= LANES_A_THREAD;
            let mut first = 0;
            for check in &checks {
                let all = check.plan.most_at_once();
                let own = dealt(first, all, thread, threads);
                first += all;
                if own == 0 {
                    continue;
                }
                let client = Arc::new(check.client(own));
                for _ in 0..own {
                    lanes.spawn(Arc::clone(check).lane(Arc::clone(&client), has_many));
                }
            }
            while let Some(lane) = lanes.join_next().await {
                if let Err(error) = lane {
                    panic::resume_unwind(error.into_panic());
                }
            }
        });
        runtime.shutdown_background();
        drop(over);
    })?;
    Ok(Started { thread, begin })
}

/// Shows progress until all lanes have ended. The first signal stops them, the second one ends the process. Gives the exit
/// status for a signal.
async fn wait(
    checks: &[Arc<Check>],
    mut is_over: mpsc::Receiver<()>,
    mut progress: Progress,
    signals: io::Result<Signals>,
) -> Option<u8> {
    let mut signals = match signals {
        Ok(signals) => Some(signals),
        Err(error) => {
            say(&format!("Ctrl-C will end this at once, without results: {error}"));
            None
        }
    };
    let mut interrupted = None;
    let mut ticks = tokio::time::interval(TICK);
    ticks.tick().await;
    loop {
        tokio::select! {
            _ = is_over.recv() => break,
            _ = ticks.tick() => progress.update(checks),
            status = next_signal(&mut signals) => {
                if interrupted.is_some() {
                    output::remove_temporaries();
                    process::exit(status.into());
                }
                interrupted = Some(status);
                checks.iter().for_each(|check| check.stop());
                progress.say(WAITING);
            }
        }
    }
    progress.finish(checks);
    interrupted
}

/// The signals that stop a run.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` if the process was started to outlive its terminal, as `nohup` does.
    hangup: Option<Signal>,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        let hangup = (!is_ignored(libc::SIGHUP)).then(|| signal(SignalKind::hangup()));
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: hangup.transpose()?,
        })
    }
}

/// Returns true if this process ignores a signal.
fn is_ignored(number: i32) -> bool {
    // SAFETY: `sigaction` is integers and a set of bits, for which zero is a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: the call changes nothing if the new action is null; the other pointer is to a value that outlives the call.
    let told = unsafe { libc::sigaction(number, std::ptr::null(), &raw mut action) };
    told == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// Waits for a signal and gives the exit status that shells report for it.
pub(crate) async fn next_signal(signals: &mut Option<Signals>) -> u8 {
    let Some(Signals { interrupt, terminate, hangup }) = signals else {
        return std::future::pending().await;
    };
    let number = tokio::select! {
        _ = interrupt.recv() => libc::SIGINT,
        _ = terminate.recv() => libc::SIGTERM,
        Some(_) = async { hangup.as_mut()?.recv().await } => libc::SIGHUP,
    };
    128 + number as u8
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use clap::Parser;

    use super::*;

    #[cfg(feature = "timeline")]
    #[test]
    fn the_readme_says_how_many_events_are_kept() {
        let events = format!("{},{:03}", EVENTS / 1_000, EVENTS % 1_000);
        let says = format!("has the last {events} events of each thread");
        assert!(include_str!("../README.md").contains(&says), "{says}");
    }

    #[test]
    fn a_thread_that_is_not_told_to_send_sends_nothing() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let plan =
            format!("[[job]]\nname = \"a\"\nlimit = 1\nbase = \"{base}\"\npaths = [\"/\"]\n");
        let plan = crate::plan::parse("plan", &plan).unwrap();
        let options = Options::parse_from(["gentle"]);
        let ready = Ready::new(plan, "plan", Path::new(""), &options, None).unwrap();
        let (over, _is_over) = mpsc::channel(1);
        let start = || start_thread(0, 1, &ready.checks, &over).unwrap();
        // As when a later thread does not start.
        let Started { thread, begin } = start();
        drop(begin);
        thread.join().unwrap();
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        listener.set_nonblocking(false).unwrap();
        let sends = start().send();
        // The request fails, because the connection is closed, and was the only one.
        drop(listener.accept().unwrap());
        sends.join().unwrap();
        assert_eq!(ready.checks[0].tally().all.failed, 1);
    }

    #[test]
    fn the_lanes_are_dealt_out_evenly_over_all_jobs() {
        for (threads, jobs) in
            [(1, vec![3]), (2, vec![1; 9]), (3, vec![2, 0, 7, 1]), (5, vec![2, 2])]
        {
            let of = |thread| {
                let mut first = 0;
                let dealt = jobs.iter().map(|lanes| {
                    first += lanes;
                    dealt(first - lanes, *lanes, thread, threads)
                });
                dealt.sum::<usize>()
            };
            let own: Vec<_> = (0..threads).map(of).collect();
            assert_eq!(own.iter().sum::<usize>(), jobs.iter().sum::<usize>(), "{own:?}");
            assert!(own.iter().max().unwrap() - own.iter().min().unwrap() <= 1, "{own:?}");
        }
    }

    #[test]
    fn a_plan_has_threads_for_its_lanes_unless_it_says_how_many() {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let threads = |workers: &str, limits: &[usize]| {
            let job = |(at, limit)| {
                let rest = "base = \"http://127.0.0.1\"\npaths = [\"/\"]\nrepeat = 5000";
                format!("[[job]]\nname = \"{at}\"\nlimit = {limit}\n{rest}\n")
            };
            let jobs: String = limits.iter().enumerate().map(job).collect();
            threads_for(&crate::plan::parse("plan", &format!("{workers}{jobs}")).unwrap())
        };
        assert_eq!(threads("", &[63]), 1);
        assert_eq!(threads("", &[1; 63]), 1);
        assert_eq!(threads("", &[1; 64]), 2.min(cores));
        assert_eq!(threads("", &[60, 2, 2]), 2.min(cores));
        assert_eq!(threads("", &[4096]), 128.min(cores));
        assert_eq!(threads("workers = 3\n", &[1]), 3);
        assert_eq!(threads("workers = 1\n", &[4096]), 1);
    }
}
