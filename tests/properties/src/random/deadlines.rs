//! Random operations on `Deadlines`.

use proptest::prelude::*;

use crate::deadlines_model::{Operation, run};

fn deadline() -> impl Strategy<Value = u64> {
    // Mostly small numbers, so that equal ones are common; and some of every magnitude.
    prop_oneof![
        8 => 0..20_u64,
        2 => 0..1_000_000_u64,
        4 => (20..63_u32, 0..20_u64).prop_map(|(magnitude, more)| (1 << magnitude) + more),
        4 => 0..100_000_000_000_u64,
        1 => Just(u64::MAX),
        1 => (u64::MAX - 3)..u64::MAX
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        24 => (0..40_u32, deadline()).prop_map(|(owner, deadline)| Operation::Set { owner, deadline }),
        8 => (0..45_u32).prop_map(|owner| Operation::Cancel { owner }),
        2 => (0..3000_u32).prop_map(|owner| Operation::Get { owner }),
        8 => (deadline(), 0..8_u64).prop_map(|(now, age)| Operation::Pop { now, age }),
        4 => (deadline(), 1..5_u32, 0..5_u64)
            .prop_map(|(now, again, delay)| Operation::Pass { now, again, delay }),
        2 => (0..500_u32, 60..1500_u32, deadline())
            .prop_map(|(first, many, deadline)| Operation::Burst { first, many, deadline }),
        1 => Just(Operation::CancelAll),
    ]
}

proptest! {
    #![proptest_config(super::cases(200))]

    #[test]
    fn deadlines_behave_like_a_sorted_map(operations in prop::collection::vec(operation(), 1..120)) {
        run(&operations);
    }
}
