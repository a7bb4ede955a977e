//! The built-in server: real HTTP on a free loopback port, with an endpoint for each job of the built-in plan.
//!
//! An endpoint counts the requests inside it, until just before it answers. A request is inside for less time than the
//! client has it in flight, so an endpoint that ever held more than its job's limit has seen the limit broken.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::gauge::Gauge;

/// The plan that checks the server. Each job has the name of the endpoint that it checks.
pub(crate) const PLAN: &str = include_str!("built_in.toml");

/// Stands in [`PLAN`] for the server's address.
const PLACEHOLDER: &str = "127.0.0.1:8080";

/// A running server, on a thread of its own; dropping it stops it.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    endpoints: Vec<Arc<Endpoint>>,
    /// Of all endpoints together.
    gauge: Arc<Gauge>,
    /// The server runs until this sender drops.
    _running: oneshot::Sender<()>,
}

/// One endpoint, at the path of its name.
#[derive(Debug)]
struct Endpoint {
    name: &'static str,
    method: Method,
    /// How long a request stays inside.
    takes: Duration,
    /// What it answers to its `nth` request, which found `inside` requests there, itself included.
    answer: fn(nth: u64, inside: usize) -> StatusCode,
    requests: AtomicU64,
    gauge: Gauge,
    /// Of all endpoints together.
    server_gauge: Arc<Gauge>,
}

impl Server {
    /// Starts the server on a free port.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let gauge = Arc::default();
        let endpoints = endpoints(&gauge);
        let (running, stopped) = oneshot::channel();
        let served = endpoints.clone();
        thread::Builder::new().name("server".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, served.into()) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Server { address, endpoints, gauge, _running: running })
    }

    /// The built-in plan with the server's address in it.
    pub(crate) fn plan(&self) -> String {
        PLAN.replace(PLACEHOLDER, &self.address.to_string())
    }

    /// The most requests that all endpoints together ever held at once.
    pub(crate) fn most_at_once(&self) -> usize {
        self.gauge.most()
    }

    /// The most requests that the endpoint called `name` ever held at once.
    pub(crate) fn most_at_once_in(&self, name: &str) -> Option<usize> {
        let endpoint = self.endpoints.iter().find(|endpoint| endpoint.name == name)?;
        Some(endpoint.gauge.most())
    }
}

/// Endpoints of different strength.
fn endpoints(server_gauge: &Arc<Gauge>) -> Vec<Arc<Endpoint>> {
    let endpoint = |name, method, takes, answer| {
        let takes = Duration::from_millis(takes);
        Arc::new(Endpoint {
            name,
            method,
            takes,
            answer,
            requests: AtomicU64::new(0),
            gauge: Gauge::default(),
            server_gauge: Arc::clone(server_gauge),
        })
    };
    let overloaded = |_, inside| {
        if inside > 2 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
    };
    let sometimes = |nth: u64, _| {
        if nth.is_multiple_of(10) { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }
    };
    let one_at_a_time = |_, inside| {
        if inside > 1 { StatusCode::CONFLICT } else { StatusCode::CREATED }
    };
    let always = |_, _| StatusCode::OK;
    vec![
        endpoint("fragile", Method::GET, 20, overloaded),
        endpoint("slow", Method::GET, 150, always),
        endpoint("flaky", Method::GET, 10, sometimes),
        endpoint("orders", Method::POST, 15, one_at_a_time),
        endpoint("ramped", Method::GET, 15, always),
    ]
}

async fn accept(listener: TcpListener, endpoints: Arc<[Arc<Endpoint>]>) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&endpoints)));
        }
    }
}

/// Serves one connection until the client closes it.
async fn serve(stream: TcpStream, endpoints: Arc<[Arc<Endpoint>]>) {
    let service = service_fn(|request| answer(request, &endpoints));
    // A client that closes its connection early is no mistake of the server.
    _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    endpoints: &[Arc<Endpoint>],
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let endpoint = endpoints.iter().find(|endpoint| endpoint.name == path);
    let status = match endpoint {
        None => StatusCode::NOT_FOUND,
        Some(endpoint) if endpoint.method != request.method() => StatusCode::METHOD_NOT_ALLOWED,
        Some(endpoint) => {
            let inside_server = endpoint.server_gauge.enter();
            let inside = endpoint.gauge.enter();
            // Ordering: Relaxed; a count.
            let nth = endpoint.requests.fetch_add(1, Ordering::Relaxed) + 1;
            let status = (endpoint.answer)(nth, inside.with_this());
            tokio::time::sleep(endpoint.takes).await;
            drop((inside, inside_server));
            status
        }
    };
    _ = request.into_body().collect().await;
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status;
    Ok(response)
}
