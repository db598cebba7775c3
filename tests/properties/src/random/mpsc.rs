//! Random operations on `MpscQueue`.

use proptest::prelude::*;

use crate::mpsc_model::{Operation, run};

fn operation() -> impl Strategy<Value = Operation> {
    // A block has 63 slots.
    let many = || prop_oneof![4 => 1..4_u32, 2 => 50..80_u32, 1 => 0..300_u32];
    let limit = || prop_oneof![2 => Just(u64::MAX), 2 => 0..200_u64];
    prop_oneof![
        8 => (many(), limit()).prop_map(|(many, limit)| Operation::Push { many, limit }),
        4 => limit().prop_map(|most| Operation::Claim { most }),
        6 => many().prop_map(|many| Operation::Pop { many }),
        4 => Just(Operation::GoIdle),
        1 => Just(Operation::Close),
    ]
}

proptest! {
    #![proptest_config(super::cases(1000))]

    #[test]
    fn an_mpsc_queue_behaves_like_a_list(operations in prop::collection::vec(operation(), 1..80)) {
        run(&operations);
    }
}
