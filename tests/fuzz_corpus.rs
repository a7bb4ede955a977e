//! What the fuzzer kept for its targets `pool` and `plan`, run once more: `fuzz/corpus/TARGET`, a file an input. (Those of `permits`
//! and `backlog` are run by the library's own tests.)

mod common;
#[path = "common/ops.rs"]
mod ops;

use common::watch;

#[path = "gentle/any_plan.rs"]
mod any_plan;
#[allow(dead_code, unused_imports, reason = "plans are read and none is run")]
#[path = "../examples/gentle/plan/mod.rs"]
mod plan;

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

#[test]
fn the_corpus_of_plan() {
    replay("plan", any_plan::read);
}
