//! The flags of a handle, and the one rule about what keeps a loop alive.

/// A handle's progress from idle to active to closing, and whether it keeps the loop alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    /// Started: events may arrive.
    pub(crate) active: bool,
    /// The application called `unref`: being active does not keep the loop alive.
    pub(crate) unreferenced: bool,
    /// Has outstanding work: unsent bytes, a connect in progress. Keeps the loop alive even when
    /// unreferenced, as a request does.
    pub(crate) outstanding: bool,
    /// `close` was called, and the closing phase has not removed the handle yet.
    pub(crate) closing: bool,
}

impl Flags {
    /// Returns whether a handle with these flags keeps the loop alive.
    pub(crate) fn keeps_alive(self) -> bool {
        self.closing || self.outstanding || (self.active && !self.unreferenced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_active_handle_keeps_the_loop_alive_unless_unreferenced() {
        assert!(Flags { active: true, ..Flags::default() }.keeps_alive());
        assert!(!Flags { active: true, unreferenced: true, ..Flags::default() }.keeps_alive());
        assert!(!Flags::default().keeps_alive());
    }

    #[test]
    fn outstanding_work_keeps_the_loop_alive_when_unreferenced() {
        assert!(Flags { unreferenced: true, outstanding: true, ..Flags::default() }.keeps_alive());
        assert!(Flags { unreferenced: true, closing: true, ..Flags::default() }.keeps_alive());
    }
}
