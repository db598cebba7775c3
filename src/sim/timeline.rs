//! The trace of a world, for people to read.

use std::{fmt, time::Duration};

use super::AnyHost;
use crate::backend::sim::TraceEntry;

/// What happened in a world, in order: when, on which host, what, and which line of the program started it.
///
/// From [`World::timeline`](super::World::timeline). Its `Display` prints a line for each entry.
#[derive(Clone, Debug)]
pub struct Timeline {
    pub(super) names: Vec<String>,
    pub(super) entries: Vec<TraceEntry>,
    /// The number of earlier entries that are left out.
    pub(super) omitted: u64,
}

impl Timeline {
    /// Keeps the last `count` entries.
    pub fn last(mut self, count: usize) -> Timeline {
        let dropped = self.entries.len().saturating_sub(count);
        self.entries.drain(..dropped);
        self.omitted += dropped as u64;
        self
    }

    /// Keeps the entries of one host.
    pub fn of(mut self, host: impl Into<AnyHost>) -> Timeline {
        let number = host.into().0;
        self.entries.retain(|entry| entry.host == number);
        self
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.omitted > 0 {
            writeln!(out, "… {} earlier entries", self.omitted)?;
        }
        let width = self.names.iter().map(String::len).max().unwrap_or(0);
        for TraceEntry { at, host, event } in &self.entries {
            let at = Duration::from_nanos(*at);
            let name = self.names.get(*host).map_or("", String::as_str);
            writeln!(out, "{:>6}.{:09} s  {name:width$}  {event}", at.as_secs(), at.subsec_nanos())?;
        }
        Ok(())
    }
}
