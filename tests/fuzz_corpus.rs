//! Runs what the fuzzer kept for its target `pool`: `fuzz/corpus/pool`, a file an input. The library's own tests run the corpora of
//! `permits` and `backlog`, and the tests of `gentle` that of `plan`.

mod common;
#[path = "common/ops.rs"]
mod ops;

use common::watch;

#[path = "../checking/sequential/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn the_corpus_of_pool() {
    replay("pool", |bytes| {
        if let Some((workers, ops)) = ops::decode(bytes) {
            common::within(common::LONG, move || ops::run(workers, &ops));
        }
    });
}
