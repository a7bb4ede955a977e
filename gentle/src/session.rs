//! A session: requests that are sent in order, the values that their answers had, and their cookies.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderValue, Uri};
use hyper::body::Bytes;

use crate::client::{Answer, Template};
use crate::cookies::Jar;
use crate::plan::{Capture, Captured, JobPlan, StepPlan, listed};

/// What the requests of a session share. A job without steps is one session.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// The step that is due.
    pub(crate) step: usize,
    pub(crate) captured: Captured,
    /// `None` if the job keeps no cookies.
    pub(crate) jar: Option<Arc<Mutex<Jar>>>,
}

impl Session {
    /// The start of a session, whose cookies are its own.
    pub(crate) fn start(plan: &JobPlan) -> Self {
        let jar = plan.cookies.then(Arc::default);
        Session { step: 0, captured: Captured::new(), jar }
    }

    /// The URL of a step.
    pub(crate) fn url(&self, step: &StepPlan) -> Result<Uri, String> {
        let path = step.path.fill_with(&self.captured, encoded);
        listed(Some(&step.base), &path)
            .map_err(|what| format!("not sent: the path {:?} {what}", step.path.spelled()))
    }

    /// The rest of a step's request.
    pub(crate) fn template(&self, job: &JobPlan, step: &StepPlan) -> Result<Template, String> {
        let mut headers = HeaderMap::with_capacity(step.headers.len() + 2);
        for (name, value) in &step.headers {
            let value = HeaderValue::from_str(&value.fill(&self.captured));
            let unfit = |_| format!("not sent: a captured value does not fit the header {name}");
            headers.insert(name, value.map_err(unfit)?);
        }
        let body = step.body.as_ref().map(|body| body.fill(&self.captured).into_owned());
        let body = Bytes::from(body.unwrap_or_default());
        Ok(Template::new(&step.method, headers, body, job.timeout, step.needs_body()))
    }

    /// Keeps what later steps need of an answer, or says what the answer lacks.
    pub(crate) fn capture(&mut self, step: &StepPlan, answer: &Answer) -> Result<(), String> {
        let mut json = None;
        for (name, place) in &step.captures {
            let value = match place {
                Capture::Header(header) => {
                    let value = answer.headers.get(header).and_then(|value| value.to_str().ok());
                    value.ok_or_else(|| format!("no header {header} to capture"))?.to_owned()
                }
                Capture::Json(pointer) => {
                    let json = json.get_or_insert_with(|| {
                        serde_json::from_slice::<serde_json::Value>(answer.body.as_deref()?).ok()
                    });
                    let json = json.as_ref().ok_or("no JSON to capture from")?;
                    match json.pointer(pointer) {
                        Some(serde_json::Value::String(text)) => text.clone(),
                        Some(value) if value.is_number() || value.is_boolean() => value.to_string(),
                        _ => return Err(format!("no text or number to capture at {pointer:?}")),
                    }
                }
            };
            self.captured.insert(name.clone(), value);
        }
        Ok(())
    }
}

/// The text with each character percent-encoded that a URL cannot have.
fn encoded(text: &str) -> Cow<'_, str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?@!$&'()*+,;=%".contains(&byte);
    if text.bytes().all(fits) {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if fits(byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            _ = write!(encoded, "%{byte:02X}");
        }
    }
    Cow::Owned(encoded)
}
