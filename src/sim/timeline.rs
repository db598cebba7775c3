//! What happened in a world, for people.

use std::{fmt, time::Duration};

use super::AnyHost;
use crate::backend::sim::Note;

/// What happened, in order: when, on which host, what, and where in the program it was started.
///
/// From [`World::timeline`](super::World::timeline). Its `Display` has a line for each.
#[derive(Clone, Debug)]
pub struct Timeline {
    pub(super) names: Vec<String>,
    pub(super) notes: Vec<Note>,
    /// How many came before the first that is kept.
    pub(super) forgotten: u64,
}

impl Timeline {
    /// The last `count` lines alone.
    pub fn last(mut self, count: usize) -> Timeline {
        let dropped = self.notes.len().saturating_sub(count);
        self.notes.drain(..dropped);
        self.forgotten += dropped as u64;
        self
    }

    /// The lines of one host alone.
    pub fn of(mut self, host: impl Into<AnyHost>) -> Timeline {
        let number = host.into().0;
        self.notes.retain(|note| note.host == number);
        self
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.notes.len()
    }

    /// Whether nothing has happened.
    pub fn is_empty(&self) -> bool {
        self.notes.is_empty()
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.forgotten > 0 {
            writeln!(out, "… {} before", self.forgotten)?;
        }
        let width = self.names.iter().map(String::len).max().unwrap_or(0);
        for note in &self.notes {
            let at = Duration::from_nanos(note.at);
            let name = self.names.get(note.host).map_or("", String::as_str);
            writeln!(out, "{:>6}.{:09} s  {name:width$}  {}", at.as_secs(), at.subsec_nanos(), note.what)?;
        }
        Ok(())
    }
}
