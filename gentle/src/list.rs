//! A list of URLs, one a line, that is read as its requests are sent: a list of any length in a few
//! kilobytes of memory.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use http::Uri;

use crate::plan::{ListPlan, listed};

/// The longest line that may hold a URL.
const LONGEST_LINE: u64 = 64 * 1024;

/// The URLs of a file or of standard input. Empty lines, and lines that start with `#`, are skipped.
pub(crate) struct UrlList {
    plan: ListPlan,
    reader: Box<dyn BufRead + Send>,
    line: u64,
}

/// A line that nothing can be sent for.
#[derive(Debug)]
pub(crate) struct BadLine {
    /// The list and the line.
    pub(crate) place: String,
    /// Why nothing can be sent.
    pub(crate) cause: String,
}

impl UrlList {
    /// Opens a list; its file is taken from `directory`.
    pub(crate) fn open(plan: ListPlan, directory: &Path) -> io::Result<Self> {
        let reader: Box<dyn BufRead + Send> = match plan.file.as_str() {
            "-" => Box::new(BufReader::new(io::stdin())),
            file => Box::new(BufReader::new(File::open(directory.join(file))?)),
        };
        Ok(UrlList { plan, reader, line: 0 })
    }

    /// The next line without its end, cut where it is longer than a URL can be; `None` behind the last.
    fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.line += 1;
        let mut line = Vec::new();
        (&mut self.reader).take(LONGEST_LINE).read_until(b'\n', &mut line)?;
        if line.len() as u64 == LONGEST_LINE && !line.ends_with(b"\n") {
            self.reader.skip_until(b'\n')?;
        }
        Ok((!line.is_empty()).then_some(line))
    }

    fn bad(&self, cause: impl ToString) -> BadLine {
        BadLine { place: format!("{}:{}", self.plan.file, self.line), cause: cause.to_string() }
    }
}

impl fmt::Debug for UrlList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UrlList").field("plan", &self.plan).field("line", &self.line).finish()
    }
}

impl Iterator for UrlList {
    type Item = Result<Uri, BadLine>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = match self.next_line() {
                Ok(line) => line?,
                Err(error) => {
                    let bad = self.bad(format!("the list cannot be read: {error}"));
                    self.reader = Box::new(io::empty());
                    return Some(Err(bad));
                }
            };
            let line = String::from_utf8_lossy(&line);
            let line = if self.line == 1 { line.trim_start_matches('\u{feff}') } else { &line };
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                let url = listed(self.plan.base.as_deref(), line);
                return Some(url.map_err(|what| self.bad(format!("the line {what}"))));
            }
        }
    }
}
