//! Sends requests over HTTP/1.1 and HTTP/2, and keeps connections open between them.
//!
//! A request and its HTTP/1.1 connection are polled by one tokio task. No other task or thread takes part in an
//! answer, and a request that is dropped closes its connection.

mod cause;
mod connect;
mod http1;
mod stream;
pub(crate) mod tls;

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_LENGTH, HOST, USER_AGENT};
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2;
use rustls::ClientConfig;
use tokio::time::timeout;

pub(crate) use self::cause::{Cause, Failure};
use self::connect::{Connected, Connector};
use self::http1::Http1;
use crate::plan::{HttpVersion, JobPlan};

/// What sends a job's requests on one thread.
pub(crate) struct Client {
    connector: Connector,
    version: HttpVersion,
    /// The most connections, idle ones included: a lane needs one.
    most: usize,
    /// How many requests are being sent.
    busy: AtomicUsize,
    /// How often a request was sent again, of all threads.
    repeated: Arc<AtomicU64>,
    /// Connections that wait for a request, the last used at the end.
    idle: Mutex<Vec<Http1>>,
    /// Connections that carry any number of requests at once, a server each.
    shared: tokio::sync::Mutex<Vec<(Origin, http2::SendRequest<Full<Bytes>>)>>,
}

/// The longest body that is kept, in bytes.
const LONGEST_BODY: usize = 16 << 20;

/// What is the same in all requests of a job.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) timeout: Duration,
    /// Whether answers need their bodies.
    pub(crate) keeps_body: bool,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// `None` if the body was not kept, or was longer than [`LONGEST_BODY`].
    pub(crate) body: Option<Vec<u8>>,
}

impl Answer {
    /// Reads the rest of an answer.
    async fn read(response: Response<Incoming>, keeps_body: bool) -> Result<Self, hyper::Error> {
        let (head, mut body) = response.into_parts();
        let mut kept = keeps_body.then(Vec::new);
        while let Some(frame) = body.frame().await {
            if let (Some(bytes), Ok(data)) = (&mut kept, frame?.into_data()) {
                if bytes.len() + data.len() > LONGEST_BODY {
                    kept = None;
                } else {
                    bytes.extend_from_slice(&data);
                }
            }
        }
        Ok(Answer { status: head.status, headers: head.headers, body: kept })
    }
}

/// A server: what a connection is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) scheme: Scheme,
    pub(crate) authority: http::uri::Authority,
}

impl Origin {
    pub(crate) fn of(url: &Uri) -> Self {
        Origin {
            scheme: url.scheme().cloned().unwrap_or(Scheme::HTTP),
            authority: url.authority().expect("the plan checks that URLs have a host").clone(),
        }
    }

    fn takes(&self, url: &Uri) -> bool {
        url.authority() == Some(&self.authority) && url.scheme() == Some(&self.scheme)
    }
}

impl Template {
    /// The requests of a job without steps.
    pub(crate) fn of(plan: &JobPlan) -> Self {
        let body = Bytes::from(plan.body.clone().unwrap_or_default());
        let keeps_body = plan.expect.needs_body();
        Self::new(&plan.method, plan.headers.clone(), body, plan.timeout, keeps_body)
    }

    pub(crate) fn new(
        method: &Method,
        mut headers: HeaderMap,
        body: Bytes,
        timeout: Duration,
        keeps_body: bool,
    ) -> Self {
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static("gentle"));
        let has_content = [Method::POST, Method::PUT, Method::PATCH].contains(method);
        if has_content && body.is_empty() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let method = method.clone();
        Template { method, headers, body, timeout, keeps_body }
    }

    /// The request with its whole URL, as HTTP/2 wants it.
    fn request(&self, url: &Uri) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = url.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }

    /// The request with its path and a header for its host, as HTTP/1.1 wants it.
    fn request_by_path(&self, url: &Uri) -> Request<Full<Bytes>> {
        let mut request = self.request(url);
        if let (Some(path), Some(authority)) = (url.path_and_query(), url.authority()) {
            if !self.headers.contains_key(HOST)
                && let Ok(host) = HeaderValue::from_str(authority.as_str())
            {
                request.headers_mut().insert(HOST, host);
            }
            *request.uri_mut() = Uri::from(path.clone());
        }
        request
    }
}

impl Client {
    pub(crate) fn new(
        plan: &JobPlan,
        most: usize,
        tls: Arc<ClientConfig>,
        repeated: Arc<AtomicU64>,
    ) -> Self {
        Client {
            connector: Connector::new(tls),
            version: plan.http,
            most,
            busy: AtomicUsize::new(0),
            repeated,
            idle: Mutex::default(),
            shared: tokio::sync::Mutex::default(),
        }
    }

    /// Sends one request and reads the whole answer; or says why there was none. When it has returned, or is dropped,
    /// the connection of a request without a whole answer is closed.
    pub(crate) async fn send(&self, template: &Template, url: &Uri) -> Result<Answer, Failure> {
        // Ordering: Relaxed; one thread has the client.
        self.busy.fetch_add(1, Ordering::Relaxed);
        let _busy = Busy(&self.busy);
        match timeout(template.timeout, self.answer(template, url)).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::timeout(template.timeout)),
        }
    }

    async fn answer(&self, template: &Template, url: &Uri) -> Result<Answer, Failure> {
        let over_tls = url.scheme() == Some(&Scheme::HTTPS);
        match self.version {
            HttpVersion::One => self.answer_by_one(template, url).await,
            HttpVersion::Any if !over_tls => self.answer_by_one(template, url).await,
            _ => Box::pin(self.answer_by_any(template, url)).await,
        }
    }

    /// Sends over a connection of HTTP/1.1, an idle one where there is one.
    async fn answer_by_one(&self, template: &Template, url: &Uri) -> Result<Answer, Failure> {
        if let Some(idle) = self.take_idle(url)
            && let Some(answer) = self.exchange_kept(idle, template, url).await
        {
            return answer;
        }
        let connection =
            match Box::pin(self.connector.connect(&Origin::of(url), HttpVersion::One)).await? {
                Connected::One(new) => *new,
                Connected::Two(_) => unreachable!("HTTP/1.1 alone was asked for"),
            };
        self.exchange(connection, template, url).await
    }

    /// Sends over a connection that was kept open. Gives nothing if the connection died before the first byte of an answer, and
    /// the request may be sent again: the server may have closed the connection while the request was on its way.
    async fn exchange_kept(
        &self,
        mut connection: Http1,
        template: &Template,
        url: &Uri,
    ) -> Option<Result<Answer, Failure>> {
        let before = connection.received();
        match connection.exchange(template.request_by_path(url), template.keeps_body).await {
            Ok(answer) => {
                if connection.is_ready() {
                    self.keep_idle(connection);
                }
                Some(Ok(answer))
            }
            Err(error) => {
                let failure = Failure::of(&error);
                let may_repeat = template.method.is_idempotent()
                    && failure.cause == Cause::Closed
                    && connection.received() == before;
                if !may_repeat {
                    return Some(Err(failure));
                }
                // Ordering: Relaxed; a figure.
                self.repeated.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    async fn exchange(
        &self,
        mut connection: Http1,
        template: &Template,
        url: &Uri,
    ) -> Result<Answer, Failure> {
        let answer = connection.exchange(template.request_by_path(url), template.keeps_body).await;
        let answer = answer.map_err(|error| Failure::of(&error))?;
        if connection.is_ready() {
            self.keep_idle(connection);
        }
        Ok(answer)
    }

    /// Sends over a shared connection of HTTP/2, or over what the server prefers.
    async fn answer_by_any(&self, template: &Template, url: &Uri) -> Result<Answer, Failure> {
        if let Some(idle) = self.take_idle(url)
            && let Some(answer) = self.exchange_kept(idle, template, url).await
        {
            return answer;
        }
        let mut sender = {
            let mut shared = self.shared.lock().await;
            shared.retain(|(_, sender)| !sender.is_closed());
            match shared.iter().find(|(origin, _)| origin.takes(url)) {
                Some((_, sender)) => sender.clone(),
                None => match self.connector.connect(&Origin::of(url), self.version).await? {
                    Connected::Two(sender) => {
                        shared.push((Origin::of(url), sender.clone()));
                        sender
                    }
                    Connected::One(connection) => {
                        drop(shared);
                        return self.exchange(*connection, template, url).await;
                    }
                },
            }
        };
        let answer = async {
            sender.ready().await?;
            let response = sender.send_request(template.request(url)).await?;
            Answer::read(response, template.keeps_body).await
        };
        answer.await.map_err(|error: hyper::Error| Failure::of(&error))
    }

    /// An idle connection to the server of `url` that the server has not closed, as far as can be told.
    fn take_idle(&self, url: &Uri) -> Option<Http1> {
        loop {
            let mut connection = {
                let mut idle = self.idle();
                let Some(last) = idle.iter().rposition(|connection| connection.origin.takes(url))
                else {
                    // Makes room for a new connection. Ordering: Relaxed; one thread has the client.
                    let room = self.most.saturating_sub(self.busy.load(Ordering::Relaxed));
                    let excess = idle.len().saturating_sub(room);
                    idle.drain(..excess);
                    return None;
                };
                idle.remove(last)
            };
            if connection.is_open() {
                return Some(connection);
            }
        }
    }

    fn keep_idle(&self, connection: Http1) {
        self.idle().push(connection);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Http1>> {
        self.idle.lock().expect("nothing panics under this lock")
    }
}

/// A request that is being sent.
struct Busy<'a>(&'a AtomicUsize);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        // Ordering: Relaxed; one thread has the client.
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("version", &self.version).finish_non_exhaustive()
    }
}
