//! The files of a host, as a test sees them.

use std::{
    cell::RefMut,
    path::{Path, PathBuf},
};

use super::{AnyHost, World};
use crate::backend::sim::{self, FileOp};

/// The files of a host. From [`World::files`].
///
/// All paths start at the root of the host, relative ones too. Error numbers are the system's: `libc::EIO` is
/// 5, `libc::ENOSPC` is 28.
pub struct Files<'a> {
    shared: &'a sim::Shared,
    host: usize,
}

impl World {
    /// Returns the files of a host.
    pub fn files(&self, host: impl Into<AnyHost>) -> Files<'_> {
        Files { shared: &self.shared, host: host.into().0 }
    }
}

impl Files<'_> {
    fn tree(&self) -> RefMut<'_, sim::Tree> {
        RefMut::map(self.shared.borrow_mut(), |shared| &mut shared.machines[self.host].files)
    }

    /// Writes a file, and creates its parent directories. A crash keeps it.
    pub fn put(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
        let now = self.shared.borrow().now;
        self.tree().put(path.as_ref(), bytes.as_ref(), now);
    }

    /// Creates a directory and its parents. A crash keeps them.
    pub fn make_dir(&self, path: impl AsRef<Path>) {
        let now = self.shared.borrow().now;
        self.tree().make_dirs(path.as_ref(), now);
    }

    /// Returns the contents of a file, or None if there is no such file.
    pub fn get(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        self.tree().get(path.as_ref()).map(<[u8]>::to_vec)
    }

    /// Removes a file. Returns whether it existed. Programs that have it open keep it.
    pub fn remove(&self, path: impl AsRef<Path>) -> bool {
        self.tree().remove(path.as_ref())
    }

    /// Sets the permission bits of a file or directory. Programs are its owner.
    pub fn set_mode(&self, path: impl AsRef<Path>, mode: u32) {
        self.tree().set_mode(path.as_ref(), mode);
    }

    /// Returns the paths of all files.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.tree().paths().map(Path::to_owned).collect()
    }

    /// Makes the next `times` operations of a sort fail, on a path or anything below it.
    ///
    /// `errno` is the number of the error. A write that fails may have written a part. `libc::EINTR` is not
    /// reported: as on a system, the operation is retried.
    pub fn fail(&self, path: impl AsRef<Path>, op: FileOp, errno: i32, times: u32) {
        self.tree().fail(path.as_ref(), op, errno, times);
    }

    /// Makes one operation in `times` fail with EIO. Zero means none.
    pub fn fail_one_in(&self, times: u32) {
        self.tree().faults.fail_one_in = times;
    }

    /// Lets the host lose its power after `calls` calls of its file system. The calls after that fail with
    /// EIO, until the host [crashes](super::World::crash) and is restarted. The program runs on meanwhile, so
    /// a test can choose the moment of the crash to the call.
    ///
    /// An operation is one call or more, as on a system: [`fs::write`](crate::fs::write) opens, writes and
    /// closes. A write that loses its power may have written a part.
    ///
    /// ```
    /// use ringback::{fs, sim::World};
    ///
    /// let mut world = World::new(1);
    /// let host = world.host("one", (), |lp, _| {
    ///     fs::write(lp, "/note", "text", |_, _, written| {
    ///         assert!(written.is_err());
    ///         Ok(())
    ///     })
    ///     .map(drop)
    /// })?;
    /// world.files(host).lose_power_after(1);
    /// world.run()?;
    /// assert!(world.files(host).power_is_lost());
    /// world.crash(host);
    /// world.restart(host, (), |_, _| Ok(()))?;
    /// assert!(!world.files(host).power_is_lost());
    /// # Ok::<(), ringback::Error>(())
    /// ```
    pub fn lose_power_after(&self, calls: u32) {
        self.tree().faults.lose_power_after(calls);
    }

    /// Returns whether the host has lost its power, by [`lose_power_after`](Self::lose_power_after).
    pub fn power_is_lost(&self) -> bool {
        self.tree().faults.power_is_lost()
    }

    /// Sets how many bytes all files together may have before the disk is full.
    pub fn set_capacity(&self, bytes: u64) {
        self.tree().capacity = bytes;
    }
}
