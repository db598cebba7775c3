//! Random operations on `Registrations`.

use proptest::prelude::*;

use crate::registrations_model::{Operation, run};

fn fd() -> impl Strategy<Value = i32> {
    prop_oneof![4 => 0..6_i32, 1 => 0..200_i32]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => (fd(), 0..4_u8).prop_map(|(fd, interest)| Operation::Set { fd, interest }),
        3 => fd().prop_map(|fd| Operation::Forget { fd }),
        3 => prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(fd(), 1..4)]
            .prop_map(|refuse| Operation::Apply { refuse }),
        1 => (0..3_usize).prop_map(|changes| Operation::ApplySome { changes }),
    ]
}

proptest! {
    #![proptest_config(super::cases(2000))]

    #[test]
    fn the_system_watches_exactly_what_is_wanted(
        operations in prop::collection::vec(operation(), 1..80),
    ) {
        run(&operations);
    }
}
