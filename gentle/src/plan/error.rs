//! What is wrong with a plan, as one line: where, what and the mend.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use toml::Spanned;

use super::phrase::{Phrase, Values};
use super::raw::Whole;
use super::values::{self, quoted};

/// Why a text is no plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError {
    source_name: String,
    line: usize,
    message: String,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.source_name, self.line, self.message)
    }
}

impl std::error::Error for PlanError {}

/// A plan's text and what to call it.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    name: &'a str,
    text: &'a str,
    values: &'a Values,
}

impl<'a> Source<'a> {
    pub(super) fn new(name: &'a str, text: &'a str, values: &'a Values) -> Self {
        Source { name, text, values }
    }

    /// The line on which `place` starts, counted from 1.
    pub(super) fn line(&self, place: &Range<usize>) -> usize {
        let before = &self.text.as_bytes()[..place.start.min(self.text.len())];
        1 + before.iter().filter(|&&byte| byte == b'\n').count()
    }

    /// The error that `message` tells about `place`.
    pub(super) fn error(&self, place: Range<usize>, message: impl Into<String>) -> PlanError {
        PlanError {
            source_name: on_one_line(self.name),
            line: self.line(&place),
            message: on_one_line(&message.into()),
        }
    }

    /// The error that the TOML reader found.
    pub(super) fn toml_error(&self, error: &toml::de::Error) -> PlanError {
        let message = error.message();
        let types =
            message.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected "));
        let message = match (types, message.strip_prefix("unknown field `")) {
            (Some((found, wanted)), _) => format!("{wanted} belongs here, not {found}"),
            (None, Some(unknown)) => unknown_key(unknown),
            (None, None) => message.to_owned(),
        };
        self.error(error.span().unwrap_or(0..0), message)
    }

    /// Runs a check of [`values`] on a value.
    pub(super) fn value<T>(
        &self,
        value: &Spanned<String>,
        check: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, PlanError> {
        check(value.get_ref()).map_err(|message| self.error(value.span(), message))
    }

    /// Puts values into a text. Names in `captured` stay.
    pub(super) fn phrase(
        &self,
        text: &Spanned<String>,
        captured: &BTreeSet<String>,
    ) -> Result<Phrase, PlanError> {
        self.value(text, |text| Phrase::read(text, self.values, captured))
    }

    /// Puts values into a text and runs a check of [`values`] on it. The error shows no value.
    pub(super) fn checked_phrase<T>(
        &self,
        text: &Spanned<String>,
        captured: &BTreeSet<String>,
        check: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<(Phrase, T), PlanError> {
        let phrase = self.phrase(text, captured)?;
        let filled = phrase.sample().into_owned();
        let checked = self.value(text, |spelled| {
            check(&filled).map_err(|error| error.replace(&quoted(&filled), &quoted(spelled)))
        })?;
        Ok((phrase, checked))
    }

    /// Checks that a number is whole and from 0 to `most`.
    pub(super) fn whole_or_zero(
        &self,
        key: &str,
        number: &Spanned<Whole>,
        most: u64,
    ) -> Result<u64, PlanError> {
        if number.get_ref().0 == 0 {
            return Ok(0);
        }
        let message = |message: String| message.replace("from 1 to", "from 0 to");
        values::whole(key, *number.get_ref(), most)
            .map_err(|error| self.error(number.span(), message(error)))
    }

    /// Checks that a number is whole and from 1 to `most`.
    pub(super) fn whole(
        &self,
        key: &str,
        number: &Spanned<Whole>,
        most: u64,
    ) -> Result<u64, PlanError> {
        values::whole(key, *number.get_ref(), most)
            .map_err(|message| self.error(number.span(), message))
    }
}

/// What is said of a key that does not exist. `rest` is what the reader says after "unknown field `".
fn unknown_key(rest: &str) -> String {
    let (key, known) = rest.rsplit_once("`, expected ").unwrap_or((rest, ""));
    let names = || known.split('`').skip(1).step_by(2);
    let nearest = names().map(|name| (distance(key, name), name)).min();
    let key = values::quoted(key);
    match nearest {
        Some((distance, name)) if distance <= 1 + name.len() / 4 => {
            format!("there is no key {key} here: did you mean {name:?}?")
        }
        _ => {
            let names: Vec<_> = names().collect();
            format!("there is no key {key} here: use one of {}", names.join(", "))
        }
    }
}

/// How many letters must be added, removed or changed to make `to` of `from`.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<_> = to.chars().collect();
    let mut row: Vec<_> = (0..=to.len()).collect();
    for (made, letter) in from.chars().take(60).enumerate() {
        let mut diagonal = row[0];
        row[0] = made + 1;
        for at in 1..row.len() {
            let changed = diagonal + usize::from(to[at - 1] != letter);
            diagonal = row[at];
            row[at] = changed.min(row[at] + 1).min(row[at - 1] + 1);
        }
    }
    row[to.len()]
}

/// The text with a blank for each control character, line ends among them, and cut where it is endless.
fn on_one_line(text: &str) -> String {
    const MOST: usize = 400;
    let printable = |letter: char| if letter.is_control() { ' ' } else { letter };
    text.chars().take(MOST).map(printable).collect()
}
