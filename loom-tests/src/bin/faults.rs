//! Shows that the models catch what they should, by faults seeded into the library.
//!
//! ```text
//! RUSTFLAGS="--cfg tollgate_loom" cargo run -p loom-tests --release --bin faults --target-dir target/loom
//! ```
//!
//! With names as arguments only those faults are run.

#[cfg(tollgate_loom)]
fn main() -> std::process::ExitCode {
    let names: Vec<_> = std::env::args().skip(1).collect();
    loom_tests::seeding::run("loom-tests", &loom_tests::faults::modelled(), &names)
}

#[cfg(not(tollgate_loom))]
fn main() {
    eprintln!("build with RUSTFLAGS=\"--cfg tollgate_loom\": without it there are no models");
}
