//! Random operations against the model, shrunk to the shortest that fail. Failures that were found are kept in
//! `properties.regressions` and tried first.

mod common;
#[path = "common/ops.rs"]
mod ops;

use common::watch;

use ops::{Aside, Does, LIMITS, Limit, Op, Shutdown, Way};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

fn limits() -> impl Strategy<Value = Limit> {
    let limit = || 0..LIMITS.len() as u8;
    let turns = (limit(), 1..18_u8).prop_map(|(limit, turns)| limit + turns * LIMITS.len() as u8);
    prop_oneof![2 => limit(), 1 => turns].prop_map(Limit)
}

/// Small numbers, so that operations meet each other.
fn number() -> impl Strategy<Value = u8> {
    0..6_u8
}

fn does() -> impl Strategy<Value = Does> {
    prop_oneof![
        4 => Just(Does::Nothing),
        4 => Just(Does::Holds),
        1 => Just(Does::Panics),
        2 => (number(), 1..4_u8).prop_map(|(job, count)| Does::Pushes { job, count }),
        1 => number().prop_map(|job| Does::Joins { job }),
    ]
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![
        4 => Just(Way::Spawn),
        4 => Just(Way::Execute),
        4 => Just(Way::TrySpawn),
        4 => Just(Way::TryExecute),
        2 => (0..4_u8).prop_map(Way::After),
        2 => (0..4_u8).prop_map(Way::Within),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => limits().prop_map(|limit| Op::Job { limit }),
        2 => (number(), limits()).prop_map(|(parent, limit)| Op::Child { parent, limit }),
        16 => (number(), way(), does()).prop_map(|(job, way, does)| Op::Push { job, way, does }),
        4 => (number(), limits()).prop_map(|(job, limit)| Op::SetLimit { job, limit }),
        2 => number().prop_map(|job| Op::Pause { job }),
        3 => number().prop_map(|job| Op::Resume { job }),
        2 => (number(), 0..4_u8).prop_map(|(job, seconds)| Op::HoldOff { job, seconds }),
        1 => (number(), 0..4_u8, 0..3_u8)
            .prop_map(|(job, seconds, burst)| Op::SetRate { job, seconds, burst }),
        2 => (0..4_u8).prop_map(|seconds| Op::Advance { seconds }),
        1 => number().prop_map(|job| Op::Close { job }),
        1 => number().prop_map(|job| Op::Cancel { job }),
        2 => number().prop_map(|job| Op::Clear { job }),
        1 => number().prop_map(|job| Op::DropJob { job }),
        2 => number().prop_map(|job| Op::Wait { job }),
        2 => any::<u8>().prop_map(|handle| Op::Join { handle }),
        2 => any::<u8>().prop_map(|handle| Op::CancelTask { handle }),
        3 => (number(), any::<bool>()).prop_map(|(job, leaves)| Op::Acquire { job, leaves }),
        1 => any::<u8>().prop_map(|handle| Op::DropHandle { handle }),
        4 => (1..4_u8).prop_map(|count| Op::LetGo { count }),
        4 => Just(Op::Settle),
        2 => (number(), any::<u8>()).prop_map(|(job, what)| Op::Aside { job, what: Aside::of(what) }),
        1 => prop_oneof![
            Just(Shutdown::Drain),
            Just(Shutdown::Drop),
            Just(Shutdown::Now),
            Just(Shutdown::Timeout)
        ]
        .prop_map(|how| Op::Shutdown { how }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        // A case that hangs takes its time to be seen.
        max_shrink_time: 60_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/properties.regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_a_user_sees_is_what_the_model_allows(
        workers in prop_oneof![Just(1_usize), Just(2), Just(5)],
        limit in limits(),
        ops in prop::collection::vec(op(), 0..60),
    ) {
        let ops: Vec<Op> = std::iter::once(Op::Job { limit }).chain(ops).collect();
        common::within(common::LONG, move || ops::run(workers, &ops));
    }
}

#[test]
fn any_bytes_are_operations() {
    let mut rng = common::rng::Rng::from_env();
    for _ in 0..200 {
        let bytes: Vec<u8> = (0..rng.below(200)).map(|_| rng.next() as u8).collect();
        let ops: Vec<Op> = {
            let mut rest = bytes.as_slice();
            std::iter::from_fn(|| Op::decode(&mut rest)).collect()
        };
        assert!(ops.len() <= bytes.len());
        let workers = 1 + rng.below(3);
        eprintln!("{workers} workers, {ops:?}");
        common::within(common::LONG, move || ops::run(workers, &ops));
    }
}
