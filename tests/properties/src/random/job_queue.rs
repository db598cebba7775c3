//! Random operations on `JobQueue` and `CompletionStack`.

use proptest::prelude::*;

use crate::job_queue_model::{Operation, run};

fn operation() -> impl Strategy<Value = Operation> {
    // The ring has 256 slots.
    let many = || prop_oneof![4 => 1..4_u32, 2 => 200..300_u32, 1 => 0..600_u32];
    prop_oneof![
        8 => many().prop_map(|many| Operation::Push { many }),
        8 => (many(), any::<bool>()).prop_map(|(many, complete)| Operation::Pop { many, complete }),
        6 => (0..3000_u32, 0..4_u32, many())
            .prop_map(|(from, step, many)| Operation::Cancel { from, step, many }),
        2 => prop_oneof![Just(u32::MAX), 0..10_u32].prop_map(|most| Operation::Drain { most }),
    ]
}

proptest! {
    #![proptest_config(super::cases(500))]

    #[test]
    fn a_job_queue_behaves_like_a_list(operations in prop::collection::vec(operation(), 1..80)) {
        run(&operations);
    }
}
