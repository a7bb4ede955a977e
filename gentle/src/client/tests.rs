//! Tests of connections of HTTP/2, against servers in this process.

use std::convert::Infallible;
use std::future::pending;
use std::net::Ipv4Addr;
use std::time::Duration;

use http::{Method, Request};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::RootCertStore;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::*;

/// A server of HTTP/2 that answers the first `answers` requests of each connection, and says nothing to later ones.
struct Server {
    url: Uri,
    connections: Arc<AtomicUsize>,
}

impl Server {
    async fn start(answers: usize) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let connections = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let came = AtomicUsize::new(0);
                let service = service_fn(move |_: Request<Incoming>| {
                    let is_answered = came.fetch_add(1, Ordering::SeqCst) < answers;
                    async move {
                        if !is_answered {
                            pending::<()>().await;
                        }
                        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
                    }
                });
                let builder = http2::Builder::new(TokioExecutor::new());
                tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
            }
        });
        Server { url, connections }
    }
}

/// A server of HTTP/2 that takes one request at once over a connection. When the second request over its first connection has come, it
/// sends GOAWAY, and it answers that request when it has another connection.
async fn goes_away_with_one_at_once() -> Uri {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        let (came, another) = (Arc::<AtomicUsize>::default(), Arc::<Notify>::default());
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            if number > 0 {
                another.notify_one();
            }
            let second = Arc::<Notify>::default();
            let (came, another) = (Arc::clone(&came), Arc::clone(&another));
            let tell = Arc::clone(&second);
            let service = service_fn(move |_: Request<Incoming>| {
                let is_second = came.fetch_add(1, Ordering::SeqCst) == 1;
                let (tell, another) = (Arc::clone(&tell), Arc::clone(&another));
                async move {
                    if is_second {
                        tell.notify_one();
                        another.notified().await;
                    }
                    Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
                }
            });
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.max_concurrent_streams(1);
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async move {
                let mut connection = pin!(connection);
                tokio::select! {
                    _ = &mut connection => return,
                    () = second.notified() => connection.as_mut().graceful_shutdown(),
                }
                _ = connection.await;
            });
        }
    });
    url
}

#[tokio::test]
async fn requests_that_wait_for_room_on_a_connection_are_sent_again_after_goaway() {
    let url = goes_away_with_one_at_once().await;
    let (client, patient) = (client(4), within(Duration::from_secs(60)));
    // The client then knows how many requests the server takes.
    client.send(&patient, &url).await.unwrap();
    let send = || client.send(&patient, &url);
    let (first, second, third) = tokio::join!(send(), send(), send());
    for answer in [first, second, third] {
        assert_eq!(answer.unwrap().status, StatusCode::OK);
    }
    assert_eq!(client.repeated.load(Ordering::Relaxed), 2);
}

/// A client of HTTP/2 with connections to at most `most` servers.
fn client(most: usize) -> Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider);
    let tls = tls.with_safe_default_protocol_versions().unwrap();
    let tls = tls.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    Client::with(HttpVersion::Two, false, most, &tls, Arc::default())
}

fn within(timeout: Duration) -> Template {
    Template::new(&Method::GET, HeaderMap::new(), Bytes::new(), timeout, false)
}

#[tokio::test]
async fn a_connection_of_http_2_over_which_nothing_comes_costs_one_request() {
    let server = Server::start(1).await;
    let (client, patient) = (client(1), within(Duration::from_secs(60)));
    for connections in 1..=3 {
        client.send(&patient, &server.url).await.unwrap();
        assert_eq!(server.connections.load(Ordering::SeqCst), connections);
        // The time is up for a request that the server says nothing to, so no machine is too slow for it.
        let timed_out = client.send(&within(Duration::from_millis(200)), &server.url).await;
        assert_eq!(timed_out.unwrap_err().cause, Cause::Timeout);
        assert_eq!(server.connections.load(Ordering::SeqCst), connections);
    }
}

#[tokio::test]
async fn a_time_out_drops_no_connection_to_another_server() {
    let (stalls, one) = (Server::start(1).await, Server::start(usize::MAX).await);
    let other = Server::start(usize::MAX).await;
    let (client, patient) = (client(2), within(Duration::from_secs(60)));
    client.send(&patient, &stalls.url).await.unwrap();
    let hasty = within(Duration::from_millis(500));
    let (timed_out, ()) = tokio::join!(client.send(&hasty, &stalls.url), async {
        // The link to the second server takes the place of the one to the server that stalls.
        for server in [&one, &other] {
            client.send(&patient, &server.url).await.unwrap();
        }
    });
    assert_eq!(timed_out.unwrap_err().cause, Cause::Timeout);
    for server in [&one, &other] {
        client.send(&patient, &server.url).await.unwrap();
        assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    }
}
