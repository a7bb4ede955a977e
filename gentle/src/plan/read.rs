//! Makes a plan of what TOML spells, and names the line of the first mistake.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use http::{HeaderMap, HeaderValue, Method};
use toml::Spanned;

use super::error::{PlanError, Source};
use super::limits::Limit;
use super::raw::{List, RawHost, RawJob, RawPlan, RawStage, Text};
use super::steps::Base;
use super::values::{self, quoted};
use super::{
    AfterTimeout, Captured, Certificate, HostPlan, HttpVersion, JobPlan, ListPlan, NamedFile, Plan,
    StageTime, Targets, Threshold, TlsPlan, Values, threshold, urls,
};

/// The most workers.
const MOST_WORKERS: u64 = 1_024;

/// The most redirects that are followed for a request.
const MOST_REDIRECTS: u64 = 10;

/// The most requests of one job.
pub(super) const MOST_REQUESTS: u64 = 1_000_000_000;

/// What some editors write before a text.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Reads a plan from the bytes of a file. `values` has what `${NAME}` stands for in it.
pub fn parse_bytes(source_name: &str, bytes: &[u8], values: &Values) -> Result<Plan, PlanError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => read(source_name, text, values),
        Err(error) => {
            let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let end = valid.len()..valid.len();
            let mend = "not UTF-8 text: save the plan as UTF-8";
            Err(Source::new(source_name, &valid, values).error(end, mend))
        }
    }
}

/// Reads a plan from TOML, without values; `source_name` is what an error calls it.
pub fn parse(source_name: &str, text: &str) -> Result<Plan, PlanError> {
    read(source_name, text, &Values::default())
}

fn read(source_name: &str, text: &str, values: &Values) -> Result<Plan, PlanError> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let source = Source::new(source_name, text, values);
    let raw: RawPlan = toml::from_str(text).map_err(|error| source.toml_error(&error))?;
    let workers = |workers: &_| source.whole("workers", workers, MOST_WORKERS);
    let workers = raw.workers.as_ref().map(workers).transpose()?.map(|workers| workers as usize);
    let defaults = raw.defaults.unwrap_or_default();
    if let Some((key, place)) = defaults.key_of_one_job() {
        let mend = format!("{key} is no default: put it into a [[job]]");
        return Err(source.error(place, mend));
    }
    let jobs = source.jobs(raw.job.0, &defaults)?;
    let by = |raw: &Spanned<RawHost>| raw.get_ref().by.clone();
    let by = raw.host.iter().find_map(|(_, raw)| by(raw));
    let by_address = by.map_or(Ok(true), |by| source.value(&by, values::by_address))?;
    let mut hosts = source.hosts(&raw.host, &jobs, by_address)?;
    let other_hosts = hosts.iter().position(|plan| plan.host.is_any()).map(|at| hosts.remove(at));
    let rate = source.rate(raw.rate.as_ref(), raw.burst.as_ref())?;
    let thresholds = source.thresholds(raw.thresholds.as_ref())?;
    Ok(Plan { workers, jobs, hosts, other_hosts, by_address, rate, thresholds })
}

impl Source<'_> {
    fn jobs(
        &self,
        raw: Vec<Spanned<RawJob>>,
        defaults: &RawJob,
    ) -> Result<Vec<JobPlan>, PlanError> {
        if raw.is_empty() {
            return Err(self.error(0..0, "no job: add a table that starts with [[job]]"));
        }
        let mut lines_of_names = HashMap::new();
        let mut line_of_stdin = None;
        let mut jobs = Vec::with_capacity(raw.len());
        for raw in raw {
            let table = raw.span();
            let raw = raw.into_inner().or(defaults);
            let name_at = raw.name.as_ref().map_or(table.clone(), Spanned::span);
            let urls_at = raw.urls.as_ref().map_or(table.clone(), Spanned::span);
            let job = self.job(&table, raw)?;
            if let Some(first) = lines_of_names.insert(job.name.clone(), self.line(&name_at)) {
                let taken = format!("line {first} has a job named {} already", quoted(&job.name));
                return Err(self.error(name_at, format!("{taken}: name each job differently")));
            }
            if let Targets::List(ListPlan { file, line, .. }) = &job.targets
                && file == "-"
                && let Some(first) = line_of_stdin.replace(*line)
            {
                let taken = format!("line {first} reads standard input already");
                return Err(self.error(urls_at, format!("{taken}: give this job a file")));
            }
            jobs.push(job);
        }
        Ok(jobs)
    }

    /// Checks one `[[job]]` table, which starts at `table`.
    fn job(&self, table: &Range<usize>, raw: RawJob) -> Result<JobPlan, PlanError> {
        let name =
            raw.name.as_ref().ok_or_else(|| self.missing(table, "name", "name = \"search\""));
        let limit = raw.limit.as_ref().map(|limit| self.any_limit(limit)).transpose()?;
        let method = raw.method.as_ref().map(|method| self.value(method, values::method));
        let timeout = raw.timeout.as_ref().map(|timeout| self.value(timeout, values::timeout));
        let timeout = timeout.unwrap_or(Ok(values::DEFAULT_TIMEOUT))?;
        let after = |text: &str| values::after_timeout(text, timeout);
        let after_timeout = raw.after_timeout.as_ref().map(|text| self.value(text, after));
        let tls = self.tls(&raw)?;
        let (limits, times) = self.shape(table, &raw, limit)?;
        // The limits of a ramp or of stages are numbers.
        let auto =
            limit.and_then(Limit::auto).filter(|_| raw.ramp.is_none() && raw.stage.is_none());
        // What a session's requests are stands in its steps.
        let own = raw.step.is_none().then_some(&raw);
        let empty = RawJob::default();
        Ok(JobPlan {
            name: self.value(name?, values::name)?,
            targets: self.targets(table, &raw)?,
            limits,
            auto,
            times,
            method: method.unwrap_or(Ok(Method::GET))?,
            headers: own.map_or(Ok(HeaderMap::new()), |raw| self.headers(raw))?,
            body: own.map_or(Ok(None), |raw| self.body(raw))?,
            expect: self.expect(&own.unwrap_or(&empty).expects(), &BTreeSet::new())?,
            rate: self.rate(raw.rate.as_ref(), raw.burst.as_ref())?,
            backoff: raw.backoff.as_ref().is_none_or(|backoff| *backoff.get_ref()),
            thresholds: self.thresholds(raw.thresholds.as_ref())?,
            cookies: raw.cookies.as_ref().is_some_and(|cookies| *cookies.get_ref()),
            redirects: match &raw.redirects {
                Some(redirects) => self.whole_or_zero("redirects", redirects, MOST_REDIRECTS)?,
                None => 0,
            } as usize,
            timeout,
            after_timeout: after_timeout.unwrap_or(Ok(AfterTimeout::Hold(timeout)))?,
            http: raw
                .http
                .as_ref()
                .map_or(Ok(HttpVersion::Any), |http| self.value(http, values::http))?,
            tls,
        })
    }

    /// Checks the keys about TLS.
    fn tls(&self, raw: &RawJob) -> Result<TlsPlan, PlanError> {
        let file =
            |file: &Text| NamedFile { file: file.get_ref().clone(), line: self.line(&file.span()) };
        let certificate = match (&raw.cert, &raw.key) {
            (Some(cert), Some(key)) => Some(Certificate { chain: file(cert), key: file(key) }),
            (None, None) => None,
            (Some(cert), None) => {
                return Err(self.error(cert.span(), "cert needs its key: add key = \"FILE\""));
            }
            (None, Some(key)) => {
                return Err(self.error(key.span(), "key needs its cert: add cert = \"FILE\""));
            }
        };
        Ok(TlsPlan {
            cacert: raw.cacert.as_ref().map(file),
            certificate,
            insecure: raw.insecure.as_ref().is_some_and(|insecure| *insecure.get_ref()),
        })
    }

    pub(super) fn missing(&self, table: &Range<usize>, key: &str, example: &str) -> PlanError {
        self.error(table.clone(), format!("this job has no {key}: add {example}"))
    }

    /// Checks where a job's requests go.
    fn targets(&self, table: &Range<usize>, raw: &RawJob) -> Result<Targets, PlanError> {
        if let Some(steps) = &raw.step {
            return self.session(table, raw, steps);
        }
        let base = self.base(raw)?;
        if let Some(file) = &raw.urls {
            let beside = |place, key| {
                Err(self
                    .error(place, format!("{key} is for paths, not for urls: remove one of them")))
            };
            return match (&raw.paths, &raw.repeat, &raw.ramp) {
                (Some(paths), _, _) => beside(paths.span(), "paths"),
                (_, Some(repeat), _) => beside(repeat.span(), "repeat"),
                (_, _, Some(ramp)) => beside(ramp.span(), "ramp"),
                (None, None, None) => {
                    let line = self.line(&file.span());
                    let base = base.map(|base| base.text);
                    Ok(Targets::List(ListPlan { file: file.get_ref().clone(), line, base }))
                }
            };
        }
        let paths =
            raw.paths.as_ref().ok_or_else(|| self.missing(table, "paths", "paths = [\"/\"]"))?;
        let example = "base = \"http://127.0.0.1:8080\"";
        let base = base.ok_or_else(|| self.missing(table, "base", example))?;
        let repeat = match &raw.repeat {
            Some(repeat) => self.whole("repeat", repeat, MOST_REQUESTS)?,
            None => 1,
        };
        let (urls, shown) = self.urls(&base, paths)?.into_iter().unzip::<_, _, Vec<_>, _>();
        let requests = (urls.len() as u64).saturating_mul(repeat);
        let steps = raw.ramp.as_ref().map_or(1, |ramp| ramp.get_ref().0.len()) as u64;
        if requests > MOST_REQUESTS {
            let mend = format!("lower repeat until there are at most {MOST_REQUESTS}");
            let many = format!("{requests} requests are too many for a job: {mend}");
            Err(self.error(table.clone(), many))
        } else if requests < steps {
            let needs = format!("a ramp of {steps} limits needs {steps} requests, not {requests}");
            let mend = "raise repeat or shorten the ramp";
            Err(self.error(table.clone(), format!("{needs}: {mend}")))
        } else {
            Ok(Targets::Paths { urls, shown, repeat })
        }
    }

    /// Puts each path behind the base. Gives the URLs, and what is shown of them.
    fn urls(
        &self,
        base: &Base,
        paths: &Spanned<List<Text>>,
    ) -> Result<Vec<(http::Uri, String)>, PlanError> {
        if paths.get_ref().0.is_empty() {
            let mend = "paths is empty: list at least one, such as [\"/\"]";
            return Err(self.error(paths.span(), mend));
        }
        let url = |path| {
            let check = |path: &str| urls::path(&base.text, path);
            let (path, url) = self.checked_phrase(path, &BTreeSet::new(), check)?;
            let shown = base.shown(&path, &url);
            Ok((url, shown))
        };
        paths.get_ref().0.iter().map(url).collect()
    }

    /// Checks the keys that say which limit is in force when.
    fn shape(
        &self,
        table: &Range<usize>,
        raw: &RawJob,
        limit: Option<Limit>,
    ) -> Result<(Vec<usize>, Option<Vec<StageTime>>), PlanError> {
        let ramp = raw.ramp.as_ref().map(|ramp| ("ramp", ramp.span()));
        let repeat = raw.repeat.as_ref().map(|repeat| ("repeat", repeat.span()));
        let lasts = raw.lasts.as_ref().map(|lasts| ("for", lasts.span()));
        let beside =
            |key, other: Option<(&str, Range<usize>)>| match other {
                Some((other, place)) => Err(self
                    .error(place, format!("{other} does not go with {key}: remove one of them"))),
                None => Ok(()),
            };
        let no_limit = || self.missing(table, "limit", "limit = 2");
        if let Some(stages) = &raw.stage {
            beside("stage", ramp.or(repeat).or(lasts))?;
            if stages.get_ref().0.is_empty() {
                let mend = "stage is empty: add a table that starts with [[job.stage]]";
                return Err(self.error(stages.span(), mend));
            }
            let stage = |stage: &Spanned<RawStage>| {
                let raw = stage.get_ref();
                let own = raw.limit.as_ref().map(|limit| self.limit("limit", limit)).transpose()?;
                let example = "this stage has no for: add for = \"30s\"";
                let lasts = raw.lasts.as_ref().ok_or_else(|| self.error(stage.span(), example))?;
                let lasts = self.value(lasts, values::lasts)?;
                let rate = self.rate(raw.rate.as_ref(), raw.burst.as_ref())?;
                let limit = match (own, limit) {
                    (Some(own), _) | (None, Some(Limit::Fixed(own))) => own,
                    (None, Some(Limit::Auto(_))) => {
                        let mend = "this stage has no limit of its own, and the job's is no number: add limit = 2";
                        return Err(self.error(stage.span(), mend));
                    }
                    (None, None) => return Err(no_limit()),
                };
                Ok((limit, StageTime { lasts, rate }))
            };
            let stages: Vec<_> = stages.get_ref().0.iter().map(stage).collect::<Result<_, _>>()?;
            let (limits, times) = stages.into_iter().unzip();
            return Ok((limits, Some(times)));
        }
        if let Some(ramp) = &raw.ramp {
            beside("ramp", lasts)?;
            return Ok((self.ramp(ramp)?, None));
        }
        let limits = vec![limit.ok_or_else(no_limit)?.greatest()];
        let Some(lasts) = &raw.lasts else { return Ok((limits, None)) };
        beside("for", repeat)?;
        let lasts = self.value(lasts, values::lasts)?;
        Ok((limits, Some(vec![StageTime { lasts, rate: None }])))
    }

    /// Checks the headers of requests that are all the same.
    fn headers(&self, raw: &RawJob) -> Result<HeaderMap, PlanError> {
        let headers = self.header_phrases(raw.headers.as_ref(), &BTreeSet::new())?;
        let nothing = Captured::new();
        let header = |(name, value): &(http::HeaderName, super::Phrase)| {
            let value = HeaderValue::from_str(&value.fill(&nothing));
            (name.clone(), value.expect("the value was checked"))
        };
        Ok(headers.iter().map(header).collect())
    }

    fn body(&self, raw: &RawJob) -> Result<Option<String>, PlanError> {
        let body = raw.body.as_ref().map(|body| self.phrase(body, &BTreeSet::new())).transpose()?;
        Ok(body.map(|body| body.fill(&Captured::new()).into_owned()))
    }

    fn thresholds(&self, raw: Option<&BTreeMap<Text, Text>>) -> Result<Vec<Threshold>, PlanError> {
        let threshold = |(key, bound): (&Text, &Text)| {
            let measure = self.value(key, threshold::measure)?;
            self.value(bound, |bound| threshold::threshold(key.get_ref(), measure, bound))
        };
        raw.into_iter().flatten().map(threshold).collect()
    }

    /// Checks the `[host]` tables against the jobs that are to send to them.
    fn hosts(
        &self,
        raw: &BTreeMap<Text, Spanned<RawHost>>,
        jobs: &[JobPlan],
        by_address: bool,
    ) -> Result<Vec<HostPlan>, PlanError> {
        let mut hosts: Vec<HostPlan> = Vec::with_capacity(raw.len());
        for (name, table) in raw {
            let raw = table.get_ref();
            let host = self.value(name, urls::host)?;
            if hosts.iter().any(|known| known.host == host) {
                return Err(self.error(name.span(), format!("{host} is here twice: keep one")));
            }
            let may_send = |job: &JobPlan| match &job.targets {
                _ if job.redirects > 0 => true,
                Targets::Paths { urls, .. } => {
                    host.takes(&urls[0]) || (by_address && host.may_take(&urls[0]))
                }
                Targets::Session { origin, .. } => {
                    host.takes(origin) || (by_address && host.may_take(origin))
                }
                Targets::List(_) => true,
            };
            if !host.is_any() && !jobs.iter().any(may_send) {
                let mend = "write it as in a job's base, or remove it";
                return Err(self.error(name.span(), format!("no job sends to {host}: {mend}")));
            }
            if let Some(by) = raw.by.as_ref().filter(|_| !host.is_any()) {
                let mend = "by is for all hosts: put it into [host.\"*\"]";
                return Err(self.error(by.span(), mend));
            }
            let limit = raw.limit.as_ref().map(|limit| self.any_limit(limit)).transpose()?;
            let rate = self.rate(raw.rate.as_ref(), raw.burst.as_ref())?;
            if limit.is_none() && rate.is_none() && raw.by.is_none() {
                let mend = format!("{host} has no limit: add limit = 6 or rate = \"20/s\"");
                return Err(self.error(table.span(), mend));
            }
            let (limit, auto) = (limit.map(Limit::greatest), limit.and_then(Limit::auto));
            hosts.push(HostPlan { host, limit, auto, rate });
        }
        Ok(hosts)
    }
}
