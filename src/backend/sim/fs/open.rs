//! The files that programs have open.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Weak},
};

use super::super::errno;
use crate::fs::OpenOptions;

/// A file of a world, open in a program. Closed when it is dropped, which may be anywhere: the world finds
/// out by itself.
#[derive(Debug)]
pub(crate) struct OpenFile {
    number: u64,
    _open: Arc<()>,
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) inode: u64,
    pub(super) path: PathBuf,
    pub(super) read: bool,
    pub(super) write: bool,
    pub(super) append: bool,
    is_open: Weak<()>,
}

/// The files that programs have open, by number.
#[derive(Debug, Default)]
pub(crate) struct OpenFiles {
    files: BTreeMap<u64, Open>,
    numbers: u64,
}

impl OpenFiles {
    pub(super) fn clear(&mut self) {
        self.files.clear();
    }

    pub(super) fn sweep(&mut self) {
        self.files.retain(|_, open| open.is_open.strong_count() > 0);
    }

    pub(super) fn inodes(&self) -> impl Iterator<Item = u64> {
        self.files.values().map(|open| open.inode)
    }

    pub(super) fn count(&self) -> usize {
        self.files.values().filter(|open| open.is_open.strong_count() > 0).count()
    }

    pub(super) fn add(&mut self, inode: u64, path: PathBuf, options: &OpenOptions) -> OpenFile {
        self.numbers += 1;
        let alive = Arc::new(());
        let OpenOptions { read, write, append, .. } = *options;
        let open = Open { inode, path, read, write, append, is_open: Arc::downgrade(&alive) };
        self.files.insert(self.numbers, open);
        OpenFile { number: self.numbers, _open: alive }
    }

    pub(super) fn get(&self, file: &OpenFile) -> io::Result<&Open> {
        self.files.get(&file.number).ok_or_else(|| errno(libc::EBADF))
    }
}
