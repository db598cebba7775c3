//! Files: what a worker does. What can be done at once, because the kernel has it in memory, is in `cached`.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    path::Path,
};

use super::{super::sys::cvt, Descriptor, cached};
use crate::{
    backend::job::{Job, Outcome, failed, failed_on},
    error::Error,
    fs::{Metadata, OpenOptions},
};

fn open(path: &Path, options: &OpenOptions) -> io::Result<Descriptor> {
    let file = fs::OpenOptions::new()
        .read(options.read)
        .write(options.write)
        .append(options.append)
        .truncate(options.truncate)
        .create(options.create)
        .create_new(options.create_new)
        .mode(options.mode)
        .open(path)?;
    Ok(Descriptor::from_file(file))
}

/// Does a file's job, blocking as long as it takes.
pub(crate) fn perform(job: Job) -> Result<Outcome, Error> {
    match job {
        Job::Call(_) => unreachable!("a closure is not a file's job"),
        Job::Open { path, options } => {
            let file = open(&path, &options).map_err(failed_on("open", &path))?;
            cached::learn(&path);
            Ok(Outcome::File(file.for_jobs(), path))
        }
        Job::ReadAll { path } => {
            let bytes = fs::read(&path).map_err(failed_on("read", &path))?;
            cached::learn(&path);
            Ok(Outcome::Bytes(bytes))
        }
        Job::WriteAll { path, bytes } => {
            let written = File::create(&path).and_then(|mut file| {
                file.write_all(&bytes)?;
                close(file.into())
            });
            written.map(|()| Outcome::Done).map_err(failed_on("write", &path))
        }
        Job::Stat { path, follow } => {
            let found = if follow { fs::metadata(&path) } else { fs::symlink_metadata(&path) };
            cached::learn(&path);
            found.map(|found| Outcome::Metadata(Metadata::from(found))).map_err(failed_on("metadata", &path))
        }
        Job::StatFile { file } => file
            .of_system()
            .fd
            .try_clone()
            .and_then(|fd| File::from(fd).metadata())
            .map(|found| Outcome::Metadata(Metadata::from(found)))
            .map_err(failed("metadata")),
        Job::ReadAt { file, mut buffer, offset } => {
            read_on(file.of_system(), &mut buffer, offset, pread).map_err(failed("read"))?;
            Ok(Outcome::Bytes(buffer))
        }
        Job::WriteAt { file, bytes, offset } => {
            write_all(&bytes, |rest, done| pwrite(file.of_system(), rest, offset + done as u64))
                .map_err(failed("write"))?;
            Ok(Outcome::Count(bytes.len()))
        }
        Job::Append { file, bytes } => {
            write_all(&bytes, |rest, _| write(file.of_system(), rest)).map_err(failed("append"))?;
            Ok(Outcome::Count(bytes.len()))
        }
        Job::Sync { file, data_only } => {
            sync(file.of_system(), data_only).map_err(failed("sync"))?;
            Ok(Outcome::Done)
        }
        Job::SetLen { file, len } => {
            let file = file.of_system().fd.try_clone().map(File::from).map_err(failed("set length"))?;
            file.set_len(len).map_err(failed("set length"))?;
            Ok(Outcome::Done)
        }
        Job::Close { file } => match std::sync::Arc::into_inner(file) {
            Some(file) => close(file.into_system().fd).map(|()| Outcome::Done).map_err(failed("close")),
            // Never so: a file's close waits for its other jobs.
            None => Ok(Outcome::Done),
        },
    }
}

/// Closes, and says what `close` said: a disk that was full, a server that went away.
fn close(fd: OwnedFd) -> io::Result<()> {
    use std::os::fd::IntoRawFd;
    // SAFETY: the descriptor was owned here and is given up, whatever `close` answers.
    let result = unsafe { libc::close(fd.into_raw_fd()) };
    match cvt(result) {
        // Closed all the same; to close again would close somebody else's.
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        other => other.map(drop),
    }
}

fn sync(file: &Descriptor, data_only: bool) -> io::Result<()> {
    let file = File::from(file.fd.try_clone()?);
    if data_only { file.sync_data() } else { file.sync_all() }
}

/// Reads from `offset + buffer.len()` on, until the buffer's capacity is filled or the file ends.
/// Afterwards the buffer holds what was read, also when an error ends it.
pub(super) fn read_on(
    file: &Descriptor,
    buffer: &mut Vec<u8>,
    offset: u64,
    mut read: impl FnMut(&Descriptor, *mut u8, usize, u64) -> io::Result<usize>,
) -> io::Result<()> {
    while buffer.len() < buffer.capacity() {
        let room = buffer.spare_capacity_mut();
        let count = match read(file, room.as_mut_ptr().cast(), room.len(), offset + (buffer.len() as u64)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if count == 0 {
            return Ok(());
        }
        // SAFETY: `read` wrote `count` bytes at the start of the room, no more than it was told of.
        unsafe { buffer.set_len(buffer.len() + count) };
    }
    Ok(())
}

fn pread(file: &Descriptor, room: *mut u8, len: usize, offset: u64) -> io::Result<usize> {
    let offset = libc::off_t::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: `read_on` gives a room of `len` bytes; the descriptor is open, being borrowed.
    let read = || cvt(unsafe { libc::pread(file.fd.as_raw_fd(), room.cast(), len, offset) });
    let count = match read() {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock && file.nonblocking => {
            // A file system that takes notice of the flag.
            super::super::sys::set_nonblocking(file.fd.as_fd(), false)?;
            read()
        }
        other => other,
    };
    Ok(count? as usize)
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

fn pwrite(file: &Descriptor, bytes: &[u8], offset: u64) -> io::Result<usize> {
    let offset = libc::off_t::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: `bytes` has `len` bytes to read; the descriptor is open, being borrowed.
    let count = unsafe { libc::pwrite(file.fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), offset) };
    Ok(cvt(count)? as usize)
}

fn write(file: &Descriptor, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: `bytes` has `len` bytes to read; the descriptor is open, being borrowed.
    let count = unsafe { libc::write(file.fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
    Ok(cvt(count)? as usize)
}
