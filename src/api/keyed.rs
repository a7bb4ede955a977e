//! Keyed jobs. A keyed job has one child for each key. The child is made at the key's first look-up, and dropped when it is
//! idle. Module `table` maps keys to jobs.

mod table;

use crate::api::builder::JobBuilder;
use crate::api::job::Job;
use crate::job::control;
use crate::sync::Arc;
use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;
use table::Table;

type Make<K> = dyn Fn(&K, JobBuilder) -> JobBuilder + Send + Sync;

/// One job for each key. All these jobs have the same parent. Returned by [`JobBuilder::keyed`].
///
/// The job of a key is made at the key's first look-up. A clone of a `Keyed` is another handle of the same jobs.
///
/// # Idle keys
///
/// A key is *idle* if no task of its job waits or runs, and no handle, [`Permit`](crate::Permit) or child of its job exists.
/// [`evict_idle`](Self::evict_idle) drops all idle keys, for example after a burst of keys.
///
/// A look-up of a new key also drops some idle keys, so no thread has to look for idle keys. The keys are divided into 64
/// parts. The look-up drops the idle keys of the new key's part, if that part has at least 8 keys, and at least twice as many
/// keys as after the last drop.
///
/// A key is not dropped if its job differs from a new job, because the next look-up of a dropped key makes a new job:
///
/// - An idle key is kept if the [limit](Job::set_limit) or the [rates](Job::set_rates) of its job were changed, or if its job
///   is [paused](Job::pause) or [held off](Job::hold_off).
/// - An idle key is kept while a part of a [rate](JobBuilder::rate) of its job is used up. The tokens of the rate come back
///   with time.
/// - An idle key is kept if its job is [closed](Job::close) or cancelled, and the parent is neither.
///
/// When a key is dropped, the library forgets the [adaptive](JobBuilder::adaptive) limit of its job, even if [`Job::set_limit`]
/// has set that limit. The figures of the job's [`Job::stats`] are lost, but [`Job::stats_with_children`] of the
/// [parent](Self::parent) still includes them.
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(4).build()?;
/// let hosts = pool.job_builder().limit(20).keyed::<String>(|_, builder| builder.limit(6));
/// for page in 0..100 {
///     let host = format!("host-{}.example", page % 10);
///     hosts.job(&host).execute(move || drop(page)); // at most 6 to this host, 20 in all
/// }
/// hosts.parent().wait();
/// assert_eq!(hosts.parent().stats_with_children().completed, 100);
/// assert!(hosts.parent().stats().most_running <= 20);
/// assert_eq!(hosts.len(), 10);
/// hosts.evict_idle();
/// # while !hosts.is_empty() {
/// #     hosts.evict_idle(); // a worker may have a handle for a moment longer
/// # }
/// assert!(hosts.is_empty());
/// # Ok::<(), tollgate::BuildError>(())
/// ```
pub struct Keyed<K>(Arc<Inner<K>>);

struct Inner<K> {
    table: Table<K>,
    parent: Job,
    make: Box<Make<K>>,
}

impl<K: Hash + Eq> Keyed<K> {
    /// Returns the job of a key. Makes the job if there is none. While the returned handle exists, the key is not dropped.
    ///
    /// A look-up takes one of 64 locks, so look-ups of different keys seldom wait for each other.
    ///
    /// # Panics
    ///
    /// Panics if the parent already has 67,108,864 handles and children. Also panics where [`JobBuilder::build`] panics.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let users = pool.job_builder().keyed::<String>(|user, builder| builder.limit(if user == "root" { 10 } else { 1 }));
    /// assert_eq!(users.job("root").limit(), 10);
    /// assert_eq!(users.job("guest").limit(), 1);
    /// assert_eq!(users.job("guest"), users.job("guest"));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn job<Q>(&self, key: &Q) -> Job
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        match self.0.table.get(key) {
            Some(job) => job,
            None => self.make(key.to_owned()),
        }
    }

    /// Makes the job of a key, and adds it to the table. Holds no lock while the user's closure `make` runs.
    #[cold]
    #[track_caller]
    fn make(&self, key: K) -> Job {
        let Inner { table, parent, make } = &*self.0;
        let made = make(&key, parent.job_builder()).parent(parent).of_key().build();
        control::note_as_made(made.ptr());
        table.enter(key, made)
    }

    /// Returns the job of a key, if there is one.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let hosts = pool.job_builder().keyed::<String>(|_, builder| builder.limit(6));
    /// assert_eq!(hosts.get("a.example"), None);
    /// let host = hosts.job("a.example");
    /// assert_eq!(hosts.get("a.example"), Some(host));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn get<Q>(&self, key: &Q) -> Option<Job>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.table.get(key)
    }

    /// Removes a key, even if it is in use or its job was changed. Returns the key's job.
    ///
    /// The next look-up of the removed key makes a new job. Tasks of the removed job still run, and can run beside tasks of the
    /// new job.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let hosts = pool.job_builder().keyed::<u32>(|_, builder| builder.limit(6));
    /// hosts.job(&1).cancel(); // final
    /// assert!(hosts.job(&1).is_closed());
    /// hosts.remove(&1);
    /// assert!(!hosts.job(&1).is_closed());
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn remove<Q>(&self, key: &Q) -> Option<Job>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.table.remove(key).map(|(_, job)| job)
    }

    /// Drops each key that is [idle](Self#idle-keys) now and whose job does not differ from a new job. Frees the memory of
    /// these keys. Returns the number of dropped keys.
    ///
    /// # Examples
    ///
    /// An idle key whose limit was changed is kept:
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let hosts = pool.job_builder().keyed::<u32>(|_, builder| builder.limit(6));
    /// drop(hosts.job(&1));
    /// hosts.job(&2).set_limit(1);
    /// assert_eq!(hosts.evict_idle(), 1);
    /// assert_eq!(hosts.job(&2).limit(), 1);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn evict_idle(&self) -> usize {
        self.0.table.evict()
    }

    /// Calls `see` for each key and its job. `see` is allowed to call methods of this `Keyed`.
    ///
    /// `for_each` can leave out a key that is made or dropped during the call. `K::clone` runs under a lock, so it must not use
    /// this `Keyed`.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let hosts = pool.job_builder().keyed::<String>(|_, builder| builder.limit(6));
    /// drop((hosts.job("a.example"), hosts.job("b.test")));
    /// hosts.for_each(|host, job| if host.ends_with(".test") { job.set_limit(1) });
    /// assert_eq!((hosts.job("a.example").limit(), hosts.job("b.test").limit()), (6, 1));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn for_each(&self, see: impl FnMut(&K, &Job))
    where
        K: Clone,
    {
        self.0.table.for_each(see);
    }
}

impl<K> Keyed<K> {
    /// Returns the parent of all keys' jobs.
    ///
    /// The parent's limit bounds the running tasks of all keys together. [`Job::wait`] of the parent waits for the tasks of all
    /// keys, and [`Job::cancel`] cancels the jobs of all keys.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let hosts = pool.job_builder().limit(20).keyed::<u32>(|_, builder| builder.limit(6));
    /// assert_eq!(hosts.parent().limit(), 20);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[must_use]
    pub fn parent(&self) -> &Job {
        &self.0.parent
    }

    /// Returns the number of keys. Idle keys that were not dropped yet are included.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let hosts = pool.job_builder().keyed::<u32>(|_, builder| builder.limit(6));
    /// drop((hosts.job(&1), hosts.job(&2)));
    /// assert_eq!(hosts.len(), 2);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.table.len()
    }

    /// Returns true if there is no key.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(1).build()?;
    /// let hosts = pool.job_builder().keyed::<u32>(|_, builder| builder.limit(6));
    /// assert!(hosts.is_empty());
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K> Clone for Keyed<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K> fmt::Debug for Keyed<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").field("parent", self.parent()).field("keys", &self.len()).finish()
    }
}

impl JobBuilder {
    /// Builds the job, and returns it as the parent of one job for each key. `make` configures the job of a key when that job
    /// is made.
    ///
    /// The closure `make` receives the key, and a builder whose parent is this job. If two threads look up a new key at once,
    /// `make` can be called twice. One of the two new jobs is then dropped.
    ///
    /// `K`'s implementations of `Hash` and `Eq` must not use the [`Keyed`], because they run under a lock.
    ///
    /// # Panics
    ///
    /// As [`build`](Self::build).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let hosts = pool.job_builder().limit(20).keyed::<String>(|host, builder| builder.name(host).limit(6));
    /// let host = hosts.job("a.example");
    /// assert_eq!((host.name(), host.limit()), (Some("a.example"), 6));
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn keyed<K: Hash + Eq>(
        self,
        make: impl Fn(&K, Self) -> Self + Send + Sync + 'static,
    ) -> Keyed<K> {
        Keyed(Arc::new(Inner { table: Table::new(), parent: self.build(), make: Box::new(make) }))
    }
}
