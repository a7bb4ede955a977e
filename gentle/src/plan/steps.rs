//! Reads sessions: requests that are sent one after the other, and that have values of earlier answers in them.

use std::collections::BTreeSet;
use std::ops::Range;

use http::{HeaderName, Method, StatusCode};
use toml::Spanned;

use super::error::{PlanError, Source};
use super::raw::{List, RawCapture, RawExpect, RawHeaders, RawJob, RawStatus, RawStep, Text};
use super::read::MOST_REQUESTS;
use super::values::{self, quoted};
use super::{Capture, Expect, Phrase, Statuses, StepPlan, Targets, Wanted, expect, is_name, urls};

/// What paths are put behind.
pub(super) struct Base {
    pub(super) text: String,
    /// What is shown of it.
    pub(super) shown: String,
}

impl Base {
    /// What the URL of a path is called where it is shown.
    pub(super) fn shown(&self, path: &Phrase, url: &http::Uri) -> String {
        let has_values = path.sample() != path.spelled() || self.shown != self.text;
        match has_values {
            true => format!("{}{}", self.shown, path.spelled()),
            false => url.to_string(),
        }
    }
}

impl Source<'_> {
    /// Checks what a job's paths are put behind.
    pub(super) fn base(&self, raw: &RawJob) -> Result<Option<Base>, PlanError> {
        let Some(base) = &raw.base else { return Ok(None) };
        let (phrase, text) = self.checked_phrase(base, &BTreeSet::new(), urls::base)?;
        // A server alone is no secret. What is behind it may be one.
        let is_server = text.splitn(4, '/').count() < 4;
        let shown = if is_server { &text } else { phrase.spelled().trim_end_matches('/') };
        Ok(Some(Base { shown: shown.to_owned(), text }))
    }

    /// Checks the steps of a session.
    pub(super) fn session(
        &self,
        table: &Range<usize>,
        raw: &RawJob,
        steps: &Spanned<List<Spanned<RawStep>>>,
    ) -> Result<Targets, PlanError> {
        let paths = raw.paths.as_ref().map(|paths| ("paths", paths.span()));
        let urls = raw.urls.as_ref().map(|urls| ("urls", urls.span()));
        let ramp = raw.ramp.as_ref().map(|ramp| ("ramp", ramp.span()));
        if let Some((other, place)) = paths.or(urls).or(ramp) {
            let mend = format!("{other} does not go with step: remove one of them");
            return Err(self.error(place, mend));
        }
        let example = "base = \"http://127.0.0.1:8080\"";
        let base = self.base(raw)?.ok_or_else(|| self.missing(table, "base", example))?;
        let repeat = match &raw.repeat {
            Some(repeat) => self.whole("repeat", repeat, MOST_REQUESTS)?,
            None => 1,
        };
        let (mut captured, mut plans) = (BTreeSet::new(), Vec::new());
        for step in &steps.get_ref().0 {
            let raw = step.get_ref().clone().or(raw);
            let plan = self.step(&step.span(), &raw, &base, &captured)?;
            captured.extend(plan.captures.iter().map(|(name, _)| name.clone()));
            plans.push(plan);
        }
        if plans.is_empty() {
            let mend = "step is empty: add a table that starts with [[job.step]]";
            return Err(self.error(steps.span(), mend));
        }
        let requests = (plans.len() as u64).saturating_mul(repeat);
        if requests > MOST_REQUESTS {
            let mend = format!("lower repeat until there are at most {MOST_REQUESTS}");
            let many = format!("{requests} requests are too many for a job: {mend}");
            return Err(self.error(table.clone(), many));
        }
        let origin = base.text.parse().expect("the base was checked");
        Ok(Targets::Session { origin, steps: plans, repeat })
    }

    fn step(
        &self,
        place: &Range<usize>,
        raw: &RawStep,
        base: &Base,
        captured: &BTreeSet<String>,
    ) -> Result<StepPlan, PlanError> {
        let missing = || self.error(place.clone(), "this step has no path: add path = \"/\"");
        let path = raw.path.as_ref().ok_or_else(missing)?;
        let (path, url) =
            self.checked_phrase(path, captured, |path| urls::path(&base.text, path))?;
        let method = raw.method.as_ref().map(|method| self.value(method, values::method));
        let body = raw.body.as_ref().map(|body| self.phrase(body, captured)).transpose()?;
        Ok(StepPlan {
            method: method.unwrap_or(Ok(Method::GET))?,
            shown: base.shown(&path, &url),
            base: base.text.clone(),
            path,
            headers: self.header_phrases(raw.headers.as_ref(), captured)?,
            body,
            expect: self.expect(&raw.expects(), captured)?,
            captures: self.captures(raw)?,
        })
    }

    fn captures(&self, raw: &RawStep) -> Result<Vec<(String, Capture)>, PlanError> {
        let capture = |(name, place): (&Text, &Spanned<RawCapture>)| {
            if !is_name(name.get_ref()) {
                let name_text = quoted(name.get_ref());
                let mend = "use letters, digits and _, and no digit at the start";
                let wrong = format!("the name {name_text} will not do: {mend}");
                return Err(self.error(name.span(), wrong));
            }
            let capture = match (&place.get_ref().json, &place.get_ref().header) {
                (Some(pointer), None) => Capture::Json(self.value(pointer, expect::pointer)?),
                (None, Some(header)) => {
                    Capture::Header(self.value(header, values::expected_header)?)
                }
                _ => {
                    let mend = "give it json = \"/id\" or header = \"location\"";
                    let wrong = format!("{} has not one place: {mend}", name.get_ref());
                    return Err(self.error(place.span(), wrong));
                }
            };
            Ok((name.get_ref().clone(), capture))
        };
        raw.capture.iter().flatten().map(capture).collect()
    }

    /// Checks the headers of a request.
    pub(super) fn header_phrases(
        &self,
        raw: Option<&RawHeaders>,
        captured: &BTreeSet<String>,
    ) -> Result<Vec<(HeaderName, Phrase)>, PlanError> {
        let mut headers: Vec<(HeaderName, Phrase)> = Vec::new();
        for (name, value) in raw.iter().flat_map(|raw| &raw.0) {
            let key = self.value(name, values::header_name)?;
            let (value, _) = self.checked_phrase(value, captured, values::header_value)?;
            if headers.iter().any(|(known, _)| *known == key) {
                let mend = format!("the header {} is here twice: keep one", quoted(name.get_ref()));
                return Err(self.error(name.span(), mend));
            }
            headers.push((key, value));
        }
        Ok(headers)
    }

    /// Checks the keys that say what an answer must be.
    pub(super) fn expect(
        &self,
        raw: &RawExpect<'_>,
        captured: &BTreeSet<String>,
    ) -> Result<Expect, PlanError> {
        let statuses = raw.expect.map(|statuses| self.statuses(statuses));
        let header = |(name, value): (&Text, &Text)| {
            let name = self.value(name, values::expected_header)?;
            Ok((name, self.phrase(value, captured)?))
        };
        let json = |(pointer, value): (&Text, &toml::Value)| {
            let wanted = match value {
                toml::Value::String(text) => {
                    let text = Spanned::new(pointer.span(), text.clone());
                    Wanted::Text(self.phrase(&text, captured)?)
                }
                other => Wanted::Other(other.clone()),
            };
            Ok((self.value(pointer, expect::pointer)?, wanted))
        };
        let regex = raw.body_matches.map(|regex| self.value(regex, expect::regex));
        let latency = raw.latency.map(|latency| self.value(latency, expect::latency));
        let headers = raw.header.iter().flat_map(|headers| &headers.0);
        Ok(Expect {
            statuses: statuses.unwrap_or_else(|| Ok(vec![Statuses::one(StatusCode::OK)]))?,
            headers: headers.map(header).collect::<Result<_, _>>()?,
            contains: raw.body_contains.map(|text| self.phrase(text, captured)).transpose()?,
            matches: regex.transpose()?,
            json: raw.json.into_iter().flatten().map(json).collect::<Result<_, _>>()?,
            latency: latency.transpose()?,
        })
    }

    fn statuses(&self, raw: &Spanned<List<RawStatus>>) -> Result<Vec<Statuses>, PlanError> {
        let statuses = &raw.get_ref().0;
        if statuses.is_empty() {
            return Err(self.error(raw.span(), "expect is empty: give a status, such as 200"));
        }
        let read = |status: &RawStatus| match status {
            RawStatus::One(number) => values::status(*number).map(Statuses::one),
            RawStatus::Class(class) => expect::class(class),
        };
        let status = |status| read(status).map_err(|mend| self.error(raw.span(), mend));
        statuses.iter().map(status).collect()
    }
}
