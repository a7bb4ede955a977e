//! Texts with values in them: `${NAME}` stands for a value of the command line, of the environment, or of an earlier answer.
//!
//! A value may be a secret, so a text keeps how the plan spells it, and only that is ever shown.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::env::{self, VarError};

use super::values::quoted;

/// What names stand for when a plan is read.
#[derive(Debug, Default)]
pub struct Values {
    set: BTreeMap<String, String>,
    has_environment: bool,
    /// The names of `set` that the plan has.
    used: RefCell<BTreeSet<String>>,
}

/// What names stand for in one session: the values that its answers had.
pub type Captured = BTreeMap<String, String>;

/// A text of the plan, with the values put in that are known when the plan is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phrase {
    spelled: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The name of a value that an earlier answer has.
    Captured(String),
}

impl Values {
    /// The environment's values, and those of `set`, which come first.
    pub fn new(set: BTreeMap<String, String>) -> Self {
        Values { set, has_environment: true, used: RefCell::default() }
    }

    /// A name that was set, and that the plan does not have.
    pub fn unused(&self) -> Option<&str> {
        let used = self.used.borrow();
        self.set.keys().find(|name| !used.contains(*name)).map(String::as_str)
    }

    fn of(&self, name: &str) -> Result<String, String> {
        if let Some(value) = self.set.get(name) {
            self.used.borrow_mut().insert(name.to_owned());
            return Ok(value.clone());
        }
        let found = if self.has_environment { env::var(name) } else { Err(VarError::NotPresent) };
        found.map_err(|error| match error {
            VarError::NotPresent => {
                format!("${{{name}}} has no value: add --set {name}=VALUE, or put it into the environment")
            }
            VarError::NotUnicode(_) => {
                format!("the value of ${{{name}}} in the environment is not UTF-8 text: add --set {name}=VALUE")
            }
        })
    }
}

/// Returns true if the text can be the name of a value.
pub fn is_name(text: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
    text.starts_with(is_letter)
        && text.chars().all(|letter| is_letter(letter) || letter.is_ascii_digit())
}

impl Phrase {
    /// Puts the known values into a text. Names in `captured` stay, as answers will have their values.
    pub(super) fn read(
        text: &str,
        values: &Values,
        captured: &BTreeSet<String>,
    ) -> Result<Self, String> {
        let (mut parts, mut filled, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find("${") {
            let (before, after) = (&rest[..at], &rest[at + 2..]);
            if let Some(before) = before.strip_suffix('$') {
                filled += before;
                filled += "${";
                rest = after;
                continue;
            }
            filled += before;
            let name = after.split_once('}').filter(|(name, _)| is_name(name));
            let Some((name, after)) = name else {
                let mend = "write it like ${NAME}, or $${ for the text ${";
                return Err(format!("the ${{ in {} is no value: {mend}", quoted(text)));
            };
            if captured.contains(name) {
                parts.push(Part::Text(std::mem::take(&mut filled)));
                parts.push(Part::Captured(name.to_owned()));
            } else {
                filled += &values.of(name)?;
            }
            rest = after;
        }
        parts.push(Part::Text(filled + rest));
        Ok(Phrase { spelled: text.to_owned(), parts })
    }

    /// How the plan spells the text.
    pub fn spelled(&self) -> &str {
        &self.spelled
    }

    /// The text with all values in it; `encode` is done to those that were captured.
    pub fn fill_with<'a>(
        &'a self,
        captured: &'a Captured,
        encode: impl Fn(&'a str) -> Cow<'a, str>,
    ) -> Cow<'a, str> {
        if let [Part::Text(text)] = self.parts.as_slice() {
            return Cow::Borrowed(text);
        }
        let part = |part: &'a Part| match part {
            Part::Text(text) => Cow::Borrowed(text.as_str()),
            Part::Captured(name) => encode(captured.get(name).map_or("", String::as_str)),
        };
        Cow::Owned(self.parts.iter().map(part).collect())
    }

    /// The text with all values in it.
    pub fn fill<'a>(&'a self, captured: &'a Captured) -> Cow<'a, str> {
        self.fill_with(captured, Cow::Borrowed)
    }

    /// The text with something harmless for each value that an answer will have: a path if the text starts with it.
    pub(super) fn sample(&self) -> Cow<'_, str> {
        if let [Part::Text(text)] = self.parts.as_slice() {
            return Cow::Borrowed(text);
        }
        let mut sample = String::new();
        for part in &self.parts {
            sample += match part {
                Part::Text(text) => text,
                Part::Captured(_) if sample.is_empty() => "/x",
                Part::Captured(_) => "x",
            };
        }
        Cow::Owned(sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_put_in_and_an_escape_is_the_text_itself() {
        let values = Values::new(BTreeMap::from([("a".to_owned(), "1${b}".to_owned())]));
        let captured = BTreeSet::from(["c".to_owned()]);
        let had = Captured::from([("c".to_owned(), "${a}".to_owned())]);
        for (text, filled) in [
            ("", ""),
            ("no value: $ { $$ }", "no value: $ { $$ }"),
            ("<${a}>", "<1${b}>"),
            ("$${a} $$${a} ${a}", "${a} $${a} 1${b}"),
            ("${c}-${a}${c}", "${a}-1${b}${a}"),
        ] {
            let phrase = Phrase::read(text, &values, &captured).unwrap();
            assert_eq!((phrase.fill(&had).as_ref(), phrase.spelled()), (filled, text));
        }
        assert_eq!(Phrase::read("${c}/${c}", &values, &captured).unwrap().sample(), "/x/x");
        for text in ["${", "${}", "${a b}", "${1}", "${a"] {
            let error = Phrase::read(text, &values, &captured).unwrap_err();
            assert!(error.contains("is no value: write it like ${NAME}"), "{error}");
        }
        let error = Phrase::read("${GENTLE_HAS_NO_SUCH_VALUE}", &values, &captured).unwrap_err();
        assert!(
            error.contains("has no value: add --set GENTLE_HAS_NO_SUCH_VALUE=VALUE"),
            "{error}"
        );
        assert_eq!(values.unused(), None);
    }
}
