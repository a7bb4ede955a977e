//! One connection of HTTP/1.1.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use http::Request;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;

use super::stream::Stream;
use super::{Answer, Origin};

/// A connection, which is polled by whatever task sends a request over it.
pub(crate) struct Http1 {
    pub(crate) origin: Origin,
    sender: SendRequest<Full<Bytes>>,
    connection: Connection<TokioIo<Stream>, Full<Bytes>>,
    received: Arc<AtomicU64>,
}

impl Http1 {
    pub(crate) async fn new(origin: Origin, stream: Stream) -> Result<Self, hyper::Error> {
        let received = stream.received();
        let (sender, connection) = http1::Builder::new().handshake(TokioIo::new(stream)).await?;
        Ok(Http1 { origin, sender, connection, received })
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        keeps_body: bool,
    ) -> Result<Answer, hyper::Error> {
        let Http1 { sender, connection, .. } = self;
        let answer = async {
            let response = sender.send_request(request).await?;
            Answer::read(response, keeps_body).await
        };
        let mut answer = pin!(answer);
        let mut open = true;
        poll_fn(|cx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                if open {
                    // Makes the connection ready for another request, or finds that it is over.
                    _ = Pin::new(&mut *connection).poll(cx);
                }
                return Poll::Ready(answer);
            }
            if open {
                open = Pin::new(&mut *connection).poll(cx).is_pending();
                // The connection may have moved the answer on, or have ended it.
                if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                    if open {
                        _ = Pin::new(&mut *connection).poll(cx);
                    }
                    return Poll::Ready(answer);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Whether another request can be sent at once.
    pub(crate) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Whether an idle connection is still open, as far as this side can tell.
    pub(crate) fn is_open(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(&mut self.connection).poll(&mut context).is_pending() && self.is_ready()
    }

    /// How many bytes have come from the server so far.
    pub(crate) fn received(&self) -> u64 {
        // Ordering: Relaxed; the task that polls the connection is the one that reads it.
        self.received.load(Ordering::Relaxed)
    }
}
