//! The state of a handle: the flags and the one rule about what holds a loop.

/// Idle → active → closing, and whether it counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Started: events may come by themselves.
    pub(crate) active: bool,
    /// The application said that this handle alone need not hold the loop.
    pub(crate) unreferenced: bool,
    /// Owes something: bytes not yet sent, a connection not yet made. Holds the loop, referenced or not,
    /// as requests do.
    pub(crate) owing: bool,
    /// `close` was called; the end is not yet told.
    pub(crate) closing: bool,
}

impl State {
    /// Whether a handle in this state keeps the loop alive.
    pub(crate) fn holds(self) -> bool {
        self.closing || self.owing || (self.active && !self.unreferenced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_active_handle_holds_unless_unreferenced() {
        assert!(State { active: true, ..State::default() }.holds());
        assert!(!State { active: true, unreferenced: true, ..State::default() }.holds());
        assert!(!State::default().holds());
    }

    #[test]
    fn what_is_owed_holds_even_if_unreferenced() {
        assert!(State { unreferenced: true, owing: true, ..State::default() }.holds());
        assert!(State { unreferenced: true, closing: true, ..State::default() }.holds());
    }
}
