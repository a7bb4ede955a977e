//! What a value of the plan may be. Each check answers a bad value with what is wrong and the mend.

use std::time::Duration;

use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{Method, StatusCode};

use super::raw::Whole;
use super::{AfterTimeout, HttpVersion, Rate};

/// How long a request may take where the plan does not say.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest time-out of a request.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// The longest time of a job or a stage.
const LONGEST_STAGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest name of a job, in characters.
const LONGEST_NAME: usize = 40;

/// The text in quotes and on one line, cut where it is long.
pub(super) fn quoted(text: &str) -> String {
    const MOST: usize = 60;
    if text.chars().count() > MOST {
        let start: String = text.chars().take(MOST).collect();
        format!("{start:?}...")
    } else {
        format!("{text:?}")
    }
}

/// A whole number from 1 to `most`.
pub(super) fn whole(key: &str, number: Whole, most: u64) -> Result<u64, String> {
    match u64::try_from(number.0) {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        _ => Err(format!("{key} is {}: make it a whole number from 1 to {most}", number.0)),
    }
}

/// A job's name: short, and fit for a table.
pub(super) fn name(text: &str) -> Result<String, String> {
    if text.contains("${") {
        return Err(format!("the name {} is shown as it is: write it without ${{", quoted(text)));
    }
    let fits = !text.trim().is_empty() && text.chars().count() <= LONGEST_NAME;
    if fits && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "the name {} will not do: use 1 to {LONGEST_NAME} printable characters",
            quoted(text)
        ))
    }
}

/// A method, spelled as it is sent.
pub(super) fn method(text: &str) -> Result<Method, String> {
    let wrong = |mend: &str| format!("the method {} will not do: {mend}", quoted(text));
    if text == "CONNECT" {
        return Err(wrong("CONNECT is for proxies, which are not used here"));
    }
    match Method::from_bytes(text.as_bytes()) {
        Ok(method) if !text.chars().any(|letter| letter.is_ascii_lowercase()) => Ok(method),
        _ => Err(wrong("write a single word in capitals, such as \"GET\" or \"POST\"")),
    }
}

/// A header's name.
pub(super) fn header_name(text: &str) -> Result<HeaderName, String> {
    let wrong = |mend: &str| format!("the header {} will not do: {mend}", quoted(text));
    match HeaderName::from_bytes(text.as_bytes()) {
        Ok(CONTENT_LENGTH | TRANSFER_ENCODING) => Err(wrong("leave it out, it follows from body")),
        Ok(name) => Ok(name),
        Err(_) => Err(wrong("use letters, digits and hyphens")),
    }
}

/// The name of a header of an answer.
pub(super) fn expected_header(text: &str) -> Result<HeaderName, String> {
    let wrong = "use letters, digits and hyphens";
    HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| format!("the header {} will not do: {wrong}", quoted(text)))
}

/// A header's value.
pub(super) fn header_value(text: &str) -> Result<HeaderValue, String> {
    let unfit = |_| {
        format!(
            "the header value {} will not do: use printable ASCII characters on one line",
            quoted(text)
        )
    };
    HeaderValue::from_str(text).map_err(unfit)
}

/// A status that a whole answer can have.
pub(super) fn status(number: Whole) -> Result<StatusCode, String> {
    match u16::try_from(number.0).map(StatusCode::from_u16) {
        Ok(Ok(status)) if !status.is_informational() => Ok(status),
        _ => Err(format!("{} is no status to expect: use one from 200 to 999", number.0)),
    }
}

/// The version of HTTP to speak.
pub(super) fn http(text: &str) -> Result<HttpVersion, String> {
    match text {
        "any" => Ok(HttpVersion::Any),
        "1.1" => Ok(HttpVersion::One),
        "2" => Ok(HttpVersion::Two),
        _ => Err(format!("http is {}: write \"1.1\", \"2\" or \"any\"", quoted(text))),
    }
}

/// A time-out: a number and its unit.
pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    duration("time-out", text, LONGEST_TIMEOUT)
}

/// How long a job or a stage lasts.
pub(super) fn lasts(text: &str) -> Result<Duration, String> {
    duration("time", text, LONGEST_STAGE)
}

/// Requests a time, such as "20/s", and how many at once after a pause. Left out, a burst is what the rate lets pass in 10 ms.
pub(super) fn rate(text: &str, burst: Option<u32>) -> Result<Rate, String> {
    let (number, unit) = text.split_once('/').unwrap_or((text, ""));
    let seconds = match unit.trim() {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => 0.0,
    };
    let per_second = number.trim().parse::<f64>().unwrap_or(0.0) / seconds;
    if per_second.is_finite() && (1.0 / 86_400.0..=1e6).contains(&per_second) {
        let usual = (per_second / 100.0).ceil() as u32;
        Ok(Rate { per_second, burst: burst.unwrap_or(usual.max(1)) })
    } else {
        Err(format!("{} is no rate: write it like \"20/s\", \"90/m\" or \"5/h\"", quoted(text)))
    }
}

/// How hosts are told apart.
pub(super) fn by_address(text: &str) -> Result<bool, String> {
    match text {
        "address" => Ok(true),
        "name" => Ok(false),
        _ => Err(format!("by is {}: write \"address\" or \"name\"", quoted(text))),
    }
}

/// What becomes of the permit of a request that timed out.
pub(super) fn after_timeout(text: &str, timeout: Duration) -> Result<AfterTimeout, String> {
    match text {
        "hold" => Ok(AfterTimeout::Hold(timeout)),
        "release" => Ok(AfterTimeout::Release),
        _ => duration("time to hold a permit", text, LONGEST_TIMEOUT)
            .map(AfterTimeout::Hold)
            .map_err(|error| format!("{error}, or \"hold\" or \"release\"")),
    }
}

/// A time of whole milliseconds, at most `longest`: a number, which may have a fraction, and its unit.
fn duration(what: &str, text: &str, longest: Duration) -> Result<Duration, String> {
    let digits = |letter: char| !letter.is_ascii_digit() && letter != '.';
    let (number, unit) = text.split_at(text.find(digits).unwrap_or(text.len()));
    let unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = !whole.is_empty() && !fraction.is_empty() && fraction.len() <= 9;
    let parts = 10_u128.pow(fraction.len().min(9) as u32);
    let milliseconds = whole.parse::<u64>().ok().zip(fraction.parse::<u64>().ok());
    let milliseconds = milliseconds
        .filter(|_| is_number)
        .map(|(whole, fraction)| (u128::from(whole) * parts + u128::from(fraction)) * unit)
        .filter(|scaled| scaled.is_multiple_of(parts))
        .map_or(0, |scaled| scaled / parts);
    if milliseconds == 0 {
        let mend = "write it like \"250ms\", \"1.5s\" or \"2m\"";
        Err(format!("{} is no {what}: {mend}", quoted(text)))
    } else if milliseconds > longest.as_millis() {
        let longest = longest.as_secs() / 60;
        Err(format!("a {what} of {} is too long: use at most \"{longest}m\"", quoted(text)))
    } else {
        Ok(Duration::from_millis(milliseconds as u64))
    }
}
