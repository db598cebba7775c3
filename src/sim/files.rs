//! The files of a host, from outside.

use std::{
    cell::RefMut,
    path::{Path, PathBuf},
};

use crate::backend::sim::{self, FileOp};

/// The files of a host. From [`World::files`](super::World::files).
///
/// Paths begin at the root of the host; relative ones, too. Numbers of errors are the system's: `libc::EIO` is 5,
/// `libc::ENOSPC` is 28.
pub struct Files<'a> {
    pub(super) shared: &'a sim::Shared,
    pub(super) host: usize,
}

impl Files<'_> {
    fn tree(&self) -> RefMut<'_, sim::Tree> {
        RefMut::map(self.shared.borrow_mut(), |shared| &mut shared.machines[self.host].files)
    }

    /// Puts a file there, with the directories that it needs, as if it had always been there: a crash leaves it.
    pub fn put(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
        let now = self.shared.borrow().now;
        self.tree().put(path.as_ref(), bytes.as_ref(), now);
    }

    /// Makes a directory, and those above it. A crash leaves it.
    pub fn make_dir(&self, path: impl AsRef<Path>) {
        let now = self.shared.borrow().now;
        self.tree().make_dirs(path.as_ref(), now);
    }

    /// What a file holds. `None` if there is none.
    pub fn get(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        self.tree().get(path.as_ref()).map(<[u8]>::to_vec)
    }

    /// Takes a file away. Programs that have it open keep it.
    pub fn remove(&self, path: impl AsRef<Path>) -> bool {
        self.tree().remove(path.as_ref())
    }

    /// Sets the permission bits of a file or directory. Those of the owner count here.
    pub fn set_mode(&self, path: impl AsRef<Path>, mode: u32) {
        self.tree().set_mode(path.as_ref(), mode);
    }

    /// The paths of all files.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.tree().paths().map(Path::to_owned).collect()
    }

    /// Makes an op on a path, or on anything below it, fail with a number of the system's (`libc::EIO`, …) the next
    /// `times` times. Of a write that fails, a part may have been written. Interruptions (`libc::EINTR`) are not told to
    /// programs: the operation begins again, as on a system.
    pub fn fail(&self, path: impl AsRef<Path>, op: FileOp, errno: i32, times: u32) {
        self.tree().fail(path.as_ref(), op, errno, times);
    }

    /// Makes one act in so many fail with EIO. Zero for none.
    pub fn fail_one_in(&self, times: u32) {
        self.tree().faults.fail_one_in = times;
    }

    /// How many bytes the files may hold in all, before the disk is full.
    pub fn set_capacity(&self, bytes: u64) {
        self.tree().capacity = bytes;
    }
}
