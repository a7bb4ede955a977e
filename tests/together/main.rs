//! What holds where two features meet, or several levels of jobs: each test arranges the moment in which one depends on the other.

mod clears;
#[path = "../common/mod.rs"]
mod common;
mod ends;
mod figures;
mod handed;
mod keeps;
mod turns;
mod weights;
