//! Random operations on `SendQueue`.

use proptest::prelude::*;

use crate::writer_model::{Operation, Sort, run};

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0..100_usize,
        // Copied or kept; gathered or begun anew.
        3 => (2 << 10) - 3..(2 << 10) + 4_usize,
        3 => (64 << 10) - 3..(64 << 10) + 4_usize,
        2 => (32 << 10) - 3..(32 << 10) + 4_usize,
        1 => 0..200_000_usize,
    ]
}

fn sort() -> impl Strategy<Value = Sort> {
    prop_oneof![Just(Sort::Borrowed), Just(Sort::Owned), Just(Sort::Rc), Just(Sort::Arc)]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => (sort(), size()).prop_map(|(sort, size)| Operation::Push(sort, size)),
        4 => Just(Operation::Mark),
        1 => (1..200_usize).prop_map(Operation::Burst),
        6 => (1..70_usize, 0..=16_usize).prop_map(|(pieces, share)| Operation::Send { pieces, share }),
        2 => (0..100_usize).prop_map(Operation::SendAllBut),
        3 => Just(Operation::Settle),
        2 => (0..100_000_usize).prop_map(Operation::Pass),
        3 => Just(Operation::Tell),
        1 => Just(Operation::GiveUpOne),
        1 => Just(Operation::Clear),
    ]
}

proptest! {
    #![proptest_config(super::cases(300))]

    #[test]
    fn a_writer_behaves_as_a_run_of_bytes_and_a_list_of_marks_do(
        operations in prop::collection::vec(operation(), 1..60),
    ) {
        run(&operations);
    }
}
