//! Judges an answer by what the plan expects of it.

use std::time::Duration;

use crate::client::Answer;
use crate::plan::{Captured, Expect, Statuses, Wanted};

/// Returns why an answer fails the check, if it does. The text is the same for each answer that fails for the same reason.
/// A value in what is expected is not in it.
pub(crate) fn judge(
    expect: &Expect,
    captured: &Captured,
    answer: &Answer,
    took: Duration,
) -> Option<String> {
    if !expect.statuses.iter().any(|statuses| statuses.contain(answer.status)) {
        let wanted = expect.statuses.iter().map(Statuses::to_string).collect::<Vec<_>>();
        let status = answer.status.as_str();
        return Some(format!("status {status} instead of {}", wanted.join(" or ")));
    }
    let wrong = wrong_header(expect, captured, answer);
    wrong.or_else(|| wrong_body(expect, captured, answer)).or_else(|| {
        expect.latency.filter(|most| took >= *most).map(|most| format!("not within {most:?}"))
    })
}

fn wrong_header(expect: &Expect, captured: &Captured, answer: &Answer) -> Option<String> {
    for (name, wanted) in &expect.headers {
        let mut values = answer.headers.get_all(name).iter().peekable();
        if values.peek().is_none() {
            return Some(format!("no header {name}"));
        }
        let part = wanted.fill(captured);
        let contains = |value: &[u8]| {
            part.is_empty() || value.windows(part.len()).any(|found| found == part.as_bytes())
        };
        if !values.any(|value| contains(value.as_bytes())) {
            return Some(format!("the header {name} does not contain {:?}", wanted.spelled()));
        }
    }
    None
}

fn wrong_body(expect: &Expect, captured: &Captured, answer: &Answer) -> Option<String> {
    if !expect.needs_body() {
        return None;
    }
    let Some(body) = &answer.body else {
        return Some("the body is too long to be checked".to_owned());
    };
    let text = String::from_utf8_lossy(body);
    if let Some(wanted) = &expect.contains
        && !text.contains(wanted.fill(captured).as_ref())
    {
        return Some(format!("the body does not contain {:?}", wanted.spelled()));
    }
    if let Some(regex) = &expect.matches
        && !regex.is_match(&text)
    {
        return Some(format!("the body does not match {:?}", regex.as_str()));
    }
    if expect.json.is_empty() {
        return None;
    }
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(body) else {
        return Some("the body is no JSON".to_owned());
    };
    for (pointer, wanted) in &expect.json {
        match json.pointer(pointer) {
            None => return Some(format!("the JSON has nothing at {pointer:?}")),
            Some(value) if !is_wanted(value, wanted, captured) => {
                let wanted = match wanted {
                    Wanted::Text(text) => format!("{:?}", text.spelled()),
                    Wanted::Other(value) => serde_json::to_string(value).unwrap_or_default(),
                };
                return Some(format!("the JSON at {pointer:?} is not {wanted}"));
            }
            Some(_) => {}
        }
    }
    None
}

fn is_wanted(json: &serde_json::Value, wanted: &Wanted, captured: &Captured) -> bool {
    match wanted {
        Wanted::Text(text) => json.as_str().is_some_and(|json| json == text.fill(captured)),
        Wanted::Other(value) => is_same(json, value),
    }
}

/// Returns true if a value of JSON is the value that the plan has as TOML. Numbers are compared by value.
fn is_same(json: &serde_json::Value, toml: &toml::Value) -> bool {
    match (json, toml) {
        (serde_json::Value::String(json), toml::Value::String(toml)) => json == toml,
        (serde_json::Value::Bool(json), toml::Value::Boolean(toml)) => json == toml,
        (serde_json::Value::Number(json), toml::Value::Integer(toml)) => {
            json.as_i64() == Some(*toml) || json.as_f64() == Some(*toml as f64)
        }
        (serde_json::Value::Number(json), toml::Value::Float(toml)) => json.as_f64() == Some(*toml),
        (serde_json::Value::Array(json), toml::Value::Array(toml)) => {
            json.len() == toml.len()
                && json.iter().zip(toml).all(|(json, toml)| is_same(json, toml))
        }
        (serde_json::Value::Object(json), toml::Value::Table(toml)) => {
            let has =
                |(key, toml): (&String, _)| json.get(key).is_some_and(|json| is_same(json, toml));
            json.len() == toml.len() && toml.iter().all(has)
        }
        _ => false,
    }
}
