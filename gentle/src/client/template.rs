//! What the requests of a job have in common.

use std::time::Duration;

use http::header::{ACCEPT, CONTENT_LENGTH, HOST, USER_AGENT};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use hyper::body::Bytes;

use crate::plan::JobPlan;

/// What is the same in all requests of a job.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub(crate) method: Method,
    headers: HeaderMap,
    /// The headers and the one for the host, for requests of HTTP/1.1 to the server that most requests go to.
    with_host: Option<(Authority, HeaderMap)>,
    pub(crate) body: Bytes,
    pub(crate) timeout: Duration,
    /// Whether answers need their bodies.
    pub(crate) keeps_body: bool,
}

/// Returns true if two authorities are one, in whatever case.
pub(super) fn is_same(one: &Authority, other: &Authority) -> bool {
    // Compares without regard to case only where it must.
    one.as_str() == other.as_str() || one == other
}

fn add(headers: &HeaderMap, to: &mut HeaderMap) {
    to.extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
}

impl Template {
    /// The requests of a job without steps.
    pub(crate) fn of(plan: &JobPlan) -> Self {
        let body = Bytes::from(plan.body.clone().unwrap_or_default());
        let keeps_body = plan.expect.needs_body();
        let headers = plan.headers.clone();
        let mut template = Self::new(&plan.method, headers, body, plan.timeout, keeps_body);
        template.with_host = plan.origin().and_then(|origin| {
            let authority = origin.authority()?.clone();
            let mut headers = HeaderMap::new();
            template.add_headers_for(&authority, &mut headers);
            Some((authority, headers))
        });
        template
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
        Template { method, headers, with_host: None, body, timeout, keeps_body }
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The headers, to be changed.
    pub(crate) fn headers_mut(&mut self) -> &mut HeaderMap {
        self.with_host = None;
        &mut self.headers
    }

    /// Adds the headers of a request of HTTP/1.1 to a server.
    fn add_headers_for(&self, authority: &Authority, to: &mut HeaderMap) {
        if let Some((known, headers)) = &self.with_host
            && is_same(known, authority)
        {
            return add(headers, to);
        }
        add(&self.headers, to);
        if !to.contains_key(HOST)
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            to.insert(HOST, host);
        }
    }

    fn with(&self, url: Uri, headers: HeaderMap) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = url;
        *request.headers_mut() = headers;
        request
    }

    /// The request with its whole URL, as HTTP/2 wants it. `headers` is room for its headers.
    pub(super) fn request(&self, url: &Uri, mut headers: HeaderMap) -> Request<Full<Bytes>> {
        add(&self.headers, &mut headers);
        self.with(url.clone(), headers)
    }

    /// The request with its path and a header for its host, as HTTP/1.1 wants it. `headers` is room for its headers.
    pub(super) fn request_by_path(
        &self,
        url: &Uri,
        mut headers: HeaderMap,
    ) -> Request<Full<Bytes>> {
        match (url.path_and_query(), url.authority()) {
            (Some(path), Some(authority)) => {
                self.add_headers_for(authority, &mut headers);
                self.with(Uri::from(path.clone()), headers)
            }
            _ => self.request(url, headers),
        }
    }
}
