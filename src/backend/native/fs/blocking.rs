//! The system's files, for workers, which may block. What the kernel has in memory, the loop does: see
//! `cached`.

use std::{
    fs::{self, OpenOptions as StdOptions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use super::{Descriptor as NativeDescriptor, cached::classify_fs, descriptor::read_full};
use crate::{
    backend::{Descriptor, files::FileSystem},
    fs::{Metadata, OpenOptions},
};

/// The system's files, for threads that may block.
pub(crate) struct Blocking;

impl FileSystem for Blocking {
    fn open(&mut self, path: &Path, options: &OpenOptions) -> io::Result<Descriptor> {
        let file = StdOptions::new()
            .read(options.read)
            .write(options.write)
            .append(options.append)
            .truncate(options.truncate)
            .create(options.create)
            .create_new(options.create_new)
            .mode(options.mode)
            .open(path)?;
        classify_fs(path);
        Ok(NativeDescriptor::from_file(file).for_jobs())
    }

    fn close(&mut self, file: Descriptor) -> io::Result<()> {
        file.into_system().close()
    }

    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let bytes = fs::read(path)?;
        classify_fs(path);
        Ok(bytes)
    }

    fn read_at(&mut self, file: &Descriptor, buffer: &mut Vec<u8>, offset: u64) -> io::Result<()> {
        read_full(buffer, offset, |room, offset| file.of_system().pread(room, offset))
    }

    fn write_at(&mut self, file: &Descriptor, bytes: &[u8], offset: u64) -> io::Result<()> {
        write_all(bytes, |rest, done| file.of_system().pwrite(rest, offset.saturating_add(done as u64)))
    }

    fn append(&mut self, file: &Descriptor, bytes: &[u8]) -> io::Result<()> {
        write_all(bytes, |rest, _| file.of_system().write(rest))
    }

    fn sync(&mut self, file: &Descriptor, data_only: bool) -> io::Result<()> {
        file.of_system().with_file(|file| if data_only { file.sync_data() } else { file.sync_all() })
    }

    fn set_len(&mut self, file: &Descriptor, len: u64) -> io::Result<()> {
        file.of_system().with_file(|file| file.set_len(len))
    }

    fn metadata(&mut self, path: &Path, follow: bool) -> io::Result<Metadata> {
        let found = if follow { fs::metadata(path) } else { fs::symlink_metadata(path) };
        classify_fs(path);
        found.map(Metadata::from)
    }

    fn file_metadata(&mut self, file: &Descriptor) -> io::Result<Metadata> {
        file.of_system().with_file(|file| file.metadata().map(Metadata::from))
    }

    fn set_mode(&mut self, file: &Descriptor, mode: u32) -> io::Result<()> {
        file.of_system().with_file(|file| file.set_permissions(fs::Permissions::from_mode(mode)))
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn hard_link(&mut self, original: &Path, link: &Path) -> io::Result<()> {
        fs::hard_link(original, link)
    }

    fn symlink(&mut self, original: &Path, link: &Path) -> io::Result<()> {
        symlink(original, link)
    }

    fn read_link(&mut self, path: &Path) -> io::Result<PathBuf> {
        fs::read_link(path)
    }

    fn canonicalize(&mut self, path: &Path) -> io::Result<PathBuf> {
        fs::canonicalize(path)
    }

    fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        match fs::File::open(path)?.sync_all() {
            // A file system that cannot sync directories, see fsync(2). Then nothing more can be done.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        }
    }

    fn unique_name(&mut self) -> io::Result<String> {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        Ok(format!("{}-{}", process::id(), CALLS.fetch_add(1, Ordering::Relaxed)))
    }
}

fn write_all(bytes: &[u8], mut write: impl FnMut(&[u8], usize) -> io::Result<usize>) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match write(&bytes[done..], done) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
