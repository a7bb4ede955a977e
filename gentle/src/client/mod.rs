//! Sends requests over HTTP/1.1 and HTTP/2, and keeps connections open between them.
//!
//! A request and its HTTP/1.1 connection are polled by one tokio task. No other task or thread takes part in an
//! answer, and a request that is dropped closes its connection. A connection of HTTP/2 has a task of its own, and a request that is
//! dropped is reset.

mod alarms;
mod cause;
mod connect;
mod http1;
mod stream;
mod template;
#[cfg(test)]
mod tests;
pub(crate) mod tls;
mod wakes;

use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use http::uri::{Authority, Scheme};
use http::{HeaderMap, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use rustls::ClientConfig;

use self::alarms::Alarms;
use self::cause::Unprocessed;
pub(crate) use self::cause::{Cause, Failure};
use self::connect::{Connected, Connector, Shared};
use self::http1::Http1;
pub(crate) use self::template::Template;
use self::template::is_same;
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
    idle: Mutex<Vec<Kept>>,
    /// Room for the headers of requests to come.
    spare: Mutex<Vec<HeaderMap>>,
    alarms: Alarms,
    /// The servers that may speak HTTP/2, the last used at the end.
    servers: Mutex<Vec<(Origin, Arc<tokio::sync::Mutex<Link>>)>>,
}

/// How requests reach a server that may speak HTTP/2.
enum Link {
    /// There is no connection.
    None,
    /// The server speaks HTTP/1.1, by a connection for each request.
    One,
    /// A connection that carries any number of requests at once.
    Two(Arc<Shared>),
}

/// A connection to a server that may speak HTTP/2.
enum Reached {
    /// A new one of HTTP/1.1.
    One(Kept),
    Two {
        connection: Arc<Shared>,
        /// False if the connection was made for this request.
        is_kept: bool,
    },
}

/// A connection of HTTP/1.1, which is moved as a pointer.
type Kept = Box<Http1>;

/// The longest body that is kept, in bytes.
const LONGEST_BODY: usize = 16 << 20;

/// Room for more headers than this is not used again.
const MOST_SPARE_HEADERS: usize = 32;

/// A longer body of a request is not copied to go with its head.
const LONGEST_COPIED: usize = 16 << 10;

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
    pub(crate) authority: Authority,
}

impl Origin {
    pub(crate) fn of(url: &Uri) -> Self {
        Origin {
            scheme: url.scheme().cloned().unwrap_or(Scheme::HTTP),
            authority: url.authority().expect("the plan checks that URLs have a host").clone(),
        }
    }

    fn takes(&self, url: &Uri) -> bool {
        let is_same = |authority| is_same(authority, &self.authority);
        url.authority().is_some_and(is_same) && url.scheme() == Some(&self.scheme)
    }
}

impl Client {
    pub(crate) fn new(
        plan: &JobPlan,
        most: usize,
        tls: &ClientConfig,
        repeated: Arc<AtomicU64>,
    ) -> Self {
        let long_bodies = plan.body.as_ref().is_some_and(|body| body.len() > LONGEST_COPIED);
        Client::with(plan.http, long_bodies, most, tls, repeated)
    }

    /// Makes a client. `long_bodies` must be true if most requests have a body that is too long to be copied behind their head.
    pub(crate) fn with(
        version: HttpVersion,
        long_bodies: bool,
        most: usize,
        tls: &ClientConfig,
        repeated: Arc<AtomicU64>,
    ) -> Self {
        Client {
            connector: Connector::new(tls, long_bodies),
            version,
            most,
            busy: AtomicUsize::new(0),
            repeated,
            idle: Mutex::default(),
            spare: Mutex::default(),
            alarms: Alarms::default(),
            servers: Mutex::default(),
        }
    }

    /// Sends one request and reads the whole answer; or says why there was none. If there was none, or this future is dropped, the
    /// request's connection of HTTP/1.1 is closed; over HTTP/2 the request is reset.
    pub(crate) async fn send(&self, template: &Template, url: &Uri) -> Result<Answer, Failure> {
        // Ordering: Relaxed; one thread has the client.
        self.busy.fetch_add(1, Ordering::Relaxed);
        let _busy = Busy(&self.busy);
        let answer = pin!(self.answer(template, url));
        match self.alarms.within(template.timeout, answer).await {
            Some(answer) => answer,
            None => Err(Failure::timeout(template.timeout)),
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

    /// Sends over a connection of HTTP/1.1, an idle one where there is one. Sends once more if the idle one had died.
    async fn answer_by_one(&self, template: &Template, url: &Uri) -> Result<Answer, Failure> {
        let mut idle = self.take_idle(url);
        loop {
            let is_kept = idle.is_some();
            let connection = match idle.take() {
                Some(idle) => idle,
                None => Box::pin(self.connect_by_one(url)).await?,
            };
            match self.exchange(connection, template, url).await {
                Ok(answer) => return Ok(answer),
                Err(unanswered) if is_kept && unanswered.may_repeat() => self.count_repeated(),
                Err(unanswered) => return Err(unanswered.failure),
            }
        }
    }

    async fn connect_by_one(&self, url: &Uri) -> Result<Kept, Failure> {
        match self.connector.connect(&Origin::of(url), HttpVersion::One).await? {
            Connected::One(new) => Ok(new),
            Connected::Two(_) => unreachable!("HTTP/1.1 alone was asked for"),
        }
    }

    /// Sends over a connection, and keeps it open where that can be done.
    async fn exchange(
        &self,
        mut connection: Kept,
        template: &Template,
        url: &Uri,
    ) -> Result<Answer, Unanswered> {
        let before = connection.received();
        let request = template.request_by_path(url, self.spare_headers());
        match connection.exchange(request, template.keeps_body).await {
            Ok(answer) => {
                if connection.is_ready() {
                    self.keep_idle(connection);
                }
                Ok(answer)
            }
            Err(error) => {
                let failure = Failure::of(&error);
                // The server may have closed the connection while the request was on its way.
                let may_repeat = template.method.is_idempotent()
                    && failure.cause == Cause::Closed
                    && connection.received() == before;
                let repeat = if may_repeat { Repeat::Elsewhere } else { Repeat::Never };
                Err(Unanswered { failure, repeat })
            }
        }
    }

    fn count_repeated(&self) {
        // Ordering: Relaxed; a figure.
        self.repeated.fetch_add(1, Ordering::Relaxed);
    }

    /// Sends over a shared connection of HTTP/2, or over what the server prefers.
    async fn answer_by_any(&self, template: &Template, url: &Uri) -> Result<Answer, Failure> {
        if let Some(idle) = self.take_idle(url) {
            match self.exchange(idle, template, url).await {
                Ok(answer) => return Ok(answer),
                Err(unanswered) if unanswered.may_repeat() => self.count_repeated(),
                Err(unanswered) => return Err(unanswered.failure),
            }
        }
        let (mut dead, mut is_second) = (None, false);
        loop {
            let (connection, is_kept) = match self.reach(url, dead.as_ref()).await? {
                Reached::One(new) => {
                    let answer = self.exchange(new, template, url).await;
                    return answer.map_err(|unanswered| unanswered.failure);
                }
                Reached::Two { connection, is_kept } => (connection, is_kept),
            };
            let waits =
                Waits { client: self, url, before: connection.received(), connection: &connection };
            let exchanged = self.exchange_by_two(&connection, is_kept, template, url).await;
            waits.end();
            match exchanged {
                Ok(answer) => return Ok(answer),
                Err(unanswered) if unanswered.may_repeat() && !is_second => {
                    self.count_repeated();
                    is_second = true;
                    // A refusal of one request says nothing against the connection.
                    dead = (unanswered.repeat == Repeat::Elsewhere).then_some(connection);
                }
                Err(unanswered) => return Err(unanswered.failure),
            }
        }
    }

    /// Connects to a server that may speak HTTP/2, or returns a connection of HTTP/2 that is open and not `dead`.
    ///
    /// The lanes that send to one server wait for its first connection together, as it may carry all their requests. The lanes that send
    /// to other servers do not wait.
    async fn reach(&self, url: &Uri, dead: Option<&Arc<Shared>>) -> Result<Reached, Failure> {
        let link = self.link(url);
        let mut link = link.lock().await;
        match &*link {
            Link::Two(known)
                if !known.sender.is_closed()
                    && !dead.is_some_and(|dead| Arc::ptr_eq(dead, known)) =>
            {
                return Ok(Reached::Two { connection: Arc::clone(known), is_kept: true });
            }
            Link::One => {
                drop(link);
                return self.connect_by_one(url).await.map(Reached::One);
            }
            Link::None | Link::Two(_) => {}
        }
        match self.connector.connect(&Origin::of(url), self.version).await? {
            Connected::One(new) => {
                *link = Link::One;
                Ok(Reached::One(new))
            }
            Connected::Two(new) => {
                let connection = Arc::new(new);
                *link = Link::Two(Arc::clone(&connection));
                Ok(Reached::Two { connection, is_kept: false })
            }
        }
    }

    /// Returns the link to the server of `url`. If there would be more servers than lanes, drops the link that was not used for the longest
    /// time: each open connection needs a descriptor.
    fn link(&self, url: &Uri) -> Arc<tokio::sync::Mutex<Link>> {
        let mut servers = self.servers.lock().expect("nothing panics under this lock");
        match servers.iter().rposition(|(origin, _)| origin.takes(url)) {
            Some(at) => servers[at..].rotate_left(1),
            None => {
                let excess = (servers.len() + 1).saturating_sub(self.most.max(1));
                servers.drain(..excess);
                servers.push((Origin::of(url), Arc::new(tokio::sync::Mutex::new(Link::None))));
            }
        }
        let (_, link) = servers.last().expect("the server is the last one");
        Arc::clone(link)
    }

    /// Returns the link to the server of `url`, if it was not dropped for the link to another server.
    fn known_link(&self, url: &Uri) -> Option<Arc<tokio::sync::Mutex<Link>>> {
        let servers = self.servers.lock().expect("nothing panics under this lock");
        let known = servers.iter().rfind(|(origin, _)| origin.takes(url));
        known.map(|(_, link)| Arc::clone(link))
    }

    /// Sends over a connection of HTTP/2. `is_kept` is false if the connection was made for this request. Else it may have died
    /// since it was made.
    async fn exchange_by_two(
        &self,
        connection: &Shared,
        is_kept: bool,
        template: &Template,
        url: &Uri,
    ) -> Result<Answer, Unanswered> {
        let mut sender = connection.sender.clone();
        let sent = sender.try_send_request(template.request(url, self.spare_headers()));
        let response = sent.await.map_err(|error| {
            // hyper gives back a request of which nothing was sent.
            let is_unsent = error.message().is_some();
            let failure = Failure::of(error.error());
            let may_have_died =
                is_kept && template.method.is_idempotent() && failure.cause == Cause::Closed;
            let repeat = match Unprocessed::of(error.error()) {
                Some(Unprocessed::Stream) => Repeat::Anywhere,
                Some(Unprocessed::Connection) => Repeat::Elsewhere,
                None if is_unsent || may_have_died => Repeat::Elsewhere,
                None => Repeat::Never,
            };
            Unanswered { failure, repeat }
        })?;
        let answer = Answer::read(response, template.keeps_body).await;
        answer.map_err(|error| Unanswered { failure: Failure::of(&error), repeat: Repeat::Never })
    }

    /// An idle connection to the server of `url` that the server has not closed, as far as can be told.
    fn take_idle(&self, url: &Uri) -> Option<Kept> {
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

    /// Takes an answer that was read, whose headers leave room for those of another request.
    pub(crate) fn reuse(&self, answer: Answer) {
        let mut headers = answer.headers;
        if headers.capacity() <= MOST_SPARE_HEADERS {
            headers.clear();
            let mut spare = self.spare();
            if spare.len() < self.most {
                spare.push(headers);
            }
        }
    }

    fn spare_headers(&self) -> HeaderMap {
        self.spare().pop().unwrap_or_default()
    }

    fn spare(&self) -> MutexGuard<'_, Vec<HeaderMap>> {
        self.spare.lock().expect("nothing panics under this lock")
    }

    fn keep_idle(&self, connection: Kept) {
        self.idle().push(connection);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.idle.lock().expect("nothing panics under this lock")
    }
}

/// A request without a whole answer.
struct Unanswered {
    failure: Failure,
    repeat: Repeat,
}

/// Whether a request without a whole answer may be sent once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeat {
    /// A part of an answer came, or the server may have processed the request and its method may not be repeated.
    Never,
    /// It may be sent over another connection: this one has ended, or takes no more requests.
    Elsewhere,
    /// It may be sent over the same connection, too: the server refused this request only.
    Anywhere,
}

impl Unanswered {
    fn may_repeat(&self) -> bool {
        self.repeat != Repeat::Never
    }
}

/// A request that waits for its answer over a connection of HTTP/2. If the request times out and no byte has come over the connection
/// meanwhile, later requests get another connection: the server may never answer over this one.
struct Waits<'a> {
    client: &'a Client,
    url: &'a Uri,
    connection: &'a Arc<Shared>,
    /// How many bytes had come before.
    before: u64,
}

impl Waits<'_> {
    /// Keeps the connection: the request has an answer, or the connection itself has reported a failure.
    fn end(self) {
        std::mem::forget(self);
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        if self.connection.received() > self.before {
            return;
        }
        let Some(link) = self.client.known_link(self.url) else { return };
        // If another lane has the lock, that lane is making a connection, so this one is no longer kept.
        if let Ok(mut link) = link.try_lock()
            && matches!(&*link, Link::Two(known) if Arc::ptr_eq(known, self.connection))
        {
            *link = Link::None;
        }
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
