//! The plan as TOML spells it: keys, types and places, no value checked yet.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::spelling::one_or_more;
pub(super) use super::spelling::{List, RawHeaders, RawLimit, RawRange, RawStatus, Text, Whole};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPlan {
    pub(super) workers: Option<Spanned<Whole>>,
    pub(super) defaults: Option<RawJob>,
    pub(super) thresholds: Option<BTreeMap<Text, Text>>,
    #[serde(default)]
    pub(super) job: List<Spanned<RawJob>>,
    #[serde(default)]
    pub(super) host: BTreeMap<Text, Spanned<RawHost>>,
    pub(super) rate: Option<Text>,
    pub(super) burst: Option<Spanned<Whole>>,
}

/// One `[host]` table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with a limit such as { limit = 6 }")]
pub(super) struct RawHost {
    pub(super) limit: Option<Spanned<RawLimit>>,
    pub(super) rate: Option<Text>,
    pub(super) burst: Option<Spanned<Whole>>,
    pub(super) by: Option<Text>,
}

/// One `[[job]]` table; with fewer keys, the `[defaults]` table.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table that starts with [[job]]")]
pub(super) struct RawJob {
    pub(super) name: Option<Text>,
    pub(super) limit: Option<Spanned<RawLimit>>,
    pub(super) ramp: Option<Spanned<List<Spanned<Whole>>>>,
    #[serde(rename = "for")]
    pub(super) lasts: Option<Text>,
    pub(super) stage: Option<Spanned<List<Spanned<RawStage>>>>,
    pub(super) rate: Option<Text>,
    pub(super) burst: Option<Spanned<Whole>>,
    pub(super) backoff: Option<Spanned<bool>>,
    pub(super) base: Option<Text>,
    pub(super) urls: Option<Text>,
    pub(super) paths: Option<Spanned<List<Text>>>,
    pub(super) repeat: Option<Spanned<Whole>>,
    pub(super) method: Option<Text>,
    pub(super) headers: Option<RawHeaders>,
    pub(super) body: Option<Text>,
    #[serde(default, deserialize_with = "one_or_more")]
    pub(super) expect: Option<Spanned<List<RawStatus>>>,
    pub(super) body_contains: Option<Text>,
    pub(super) body_matches: Option<Text>,
    pub(super) json: Option<BTreeMap<Text, toml::Value>>,
    pub(super) header: Option<RawHeaders>,
    pub(super) latency: Option<Text>,
    pub(super) step: Option<Spanned<List<Spanned<RawStep>>>>,
    pub(super) cookies: Option<Spanned<bool>>,
    pub(super) redirects: Option<Spanned<Whole>>,
    pub(super) thresholds: Option<BTreeMap<Text, Text>>,
    pub(super) timeout: Option<Text>,
    pub(super) after_timeout: Option<Text>,
    pub(super) http: Option<Text>,
    pub(super) cacert: Option<Text>,
    pub(super) cert: Option<Text>,
    pub(super) key: Option<Text>,
    pub(super) insecure: Option<Spanned<bool>>,
}

/// One `[[job.stage]]` table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table that starts with [[job.stage]]")]
pub(super) struct RawStage {
    pub(super) limit: Option<Spanned<Whole>>,
    pub(super) rate: Option<Text>,
    pub(super) burst: Option<Spanned<Whole>>,
    #[serde(rename = "for")]
    pub(super) lasts: Option<Text>,
}

/// One `[[job.step]]` table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table that starts with [[job.step]]")]
pub(super) struct RawStep {
    pub(super) path: Option<Text>,
    pub(super) method: Option<Text>,
    pub(super) headers: Option<RawHeaders>,
    pub(super) body: Option<Text>,
    #[serde(default, deserialize_with = "one_or_more")]
    pub(super) expect: Option<Spanned<List<RawStatus>>>,
    pub(super) body_contains: Option<Text>,
    pub(super) body_matches: Option<Text>,
    pub(super) json: Option<BTreeMap<Text, toml::Value>>,
    pub(super) header: Option<RawHeaders>,
    pub(super) latency: Option<Text>,
    pub(super) capture: Option<BTreeMap<Text, Spanned<RawCapture>>>,
}

/// Where in an answer a value is.
#[derive(Debug, Clone, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a place such as { json = \"/id\" } or { header = \"location\" }"
)]
pub(super) struct RawCapture {
    pub(super) json: Option<Text>,
    pub(super) header: Option<Text>,
}

/// The keys that say what an answer must be.
pub(super) struct RawExpect<'a> {
    pub(super) expect: Option<&'a Spanned<List<RawStatus>>>,
    pub(super) body_contains: Option<&'a Text>,
    pub(super) body_matches: Option<&'a Text>,
    pub(super) json: Option<&'a BTreeMap<Text, toml::Value>>,
    pub(super) header: Option<&'a RawHeaders>,
    pub(super) latency: Option<&'a Text>,
}

macro_rules! raw_expect {
    ($from:expr) => {
        RawExpect {
            expect: $from.expect.as_ref(),
            body_contains: $from.body_contains.as_ref(),
            body_matches: $from.body_matches.as_ref(),
            json: $from.json.as_ref(),
            header: $from.header.as_ref(),
            latency: $from.latency.as_ref(),
        }
    };
}

impl RawStep {
    /// Takes each key that the step does not have from its job. Headers are taken one by one.
    pub(super) fn or(mut self, job: &RawJob) -> Self {
        macro_rules! fill {
            ($($key:ident),*) => {
                $(if self.$key.is_none() {
                    self.$key.clone_from(&job.$key);
                })*
            };
        }
        if let Some(headers) = &job.headers {
            self.headers.get_or_insert_default().add(headers);
        }
        fill!(method, body, expect, body_contains, body_matches, json, header, latency);
        self
    }

    /// What the answer must be.
    pub(super) fn expects(&self) -> RawExpect<'_> {
        raw_expect!(self)
    }
}

impl RawJob {
    /// What an answer must be.
    pub(super) fn expects(&self) -> RawExpect<'_> {
        raw_expect!(self)
    }

    /// Takes each key that the job does not have from the defaults. Headers are taken one by one.
    pub(super) fn or(mut self, defaults: &RawJob) -> Self {
        macro_rules! fill {
            ($($key:ident),*) => {
                $(if self.$key.is_none() {
                    self.$key.clone_from(&defaults.$key);
                })*
            };
        }
        if self.ramp.is_none() {
            fill!(limit);
        }
        if self.urls.is_none() {
            fill!(base);
        }
        if self.repeat.is_none() && self.ramp.is_none() && self.stage.is_none() {
            fill!(lasts);
        }
        if self.urls.is_none() && self.lasts.is_none() && self.stage.is_none() {
            fill!(repeat);
        }
        if self.cert.is_none() && self.key.is_none() {
            fill!(cert, key);
        }
        if let Some(headers) = &defaults.headers {
            self.headers.get_or_insert_default().add(headers);
        }
        fill!(method, body, expect, body_contains, body_matches, json, header, latency, redirects);
        if self.rate.is_none() && self.burst.is_none() {
            fill!(rate, burst);
        }
        fill!(cookies, backoff, thresholds, timeout, after_timeout, http, cacert, insecure);
        self
    }

    /// The first key that the defaults cannot have, and its place.
    pub(super) fn key_of_one_job(&self) -> Option<(&'static str, Range<usize>)> {
        let stage = || self.stage.as_ref().map(|stage| ("stage", stage.span()));
        let name = self.name.as_ref().map(|name| ("name", name.span()));
        let ramp = || self.ramp.as_ref().map(|ramp| ("ramp", ramp.span()));
        let urls = || self.urls.as_ref().map(|urls| ("urls", urls.span()));
        let paths = || self.paths.as_ref().map(|paths| ("paths", paths.span()));
        let step = || self.step.as_ref().map(|step| ("step", step.span()));
        name.or_else(stage).or_else(ramp).or_else(urls).or_else(paths).or_else(step)
    }
}
