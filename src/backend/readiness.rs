//! What a descriptor is registered for, and what it is ready for.

/// What to report of a descriptor: a set of bits, compared once an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interest(pub(crate) u8);

impl Interest {
    pub(crate) const NONE: Interest = Interest(0);
    pub(crate) const READ: Interest = Interest(1);
    pub(crate) const WRITE: Interest = Interest(2);
    pub(crate) const PRIORITY: Interest = Interest(4);
    pub(crate) const HANGUP: Interest = Interest(8);

    pub(crate) fn with(self, other: Interest, wanted: bool) -> Interest {
        if wanted { Interest(self.0 | other.0) } else { self }
    }

    pub(crate) fn has(self, other: Interest) -> bool {
        self.0 & other.0 != 0
    }
}

/// What a descriptor is ready for. After an error or a hang-up it counts as ready for everything: the next
/// operation returns the error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Readiness(pub(crate) u8);

impl Readiness {
    pub(crate) const READ: Readiness = Readiness(1);
    pub(crate) const WRITE: Readiness = Readiness(2);
    pub(crate) const PRIORITY: Readiness = Readiness(4);
    pub(crate) const HANGUP: Readiness = Readiness(8);
    pub(crate) const ERROR: Readiness = Readiness(16);

    pub(crate) fn has(self, other: Readiness) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn readable(self) -> bool {
        self.has(Readiness(Readiness::READ.0 | Readiness::HANGUP.0 | Readiness::ERROR.0))
    }

    pub(crate) fn writable(self) -> bool {
        self.has(Readiness(Readiness::WRITE.0 | Readiness::HANGUP.0 | Readiness::ERROR.0))
    }
}
