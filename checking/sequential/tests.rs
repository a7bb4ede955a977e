//! Runs random programs, and the programs in the fuzzer's corpus.

use super::replay::replay;
use super::{permits, queue};
use arbitrary::{Arbitrary, Unstructured};
use proptest::prelude::*;

/// Returns the program that the fuzz target reads from these bytes.
fn program<P: for<'a> Arbitrary<'a>>(bytes: &[u8]) -> P {
    P::arbitrary_take_rest(Unstructured::new(bytes)).expect("any bytes are a program")
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..400)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_word_is_its_fields(bytes in bytes()) {
        program::<permits::Program>(&bytes).run();
    }

    #[test]
    fn the_backlog_is_a_line(bytes in bytes()) {
        program::<queue::Program>(&bytes).run();
    }
}

#[test]
fn the_corpus_of_permits() {
    replay("permits", |bytes| program::<permits::Program>(bytes).run());
}

#[test]
fn the_corpus_of_backlog() {
    replay("backlog", |bytes| program::<queue::Program>(bytes).run());
}
