//! How TOML spells the values of a plan.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

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

/// A limit: a number, a word, or a range in which it finds itself.
#[derive(Clone, Debug)]
pub(super) enum RawLimit {
    Fixed(Whole),
    Word(String),
    Range(RawRange),
}

/// A range in which a limit finds itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRange {
    pub(super) min: Option<Spanned<Whole>>,
    pub(super) max: Option<Spanned<Whole>>,
}

impl<'de> Deserialize<'de> for RawLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LimitVisitor;
        impl<'de> Visitor<'de> for LimitVisitor {
            type Value = RawLimit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number, \"auto\" or { min = 1, max = 64 }")
            }

            fn visit_i64<E>(self, number: i64) -> Result<RawLimit, E> {
                Ok(RawLimit::Fixed(Whole(number.into())))
            }

            fn visit_u64<E>(self, number: u64) -> Result<RawLimit, E> {
                Ok(RawLimit::Fixed(Whole(number.into())))
            }

            fn visit_i128<E>(self, number: i128) -> Result<RawLimit, E> {
                Ok(RawLimit::Fixed(Whole(number)))
            }

            fn visit_str<E>(self, word: &str) -> Result<RawLimit, E> {
                Ok(RawLimit::Word(word.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawLimit, A::Error> {
                RawRange::deserialize(MapAccessDeserializer::new(map)).map(RawLimit::Range)
            }
        }
        deserializer.deserialize_any(LimitVisitor)
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

/// A status, or a class of them such as "2xx".
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a status such as 200 or \"2xx\", or a list of them")]
pub(super) enum RawStatus {
    One(Whole),
    Class(String),
}

/// Reads a status as a list of one.
pub(super) fn one_or_more<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Spanned<List<RawStatus>>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a status such as 200 or \"2xx\", or a list of them")]
    enum OneOrMore {
        One(RawStatus),
        More(List<RawStatus>),
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

impl RawHeaders {
    /// Adds the headers whose names are not here.
    pub(super) fn add(&mut self, others: &RawHeaders) {
        for (name, value) in &others.0 {
            let is_same = |own: &Text| own.get_ref().eq_ignore_ascii_case(name.get_ref());
            if !self.0.keys().any(is_same) {
                self.0.insert(name.clone(), value.clone());
            }
        }
    }
}
