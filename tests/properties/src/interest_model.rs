//! `Registrations` against what a system would have after its changes: what is wanted, and nothing else.

use std::collections::BTreeMap;

use crate::{
    backend::Interest,
    registrations::{Change, Registrations},
};

#[derive(Clone, Debug)]
pub enum Operation {
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

#[derive(Default)]
struct World {
    interests: Registrations,
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
        self.interests.set(fd, entry.0, Interest(interest));
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
                assert_eq!(self.interests.registration_failed(fd), key);
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

/// Carries them out on both, and panics where they differ.
pub fn run(operations: &[Operation]) {
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
