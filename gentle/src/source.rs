//! Where the next request's URL comes from.

use std::iter::Peekable;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use http::Uri;
use tokio::sync::mpsc;

use crate::list::{BadLine, UrlList};
use crate::plan::{JobPlan, ListPlan, Targets};

/// How many lines of a slow list are read ahead.
const READ_AHEAD: usize = 64;

/// The targets of one job, each given out once.
#[derive(Debug)]
pub(crate) enum Source {
    /// The plan's paths or sessions, by their number.
    Paths(AtomicU64),
    /// A list that is there as a whole.
    File(Mutex<Peekable<UrlList>>),
    /// A list that may be long in coming, which a thread of its own reads.
    Slow(tokio::sync::Mutex<mpsc::Receiver<Result<Uri, BadLine>>>),
}

/// One of the plan's paths, and its place among the job's requests.
#[derive(Debug)]
pub(crate) struct Next {
    pub(crate) number: u64,
    /// The place of the URL among the plan's paths.
    pub(crate) path: usize,
    pub(crate) url: Uri,
    pub(crate) is_last: bool,
}

/// A line of a list.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) url: Result<Uri, BadLine>,
    /// Whether it is known that there is no other behind it.
    pub(crate) is_last: bool,
}

impl Source {
    /// Opens a job's list, if it has one; its file is taken from `directory`.
    ///
    /// # Errors
    ///
    /// If the list cannot be opened: the plan's line that names it, and why.
    pub(crate) fn open(plan: &JobPlan, directory: &Path) -> Result<Self, String> {
        let Targets::List(list) = &plan.targets else {
            return Ok(Source::Paths(AtomicU64::new(0)));
        };
        let open = UrlList::open(list.clone(), directory)
            .map_err(|error| format!("{}: {}: {error}", list.line, list.file))?;
        if is_file(list, directory) {
            return Ok(Source::File(Mutex::new(open.peekable())));
        }
        let (give, take) = mpsc::channel(READ_AHEAD);
        let reader = thread::Builder::new().name("list".to_owned()).spawn(move || {
            for url in open {
                if give.blocking_send(url).is_err() {
                    break;
                }
            }
        });
        reader.map_err(|error| format!("{}: {}: {error}", list.line, list.file))?;
        Ok(Source::Slow(tokio::sync::Mutex::new(take)))
    }

    /// The next of the plan's paths; `None` behind the last.
    pub(crate) fn next_path(&self, plan: &JobPlan) -> Option<Next> {
        let Targets::Paths { urls, repeat, .. } = &plan.targets else { return None };
        let (number, is_last) = self.count(plan, urls.len() as u64 * repeat)?;
        let path = (number % urls.len() as u64) as usize;
        Some(Next { number, path, url: urls[path].clone(), is_last })
    }

    pub(crate) fn is_list(&self) -> bool {
        !matches!(self, Source::Paths(_))
    }

    /// Whether a line of the list may be long in coming.
    pub(crate) fn is_slow(&self) -> bool {
        matches!(self, Source::Slow(_))
    }

    /// The next line of the list; `None` behind the last.
    pub(crate) async fn next_line(&self) -> Option<Line> {
        match self {
            Source::Paths(_) => None,
            Source::File(list) => {
                let mut list = list.lock().expect("nothing panics under this lock");
                let url = list.next()?;
                Some(Line { url, is_last: list.peek().is_none() })
            }
            Source::Slow(list) => {
                let url = list.lock().await.recv().await?;
                Some(Line { url, is_last: false })
            }
        }
    }

    /// Takes the next session, and tells whether it is the last; `None` behind the last.
    pub(crate) fn next_session(&self, plan: &JobPlan) -> Option<bool> {
        match &plan.targets {
            Targets::Session { repeat, .. } => Some(self.count(plan, *repeat)?.1),
            _ => None,
        }
    }

    /// Counts up, to `most` if the plan has no times, and tells whether that was the last number.
    fn count(&self, plan: &JobPlan, most: u64) -> Option<(u64, bool)> {
        let Source::Paths(next) = self else { return None };
        if plan.times.is_some() {
            // Ordering: Relaxed; the number says nothing of other memory.
            return Some((next.fetch_add(1, Ordering::Relaxed), false));
        }
        // Ordering: Relaxed, as above.
        let up = |number| (number < most).then_some(number + 1);
        let number = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, up).ok()?;
        Some((number, number + 1 == most))
    }
}

/// Whether a list is a file, which is read without waiting.
fn is_file(list: &ListPlan, directory: &Path) -> bool {
    list.file != "-" && directory.join(&list.file).metadata().is_ok_and(|file| file.is_file())
}
