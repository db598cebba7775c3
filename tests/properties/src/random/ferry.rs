//! Random operations on `Queue` and `Pile`.

use proptest::prelude::*;

use crate::ferry_model::{Operation, run};

fn operation() -> impl Strategy<Value = Operation> {
    // The ring has 256 places.
    let many = || prop_oneof![4 => 1..4_u32, 2 => 200..300_u32, 1 => 0..600_u32];
    prop_oneof![
        8 => many().prop_map(|many| Operation::Push { many }),
        8 => (many(), any::<bool>()).prop_map(|(many, home)| Operation::Pop { many, home }),
        6 => (0..3000_u32, 0..4_u32, many())
            .prop_map(|(from, step, many)| Operation::Withdraw { from, step, many }),
        2 => prop_oneof![Just(u32::MAX), 0..10_u32].prop_map(|most| Operation::Take { most }),
    ]
}

proptest! {
    #![proptest_config(super::cases(500))]

    #[test]
    fn what_carries_jobs_behaves_as_a_list_does(operations in prop::collection::vec(operation(), 1..80)) {
        run(&operations);
    }
}
