//! What to check: the plan, read from TOML.
//!
//! [`parse`] is pure and answers any text with a [`Plan`] whose every value can be used as it stands, or with one
//! line that names the source, the line and the mend. What the keys look like in TOML is in `raw`, what their values
//! may be in `values`.

mod error;
mod raw;
mod values;

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use ureq::http::{HeaderMap, Method, StatusCode, Uri};

pub(crate) use self::error::PlanError;
use self::error::Source;
use self::raw::{List, RawJob, RawPlan, Text, Whole};
use self::values::quoted;

/// The most workers, the greatest limit and so the most requests at once.
pub(crate) const MOST_AT_ONCE: u64 = 1_024;

/// The most requests of one job.
const MOST_REQUESTS: u64 = 1_000_000_000;

/// Everything one run checks.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The pool's workers; one per available core where the plan does not say.
    pub(crate) workers: Option<usize>,
    /// At least one, each with a name of its own.
    pub(crate) jobs: Vec<JobPlan>,
}

/// One job: the requests to send, how many at once, and what to expect of the answers.
#[derive(Clone, Debug)]
pub(crate) struct JobPlan {
    /// What the table calls it.
    pub(crate) name: String,
    /// The limits to step through, evenly over the requests; a single one where there is no ramp.
    pub(crate) limits: Vec<usize>,
    /// Where the requests go, in turn.
    pub(crate) urls: Vec<Uri>,
    /// How often each of `urls` is requested.
    pub(crate) repeat: u64,
    /// The method of each request.
    pub(crate) method: Method,
    /// The headers of each request.
    pub(crate) headers: HeaderMap,
    /// The body of each request.
    pub(crate) body: Option<String>,
    /// The statuses that pass the check.
    pub(crate) expect: Vec<StatusCode>,
    /// How long a request may take, from the connection to the last byte of the answer.
    pub(crate) timeout: Duration,
}

impl Plan {
    /// How many requests the limits let run at once, all jobs together.
    pub(crate) fn most_at_once(&self) -> usize {
        self.jobs.iter().map(JobPlan::greatest_limit).fold(0, usize::saturating_add)
    }
}

impl JobPlan {
    /// How many requests the job sends.
    pub(crate) fn requests(&self) -> u64 {
        self.urls.len() as u64 * self.repeat
    }

    /// The greatest limit that is in force at any time.
    pub(crate) fn greatest_limit(&self) -> usize {
        self.limits.iter().copied().max().unwrap_or(0)
    }
}

/// Reads a plan from the bytes of a file.
pub(crate) fn parse_bytes(source_name: &str, bytes: &[u8]) -> Result<Plan, PlanError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(source_name, text),
        Err(error) => {
            let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let end = valid.len()..valid.len();
            Err(Source::new(source_name, &valid)
                .error(end, "not UTF-8 text: save the plan as UTF-8"))
        }
    }
}

/// Reads a plan from TOML; `source_name` is what an error calls it.
pub(crate) fn parse(source_name: &str, text: &str) -> Result<Plan, PlanError> {
    let source = Source::new(source_name, text);
    let raw: RawPlan = toml::from_str(text).map_err(|error| source.toml_error(&error))?;
    let workers =
        raw.workers.map(|workers| source.whole("workers", &workers, MOST_AT_ONCE)).transpose()?;
    if raw.job.0.is_empty() {
        return Err(source.error(0..0, "no job: add a table that starts with [[job]]"));
    }
    let mut lines_of_names = HashMap::new();
    let mut jobs = Vec::new();
    for raw_job in raw.job.0 {
        let table = raw_job.span();
        let raw_job = raw_job.into_inner();
        let name_at = raw_job.name.as_ref().map_or(table.clone(), Spanned::span);
        let job = source.job(table, raw_job)?;
        let line = source.line(&name_at);
        if let Some(first) = lines_of_names.insert(job.name.clone(), line) {
            let name = quoted(&job.name);
            return Err(source.error(
                name_at,
                format!("line {first} has a job named {name} already: name each job differently"),
            ));
        }
        jobs.push(job);
    }
    Ok(Plan { workers: workers.map(|workers| workers as usize), jobs })
}

impl Source<'_> {
    /// Checks one `[[job]]` table, which starts at `table`.
    fn job(&self, table: Range<usize>, raw: RawJob) -> Result<JobPlan, PlanError> {
        let missing = |key: &str, example: &str| {
            self.error(table.clone(), format!("this job has no {key}: add {example}"))
        };
        let name = raw.name.ok_or_else(|| missing("name", "name = \"search\""))?;
        let base = raw.base.ok_or_else(|| missing("base", "base = \"http://127.0.0.1:8080\""))?;
        let paths = raw.paths.ok_or_else(|| missing("paths", "paths = [\"/\"]"))?;
        let limit = raw.limit.map(|limit| self.whole("limit", &limit, MOST_AT_ONCE)).transpose()?;
        let limits = match (raw.ramp, limit) {
            (Some(ramp), _) => self.ramp(&ramp)?,
            (None, Some(limit)) => vec![limit as usize],
            (None, None) => return Err(missing("limit", "limit = 2")),
        };
        let repeat = match raw.repeat {
            Some(repeat) => self.whole("repeat", &repeat, MOST_REQUESTS)?,
            None => 1,
        };
        let job = JobPlan {
            name: self.value(&name, values::name)?,
            limits,
            urls: self.urls(&base, &paths)?,
            repeat,
            method: raw
                .method
                .map_or(Ok(Method::GET), |method| self.value(&method, values::method))?,
            headers: self.headers(raw.headers.unwrap_or_default())?,
            body: raw.body,
            expect: raw.expect.map_or(Ok(vec![StatusCode::OK]), |expect| self.expect(&expect))?,
            timeout: raw.timeout.map_or(Ok(values::DEFAULT_TIMEOUT), |timeout| {
                self.value(&timeout, values::timeout)
            })?,
        };
        self.check_amount(table, &job)?;
        Ok(job)
    }

    /// Checks the limits of a ramp.
    fn ramp(&self, ramp: &Spanned<List<Spanned<Whole>>>) -> Result<Vec<usize>, PlanError> {
        let steps = &ramp.get_ref().0;
        if steps.is_empty() {
            return Err(self.error(
                ramp.span(),
                "ramp is empty: list the limits to step through, such as [1, 2, 4]",
            ));
        }
        let limit =
            |step| self.whole("a limit in ramp", step, MOST_AT_ONCE).map(|limit| limit as usize);
        steps.iter().map(limit).collect()
    }

    /// Puts each path behind the base.
    fn urls(&self, base: &Text, paths: &Spanned<List<Text>>) -> Result<Vec<Uri>, PlanError> {
        let base = self.value(base, values::base)?;
        if paths.get_ref().0.is_empty() {
            return Err(
                self.error(paths.span(), "paths is empty: list at least one, such as [\"/\"]")
            );
        }
        paths
            .get_ref()
            .0
            .iter()
            .map(|path| self.value(path, |path| values::url(&base, path)))
            .collect()
    }

    /// Checks the names and values of headers.
    fn headers(&self, raw: raw::RawHeaders) -> Result<HeaderMap, PlanError> {
        let mut headers = HeaderMap::new();
        for (name, value) in &raw.0 {
            let key = self.value(name, values::header_name)?;
            let value = self.value(value, values::header_value)?;
            if headers.insert(key, value).is_some() {
                let mend = format!("the header {} is here twice: keep one", quoted(name.get_ref()));
                return Err(self.error(name.span(), mend));
            }
        }
        Ok(headers)
    }

    /// Checks the statuses to expect.
    fn expect(&self, expect: &Spanned<List<Whole>>) -> Result<Vec<StatusCode>, PlanError> {
        if expect.get_ref().0.is_empty() {
            return Err(self.error(expect.span(), "expect is empty: give a status, such as 200"));
        }
        let status =
            |number: &Whole| values::status(number).map_err(|mend| self.error(expect.span(), mend));
        expect.get_ref().0.iter().map(status).collect()
    }

    /// Checks that the job sends neither too many requests nor too few for its ramp.
    fn check_amount(&self, table: Range<usize>, job: &JobPlan) -> Result<(), PlanError> {
        let requests = (job.urls.len() as u64).saturating_mul(job.repeat);
        let steps = job.limits.len() as u64;
        if requests > MOST_REQUESTS {
            let mend = format!("lower repeat until there are at most {MOST_REQUESTS}");
            Err(self.error(table, format!("{requests} requests are too many for a job: {mend}")))
        } else if requests < steps {
            let mend = "raise repeat or shorten the ramp";
            let needs = format!("a ramp of {steps} limits needs {steps} requests, not {requests}");
            Err(self.error(table, format!("{needs}: {mend}")))
        } else {
            Ok(())
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for job in &self.jobs {
            let JobPlan { name, limits, urls, method, .. } = job;
            writeln!(
                f,
                "{name}: {} requests, limit {limits:?}, {method} {}",
                job.requests(),
                urls[0]
            )?;
        }
        Ok(())
    }
}
