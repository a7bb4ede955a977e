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
use tokio::task::coop::unconstrained;

use super::stream::Stream;
use super::wakes::Wakes;
use super::{Answer, Origin};

/// In one poll of a request, its connection is polled at most so often.
const MOST_POLLS: usize = 8;

/// A connection, which is polled by whatever task sends a request over it.
pub(crate) struct Http1 {
    pub(crate) origin: Origin,
    sender: SendRequest<Full<Bytes>>,
    /// `None` if the connection has ended.
    connection: Option<Connection<TokioIo<Stream>, Full<Bytes>>>,
    wakes: Arc<Wakes>,
    /// Wakes the task that polls the connection, by way of `wakes`.
    waker: Waker,
    received: Arc<AtomicU64>,
}

impl Http1 {
    /// Starts HTTP/1.1 over a stream. `long_bodies`: requests may have bodies that are not worth a copy.
    pub(crate) async fn new(
        origin: Origin,
        stream: Stream,
        long_bodies: bool,
    ) -> Result<Self, hyper::Error> {
        let received = stream.received();
        let mut builder = http1::Builder::new();
        if !long_bodies {
            // Head and body are copied together, and written by one plain call.
            builder.writev(false);
        }
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        let wakes = Arc::<Wakes>::default();
        let waker = Waker::from(Arc::clone(&wakes));
        Ok(Http1 { origin, sender, connection: Some(connection), wakes, waker, received })
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        keeps_body: bool,
    ) -> Result<Answer, hyper::Error> {
        let sent = self.sender.send_request(request);
        let mut answer = pin!(async { Answer::read(sent.await?, keeps_body).await });
        poll_fn(|cx| self.poll_exchange(answer.as_mut(), cx)).await
    }

    /// Polls the connection for as long as the answer gets on without the network.
    fn poll_exchange<F: Future>(
        &mut self,
        mut answer: Pin<&mut F>,
        cx: &mut Context<'_>,
    ) -> Poll<F::Output> {
        self.wakes.keep_from(cx.waker());
        for _ in 0..MOST_POLLS {
            self.poll_connection();
            let is_over = !self.wakes.is_woken();
            // Only the connection moves the answer on, and the answer is polled after it. So the answer needs no waker of its
            // own, and must not be held back by a budget.
            let polled =
                pin!(unconstrained(answer.as_mut())).poll(&mut Context::from_waker(Waker::noop()));
            if polled.is_ready() {
                if !self.is_ready() {
                    // Makes the connection ready for another request, or finds that it is over.
                    self.poll_connection();
                } else if is_over {
                    // The answer itself has told the connection that its body was taken.
                    self.wakes.clear();
                }
                return polled;
            }
            // The answer may have asked the connection for more.
            if !self.wakes.is_woken() {
                break;
            }
        }
        self.wakes.pass_on();
        Poll::Pending
    }

    /// Polls the connection, unless it has ended.
    fn poll_connection(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        self.wakes.clear();
        if Pin::new(connection).poll(&mut Context::from_waker(&self.waker)).is_ready() {
            self.connection = None;
        }
    }

    /// Returns true if another request can be sent at once.
    pub(crate) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Returns true if an idle connection is still open, as far as this side can tell.
    pub(crate) fn is_open(&mut self) -> bool {
        if self.wakes.is_woken() {
            self.poll_connection();
        }
        self.connection.is_some() && self.is_ready()
    }

    /// How many bytes have come from the server so far.
    pub(crate) fn received(&self) -> u64 {
        // Ordering: Relaxed; the task that polls the connection is the one that reads it.
        self.received.load(Ordering::Relaxed)
    }
}
