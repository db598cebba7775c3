//! `Registrations` against the descriptors that a system watches after the changes: those wanted, and no
//! others.

use std::collections::BTreeMap;

use crate::backend::{
    Interest,
    native::wait::registrations::{Change, Registrations},
};

#[derive(Clone, Debug)]
pub enum Operation {
    Set {
        fd: i32,
        interest: u8,
    },
    /// The descriptor is closed. Its number may be reused, by another handle.
    Forget {
        fd: i32,
    },
    /// Applies every change, as a turn does. The system refuses to watch these descriptors.
    Apply {
        refuse: Vec<i32>,
    },
    /// Applies this number of changes only.
    ApplySome {
        changes: usize,
    },
}

#[derive(Default)]
struct World {
    registrations: Registrations,
    /// The key and the interest of each open descriptor.
    wanted: BTreeMap<i32, (u64, u8)>,
    /// The key and the interest that the system was given.
    system: BTreeMap<i32, (u64, u8)>,
    keys: u64,
}

impl World {
    fn set(&mut self, fd: i32, interest: u8) {
        let keys = &mut self.keys;
        let entry = self.wanted.entry(fd).or_insert_with(|| {
            *keys += 1;
            (*keys, 0)
        });
        entry.1 = interest;
        self.registrations.set(fd, entry.0, Interest(interest));
    }

    fn forget(&mut self, fd: i32) {
        let watched = self.registrations.forget(fd);
        assert_eq!(watched, self.system.remove(&fd).is_some(), "forget knows whether {fd} is watched");
        self.wanted.remove(&fd);
    }

    /// Applies one change. Like epoll, the system refuses to add a descriptor twice, and to change an unknown
    /// one.
    fn apply_one(&mut self, refuse: &[i32]) -> bool {
        let Some((fd, change)) = self.registrations.next_change() else { return false };
        match change {
            Change::Add { key, .. } if refuse.contains(&fd) => {
                assert_eq!(self.registrations.registration_failed(fd), key);
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

    fn apply_all(&mut self, refuse: &[i32]) {
        while self.apply_one(refuse) {
            self.registrations.verify();
        }
        let wanted: BTreeMap<i32, (u64, u8)> = self
            .wanted
            .iter()
            .filter(|(_, (_, interest))| *interest != 0)
            .map(|(&fd, &wanted)| (fd, wanted))
            .collect();
        assert_eq!(self.system, wanted, "the system watches what is wanted");
        assert_eq!(self.registrations.next_change(), None);
    }
}

/// Applies the operations to both. Panics where they differ.
pub fn run(operations: &[Operation]) {
    let mut world = World::default();
    for operation in operations {
        match operation {
            Operation::Set { fd, interest } => world.set(*fd, *interest),
            Operation::Forget { fd } => world.forget(*fd),
            Operation::Apply { refuse } => world.apply_all(refuse),
            Operation::ApplySome { changes } => {
                for _ in 0..*changes {
                    world.apply_one(&[]);
                }
            }
        }
        world.registrations.verify();
    }
}
