//! The state of a handle: the flags and the one rule about what holds a loop.

/// Idle → active → closing, and whether it counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    /// Started: events may come by themselves.
    pub(crate) active: bool,
    /// The application said that this handle alone need not hold the loop.
    pub(crate) unreferenced: bool,
    /// Owes something: bytes not yet sent, a connection not yet made. Holds the loop, referenced or not,
    /// as requests do.
    pub(crate) outstanding: bool,
    /// `close` was called; the end is not yet told.
    pub(crate) closing: bool,
}

impl Flags {
    /// Whether a handle in this state keeps the loop alive.
    pub(crate) fn keeps_alive(self) -> bool {
        self.closing || self.outstanding || (self.active && !self.unreferenced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_active_handle_holds_unless_unreferenced() {
        assert!(Flags { active: true, ..Flags::default() }.keeps_alive());
        assert!(!Flags { active: true, unreferenced: true, ..Flags::default() }.keeps_alive());
        assert!(!Flags::default().keeps_alive());
    }

    #[test]
    fn what_is_owed_holds_even_if_unreferenced() {
        assert!(Flags { unreferenced: true, outstanding: true, ..Flags::default() }.keeps_alive());
        assert!(Flags { unreferenced: true, closing: true, ..Flags::default() }.keeps_alive());
    }
}
