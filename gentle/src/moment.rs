//! Moments of the calendar, as RFC 3339 spells them.

use std::time::{SystemTime, UNIX_EPOCH};

/// Spells a moment in UTC with milliseconds, such as `2026-03-01T12:00:00.000Z`.
pub(crate) fn spelled(moment: SystemTime) -> String {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let milliseconds = since.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
}

/// The date that is `days` after 1970-01-01.
fn date(mut days: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    (year, month as u64 + 1, days + 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn spells_moments_as_the_calendar_has_them() {
        let at = |seconds: u64, spelling: &str| {
            let moment = UNIX_EPOCH + Duration::from_millis(seconds * 1_000 + 7);
            assert_eq!(spelled(moment), spelling);
        };
        at(0, "1970-01-01T00:00:00.007Z");
        at(951_782_399, "2000-02-28T23:59:59.007Z");
        at(951_782_400, "2000-02-29T00:00:00.007Z");
        at(4_107_542_399, "2100-02-28T23:59:59.007Z");
        at(4_107_542_400, "2100-03-01T00:00:00.007Z");
        at(1_767_225_599, "2025-12-31T23:59:59.007Z");
    }
}
