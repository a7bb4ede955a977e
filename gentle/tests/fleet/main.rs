//! `gentle --fleet` over several processes, against nginx and nats-server. `ci/fleet` runs these tests.

#[path = "../behaviour/program.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod program;
mod refusals;
mod runs;
mod servers;
#[path = "../behaviour/peers.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod tls;
