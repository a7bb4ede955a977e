//! The one trait that all contenders share, and the list of them.
//!
//! A workload is written once against [`Contender`], so that everybody runs the same closures, pushed by the same
//! outside thread and counted in the same way. [`with_contender!`] turns a [`Which`] into the type behind it.

/// A pool whose tasks belong to jobs, as far as the contender knows jobs at all.
pub(crate) trait Contender: Sized + Send + Sync + 'static {
    /// Whether a job's limit holds. The contenders without limits show what a limit costs the others.
    const KEEPS_LIMITS: bool;

    /// What a task is pushed into. Dropping it says that no more tasks come.
    type Job: Send + Sync + 'static;

    /// Starts a pool. Dropping it, after its tasks have run, stops and joins its workers.
    fn start(workers: usize) -> Self;

    /// Makes a job; `usize::MAX` is no limit.
    fn job(&self, limit: usize) -> Self::Job;

    /// Makes a job whose tasks also need a permit of `parent` and of each job above it. By default ignores `parent`.
    fn child(&self, parent: &Self::Job, limit: usize) -> Self::Job {
        let _ = parent;
        self.job(limit)
    }

    /// Pushes a task, from outside or from inside another task.
    fn push<F: FnOnce() + Send + 'static>(job: &Self::Job, task: F);
}

/// The contenders by name, in the order of the table's columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Which {
    Ours,
    Flat,
    Channels,
    RayonGate,
    Rayon,
    Tokio,
    Smol,
    BufferUnordered,
    SharedChannel,
    One,
    Floor,
    Execute,
    Buffered,
}

impl Which {
    /// The name in tables, plots and options.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Which::Ours => "ours",
            Which::Flat => "flat",
            Which::Channels => "channels",
            Which::RayonGate => "rayon_gate",
            Which::Rayon => "rayon",
            Which::Tokio => "tokio",
            Which::Smol => "smol",
            Which::BufferUnordered => "buffer_unordered",
            Which::SharedChannel => "shared_channel",
            Which::One => "one",
            Which::Floor => "floor",
            Which::Execute => "execute",
            Which::Buffered => "buffered",
        }
    }
}

/// Runs `$body` with `$Contender` as the type behind `$which`.
macro_rules! with_contender {
    ($which:expr, $Contender:ident => $body:expr) => {{
        use $crate::contender::Which;
        match $which {
            Which::Ours => {
                type $Contender = $crate::ours::Ours;
                $body
            }
            Which::Flat => {
                type $Contender = $crate::ours::Flat;
                $body
            }
            Which::Channels => {
                type $Contender = $crate::channels::Channels;
                $body
            }
            Which::RayonGate => {
                type $Contender = $crate::rayon_gate::RayonGate;
                $body
            }
            Which::Rayon => {
                type $Contender = $crate::rayon_spawn::RayonSpawn;
                $body
            }
            Which::Tokio => {
                type $Contender = $crate::tokio_semaphore::TokioSemaphore;
                $body
            }
            Which::Smol => {
                type $Contender = $crate::smol_semaphore::SmolSemaphore;
                $body
            }
            Which::BufferUnordered => {
                type $Contender = $crate::buffer_unordered::BufferUnordered;
                $body
            }
            Which::SharedChannel => {
                type $Contender = $crate::shared_channel::SharedChannel;
                $body
            }
            Which::One => {
                type $Contender = $crate::one::One;
                $body
            }
            Which::Floor | Which::Execute | Which::Buffered => {
                unreachable!("it does not take tasks of any shape; its workloads call it by name")
            }
        }
    }};
}
pub(crate) use with_contender;
