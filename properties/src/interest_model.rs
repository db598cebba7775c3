//! `Interests` against what a system would have after its changes: what is wanted, and nothing else.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::{
    backend::Interest,
    interest::{Change, Interests},
};

#[derive(Clone, Debug)]
enum Operation {
    Want {
        fd: i32,
        interest: u8,
    },
    /// The descriptor is closed; its number may come back, as another's.
    Forget {
        fd: i32,
    },
    /// A turn: every change reaches the system, which may refuse to watch these.
    Install {
        refuse: Vec<i32>,
    },
    /// So many changes reach the system, and no more yet.
    Begin {
        changes: usize,
    },
}

fn fd() -> impl Strategy<Value = i32> {
    prop_oneof![4 => 0..6_i32, 1 => 0..200_i32]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => (fd(), 0..4_u8).prop_map(|(fd, interest)| Operation::Want { fd, interest }),
        3 => fd().prop_map(|fd| Operation::Forget { fd }),
        3 => prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(fd(), 1..4)]
            .prop_map(|refuse| Operation::Install { refuse }),
        1 => (0..3_usize).prop_map(|changes| Operation::Begin { changes }),
    ]
}

#[derive(Default)]
struct World {
    interests: Interests,
    /// What is wanted of each descriptor that is open, by the handle that has it.
    wanted: BTreeMap<i32, (u64, u8)>,
    system: BTreeMap<i32, (u64, u8)>,
    keys: u64,
}

impl World {
    fn want(&mut self, fd: i32, interest: u8) {
        let keys = &mut self.keys;
        let entry = self.wanted.entry(fd).or_insert_with(|| {
            *keys += 1;
            (*keys, 0)
        });
        entry.1 = interest;
        self.interests.want(fd, entry.0, Interest(interest));
    }

    fn forget(&mut self, fd: i32) {
        let watched = self.interests.forget(fd);
        assert_eq!(watched, self.system.remove(&fd).is_some(), "whether the system watches {fd} is known");
        self.wanted.remove(&fd);
    }

    /// As epoll would: what is there cannot be added, what is not cannot be changed.
    fn install_one(&mut self, refuse: &[i32]) -> bool {
        let Some((fd, change)) = self.interests.next_change() else { return false };
        match change {
            Change::Add { key, .. } if refuse.contains(&fd) => {
                assert_eq!(self.interests.refused(fd), key);
                self.wanted.insert(fd, (key, 0));
            }
            Change::Add { key, interest } => {
                assert_eq!(self.system.insert(fd, (key, interest.0)), None, "{fd} was not watched");
            }
            Change::Modify { key, interest } => {
                let before = self.system.insert(fd, (key, interest.0));
                assert!(before.is_some_and(|before| before != (key, interest.0)), "{fd} changes");
            }
            Change::Delete => assert!(self.system.remove(&fd).is_some(), "{fd} was watched"),
        }
        true
    }
}

fn run(operations: &[Operation]) {
    let mut world = World::default();
    for operation in operations {
        match operation {
            Operation::Want { fd, interest } => world.want(*fd, *interest),
            Operation::Forget { fd } => world.forget(*fd),
            Operation::Begin { changes } => {
                for _ in 0..*changes {
                    world.install_one(&[]);
                }
            }
            Operation::Install { refuse } => {
                while world.install_one(refuse) {
                    world.interests.verify();
                }
                let wanted: BTreeMap<i32, (u64, u8)> = world
                    .wanted
                    .iter()
                    .filter(|(_, (_, interest))| *interest != 0)
                    .map(|(&fd, &wanted)| (fd, wanted))
                    .collect();
                assert_eq!(world.system, wanted, "the system watches what is wanted");
                assert_eq!(world.interests.next_change(), None);
            }
        }
        world.interests.verify();
    }
}

proptest! {
    #![proptest_config(crate::cases(2000))]

    #[test]
    fn the_system_is_told_what_is_wanted_and_nothing_else(
        operations in prop::collection::vec(operation(), 1..80),
    ) {
        run(&operations);
    }
}
