//! Reads limits and rates.

use toml::Spanned;

use super::error::{PlanError, Source};
use super::raw::{List, RawLimit, RawRange, Text, Whole};
use super::values::{self, quoted};
use super::{AutoLimit, Rate};

/// The greatest limit.
pub(super) const MOST_AT_ONCE: u64 = 100_000;

/// The range of `limit = "auto"`.
const AUTO: AutoLimit = AutoLimit { min: 1, max: 64 };

/// A limit that was checked.
#[derive(Clone, Copy)]
pub(super) enum Limit {
    Fixed(usize),
    Auto(AutoLimit),
}

impl Limit {
    pub(super) fn greatest(self) -> usize {
        match self {
            Limit::Fixed(limit) => limit,
            Limit::Auto(auto) => auto.max,
        }
    }

    pub(super) fn auto(self) -> Option<AutoLimit> {
        match self {
            Limit::Fixed(_) => None,
            Limit::Auto(auto) => Some(auto),
        }
    }
}

impl Source<'_> {
    pub(super) fn ramp(
        &self,
        ramp: &Spanned<List<Spanned<Whole>>>,
    ) -> Result<Vec<usize>, PlanError> {
        let steps = &ramp.get_ref().0;
        if steps.is_empty() {
            let mend = "ramp is empty: list the limits to step through, such as [1, 2, 4]";
            return Err(self.error(ramp.span(), mend));
        }
        steps.iter().map(|step| self.limit("a limit in ramp", step)).collect()
    }

    /// Checks how many requests may be sent a second.
    pub(super) fn rate(
        &self,
        rate: Option<&Text>,
        burst: Option<&Spanned<Whole>>,
    ) -> Result<Option<Rate>, PlanError> {
        let count = burst.map(|burst| self.whole("burst", burst, MOST_AT_ONCE)).transpose()?;
        match (rate, burst) {
            (None, Some(burst)) => {
                Err(self.error(burst.span(), "burst needs a rate: add rate = \"20/s\""))
            }
            (None, None) => Ok(None),
            (Some(rate), _) => {
                let burst = count.map(|burst| burst as u32);
                self.value(rate, |text| values::rate(text, burst)).map(Some)
            }
        }
    }

    /// Checks how many requests may be in flight at once: a number, or a range in which the limit finds itself.
    pub(super) fn any_limit(&self, limit: &Spanned<RawLimit>) -> Result<Limit, PlanError> {
        let range = match limit.get_ref() {
            RawLimit::Fixed(number) => {
                return self.limit("limit", &Spanned::new(limit.span(), *number)).map(Limit::Fixed);
            }
            RawLimit::Word(word) if word == "auto" => return Ok(Limit::Auto(AUTO)),
            RawLimit::Word(word) => {
                let mend = "write a whole number, \"auto\" or { min = 1, max = 64 }";
                return Err(self.error(limit.span(), format!("limit is {}: {mend}", quoted(word))));
            }
            RawLimit::Range(RawRange { min: None, max: None }) => {
                let mend = "write \"auto\" or { min = 1, max = 64 }";
                return Err(
                    self.error(limit.span(), format!("limit has no min and no max: {mend}"))
                );
            }
            RawLimit::Range(range) => range,
        };
        let end = |key, end: &Option<Spanned<Whole>>, otherwise| match end {
            Some(number) => self.limit(key, number),
            None => Ok(otherwise),
        };
        let min = end("min", &range.min, AUTO.min)?;
        let max = end("max", &range.max, AUTO.max.max(min))?;
        if max < min {
            let mend = "make max the greater one";
            return Err(self.error(limit.span(), format!("min is {min} and max is {max}: {mend}")));
        }
        Ok(Limit::Auto(AutoLimit { min, max }))
    }

    /// Checks how many requests may be in flight at once.
    pub(super) fn limit(&self, key: &str, number: &Spanned<Whole>) -> Result<usize, PlanError> {
        self.whole(key, number, MOST_AT_ONCE).map(|limit| limit as usize)
    }
}
