//! Which descriptors should be registered with the system, and which are: the difference is applied once a
//! turn.
//!
//! Indexed by descriptor, like the kernel's own table. A stop and a start within one turn cost no system
//! call.

use std::os::fd::RawFd;

use crate::backend::Interest;

/// One descriptor.
#[derive(Clone, Copy, Debug, Default)]
struct Source {
    key: u64,
    wanted: Interest,
    installed: Interest,
    listed: bool,
}

/// What to change in the system's registration of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Add { key: u64, interest: Interest },
    Modify { key: u64, interest: Interest },
    Delete,
}

/// All descriptors.
///
/// 1. A source with `wanted != installed` is `listed`.
/// 2. A source is `listed` if and only if its descriptor is in `changed`, and then it is there once.
/// 3. `installed` is the number of sources that are registered with the system.
#[derive(Debug, Default)]
pub(crate) struct Registrations {
    sources: Vec<Source>,
    changed: Vec<RawFd>,
    installed: usize,
}

impl Registrations {
    /// Sets what a descriptor should be registered for. The next changes make it so.
    pub(crate) fn set(&mut self, fd: RawFd, key: u64, interest: Interest) {
        let index = fd as usize;
        if index >= self.sources.len() {
            if interest == Interest::NONE {
                return;
            }
            self.sources.resize(index + 1, Source::default());
        }
        let source = &mut self.sources[index];
        source.key = key;
        source.wanted = interest;
        if source.wanted != source.installed && !source.listed {
            source.listed = true;
            self.changed.push(fd);
        }
    }

    /// Forgets a descriptor that is about to be closed. Returns whether it is registered with the system.
    pub(crate) fn forget(&mut self, fd: RawFd) -> bool {
        let Some(source) = self.sources.get_mut(fd as usize) else { return false };
        let registered = source.installed != Interest::NONE;
        self.installed -= usize::from(registered);
        // `listed` stays: `next_change` skips the entry in `changed`.
        *source = Source { listed: source.listed, ..Source::default() };
        registered
    }

    /// Takes the next change, which from then on counts as applied.
    pub(crate) fn next_change(&mut self) -> Option<(RawFd, Change)> {
        while let Some(fd) = self.changed.pop() {
            let source = &mut self.sources[fd as usize];
            source.listed = false;
            let Source { key, wanted, installed, .. } = *source;
            source.installed = wanted;
            if wanted == installed {
                continue;
            }
            return Some(match (installed, wanted) {
                (Interest::NONE, interest) => {
                    self.installed += 1;
                    (fd, Change::Add { key, interest })
                }
                (_, Interest::NONE) => {
                    self.installed -= 1;
                    (fd, Change::Delete)
                }
                (_, interest) => (fd, Change::Modify { key, interest }),
            });
        }
        None
    }

    /// Records that the system refused a change: the descriptor is not registered, and no longer should be.
    /// Returns its key.
    pub(crate) fn registration_failed(&mut self, fd: RawFd) -> u64 {
        let source = &mut self.sources[fd as usize];
        self.installed -= usize::from(source.installed != Interest::NONE);
        source.installed = Interest::NONE;
        source.wanted = Interest::NONE;
        source.key
    }

    /// Returns whether no descriptor is registered with the system.
    pub(crate) fn is_empty(&self) -> bool {
        self.installed == 0
    }

    /// Panics unless the invariants hold.
    pub(crate) fn verify(&self) {
        let installed = self.sources.iter().filter(|source| source.installed != Interest::NONE).count();
        assert_eq!(installed, self.installed, "registered descriptors are counted");
        for (fd, source) in self.sources.iter().enumerate() {
            assert!(source.wanted == source.installed || source.listed, "a change of interest is listed");
            let listed = self.changed.iter().filter(|&&changed| changed == fd as RawFd).count();
            assert_eq!(listed, usize::from(source.listed), "a descriptor is listed once");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(registrations: &mut Registrations) -> Vec<(RawFd, Change)> {
        registrations.verify();
        let mut changes: Vec<_> = std::iter::from_fn(|| registrations.next_change()).collect();
        registrations.verify();
        changes.reverse();
        changes
    }

    #[test]
    fn a_stop_and_a_start_within_a_turn_change_nothing() {
        let mut registrations = Registrations::default();
        registrations.set(4, 1, Interest::READ);
        assert_eq!(changes(&mut registrations), [(4, Change::Add { key: 1, interest: Interest::READ })]);
        registrations.set(4, 1, Interest::NONE);
        registrations.set(4, 1, Interest::READ);
        assert_eq!(changes(&mut registrations), []);
    }

    #[test]
    fn only_the_last_interest_of_a_turn_is_applied() {
        let mut registrations = Registrations::default();
        registrations.set(4, 1, Interest::READ);
        changes(&mut registrations);
        registrations.set(4, 1, Interest::WRITE);
        registrations.set(4, 1, Interest(3));
        assert_eq!(changes(&mut registrations), [(4, Change::Modify { key: 1, interest: Interest(3) })]);
        registrations.set(4, 1, Interest::NONE);
        assert_eq!(changes(&mut registrations), [(4, Change::Delete)]);
    }

    #[test]
    fn a_reused_descriptor_is_registered_again() {
        let mut registrations = Registrations::default();
        registrations.set(4, 1, Interest::READ);
        changes(&mut registrations);
        registrations.set(4, 1, Interest(3));
        assert!(registrations.forget(4));
        registrations.set(4, 2, Interest::READ);
        assert_eq!(changes(&mut registrations), [(4, Change::Add { key: 2, interest: Interest::READ })]);
    }
}
