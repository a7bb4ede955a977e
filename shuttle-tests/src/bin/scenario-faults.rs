//! Shows that the scenarios catch what they should, by faults seeded into the library.
//!
//! ```text
//! RUSTFLAGS="--cfg tollgate_shuttle" cargo run -p shuttle-tests --release --bin scenario-faults --target-dir target/shuttle
//! ```
//!
//! With names as arguments only those faults are run.

#[cfg(tollgate_shuttle)]
fn main() -> std::process::ExitCode {
    let names: Vec<_> = std::env::args().skip(1).collect();
    for (fault, why) in shuttle_tests::faults::UNSEEN {
        println!("unseen   {fault:32} {why}");
    }
    loom_tests::seeding::run("shuttle-tests", &shuttle_tests::faults::seen(), &names)
}

#[cfg(not(tollgate_shuttle))]
fn main() {
    eprintln!("build with RUSTFLAGS=\"--cfg tollgate_shuttle\": without it there are no scenarios");
}
