//! What programs do to names: create, rename, link, remove. In Linux's order of checks, which decides which
//! error is returned where several are due.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    super::errno::errno,
    lookup::{Last, check_nul, check_path},
    tree::{Change, Content, Tree},
};
use crate::time::Nanos;

impl Tree {
    /// Fails unless the directory of a resolved path is there and can be written to.
    pub(super) fn may_change(&self, path: &Path) -> io::Result<()> {
        let dir = path.parent().ok_or_else(|| errno(libc::EBUSY))?;
        match &self.inodes[&self.look_up(dir)?] {
            dir if !dir.is_dir() => Err(errno(libc::ENOTDIR)),
            dir if dir.mode & 0o200 == 0 => Err(errno(libc::EACCES)),
            _ => Ok(()),
        }
    }

    fn is_dir(&self, inode: u64) -> bool {
        self.inodes[&inode].is_dir()
    }

    fn is_empty_dir(&self, path: &Path) -> bool {
        !self.names.keys().any(|other| other != path && other.starts_with(path))
    }

    /// Returns the path of a name that is to be created.
    fn free_name(&self, path: &Path, for_dir: bool) -> io::Result<PathBuf> {
        let place = self.locate(path)?;
        match place.path() {
            Some(path) if !self.names.contains_key(&path) => match place.slash && !for_dir {
                true => Err(errno(libc::ENOENT)),
                false => Ok(path),
            },
            _ => Err(errno(libc::EEXIST)),
        }
    }

    /// Creates an inode at a resolved path.
    pub(super) fn create(
        &mut self,
        path: PathBuf,
        content: Content,
        mode: u32,
        now: Nanos,
    ) -> io::Result<u64> {
        self.may_change(&path)?;
        match self.names.contains_key(&path) {
            true => Err(errno(libc::EEXIST)),
            false => Ok(self.make(path, content, mode, now)),
        }
    }

    pub(super) fn create_dir(&mut self, path: &Path, mode: u32, now: Nanos) -> io::Result<()> {
        let path = self.free_name(path, true)?;
        self.may_change(&path)?;
        self.make(path, Content::Directory, mode, now);
        Ok(())
    }

    pub(super) fn symlink(&mut self, original: &Path, link: &Path, now: Nanos) -> io::Result<()> {
        check_path(original)?;
        let link = self.free_name(link, false)?;
        self.may_change(&link)?;
        self.make(link, Content::Symlink(original.to_owned()), 0o777, now);
        Ok(())
    }

    pub(super) fn hard_link(&mut self, original: &Path, link: &Path) -> io::Result<()> {
        check_nul(link)?;
        let inode = self.look_up(&self.resolve(original, false)?)?;
        let link = self.free_name(link, false)?;
        self.may_change(&link)?;
        if self.is_dir(inode) {
            return Err(errno(libc::EPERM));
        }
        self.change(Change::Link(link, inode));
        Ok(())
    }

    pub(super) fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        let path = self.resolve(path, false)?;
        match &self.inodes[&self.look_up(&path)?].content {
            Content::Symlink(original) => Ok(original.clone()),
            _ => Err(errno(libc::EINVAL)),
        }
    }

    pub(super) fn unlink(&mut self, path: &Path) -> io::Result<()> {
        let place = self.locate(path)?;
        let path = place.path().ok_or_else(|| errno(libc::EISDIR))?;
        let is_dir = self.is_dir(self.look_up(&path)?);
        if place.slash {
            return Err(errno(if is_dir { libc::EISDIR } else { libc::ENOTDIR }));
        }
        self.may_change(&path)?;
        if is_dir {
            return Err(errno(libc::EISDIR));
        }
        self.change(Change::Unlink(path));
        self.sweep();
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        let place = self.locate(path)?;
        let path = place.path().ok_or_else(|| {
            errno(match place.last {
                Last::Dot => libc::EINVAL,
                Last::DotDot => libc::ENOTEMPTY,
                _ => libc::EBUSY,
            })
        })?;
        let inode = self.look_up(&path)?;
        self.may_change(&path)?;
        if !self.is_dir(inode) {
            return Err(errno(libc::ENOTDIR));
        }
        if !self.is_empty_dir(&path) {
            return Err(errno(libc::ENOTEMPTY));
        }
        self.change(Change::Unlink(path));
        self.sweep();
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        check_nul(to)?;
        let (from, to) = (self.locate(from)?, self.locate(to)?);
        let (Some(old), Some(new)) = (from.path(), to.path()) else { return Err(errno(libc::EBUSY)) };
        let moved = self.look_up(&old)?;
        if (from.slash || to.slash) && !self.is_dir(moved) {
            return Err(errno(libc::ENOTDIR));
        }
        // A directory cannot go below itself, nor replace one that it is below.
        if to.dir.starts_with(&old) {
            return Err(errno(libc::EINVAL));
        }
        if from.dir.starts_with(&new) {
            return Err(errno(libc::ENOTEMPTY));
        }
        let replaced = self.look_up(&new).ok();
        if replaced == Some(moved) {
            return Ok(());
        }
        self.may_change(&old)?;
        self.may_change(&new)?;
        if let Some(replaced) = replaced {
            match (self.is_dir(moved), self.is_dir(replaced)) {
                (true, false) => return Err(errno(libc::ENOTDIR)),
                (false, true) => return Err(errno(libc::EISDIR)),
                (true, true) if !self.is_empty_dir(&new) => return Err(errno(libc::ENOTEMPTY)),
                _ => {}
            }
        }
        // Its `..` would change.
        if self.is_dir(moved) && from.dir != to.dir && self.inodes[&moved].mode & 0o200 == 0 {
            return Err(errno(libc::EACCES));
        }
        self.change(Change::Rename(old, new));
        self.sweep();
        Ok(())
    }
}
