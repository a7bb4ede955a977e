//! Sends requests by threads that wait for the answers.

use std::io;
use std::time::Duration;

use ureq::Agent;
use ureq::http::{Request, StatusCode, Uri};

use crate::plan::JobPlan;

/// What sends a job's requests, and keeps connections open between them.
#[derive(Debug)]
pub(crate) struct Threads {
    agent: Agent,
}

impl Threads {
    pub(crate) fn new(plan: &JobPlan) -> Self {
        let most = plan.greatest_limit();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(plan.timeout))
            .allow_non_standard_methods(true)
            .max_redirects(0)
            .proxy(None)
            .max_idle_connections(most)
            .max_idle_connections_per_host(most);
        Self { agent: config.build().into() }
    }

    /// Sends one request and reads the whole answer; or says why there was none.
    pub(crate) fn send(&self, plan: &JobPlan, url: &Uri) -> Result<StatusCode, String> {
        self.answer(plan, url).map_err(|error| cause(error, plan.timeout))
    }

    fn answer(&self, plan: &JobPlan, url: &Uri) -> Result<StatusCode, ureq::Error> {
        let mut request = Request::new(());
        *request.method_mut() = plan.method.clone();
        *request.uri_mut() = url.clone();
        *request.headers_mut() = plan.headers.clone();
        let mut response = match &plan.body {
            Some(body) => self.agent.run(request.map(|()| body))?,
            None => self.agent.run(request)?,
        };
        io::copy(&mut response.body_mut().as_reader(), &mut io::sink())?;
        Ok(response.status())
    }
}

fn cause(error: ureq::Error, timeout: Duration) -> String {
    match error {
        ureq::Error::Timeout(_) => no_whole_answer_within(timeout),
        ureq::Error::Protocol(what) => format!("the answer is not HTTP: {what}"),
        ureq::Error::HostNotFound => "host not found".to_owned(),
        ureq::Error::Io(error) => cause_of_io(&error),
        other => other.to_string(),
    }
}

/// What is said of an answer that takes too long.
pub(crate) fn no_whole_answer_within(timeout: Duration) -> String {
    format!("no whole answer within {timeout:?}")
}

/// What is said of a connection that fails.
pub(crate) fn cause_of_io(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::UnexpectedEof => CLOSED_EARLY.to_owned(),
        _ => error.to_string(),
    }
}

/// What is said of a connection that ends within an answer.
pub(crate) const CLOSED_EARLY: &str = "connection closed before the answer was whole";
