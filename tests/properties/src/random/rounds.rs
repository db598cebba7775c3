//! Random operations on `Rounds`.

use proptest::prelude::*;

use crate::rounds_model::{Change, Operation, run};

fn member() -> impl Strategy<Value = u32> {
    0..12_u32
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        Just(Change::Nothing),
        member().prop_map(Change::Join),
        member().prop_map(Change::Leave),
        member().prop_map(Change::Rejoin),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => member().prop_map(Operation::Join),
        2 => member().prop_map(Operation::Leave),
        4 => (prop::collection::vec(change(), 0..16), prop_oneof![Just(usize::MAX), 0..8_usize])
            .prop_map(|(during, visits)| Operation::Round { during, visits }),
        1 => (1..40_u32).prop_map(Operation::Churn),
    ]
}

proptest! {
    #![proptest_config(super::cases(2000))]

    #[test]
    fn rounds_behave_like_an_ordered_list(operations in prop::collection::vec(operation(), 1..60)) {
        run(&operations);
    }
}
