//! gentle against nginx and Chromium. `ci/peers` runs the tests with nginx, `gentle/ci-peers` the one with Chromium.

mod bench;
mod nginx;
mod page;
#[path = "../behaviour/ports.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod ports;
#[path = "../behaviour/program.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod program;
#[path = "../behaviour/peers.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod tls;
