//! What the system should watch against what it watches: the difference, once a turn.
//!
//! Indexed by descriptor, as the kernel is. A stop and a start within one turn cost nothing.

use crate::backend::Interest;

/// One descriptor.
#[derive(Clone, Copy, Debug, Default)]
struct Source {
    key: u64,
    wanted: Interest,
    installed: Interest,
    listed: bool,
}

/// What to tell the system about a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Add { key: u64, interest: Interest },
    Modify { key: u64, interest: Interest },
    Delete,
}

/// All descriptors.
///
/// 1. `wanted != installed` only of those that are `listed`, and those are in `changed`, once.
/// 2. `installed` is the number of those that the system watches.
#[derive(Debug, Default)]
pub(crate) struct Registrations {
    sources: Vec<Source>,
    changed: Vec<i32>,
    installed: usize,
}

impl Registrations {
    pub(crate) fn want(&mut self, fd: i32, key: u64, interest: Interest) {
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

    /// The descriptor is about to be closed. Says whether the system watches it.
    pub(crate) fn forget(&mut self, fd: i32) -> bool {
        let Some(source) = self.sources.get_mut(fd as usize) else { return false };
        let watched = source.installed != Interest::NONE;
        self.installed -= usize::from(watched);
        // `listed` stays: the entry in `changed` is passed over when its turn comes.
        *source = Source { listed: source.listed, ..Source::default() };
        watched
    }

    /// The next difference. It counts as made once it is taken.
    pub(crate) fn next_change(&mut self) -> Option<(i32, Change)> {
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

    /// The system refused the change: it watches nothing, and nothing is wanted. Gives the key.
    pub(crate) fn refused(&mut self, fd: i32) -> u64 {
        let source = &mut self.sources[fd as usize];
        self.installed -= usize::from(source.installed != Interest::NONE);
        source.installed = Interest::NONE;
        source.wanted = Interest::NONE;
        source.key
    }

    /// Whether the system watches nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.installed == 0
    }

    /// Panics unless the invariants hold.
    pub(crate) fn verify(&self) {
        let installed = self.sources.iter().filter(|source| source.installed != Interest::NONE).count();
        assert_eq!(installed, self.installed, "what the system watches is counted");
        for (fd, source) in self.sources.iter().enumerate() {
            assert!(source.wanted == source.installed || source.listed, "a change of interest is listed");
            let listed = self.changed.iter().filter(|&&changed| changed == fd as i32).count();
            assert_eq!(listed, usize::from(source.listed), "a descriptor is listed once");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(interests: &mut Registrations) -> Vec<(i32, Change)> {
        interests.verify();
        let mut changes: Vec<_> = std::iter::from_fn(|| interests.next_change()).collect();
        interests.verify();
        changes.reverse();
        changes
    }

    #[test]
    fn a_stop_and_a_start_within_a_turn_cost_nothing() {
        let mut interests = Registrations::default();
        interests.want(4, 1, Interest::READ);
        assert_eq!(changes(&mut interests), [(4, Change::Add { key: 1, interest: Interest::READ })]);
        interests.want(4, 1, Interest::NONE);
        interests.want(4, 1, Interest::READ);
        assert_eq!(changes(&mut interests), []);
    }

    #[test]
    fn only_the_last_wish_of_a_turn_reaches_the_system() {
        let mut interests = Registrations::default();
        interests.want(4, 1, Interest::READ);
        changes(&mut interests);
        interests.want(4, 1, Interest::WRITE);
        interests.want(4, 1, Interest(3));
        assert_eq!(changes(&mut interests), [(4, Change::Modify { key: 1, interest: Interest(3) })]);
        interests.want(4, 1, Interest::NONE);
        assert_eq!(changes(&mut interests), [(4, Change::Delete)]);
    }

    #[test]
    fn a_descriptor_that_is_used_again_within_a_turn_starts_afresh() {
        let mut interests = Registrations::default();
        interests.want(4, 1, Interest::READ);
        changes(&mut interests);
        interests.want(4, 1, Interest(3));
        assert!(interests.forget(4));
        interests.want(4, 2, Interest::READ);
        assert_eq!(changes(&mut interests), [(4, Change::Add { key: 2, interest: Interest::READ })]);
    }
}
