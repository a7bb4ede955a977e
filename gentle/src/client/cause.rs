//! Why a request had no whole answer.

use std::error::Error;
use std::io;
use std::iter::successors;
use std::time::Duration;

/// Why a request had no whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "fleet", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Failure {
    pub(crate) cause: Cause,
    /// The cause in words.
    pub(crate) text: String,
}

/// The kinds of causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "fleet", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Cause {
    /// No server listens there.
    Refused,
    /// The connection ended before the answer was whole.
    Closed,
    /// The answer took too long.
    Timeout,
    /// This machine ran short of descriptors, ports or memory.
    Own,
    /// All else: a name that is not known, a certificate that is not trusted, an answer that is not HTTP.
    Other,
}

/// How a server of HTTP/2 says that it has not processed a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unprocessed {
    /// The server takes no more requests over this connection: the request is not among those that its GOAWAY frame covers.
    Connection,
    /// The server has refused this request only.
    Stream,
}

impl Unprocessed {
    /// Returns what the server says in an error that came before an answer. Returns `None` if the server may have processed the request.
    pub(super) fn of(error: &hyper::Error) -> Option<Self> {
        let mut chain = successors(Some(error as &(dyn Error + 'static)), |&error| error.source());
        let error = chain.find_map(|error| error.downcast_ref::<h2::Error>())?;
        if !error.is_remote() {
            None
        } else if error.is_go_away() {
            // h2 reports a GOAWAY frame to no stream that the frame covers.
            Some(Unprocessed::Connection)
        } else {
            let is_refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
            is_refused.then_some(Unprocessed::Stream)
        }
    }
}

/// What is said of a connection that ends within an answer.
const CLOSED_EARLY: &str = "connection closed before the answer was whole";

/// What hyper says if a connection of HTTP/2 ends while a request waits for room on it.
const DISPATCH_GONE: &str = "dispatch task is gone";

impl Failure {
    pub(crate) fn timeout(after: Duration) -> Self {
        Failure { cause: Cause::Timeout, text: format!("no whole answer within {after:?}") }
    }

    /// A redirect leads to a server that gets no more requests.
    pub(crate) fn given_up() -> Self {
        let text = "redirected to a server that has refused too often, and gets no more";
        Failure::new(Cause::Refused, text)
    }

    pub(crate) fn tls(text: &str) -> Self {
        Failure { cause: Cause::Other, text: text.to_owned() }
    }

    /// The cause at the root of an error.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut root = error;
        loop {
            if let Some(error) = root.downcast_ref::<io::Error>() {
                match error.get_ref() {
                    Some(inner) => root = inner,
                    None => return Failure::of_io(error),
                }
                if let Some(error) = root.downcast_ref::<rustls::Error>() {
                    return Failure::new(Cause::Other, of_tls(error));
                }
                if root.source().is_none() && root.downcast_ref::<io::Error>().is_none() {
                    return Failure::of_io(error);
                }
                continue;
            }
            if let Some(error) = root.downcast_ref::<h2::Error>() {
                if let Some(io) = error.get_io() {
                    root = io;
                    continue;
                }
                let goes_away = error.is_go_away() && error.is_remote();
                if goes_away && error.reason() == Some(h2::Reason::NO_ERROR) {
                    return Failure::new(Cause::Closed, CLOSED_EARLY);
                }
            }
            match root.downcast_ref::<hyper::Error>() {
                Some(error) if error.is_incomplete_message() || error.is_canceled() => {
                    return Failure::new(Cause::Closed, CLOSED_EARLY);
                }
                Some(error) if error.is_user() && error.to_string() == DISPATCH_GONE => {
                    return Failure::new(Cause::Closed, CLOSED_EARLY);
                }
                Some(error) if error.is_parse() => {
                    return Failure::new(Cause::Other, format!("the answer is not HTTP: {error}"));
                }
                _ => {}
            }
            let Some(source) = root.source() else {
                return Failure::new(Cause::Other, root.to_string());
            };
            root = source;
        }
    }

    fn new(cause: Cause, text: impl Into<String>) -> Self {
        Failure { cause, text: text.into() }
    }

    fn of_io(error: &io::Error) -> Self {
        const SHORT: [i32; 5] =
            [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS, libc::EADDRNOTAVAIL];
        if error.raw_os_error().is_some_and(|number| SHORT.contains(&number)) {
            return Failure::new(Cause::Own, format!("on this machine: {error}"));
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Failure::new(Cause::Refused, "connection refused"),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                Failure::new(Cause::Closed, "connection reset")
            }
            io::ErrorKind::UnexpectedEof => Failure::new(Cause::Closed, CLOSED_EARLY),
            // hyper says so of wrong chunks.
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
                if error.raw_os_error().is_none() =>
            {
                Failure::new(Cause::Other, format!("the answer is not HTTP: {error}"))
            }
            _ => Failure::new(Cause::Other, error.to_string()),
        }
    }
}

/// What is said of a failed TLS handshake.
fn of_tls(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(why) => {
            format!("the server's certificate is not trusted: {why:?}")
        }
        other => format!("TLS: {other}"),
    }
}
