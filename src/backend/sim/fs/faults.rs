//! What goes wrong with the files of a machine: on request, by chance, and when the power is lost.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::super::{errno::errno, random::Random};

/// An operation on files that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileOp {
    /// Opening a file; reading or writing one as a whole begins with this.
    Open,
    /// Reading.
    Read,
    /// Writing, appending, changing the length.
    Write,
    /// Waiting until a file or a directory is on the disk.
    Sync,
    /// Closing a file that was written to.
    Close,
    /// Reading metadata, a symbolic link, or a canonical path; setting permission bits.
    Metadata,
    /// Renaming.
    Rename,
    /// Removing a file or a directory.
    Remove,
    /// Creating a directory, a hard link or a symbolic link.
    Create,
}

/// A failure on request.
#[derive(Clone, Debug)]
struct Fault {
    path: PathBuf,
    op: FileOp,
    errno: i32,
    /// How many more times it happens.
    times: u32,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    requested: Vec<Fault>,
    /// One in so many operations fails.
    pub(crate) fail_one_in: u32,
    /// How many more calls the machine has power for, if it is to lose it.
    power: Option<u32>,
}

impl Faults {
    pub(super) fn add(&mut self, path: PathBuf, op: FileOp, errno: i32, times: u32) {
        self.requested.push(Fault { path, op, errno, times });
    }

    /// The power is lost after this many calls: they and all later ones fail, until the machine is started
    /// again.
    pub(crate) fn lose_power_after(&mut self, calls: u32) {
        self.power = Some(calls);
    }

    pub(crate) fn power_is_lost(&self) -> bool {
        self.power == Some(0)
    }

    pub(super) fn restore_power(&mut self) {
        self.power = None;
    }

    /// Fails if this call, on one path or on two, is to fail now.
    pub(super) fn check(&mut self, paths: &[&Path], op: FileOp, random: &mut Random) -> io::Result<()> {
        match &mut self.power {
            Some(0) => return Err(errno(libc::EIO)),
            Some(calls) => *calls -= 1,
            None => {}
        }
        let is_due = |fault: &&mut Fault| {
            fault.op == op && fault.times > 0 && paths.iter().any(|path| path.starts_with(&fault.path))
        };
        while let Some(fault) = self.requested.iter_mut().find(is_due) {
            fault.times -= 1;
            random.count_fault("file operation");
            // An interrupted call is repeated, as the system's workers do.
            if fault.errno != libc::EINTR {
                return Err(errno(fault.errno));
            }
        }
        if random.fault("file operation", self.fail_one_in) {
            return Err(errno(libc::EIO));
        }
        Ok(())
    }
}
