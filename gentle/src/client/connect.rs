//! Makes connections: looks a name up, connects to one of its addresses, and shakes hands.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::uri::Scheme;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Origin;
use super::cause::Failure;
use super::http1::Http1;
use super::stream::Stream;
use crate::plan::HttpVersion;

/// How long the addresses of a name are good for.
const LOOKED_UP_FOR: Duration = Duration::from_secs(30);

/// How long an address may take to connect where there is another one to try.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(300);

/// The names of the protocols in a TLS handshake.
const H1: &[u8] = b"http/1.1";
const H2: &[u8] = b"h2";

/// Makes the connections of one job.
#[derive(Debug)]
pub(crate) struct Connector {
    /// What a TLS handshake offers: only 1.1, only 2, or both.
    tls: [Arc<ClientConfig>; 3],
    /// Whether requests may have bodies that are not worth a copy.
    long_bodies: bool,
    names: Mutex<Vec<Name>>,
}

/// A name that was looked up.
#[derive(Debug)]
struct Name {
    host: String,
    port: u16,
    addresses: Vec<SocketAddr>,
    until: Instant,
}

/// A connection of HTTP/2, which carries any number of requests at once.
pub(crate) struct Shared {
    pub(crate) sender: http2::SendRequest<Full<Bytes>>,
    received: Arc<AtomicU64>,
}

impl Shared {
    /// How many bytes have come from the server so far.
    pub(crate) fn received(&self) -> u64 {
        // Ordering: Relaxed; a count that says nothing of other memory.
        self.received.load(Ordering::Relaxed)
    }
}

/// A new connection.
pub(crate) enum Connected {
    One(Box<Http1>),
    Two(Shared),
}

impl Connector {
    pub(crate) fn new(tls: &ClientConfig, long_bodies: bool) -> Self {
        let offering = |protocols: &[&[u8]]| {
            let mut tls = tls.clone();
            tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            Arc::new(tls)
        };
        let tls = [offering(&[H1]), offering(&[H2]), offering(&[H2, H1])];
        Connector { tls, long_bodies, names: Mutex::default() }
    }

    /// Connects to a server.
    pub(crate) async fn connect(
        &self,
        origin: &Origin,
        version: HttpVersion,
    ) -> Result<Connected, Failure> {
        let tcp = self.tcp(origin).await.map_err(|error| Failure::of(&error))?;
        tcp.set_nodelay(true).map_err(|error| Failure::of(&error))?;
        let (stream, two) = if origin.scheme == Scheme::HTTPS {
            let config = match version {
                HttpVersion::One => &self.tls[0],
                HttpVersion::Two => &self.tls[1],
                HttpVersion::Any => &self.tls[2],
            };
            let name = ServerName::try_from(bare(origin.authority.host()).to_owned());
            let name = name.map_err(|_| Failure::tls("the host is no name that TLS knows"))?;
            let tls = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await;
            let tls = tls.map_err(|error| Failure::of(&error))?;
            let chosen = tls.get_ref().1.alpn_protocol();
            let two = chosen == Some(H2) || version == HttpVersion::Two;
            (Stream::tls(tls), two)
        } else {
            (Stream::plain(tcp), version == HttpVersion::Two)
        };
        if two {
            return self.two(stream).await.map_err(|error| Failure::of(&error));
        }
        let one = Http1::new(origin.clone(), stream, self.long_bodies).await;
        one.map(|one| Connected::One(Box::new(one))).map_err(|error| Failure::of(&error))
    }

    /// Starts HTTP/2. A task of the runtime polls the connection.
    async fn two(&self, stream: Stream) -> Result<Connected, hyper::Error> {
        let received = stream.received();
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new());
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Connected::Two(Shared { sender, received }))
    }

    async fn tcp(&self, origin: &Origin) -> io::Result<TcpStream> {
        let default = if origin.scheme == Scheme::HTTPS { 443 } else { 80 };
        let port = origin.authority.port_u16().unwrap_or(default);
        let addresses = self.addresses(bare(origin.authority.host()), port).await?;
        let (last, others) = addresses.split_last().ok_or_else(no_address)?;
        for address in others {
            if let Ok(Ok(stream)) = timeout(NEXT_ADDRESS_AFTER, TcpStream::connect(address)).await {
                return Ok(stream);
            }
        }
        TcpStream::connect(last).await
    }

    /// Looks a name up, unless that was done a short time ago.
    async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let now = Instant::now();
        let known = |name: &&Name| name.host == host && name.port == port && name.until > now;
        if let Some(name) =
            self.names.lock().expect("nothing panics under this lock").iter().find(known)
        {
            return Ok(name.addresses.clone());
        }
        let found: Vec<_> = lookup_host((host, port)).await.map_err(not_found)?.collect();
        let mut names = self.names.lock().expect("nothing panics under this lock");
        names.retain(|name| name.until > now && (name.host != host || name.port != port));
        names.push(Name {
            host: host.to_owned(),
            port,
            addresses: found.clone(),
            until: now + LOOKED_UP_FOR,
        });
        Ok(found)
    }
}

/// A host without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "host not found: it has no address")
}

fn not_found(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        // Too few descriptors or threads, say.
        Some(_) => error,
        None => io::Error::new(io::ErrorKind::NotFound, "host not found"),
    }
}
