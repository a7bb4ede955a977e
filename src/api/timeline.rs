//! The timeline of a pool: what the pool's tasks did and why they waited, written as a trace or as a page.
//!
//! Module `job::events` notes the events of tasks, and module `base::log` keeps them in ring buffers. Module `picture` makes a
//! picture from the events: slices, figures and flows. Modules `trace` and `page` write the picture.

mod page;
mod picture;
mod trace;

use crate::api::pool::Pool;
use crate::pool::core::Shared;
use std::fmt;
use std::io::{self, Write};

/// The number of events that each worker keeps. [`Timeline::start_with`] can set another number.
const EVENTS: usize = 16_384;

/// The timeline of a pool: what each task did, when, and why it waited. Returned by [`Pool::timeline`].
///
/// While the timeline is on, each worker keeps its last 16,384 events, or as many as [`start_with`](Self::start_with) says.
/// A newer event overwrites the oldest one, and [`lost`](Self::lost) counts the overwritten events. [`write`](Self::write)
/// writes the events as a trace for Perfetto, and [`write_html`](Self::write_html) as a page for any browser. The trace and
/// the page show for each job:
///
/// - The tasks of the job as slices, *queued* and then *running*. A queued slice says why its task waited.
/// - The figures *running*, *limit* and *backlog* of the job over time.
/// - A flow (an arrow) from the end of a task that released a permit to the start of the task that got this permit.
///
/// A timeline does not change what tasks do. The times of its events are real times, even in a pool with a
/// [`ManualClock`](crate::ManualClock). If the push of a task was not recorded, the task's queued slice begins at the task's
/// first recorded event. Items of a [`map`](crate::Job::map) are no tasks of their own: the slices show the tasks that pull the
/// items.
///
/// # Examples
///
/// ```
/// let pool = tollgate::Pool::builder().workers(2).build()?;
/// pool.timeline().start();
/// let search = pool.job_builder().name("search").limit(1).build();
/// (0..10).for_each(|_| search.execute(|| ()));
/// search.wait();
/// let (mut trace, mut page) = (Vec::new(), Vec::new());
/// pool.timeline().write(&mut trace)?; // open it at ui.perfetto.dev
/// pool.timeline().write_html(&mut page)?; // open it anywhere
/// assert!(trace.windows(6).any(|bytes| bytes == b"search"));
/// assert!(page.starts_with(b"<!DOCTYPE html>"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Timeline<'pool>(&'pool Shared);

impl Pool {
    /// Returns the timeline of the pool. The timeline is off until it is [started](Timeline::start).
    ///
    /// Timelines need the feature `timeline`. Without this feature a program pays nothing for them. With the feature, each
    /// event costs one branch while the timeline is off.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// assert!(!pool.timeline().is_on());
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn timeline(&self) -> Timeline<'_> {
        Timeline(self.shared())
    }
}

impl Timeline<'_> {
    /// Deletes all recorded events, and records new events from now on.
    ///
    /// # Panics
    ///
    /// As [`start_with`](Self::start_with).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// pool.timeline().start();
    /// assert!(pool.timeline().is_on());
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn start(self) {
        self.start_with(EVENTS);
    }

    /// Does what [`start`](Self::start) does, but keeps the last `events` events of each worker. An event takes 48 bytes.
    ///
    /// # Panics
    ///
    /// Panics if there is not enough memory for the events. The timeline is then off.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// let job = pool.job(2);
    /// pool.timeline().start_with(10);
    /// (0..100).for_each(|_| job.execute(|| ()));
    /// job.wait();
    /// assert!(pool.timeline().lost() > 0);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    #[track_caller]
    pub fn start_with(self, events: usize) {
        if self.0.log.clear(events).is_err() {
            self.stop();
            panic!("no memory for {events} events of each worker: start the timeline with fewer");
        }
        self.0.set_records(true);
    }

    /// Stops recording. The recorded events stay until the next start.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// pool.timeline().start();
    /// pool.timeline().stop();
    /// assert!(!pool.timeline().is_on());
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn stop(self) {
        self.0.set_records(false);
        self.0.log.stop();
    }

    /// Returns true if the timeline records events.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// pool.timeline().start();
    /// assert!(pool.timeline().is_on());
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn is_on(self) -> bool {
        self.0.records()
    }

    /// Returns the number of events that newer events have overwritten since the timeline was started.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// pool.timeline().start();
    /// pool.job(1).spawn(|| ()).join().unwrap();
    /// assert_eq!(pool.timeline().lost(), 0);
    /// # Ok::<(), tollgate::BuildError>(())
    /// ```
    pub fn lost(self) -> u64 {
        self.0.log.lost()
    }

    /// Writes the recorded events in the format of [Perfetto](https://ui.perfetto.dev), as a file of *track events*.
    ///
    /// `write` locks the events of one worker at a time, and unlocks them before it writes.
    ///
    /// # Errors
    ///
    /// Returns the error of the writer.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// pool.timeline().start();
    /// pool.job(1).spawn(|| ()).join().unwrap();
    /// # let folder = std::env::temp_dir();
    /// # let path = folder.join(format!("tollgate-{}.trace", std::process::id()));
    /// pool.timeline().write(std::fs::File::create(&path)?)?;
    /// assert!(std::fs::metadata(&path)?.len() > 100);
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write(self, to: impl Write) -> io::Result<()> {
        trace::write(&picture::draw(self.0.log.read()), io::BufWriter::new(to))
    }

    /// Writes the recorded events as one page of HTML, which needs no other file and no network.
    ///
    /// On the page the mouse wheel zooms, and dragging moves the view. The slice under the pointer shows why its task waited.
    ///
    /// # Errors
    ///
    /// Returns the error of the writer.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = tollgate::Pool::builder().workers(2).build()?;
    /// pool.timeline().start();
    /// pool.job_builder().name("search").build().spawn(|| ()).join().unwrap();
    /// let mut page = Vec::new();
    /// pool.timeline().write_html(&mut page)?;
    /// assert!(String::from_utf8(page)?.contains("search"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write_html(self, to: impl Write) -> io::Result<()> {
        page::write(&picture::draw(self.0.log.read()), io::BufWriter::new(to))
    }
}

impl fmt::Debug for Timeline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeline")
            .field("is_on", &self.is_on())
            .field("lost", &self.lost())
            .finish()
    }
}
