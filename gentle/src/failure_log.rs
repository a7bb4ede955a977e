//! A file with a line of JSON for each failure.

use std::io;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::moment;
use crate::output::Output;
use crate::tally::{Kind, Mistake};

/// The file, while it is being written.
#[derive(Debug)]
pub(crate) struct FailureLog(Mutex<Result<Output, io::Error>>);

/// A line of the file.
#[derive(Debug, Serialize)]
struct Line<'a> {
    at: String,
    job: &'a str,
    /// The URL, or the line of a list.
    target: &'a str,
    kind: Kind,
    cause: &'a str,
    status: Option<u16>,
    took_ms: f64,
}

impl FailureLog {
    pub(crate) fn new(output: Output) -> Self {
        FailureLog(Mutex::new(Ok(output)))
    }

    /// Writes a line. A failure to write is told at the end.
    pub(crate) fn write(
        &self,
        job: &str,
        target: &str,
        mistake: &Mistake,
        status: Option<u16>,
        took: Duration,
    ) {
        let line = Line {
            at: moment::spelled(SystemTime::now()),
            job,
            target,
            kind: mistake.kind,
            cause: &mistake.cause,
            status,
            took_ms: took.as_secs_f64() * 1_000.0,
        };
        let mut line = serde_json::to_vec(&line).expect("a line is texts and numbers");
        line.push(b'\n');
        let mut file = self.0.lock().expect("nothing panics under this lock");
        if let Ok(output) = &mut *file
            && let Err(error) = output.write(&line)
        {
            *file = Err(error);
        }
    }

    /// Ends the file.
    pub(crate) fn finish(&self) -> io::Result<()> {
        let ended = Err(io::ErrorKind::NotFound.into());
        let mut file = self.0.lock().expect("nothing panics under this lock");
        std::mem::replace(&mut *file, ended)?.finish()
    }
}
