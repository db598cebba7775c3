//! The files of a host, from outside.

use std::{cell::RefMut, path::Path};

use crate::backend::sim::{self, FileAct};

/// The files of a host. From [`World::files`](super::World::files).
///
/// Paths begin at the root of the host; relative ones, too.
pub struct Files<'a>(pub(super) RefMut<'a, sim::Tree>, pub(super) u64);

impl Files<'_> {
    /// Puts a file there, with the directories that it needs, as if it had always been there: a crash leaves it.
    pub fn put(&mut self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
        let now = self.1;
        self.0.put(path.as_ref(), bytes.as_ref(), now);
    }

    /// Makes a directory, and those above it.
    pub fn make_dir(&mut self, path: impl AsRef<Path>) {
        let now = self.1;
        self.0.make_dirs(path.as_ref(), now);
    }

    /// What a file holds. `None` if there is none.
    pub fn get(&self, path: impl AsRef<Path>) -> Option<&[u8]> {
        self.0.get(path.as_ref())
    }

    /// Takes a file away. Programs that have it open keep it.
    pub fn remove(&mut self, path: impl AsRef<Path>) -> bool {
        self.0.remove(path.as_ref())
    }

    /// Sets the permission bits of a file or directory. Those of the owner count here.
    pub fn set_mode(&mut self, path: impl AsRef<Path>, mode: u32) {
        self.0.set_mode(path.as_ref(), mode);
    }

    /// The paths of all files.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.paths()
    }

    /// Makes an act on a path, or on anything below it, fail with a number of the system's (`libc::EIO`, …) the next
    /// `times` times.
    pub fn fail(&mut self, path: impl AsRef<Path>, act: FileAct, errno: i32, times: u32) {
        self.0.fail(path.as_ref(), act, errno, times);
    }

    /// Makes one act in so many fail with EIO. Zero for none.
    pub fn fail_one_in(&mut self, times: u32) {
        self.0.fail_one_in = times;
    }

    /// How many bytes the files may hold in all, before the disk is full.
    pub fn set_capacity(&mut self, bytes: u64) {
        self.0.capacity = bytes;
    }
}
