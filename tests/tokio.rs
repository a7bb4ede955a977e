//! Inside a tokio runtime: its sockets and timers in our futures, our tasks in its.
#![cfg(feature = "futures")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::routing::get;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tollgate::{Job, Pool};

use common::event::Gauge;
use common::{LONG, within};

/// tokio's reactor and timers, on a thread of their own.
fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// A pool whose workers have entered the runtime.
fn pool_inside(runtime: &Runtime, workers: usize) -> Pool {
    let handle = runtime.handle().clone();
    Pool::builder()
        .workers(workers)
        // Never left: it lasts as long as the thread.
        .on_worker_start(move |_| std::mem::forget(handle.enter()))
        .build()
        .unwrap()
}

/// Serves connections until `connections` have been accepted; each is a future of `job`.
async fn serve(listener: TcpListener, job: Job, connections: usize, gauge: Gauge) {
    for _ in 0..connections {
        let (stream, _) = listener.accept().await.unwrap();
        let gauge = gauge.clone();
        let answer = service_fn(move |request: Request<Incoming>| {
            let gauge = gauge.clone();
            async move {
                let _running = gauge.enter();
                tokio::time::sleep(Duration::from_millis(1)).await;
                let path = request.uri().path().to_owned();
                Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from(path))))
            }
        });
        let connection = hyper::server::conn::http1::Builder::new();
        let _detached = job.spawn_future(async move {
            connection.serve_connection(TokioIo::new(stream), answer).await.unwrap();
        });
    }
}

/// One request on a connection of its own, whose two halves are futures of `driver` and of the caller.
async fn fetch(address: std::net::SocketAddr, path: String, driver: Job) -> (StatusCode, String) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let _detached = driver.spawn_future(async move { connection.await.unwrap() });
    let request = Request::get(&path)
        .header(hyper::header::HOST, "localhost")
        .header(hyper::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[test]
fn a_hyper_server_and_client_run_in_futures_of_a_pool_within_their_limits() {
    const REQUESTS: usize = 500;
    const LIMIT: usize = 20;
    within(LONG, || {
        let runtime = runtime();
        let pool = pool_inside(&runtime, 2);
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let gauge = Gauge::new();
        let connections = pool.job(usize::MAX);
        let server =
            pool.job(1).spawn_future(serve(listener, connections.clone(), REQUESTS, gauge.clone()));
        let clients = pool.job(LIMIT);
        let drivers = pool.job(usize::MAX);
        clients.pause(); // all are pushed before the first one ends
        let answers: Vec<_> = (0..REQUESTS)
            .map(|i| clients.spawn_future(fetch(address, format!("/page/{i}"), drivers.clone())))
            .collect();
        clients.resume();
        for (i, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.join().unwrap(), (StatusCode::OK, format!("/page/{i}")));
        }
        server.join().unwrap();
        assert!(gauge.most() <= LIMIT);
        assert_eq!(clients.stats().most_running, LIMIT);
        connections.wait();
        drivers.wait();
        assert_eq!((connections.stats().panicked, drivers.stats().panicked), (0, 0));
        // The runtime goes after the pool.
        drop(pool);
        drop(runtime);
    });
}

#[test]
fn ten_thousand_sleeps_keep_a_limit_of_100_on_two_workers() {
    within(LONG, || {
        let runtime = runtime();
        let pool = pool_inside(&runtime, 2);
        let job = pool.job(100);
        let gauge = Gauge::new();
        for _ in 0..10_000 {
            let gauge = gauge.clone();
            drop(job.spawn_future(async move {
                let _running = gauge.enter();
                // The first 100 futures wait for each other, so that the limit is reached.
                while gauge.most() < 100 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }));
        }
        job.wait();
        assert_eq!((job.stats().completed, gauge.most()), (10_000, 100));
        drop(pool);
    });
}

/// What axum's handlers share.
#[derive(Clone)]
struct Shop {
    /// CPU work, at most 1 at a time.
    work: Job,
    running: Arc<AtomicUsize>,
}

async fn digest(
    State(shop): State<Shop>,
    Query(query): Query<std::collections::HashMap<String, u64>>,
) -> Result<String, StatusCode> {
    let running = shop.running.clone();
    let n = query["n"];
    // Handed to the pool, and awaited here; if the client goes away, it is not even started.
    let task = shop.work.spawn(move || {
        assert_eq!(running.fetch_add(1, SeqCst), 0, "the limit is 1");
        let digest = (0..1_000).fold(n, |digest, i| digest.wrapping_mul(31).wrapping_add(i));
        running.fetch_sub(1, SeqCst);
        digest
    });
    task.await.map(|digest| digest.to_string()).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

#[test]
fn handlers_of_axum_hand_cpu_work_to_a_capped_job() {
    within(LONG, || {
        let runtime = runtime();
        let pool = pool_inside(&runtime, 2);
        let work = pool.job(1);
        let shop = Shop { work: work.clone(), running: Arc::default() };
        let app = Router::new().route("/digest", get(digest)).with_state(shop);
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let server = runtime.spawn(async move { axum::serve(listener, app).await });
        let clients = pool.job(50);
        let drivers = pool.job(usize::MAX);
        let answers: Vec<_> = (0..200)
            .map(|i| {
                clients.spawn_future(fetch(address, format!("/digest?n={i}"), drivers.clone()))
            })
            .collect();
        for answer in answers {
            assert_eq!(answer.join().unwrap().0, StatusCode::OK);
        }
        assert_eq!(work.stats().most_running, 1);
        assert_eq!(work.stats().completed, 200);
        server.abort();
        drivers.cancel();
        drop(pool);
    });
}

#[test]
fn timers_of_async_io_need_nothing() {
    within(LONG, || {
        let pool = common::pool(1);
        let job = pool.job(500);
        let tasks: Vec<_> = (0..1_000)
            .map(|i| {
                job.spawn_future(async move {
                    async_io::Timer::after(Duration::from_millis(i % 7)).await;
                    i
                })
            })
            .collect();
        let sum: u64 = tasks.into_iter().map(|task| task.join().unwrap()).sum();
        assert_eq!(sum, 499_500);
        assert!(job.stats().most_running <= 500);
    });
}
