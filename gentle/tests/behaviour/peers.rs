//! A server under TLS with certificates of an authority made for the test, and HTTP/2.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::{self, Ipv4Addr, SocketAddr, TcpStream};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use http::{Request, Response, Version};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, Issuer, KeyPair, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use crate::program::Scratch;

/// An authority, and what it has signed.
pub(crate) struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    /// The authority's certificate, as a PEM file.
    pub(crate) file: Scratch,
}

/// A certificate and its key, as PEM files.
pub(crate) struct Identity {
    pub(crate) certificate: Scratch,
    pub(crate) key: Scratch,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Authority {
            file: Scratch::file("ca.pem", &certificate.pem()),
            certificate: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    /// Signs a certificate for a name.
    pub(crate) fn identity(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            certificate: Scratch::file("cert.pem", &certificate.pem()),
            key: Scratch::file("key.pem", &key.serialize_pem()),
        }
    }

    fn server_config(&self, asks_for_certificate: bool, protocols: &[&str]) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = KeyPair::generate().unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if asks_for_certificate {
            let mut roots = RootCertStore::empty();
            roots.add(self.certificate.clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

/// A certificate that no authority has signed, as a PEM file.
pub(crate) fn stranger() -> Scratch {
    let stranger = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    Scratch::file("stranger.pem", &stranger.cert.pem())
}

/// What a server saw: the HTTP version of each request, and the number of connections.
#[derive(Debug, Default)]
pub(crate) struct Visits {
    versions: Mutex<Vec<Version>>,
    connections: AtomicUsize,
}

impl Visits {
    pub(crate) fn versions(&self) -> Vec<Version> {
        self.versions.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// What a server speaks.
pub(crate) struct Speaks<'a> {
    /// The authority of the server's certificate; `None` for plain TCP.
    pub(crate) tls: Option<&'a Authority>,
    /// Whether a client must show a certificate of that authority.
    pub(crate) asks_for_certificate: bool,
    /// The protocols that the server offers in the handshake. Over plain TCP, `["h2"]` means HTTP/2 from the first byte.
    pub(crate) protocols: &'a [&'a str],
}

/// Starts a server that answers 200 to each request, until the process ends.
pub(crate) fn serve(speaks: &Speaks<'_>) -> (SocketAddr, Arc<Visits>) {
    let (addresses, visits) = serve_at_ports(1, speaks);
    (addresses[0], visits)
}

/// Starts a server that listens at so many ports. One thread serves all of them.
pub(crate) fn serve_at_ports(ports: usize, speaks: &Speaks<'_>) -> (Vec<SocketAddr>, Arc<Visits>) {
    let acceptor = speaks.tls.map(|authority| {
        let config = authority.server_config(speaks.asks_for_certificate, speaks.protocols);
        TlsAcceptor::from(Arc::new(config))
    });
    let plain_two = speaks.protocols == ["h2"];
    let visits = Arc::<Visits>::default();
    let (tell, told) = mpsc::channel();
    let seen = Arc::clone(&visits);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for _ in 0..ports {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                tokio::spawn(accept(listener, acceptor.clone(), plain_two, Arc::clone(&seen)));
            }
            std::future::pending::<()>().await;
        });
    });
    (told.iter().take(ports).collect(), visits)
}

/// Serves each connection to a port.
async fn accept(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    plain_two: bool,
    visits: Arc<Visits>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (acceptor, visits) = (acceptor.clone(), Arc::clone(&visits));
        tokio::spawn(async move {
            let Some(acceptor) = acceptor else {
                return answer(TokioIo::new(stream), plain_two, visits).await;
            };
            if let Ok(stream) = acceptor.accept(stream).await {
                let two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                answer(TokioIo::new(stream), two, visits).await;
            }
        });
    }
}

/// Starts a server that speaks HTTP/2 over plain TCP. When the second request over a connection has come, the server closes the
/// connection. Gives the count of its answers, too.
pub(crate) fn closes_under_the_second_request() -> (SocketAddr, Arc<AtomicUsize>) {
    let answers = Arc::<AtomicUsize>::default();
    let (tell, told) = mpsc::channel();
    let count = Arc::clone(&answers);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let count = Arc::clone(&count);
                tokio::spawn(async move {
                    let (came, second) = (AtomicUsize::new(0), Arc::new(Notify::new()));
                    let tell = Arc::clone(&second);
                    let service = service_fn(move |_: Request<Incoming>| {
                        let is_first = came.fetch_add(1, Ordering::SeqCst) == 0;
                        let (count, tell) = (Arc::clone(&count), Arc::clone(&tell));
                        async move {
                            if !is_first {
                                tell.notify_one();
                                std::future::pending::<()>().await;
                            }
                            count.fetch_add(1, Ordering::SeqCst);
                            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok"))))
                        }
                    });
                    let builder = http2::Builder::new(TokioExecutor::new());
                    let connection = builder.serve_connection(TokioIo::new(stream), service);
                    let mut connection = pin!(connection);
                    tokio::select! {
                        _ = &mut connection => {}
                        // The connection is closed at the end of this scope.
                        () = second.notified() => {}
                    }
                });
            }
        });
    });
    (told.recv().unwrap(), answers)
}

/// What a server does with a request that it does not answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unanswered {
    /// It takes no more requests over the connection, and says by GOAWAY that it has not processed this one.
    GoesAway,
    /// It resets the request with an error code.
    Resets(u32),
}

/// The error codes of HTTP/2.
pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const REFUSED_STREAM: u32 = 7;

/// Starts a server that speaks HTTP/2 over plain TCP. The server answers those requests for whose number `answers` is true. A
/// connection's requests are counted from 0.
pub(crate) fn leaves_unanswered(
    unanswered: Unanswered,
    answers: fn(usize) -> bool,
) -> (SocketAddr, Arc<Visits>) {
    let listener = net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let visits = Arc::<Visits>::default();
    let seen = Arc::clone(&visits);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            seen.connections.fetch_add(1, Ordering::SeqCst);
            let seen = Arc::clone(&seen);
            // A client that goes is no failure of the server.
            thread::spawn(move || _ = speak_two(&stream, unanswered, answers, &seen));
        }
    });
    (address, visits)
}

/// Serves a connection of HTTP/2 frame by frame. `visits` gets the requests that are answered.
fn speak_two(
    stream: &TcpStream,
    unanswered: Unanswered,
    answers: fn(usize) -> bool,
    visits: &Visits,
) -> io::Result<()> {
    const HEADERS: u8 = 1;
    const RESET: u8 = 3;
    const SETTINGS: u8 = 4;
    const GO_AWAY: u8 = 7;
    const PREFACE: usize = 24;
    let mut reader = stream;
    let write = |kind: u8, flags: u8, id: u32, payload: &[u8]| {
        let length = u8::try_from(payload.len()).expect("a frame of this server is short");
        let head = [&[0, 0, length, kind, flags][..], &id.to_be_bytes()].concat();
        let mut writer = stream;
        writer.write_all(&[&head, payload].concat())
    };
    reader.read_exact(&mut [0; PREFACE])?;
    write(SETTINGS, 0, 0, &[])?;
    let (mut came, mut last_answered) = (0, 0_u32);
    loop {
        let mut head = [0; 9];
        reader.read_exact(&mut head)?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let length = u32::from_be_bytes([0, a, b, c]);
        io::copy(&mut reader.take(length.into()), &mut io::sink())?;
        let id = u32::from_be_bytes(id);
        match kind {
            SETTINGS if flags == 0 => write(SETTINGS, 1, 0, &[])?,
            HEADERS => {
                came += 1;
                if answers(came - 1) {
                    last_answered = id;
                    visits.versions.lock().unwrap().push(Version::HTTP_2);
                    // The whole answer is `:status 200`.
                    write(HEADERS, 5, id, &[0x88])?;
                } else {
                    match unanswered {
                        Unanswered::GoesAway => {
                            let payload = [last_answered, NO_ERROR].map(u32::to_be_bytes).concat();
                            write(GO_AWAY, 0, 0, &payload)?;
                        }
                        Unanswered::Resets(code) => write(RESET, 0, id, &code.to_be_bytes())?,
                    }
                }
            }
            _ => {}
        }
    }
}

async fn answer<S>(stream: TokioIo<S>, two: bool, visits: Arc<Visits>)
where
    TokioIo<S>: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    visits.connections.fetch_add(1, Ordering::SeqCst);
    let service = service_fn(move |request: Request<Incoming>| {
        visits.versions.lock().unwrap().push(request.version());
        async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok")))) }
    });
    // A client that goes is no failure of the server.
    let _ = if two {
        http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await
    } else {
        http1::Builder::new().serve_connection(stream, service).await
    };
}
