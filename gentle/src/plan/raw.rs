//! The plan as TOML spells it: keys, types and places, no value checked yet.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPlan {
    pub(super) workers: Option<Spanned<Whole>>,
    pub(super) defaults: Option<RawDefaults>,
    #[serde(default)]
    pub(super) job: List<Spanned<RawJob>>,
    #[serde(default)]
    pub(super) host: BTreeMap<Text, RawHost>,
}

/// One `[host]` table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with a limit such as { limit = 6 }")]
pub(super) struct RawHost {
    pub(super) limit: Spanned<Whole>,
}

/// The `[defaults]` table: keys of jobs that do not have the key themselves.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with keys of jobs")]
pub(super) struct RawDefaults {
    limit: Option<Spanned<Whole>>,
    base: Option<Text>,
    repeat: Option<Spanned<Whole>>,
    method: Option<Text>,
    headers: Option<RawHeaders>,
    #[serde(default, deserialize_with = "one_or_more")]
    expect: Option<Spanned<List<Whole>>>,
    timeout: Option<Text>,
    after_timeout: Option<Text>,
    http: Option<Text>,
    cacert: Option<Text>,
    cert: Option<Text>,
    key: Option<Text>,
    insecure: Option<Spanned<bool>>,
}

impl RawJob {
    /// Takes each key that the job does not have from the defaults. Headers are taken one by one.
    pub(super) fn or(mut self, defaults: &RawDefaults) -> Self {
        fn fill<T: Clone>(own: &mut Option<T>, default: &Option<T>) {
            if own.is_none() {
                own.clone_from(default);
            }
        }
        if self.ramp.is_none() {
            fill(&mut self.limit, &defaults.limit);
        }
        if self.urls.is_none() {
            fill(&mut self.base, &defaults.base);
            fill(&mut self.repeat, &defaults.repeat);
        }
        if let Some(headers) = &defaults.headers {
            self.headers.get_or_insert_default().add(headers);
        }
        if self.cert.is_none() && self.key.is_none() {
            fill(&mut self.cert, &defaults.cert);
            fill(&mut self.key, &defaults.key);
        }
        fill(&mut self.method, &defaults.method);
        fill(&mut self.expect, &defaults.expect);
        fill(&mut self.timeout, &defaults.timeout);
        fill(&mut self.after_timeout, &defaults.after_timeout);
        fill(&mut self.http, &defaults.http);
        fill(&mut self.cacert, &defaults.cacert);
        fill(&mut self.insecure, &defaults.insecure);
        self
    }
}

impl RawHeaders {
    /// Adds the headers whose names are not here.
    fn add(&mut self, others: &RawHeaders) {
        for (name, value) in &others.0 {
            let is_same = |own: &Text| own.get_ref().eq_ignore_ascii_case(name.get_ref());
            if !self.0.keys().any(is_same) {
                self.0.insert(name.clone(), value.clone());
            }
        }
    }
}

/// One `[[job]]` table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table that starts with [[job]]")]
pub(super) struct RawJob {
    pub(super) name: Option<Text>,
    pub(super) limit: Option<Spanned<Whole>>,
    pub(super) ramp: Option<Spanned<List<Spanned<Whole>>>>,
    pub(super) base: Option<Text>,
    pub(super) urls: Option<Text>,
    pub(super) paths: Option<Spanned<List<Text>>>,
    pub(super) repeat: Option<Spanned<Whole>>,
    pub(super) method: Option<Text>,
    pub(super) headers: Option<RawHeaders>,
    pub(super) body: Option<String>,
    #[serde(default, deserialize_with = "one_or_more")]
    pub(super) expect: Option<Spanned<List<Whole>>>,
    pub(super) timeout: Option<Text>,
    pub(super) after_timeout: Option<Text>,
    pub(super) http: Option<Text>,
    pub(super) cacert: Option<Text>,
    pub(super) cert: Option<Text>,
    pub(super) key: Option<Text>,
    pub(super) insecure: Option<Spanned<bool>>,
}

/// A string and its place.
pub(super) type Text = Spanned<String>;

/// A whole number, of whatever size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole(pub(super) i128);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WholeVisitor;
        impl Visitor<'_> for WholeVisitor {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_i64<E>(self, number: i64) -> Result<Whole, E> {
                Ok(Whole(number.into()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Whole, E> {
                Ok(Whole(number.into()))
            }

            fn visit_i128<E>(self, number: i128) -> Result<Whole, E> {
                Ok(Whole(number))
            }
        }
        deserializer.deserialize_any(WholeVisitor)
    }
}

/// Header names and values.
#[derive(Clone, Debug, Default)]
pub(super) struct RawHeaders(pub(super) BTreeMap<Text, Text>);

impl<'de> Deserialize<'de> for RawHeaders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeadersVisitor;
        impl<'de> Visitor<'de> for HeadersVisitor {
            type Value = RawHeaders;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table such as { accept = \"*/*\" }")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawHeaders, A::Error> {
                BTreeMap::deserialize(MapAccessDeserializer::new(map)).map(RawHeaders)
            }
        }
        deserializer.deserialize_map(HeadersVisitor)
    }
}

/// A list that, unlike `Vec`, says in an error what a list looks like in TOML.
#[derive(Clone, Debug)]
pub(super) struct List<T>(pub(super) Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        List(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
            type Value = List<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list such as [1, 2] or [[job]]")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<List<T>, A::Error> {
                let mut list = Vec::new();
                while let Some(element) = elements.next_element()? {
                    list.push(element);
                }
                Ok(List(list))
            }
        }
        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

/// Reads a number as a list of one.
fn one_or_more<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Spanned<List<Whole>>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a status such as 200, or a list of them")]
    enum OneOrMore {
        One(Whole),
        More(List<Whole>),
    }
    let numbers = Spanned::<OneOrMore>::deserialize(deserializer)?;
    let place = numbers.span();
    Ok(Some(Spanned::new(
        place,
        match numbers.into_inner() {
            OneOrMore::One(number) => List(vec![number]),
            OneOrMore::More(list) => list,
        },
    )))
}
