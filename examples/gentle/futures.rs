//! Sends requests as futures: no thread waits for an answer, so thousands are in flight on a few.
//!
//! The futures are the pool's, and take its permits; tokio's sockets and timers work in them, for the pool's workers have
//! entered a runtime.

use std::error::Error;
use std::io;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use ureq::http::{HeaderValue, Request, StatusCode, Uri, header};

use crate::plan::JobPlan;
use crate::threads::{CLOSED_EARLY, cause_of_io, no_whole_answer_within};

/// The runtime whose sockets and timers the futures use. It polls connections, on a thread of its own.
pub(crate) fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

/// What sends a job's requests, and keeps connections open between them.
#[derive(Debug)]
pub(crate) struct Futures {
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Futures {
    pub(crate) fn new(plan: &JobPlan) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(plan.greatest_limit())
            .build_http();
        Self { client }
    }

    /// Sends one request and reads the whole answer; or says why there was none.
    pub(crate) async fn send(&self, plan: &JobPlan, url: &Uri) -> Result<StatusCode, String> {
        match timeout(plan.timeout, self.answer(plan, url)).await {
            Ok(Ok(status)) => Ok(status),
            Ok(Err(error)) => Err(cause(&*error)),
            Err(_) => Err(no_whole_answer_within(plan.timeout)),
        }
    }

    async fn answer(
        &self,
        plan: &JobPlan,
        url: &Uri,
    ) -> Result<StatusCode, Box<dyn Error + Send + Sync>> {
        let mut request = Request::new(Full::from(plan.body.clone().unwrap_or_default()));
        *request.method_mut() = plan.method.clone();
        *request.uri_mut() = url.clone();
        *request.headers_mut() = plan.headers.clone();
        let headers = request.headers_mut();
        headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static("gentle"));
        let (head, mut body) = self.client.request(request).await?.into_parts();
        while let Some(frame) = body.frame().await {
            frame?;
        }
        Ok(head.status)
    }
}

/// The cause at the root of an error, in the words that threads have for it.
fn cause(error: &(dyn Error + 'static)) -> String {
    let mut root = error;
    loop {
        if let Some(error) = root.downcast_ref::<io::Error>() {
            return cause_of_io(error);
        }
        match root.downcast_ref::<hyper::Error>() {
            Some(error) if error.is_incomplete_message() => return CLOSED_EARLY.to_owned(),
            Some(error) if error.is_parse() => return format!("the answer is not HTTP: {error}"),
            _ => {}
        }
        let Some(source) = root.source() else { return root.to_string() };
        root = source;
    }
}
