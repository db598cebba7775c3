//! Stands in for `cached.rs` where the system does not report what would block: workers do every operation.

use std::{io, path::Path};

use crate::{
    backend::{Descriptor, files::FileSystem},
    fs::{Metadata, OpenOptions},
};

/// A file system that has nothing in memory.
pub(crate) struct Cached;

fn ask_a_worker<T>() -> io::Result<T> {
    Err(io::ErrorKind::WouldBlock.into())
}

/// File systems need no classification here.
pub(super) fn classify_fs(_: &Path) {}

impl FileSystem for Cached {
    fn open(&mut self, _: &Path, _: &OpenOptions) -> io::Result<Descriptor> {
        ask_a_worker()
    }

    fn close(&mut self, _: Descriptor) -> io::Result<()> {
        ask_a_worker()
    }

    fn read(&mut self, _: &Path) -> io::Result<Vec<u8>> {
        ask_a_worker()
    }

    fn read_at(&mut self, _: &Descriptor, _: &mut Vec<u8>, _: u64) -> io::Result<()> {
        ask_a_worker()
    }

    fn write_at(&mut self, _: &Descriptor, _: &[u8], _: u64) -> io::Result<()> {
        ask_a_worker()
    }

    fn append(&mut self, _: &Descriptor, _: &[u8]) -> io::Result<()> {
        ask_a_worker()
    }

    fn sync(&mut self, _: &Descriptor, _: bool) -> io::Result<()> {
        ask_a_worker()
    }

    fn set_len(&mut self, _: &Descriptor, _: u64) -> io::Result<()> {
        ask_a_worker()
    }

    fn metadata(&mut self, _: &Path, _: bool) -> io::Result<Metadata> {
        ask_a_worker()
    }

    fn file_metadata(&mut self, _: &Descriptor) -> io::Result<Metadata> {
        ask_a_worker()
    }
}
