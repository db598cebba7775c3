//! Files: what a worker does, and what can be done at once because the kernel has it in memory.
//!
//! `attempt` never blocks: `openat2(RESOLVE_CACHED)` opens only what the path cache holds, and
//! `preadv2(RWF_NOWAIT)` reads only what the page cache holds. A thread's round trip costs 15 µs and
//! more, a cached read a quarter of one. What they refuse goes to a worker.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    path::Path,
};

use super::cvt;
use crate::{
    backend::job::{Job, Outcome},
    error::Error,
    fs::{Metadata, OpenOptions},
};

/// An open file, owned.
#[derive(Debug)]
pub(crate) struct Descriptor(OwnedFd);

impl Descriptor {
    pub(crate) fn from_file(file: File) -> Descriptor {
        Descriptor(file.into())
    }

    pub(crate) fn into_file(self) -> File {
        File::from(self.0)
    }
}

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
    Ok(Descriptor(file.into()))
}

/// Does a file's job, blocking as long as it takes.
pub(crate) fn perform(job: Job) -> Result<Outcome, Error> {
    let on = |act, path: &Path| {
        let subject = path.display().to_string();
        move |source| Error::System { act, subject, source }
    };
    let of = |act| move |source| Error::system(act, source);
    match job {
        Job::Call(_) => unreachable!("a closure is not a file's job"),
        Job::Open { path, options } => open(&path, &options).map(Outcome::File).map_err(on("open", &path)),
        Job::ReadAll { path } => fs::read(&path).map(Outcome::Bytes).map_err(on("read", &path)),
        Job::WriteAll { path, bytes } => {
            let written = File::create(&path).and_then(|mut file| {
                file.write_all(&bytes)?;
                close(file.into())
            });
            written.map(|()| Outcome::Done).map_err(on("write", &path))
        }
        Job::Stat { path, follow } => {
            let found = if follow { fs::metadata(&path) } else { fs::symlink_metadata(&path) };
            found.map(|found| Outcome::Metadata(Metadata::from(found))).map_err(on("metadata", &path))
        }
        Job::StatFile { file } => file
            .0
            .try_clone()
            .and_then(|fd| File::from(fd).metadata())
            .map(|found| Outcome::Metadata(Metadata::from(found)))
            .map_err(of("metadata")),
        Job::ReadAt { file, mut buffer, offset } => {
            read_on(&file, &mut buffer, offset, pread).map_err(of("read"))?;
            Ok(Outcome::Bytes(buffer))
        }
        Job::WriteAt { file, bytes, offset } => {
            write_all(&bytes, |rest, done| pwrite(&file, rest, offset + done as u64)).map_err(of("write"))?;
            Ok(Outcome::Count(bytes.len()))
        }
        Job::Append { file, bytes } => {
            write_all(&bytes, |rest, _| write(&file, rest)).map_err(of("append"))?;
            Ok(Outcome::Count(bytes.len()))
        }
        Job::Sync { file, data_only } => {
            sync(&file, data_only).map_err(of("sync"))?;
            Ok(Outcome::Done)
        }
        Job::SetLen { file, len } => {
            let file = file.0.try_clone().map(File::from).map_err(of("set length"))?;
            file.set_len(len).map_err(of("set length"))?;
            Ok(Outcome::Done)
        }
        Job::Close { file } => match std::sync::Arc::into_inner(file) {
            Some(file) => close(file.0).map(|()| Outcome::Done).map_err(of("close")),
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
    let file = File::from(file.0.try_clone()?);
    if data_only { file.sync_data() } else { file.sync_all() }
}

/// Reads from `offset + buffer.len()` on, until the buffer's capacity is filled or the file ends.
/// Afterwards the buffer holds what was read, also when an error ends it.
fn read_on(
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
    let count = unsafe { libc::pread(file.0.as_raw_fd(), room.cast(), len, offset) };
    Ok(cvt(count)? as usize)
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
    let count = unsafe { libc::pwrite(file.0.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), offset) };
    Ok(cvt(count)? as usize)
}

fn write(file: &Descriptor, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: `bytes` has `len` bytes to read; the descriptor is open, being borrowed.
    let count = unsafe { libc::write(file.0.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
    Ok(cvt(count)? as usize)
}

/// Does the job now if that cannot block; otherwise leaves it as it was, or further on.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn attempt(job: &mut Job) -> Option<Result<Outcome, Error>> {
    cached::attempt(job)
}

/// Does the job now if that cannot block: elsewhere nobody can tell.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn attempt(_: &mut Job) -> Option<Result<Outcome, Error>> {
    None
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod cached {
    use std::{
        ffi::CString,
        mem,
        os::{fd::FromRawFd, unix::ffi::OsStrExt},
        sync::atomic::{AtomicBool, Ordering},
    };

    use super::*;

    /// Copying more than this at once would hold up the loop for longer than a thread's round trip.
    const READ_MAX: usize = 256 << 10;

    /// Linux before 5.12, and some filters, do not know how.
    static MISSING: AtomicBool = AtomicBool::new(false);

    pub(super) fn attempt(job: &mut Job) -> Option<Result<Outcome, Error>> {
        match job {
            Job::ReadAll { path } => {
                let (file, len) = open_regular(path)?;
                // One byte more than its length, so that the end of the file is seen within it.
                let mut buffer =
                    Vec::with_capacity(usize::try_from(len).ok().filter(|&len| len < READ_MAX)? + 1);
                read_on(&file, &mut buffer, 0, pread_cached).ok()?;
                // Full means that it grew meanwhile: a worker reads to whatever the end is by then.
                (buffer.len() < buffer.capacity()).then_some(Ok(Outcome::Bytes(buffer)))
            }
            Job::Open { path, options } if options.only_reads() => {
                let (file, _) = open_regular(path)?;
                clear_nonblocking(&file).ok()?;
                Some(Ok(Outcome::File(file)))
            }
            Job::ReadAt { file, buffer, offset } => {
                if buffer.capacity() > READ_MAX {
                    return None;
                }
                // What it read stays in the buffer, and the worker goes on from there.
                read_on(file, buffer, *offset, pread_cached).ok()?;
                Some(Ok(Outcome::Bytes(mem::take(buffer))))
            }
            _ => None,
        }
    }

    /// Opens a regular file for reading, if the path is in the cache. Anything else is not even
    /// opened: to open a pipe or a device is an act that somebody may notice.
    fn open_regular(path: &Path) -> Option<(Descriptor, u64)> {
        let path = CString::new(path.as_os_str().as_bytes()).ok()?;
        let place = openat2(&path, libc::O_PATH | libc::O_CLOEXEC)?;
        // SAFETY: all zeroes is a valid `stat`.
        let mut stat: libc::stat = unsafe { mem::zeroed() };
        // SAFETY: `stat` has room for one; the descriptor is open, being borrowed.
        cvt(unsafe { libc::fstat(place.0.as_raw_fd(), &mut stat) }).ok()?;
        if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
            return None;
        }
        // Non-blocking, should the path mean something else by now.
        let file = openat2(&path, libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK)?;
        Some((file, stat.st_size as u64))
    }

    fn openat2(path: &CString, flags: i32) -> Option<Descriptor> {
        if MISSING.load(Ordering::Relaxed) {
            return None;
        }
        // SAFETY: all zeroes is a valid `open_how`, which has no constructor.
        let mut how: libc::open_how = unsafe { mem::zeroed() };
        how.flags = flags as u64;
        how.resolve = libc::RESOLVE_CACHED;
        // SAFETY: `path` ends with a zero, `how` lives through the call and has the size given.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_openat2,
                libc::AT_FDCWD,
                path.as_ptr(),
                &how,
                mem::size_of::<libc::open_how>(),
            )
        };
        match cvt(fd as i32) {
            // SAFETY: the descriptor is new and has no other owner.
            Ok(fd) => Some(Descriptor(unsafe { OwnedFd::from_raw_fd(fd) })),
            Err(error) => {
                // EINVAL is a kernel that knows openat2 but not this flag.
                if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL | libc::EPERM)) {
                    MISSING.store(true, Ordering::Relaxed);
                }
                None
            }
        }
    }

    fn pread_cached(file: &Descriptor, room: *mut u8, len: usize, offset: u64) -> io::Result<usize> {
        let piece = libc::iovec { iov_base: room.cast(), iov_len: len };
        // By number, because not every C library has it. The offset goes in two halves, of which the
        // kernel takes the lower alone where a register holds all of it.
        let (low, high) = (offset as libc::c_ulong, (offset >> 32) as libc::c_ulong);
        // SAFETY: `piece` is a room of `len` bytes that `read_on` gives; the descriptor is open, being
        // borrowed.
        let count = unsafe {
            libc::syscall(
                libc::SYS_preadv2,
                file.0.as_raw_fd(),
                &piece,
                1,
                low,
                if mem::size_of::<libc::c_ulong>() < 8 { high } else { 0 },
                libc::RWF_NOWAIT,
            )
        };
        Ok(cvt(count)? as usize)
    }

    fn clear_nonblocking(file: &Descriptor) -> io::Result<()> {
        use std::os::fd::AsFd;
        super::super::set_nonblocking(file.0.as_fd(), false)
    }
}
