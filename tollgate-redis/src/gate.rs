//! `Gate`: acquires leases, changes the limit, and explains the gate's state.

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tollgate::{Job, TaskHandle};

use crate::acquire::{Patience, acquire};
use crate::book::Micros;
use crate::builder::GateBuilder;
use crate::error::GateError;
use crate::explain::Explanation;
use crate::lease::Lease;
use crate::shared::Shared;
use crate::store::{Backend, Overview, Store};
use tollgate_lease::Clock;

/// A limit over all machines that open the same gate name on the same server.
///
/// A clone is another handle of the same open gate. An open gate has two threads, which sleep while the gate holds no lease,
/// and at most three connections. When the last handle and the last lease are dropped, the threads send the releases that are
/// due, and end. If the server does not answer, this drop may block for a twelfth of a lease.
///
/// # Examples
///
/// ```
#[doc = include_str!("../tests/common/hidden.md")]
/// // The same lines on two machines:
/// let here = tollgate_redis::Gate::open(client.clone(), "erp").limit(1).build()?;
/// let there = tollgate_redis::Gate::open(client, "erp").limit(1).build()?;
///
/// let lease = here.acquire()?;
/// assert!(there.try_acquire()?.is_none());
/// drop(lease);
/// drop(there.acquire()?); // waits until the release has reached the server
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Gate {
    owner: Arc<Owner>,
}

/// Ends the threads of a gate when the last handle and the last lease are gone.
pub(crate) struct Owner {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Owner {
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.stop();
        for thread in self.threads.drain(..) {
            // The watching thread may drop the last handle, with a task that it cancels. A thread cannot wait for its own end.
            if thread.thread().id() != thread::current().id() {
                let _panicked = thread.join();
            }
        }
    }
}

impl Gate {
    /// Starts to open the gate `name` on the server of `client`.
    ///
    /// All processes that open the same name share one limit. A name has 1 to 200 bytes, without `{`, `}` and control
    /// characters.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../tests/common/hidden.md")]
    /// let gate = tollgate_redis::Gate::open(client, "erp").limit(50).build()?;
    /// assert_eq!(gate.name(), "erp");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(client: redis::Client, name: impl Into<String>) -> GateBuilder {
        GateBuilder::new(client, name.into())
    }

    /// Starts the threads of a gate on any store.
    pub(crate) fn start(
        name: String,
        holder: String,
        length: Micros,
        backend: Box<dyn Backend>,
        clock: Box<dyn Clock>,
    ) -> std::io::Result<Self> {
        let shared =
            Arc::new(Shared::new(name, holder, tollgate_lease::random(), length, backend, clock));
        let mut owner = Owner { shared: Arc::clone(&shared), threads: Vec::new() };
        let mut serve = |name: &str, body: fn(&Shared)| {
            let shared = Arc::clone(&shared);
            owner
                .threads
                .push(thread::Builder::new().name(name.into()).spawn(move || body(&shared))?);
            std::io::Result::Ok(())
        };
        serve("gate-renew", Shared::renew)?;
        serve("gate-watch", Shared::watch)?;
        Ok(Self { owner: Arc::new(owner) })
    }

    /// Waits for a lease.
    ///
    /// In a task of a tollgate pool, call this inside [`tollgate::blocking`], or use [`spawn`](Self::spawn).
    ///
    /// # Blocking
    ///
    /// Blocks while as many leases are held as the limit allows. In each process one thread waits at the server, and the other
    /// threads wait for that thread. A release wakes one waiting process. No order is promised.
    ///
    /// # Cancellation
    ///
    /// If the call is made in a pool's task, and that task is cancelled, the call fails within a second.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](GateError::Unreachable) if the server has not answered for the length of a lease,
    /// [`Gone`](GateError::Gone), [`Refused`](GateError::Refused), [`Cancelled`](GateError::Cancelled). If the server granted
    /// a lease and its answer was lost, the gate gives the lease back.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../tests/common/hidden.md")]
    /// let gate = tollgate_redis::Gate::open(client, "erp").limit(2).build()?;
    /// let both = (gate.acquire()?, gate.acquire()?);
    /// assert!(gate.try_acquire()?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn acquire(&self) -> Result<Lease, GateError> {
        loop {
            if let Some(lease) = acquire(&self.owner, Patience::Endless)? {
                return Ok(lease);
            }
        }
    }

    /// Waits for a lease for at most `timeout`. Returns `None` if the limit was used up until then.
    ///
    /// The call may last longer than `timeout` by the time of one request: a twelfth of a lease at most, or 5 s.
    ///
    /// # Errors
    ///
    /// Returns an error where [`acquire`](Self::acquire) does. Also returns [`Unreachable`](GateError::Unreachable) if the
    /// server does not answer when `timeout` has passed.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../tests/common/hidden.md")]
    /// use std::time::Duration;
    ///
    /// let gate = tollgate_redis::Gate::open(client, "erp").limit(1).build()?;
    /// let lease = gate.acquire()?;
    /// assert!(gate.acquire_timeout(Duration::from_millis(20))?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Option<Lease>, GateError> {
        match Instant::now().checked_add(timeout) {
            Some(deadline) => acquire(&self.owner, Patience::Until(deadline)),
            None => self.acquire().map(Some),
        }
    }

    /// Returns a lease, or `None` if no lease is free. Also returns `None` if another thread of this gate waits.
    ///
    /// # Errors
    ///
    /// Returns an error where [`acquire`](Self::acquire) does. Returns [`Unreachable`](GateError::Unreachable) if the server
    /// does not answer one or two requests.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../tests/common/hidden.md")]
    /// let gate = tollgate_redis::Gate::open(client, "erp").limit(1).build()?;
    /// let lease = gate.try_acquire()?.unwrap();
    /// assert!(gate.try_acquire()?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_acquire(&self) -> Result<Option<Lease>, GateError> {
        acquire(&self.owner, Patience::None)
    }

    /// Pushes a task of `job` that runs under a lease of this gate.
    ///
    /// The task first gets a permit of `job`, then waits for a lease; a spare worker takes its place meanwhile. So no task in a
    /// queue holds a lease. When the lease is lost, [`tollgate::is_cancelled`] and [`Lease::is_lost`] return true in the task,
    /// and the task must return soon. The handle still gets the task's result.
    ///
    /// The task runs in a child of `job`, so that it can be cancelled alone.
    ///
    /// # Errors
    ///
    /// If the task gets no lease, the handle's result is the error of [`acquire`](Self::acquire), and the task's closure is
    /// dropped without running.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../tests/common/hidden.md")]
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(8); // at most 8 in this process
    /// let gate = tollgate_redis::Gate::open(client, "erp").limit(3).build()?; // at most 3 over all
    ///
    /// let tasks: Vec<_> = (0..10).map(|n| gate.spawn(&job, move |lease| (n, lease.fence()))).collect();
    /// for (n, task) in tasks.into_iter().enumerate() {
    ///     let (number, fence) = task.join()??;
    ///     assert_eq!(number, n);
    ///     assert!((1..=10).contains(&fence));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn spawn<T, F>(&self, job: &Job, task: F) -> TaskHandle<Result<T, GateError>>
    where
        T: Send + 'static,
        F: FnOnce(&Lease) -> T + Send + 'static,
    {
        let gate = self.clone();
        job.job(1).spawn(move || {
            let lease = tollgate::blocking(|| gate.acquire())?;
            if let Some(own) = tollgate::current_job() {
                lease.cancel_on_loss(own);
            }
            Ok(task(&lease))
        })
    }

    /// Returns the present limit of the gate at the server.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](GateError::Unreachable), [`Refused`](GateError::Refused), [`Gone`](GateError::Gone).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../tests/common/hidden.md")]
    /// let gate = tollgate_redis::Gate::open(client, "erp").limit(5).build()?;
    /// assert_eq!(gate.limit()?, 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn limit(&self) -> Result<u32, GateError> {
        Ok(self.overview()?.limit)
    }

    /// Sets the limit of the gate for all machines.
    ///
    /// After the call has returned, no lease is granted while `limit` or more are live. Live leases stay valid: under a lower
    /// limit the excess ends as their tasks end. A higher limit wakes waiting machines one after the other.
    ///
    /// # Errors
    ///
    /// [`ZeroLimit`](GateError::ZeroLimit), [`Refused`](GateError::Refused), [`Gone`](GateError::Gone). After
    /// [`Unreachable`](GateError::Unreachable), the limit may or may not be set. It is never set after a later call has returned.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../tests/common/hidden.md")]
    /// let gate = tollgate_redis::Gate::open(client, "erp").limit(1).build()?;
    /// let lease = gate.acquire()?;
    /// assert!(gate.try_acquire()?.is_none());
    /// gate.set_limit(2)?;
    /// assert!(gate.try_acquire()?.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_limit(&self, limit: u32) -> Result<(), GateError> {
        if limit == 0 {
            return Err(GateError::ZeroLimit);
        }
        self.at_desk(|store| {
            loop {
                let revision = store.explain()?.revision;
                if store.set_limit(limit, revision)? {
                    return Ok(());
                }
            }
        })
    }

    /// Returns the state of the gate: its limit, each live lease with its holder and times, and how many machines wait.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](GateError::Unreachable), [`Refused`](GateError::Refused), [`Gone`](GateError::Gone).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../tests/common/hidden.md")]
    /// let gate = tollgate_redis::Gate::open(client, "erp").limit(2).holder("crawler-7").build()?;
    /// let lease = gate.acquire()?;
    /// let now = gate.explain()?;
    /// assert_eq!((now.limit, now.held.len(), now.waiting), (2, 1, 0));
    /// assert_eq!(now.held[0].holder, "crawler-7");
    /// println!("{now}"); // erp: 1 of 2 held, 0 waiting ...
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn explain(&self) -> Result<Explanation, GateError> {
        let Overview { limit, waiting, held, .. } = self.overview()?;
        Ok(Explanation::new(self.name().to_owned(), limit, waiting, held))
    }

    /// Returns the name of the gate.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../tests/common/hidden.md")]
    /// let gate = tollgate_redis::Gate::open(client, "erp").limit(5).build()?;
    /// assert_eq!(gate.name(), "erp");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        &self.owner.shared.name
    }

    fn overview(&self) -> Result<Overview, GateError> {
        self.at_desk(|store| store.explain())
    }

    /// Runs `call` on the connection for calls that concern no lease. If the call fails, repeats it once on a new connection,
    /// because the old one may have been dead for long.
    fn at_desk<T>(
        &self,
        mut call: impl FnMut(&mut dyn Store) -> Result<T, GateError>,
    ) -> Result<T, GateError> {
        let shared = &self.owner.shared;
        let mut desk = shared.desk.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = desk.as_deref_mut() {
            match call(store) {
                Err(GateError::Unreachable(_)) => *desk = None,
                answer => return answer,
            }
        }
        let mut store = shared.backend.connect(shared.patience())?;
        let answer = call(store.as_mut())?;
        *desk = Some(store);
        Ok(answer)
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Shared {
        &self.owner.shared
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("name", &self.name()).finish_non_exhaustive()
    }
}
