//! A web service on tokio whose handlers hand CPU work to a capped job, and fetch upstream pages within a limit of
//! their own. It calls itself a few times, shows what came of it, and ends.
//!
//! `cargo run --release --example tokio`

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tollgate::{Job, Pool};

/// What the handlers share: a job is a handle of 8 bytes.
#[derive(Clone)]
struct Shop {
    /// At most 2 thumbnails at once, however many requests there are.
    thumbnails: Job,
}

async fn thumbnail(State(shop): State<Shop>, Path(id): Path<u64>) -> Result<String, StatusCode> {
    // A closure on the pool, awaited on tokio. The request waits, tokio's threads do not.
    let thumbnail = shop.thumbnails.spawn(move || shrink(id));
    // Panicked or cancelled, it is this request alone that fails.
    thumbnail.await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

/// CPU work.
fn shrink(id: u64) -> String {
    let pixels = (0..100_000).fold(id, |hash, pixel| (hash ^ pixel).wrapping_mul(0x0100_0000_01b3));
    format!("thumbnail {id}: {pixels:016x}")
}

async fn fetch(
    address: SocketAddr,
    id: u64,
) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(format!("/thumbnail/{id}"))
        .header("host", "localhost")
        .body(Empty::<Bytes>::new())?;
    let response =
        tokio::time::timeout(Duration::from_secs(30), sender.send_request(request)).await??;
    Ok(response.into_body().collect().await?.to_bytes())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Runtime::new()?;
    let handle = runtime.handle().clone();
    // The one line that makes tokio's sockets and timers work in this pool's futures.
    let pool = Pool::builder()
        .workers(2)
        .on_worker_start(move |_| std::mem::forget(handle.enter()))
        .build()?;

    let shop = Shop { thumbnails: pool.job(2) };
    let thumbnails = shop.thumbnails.clone();
    let app = Router::new().route("/thumbnail/{id}", get(thumbnail)).with_state(shop);
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    runtime.spawn(async move { axum::serve(listener, app).await });

    // The client: futures of a job, at most 50 requests in flight on 2 workers.
    let requests = pool.job(50);
    let pages: Vec<_> = (0..500).map(|id| requests.spawn_future(fetch(address, id))).collect();
    let mut bytes = 0;
    for page in pages {
        bytes += page.join()?.map_err(|error| error.to_string())?.len();
    }
    println!("500 thumbnails, {bytes} bytes");
    println!("requests in flight at most: {}", requests.stats().most_running);
    println!("thumbnails made at once at most: {}", thumbnails.stats().most_running);
    assert!(requests.stats().most_running <= 50);
    assert!(thumbnails.stats().most_running <= 2);
    drop(pool); // before the runtime, which its futures use
    Ok(())
}
