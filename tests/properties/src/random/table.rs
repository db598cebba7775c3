//! Random operations on `Table`.

use proptest::prelude::*;

use crate::table_model::{Operation, run};

fn operation() -> impl Strategy<Value = Operation> {
    let many = || prop_oneof![12 => 1..4_u32, 1 => 1000..3000_u32];
    let which = || prop_oneof![4 => 0..8_u32, 1 => 0..4000_u32];
    prop_oneof![
        4 => many().prop_map(Operation::Insert),
        6 => (which(), any::<[bool; 4]>()).prop_map(|(number, flags)| Operation::Change(number, flags)),
        4 => (which(), many()).prop_map(|(number, many)| Operation::Remove(number, many)),
        2 => which().prop_map(Operation::Name),
    ]
}

proptest! {
    #![proptest_config(super::cases(200))]

    #[test]
    fn a_table_behaves_like_a_map_of_every_handle(operations in prop::collection::vec(operation(), 1..80)) {
        run(&operations);
    }
}
