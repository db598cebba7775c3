//! Random operations on `SendQueue`.

use proptest::prelude::*;

use crate::send_queue_model::{Operation, Ownership, run};

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0..100_usize,
        // Around each limit: copied or shared, one buffer or pages.
        3 => (2 << 10) - 3..(2 << 10) + 4_usize,
        3 => (64 << 10) - 3..(64 << 10) + 4_usize,
        2 => (32 << 10) - 3..(32 << 10) + 4_usize,
        1 => 0..200_000_usize,
    ]
}

fn ownership() -> impl Strategy<Value = Ownership> {
    prop_oneof![Just(Ownership::Borrowed), Just(Ownership::Owned), Just(Ownership::Rc), Just(Ownership::Arc)]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => (ownership(), size()).prop_map(|(ownership, size)| Operation::Push(ownership, size)),
        4 => Just(Operation::Mark),
        1 => (1..200_usize).prop_map(Operation::Burst),
        6 => (1..70_usize, 0..=16_usize).prop_map(|(pieces, share)| Operation::Send { pieces, share }),
        2 => (0..100_usize).prop_map(Operation::SendAllBut),
        3 => Just(Operation::Compact),
        2 => (0..100_000_usize).prop_map(Operation::Skip),
        3 => Just(Operation::PopReachedMarks),
        1 => Just(Operation::PopMark),
        1 => Just(Operation::Clear),
    ]
}

proptest! {
    #![proptest_config(super::cases(300))]

    #[test]
    fn a_send_queue_behaves_like_bytes_and_a_list_of_marks(
        operations in prop::collection::vec(operation(), 1..60),
    ) {
        run(&operations);
    }
}
