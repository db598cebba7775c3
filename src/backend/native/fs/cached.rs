//! Files, as far as the kernel has them in memory: done at once, without a worker. Never blocks.
//!
//! `openat2(RESOLVE_CACHED)` opens only what the path cache holds, `statx(AT_STATX_DONT_SYNC)` asks nobody, and
//! `preadv2(RWF_NOWAIT)` reads only what the page cache holds. A thread's round trip costs 6 µs and more, a
//! cached read a quarter of one. What they refuse goes to a worker.
//!
//! A path is first opened as a mere place (`O_PATH`), which no file system hears of: to open a pipe or a device is
//! an act that somebody may notice, and what is on another machine is opened by asking it.

use std::{
    ffi::{CStr, CString},
    mem,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::SystemTime,
};

use super::{super::sys::cvt, Descriptor, blocking::read_on};
use crate::{
    backend::job::{Job, Outcome},
    error::Error,
    fs::{FileType, Metadata, time},
};

/// Copying more than this at once would hold up the loop for longer than a thread's round trip.
const READ_MAX: usize = 256 << 10;

/// Linux before 5.12, and some filters, do not know how.
static MISSING: AtomicBool = AtomicBool::new(false);

/// Does the job now if that cannot block; otherwise leaves it as it was, or further on.
pub(in super::super) fn attempt(job: &mut Job) -> Option<Result<Outcome, Error>> {
    match job {
        Job::ReadAll { path } => {
            let (file, len) = open_regular(path)?;
            // One byte more than its length, so that the end of the file is seen within it.
            let mut buffer = Vec::with_capacity(usize::try_from(len).ok().filter(|&len| len < READ_MAX)? + 1);
            read_on(&file, &mut buffer, 0, pread).ok()?;
            // Full means that it grew meanwhile: a worker reads to whatever the end is by then.
            (buffer.len() < buffer.capacity()).then_some(Ok(Outcome::Bytes(buffer)))
        }
        Job::Open { path, options } if options.only_reads() => {
            let (file, _) = open_regular(path)?;
            Some(Ok(Outcome::File(file.for_jobs(), mem::take(path))))
        }
        Job::Stat { path, follow } => {
            let place = open_place(path, *follow)?;
            stat(&place).map(|found| Ok(Outcome::Metadata(metadata(&found))))
        }
        Job::StatFile { file } => stat(file.of_system()).map(|found| Ok(Outcome::Metadata(metadata(&found)))),
        Job::ReadAt { file, buffer, offset } => {
            if buffer.capacity() > READ_MAX {
                return None;
            }
            // What it read stays in the buffer, and the worker goes on from there.
            read_on(file.of_system(), buffer, *offset, pread).ok()?;
            Some(Ok(Outcome::Bytes(mem::take(buffer))))
        }
        _ => None,
    }
}

fn open_place(path: &Path, follow: bool) -> Option<Descriptor> {
    with_c_str(path, |path| {
        openat2(path, libc::O_PATH | libc::O_CLOEXEC | if follow { 0 } else { libc::O_NOFOLLOW })
    })
}

/// Opens a regular file for reading, if the path is in the cache. Anything else is not even opened.
fn open_regular(path: &Path) -> Option<(Descriptor, u64)> {
    with_c_str(path, |path| {
        let place = openat2(path, libc::O_PATH | libc::O_CLOEXEC)?;
        let found = stat(&place)?;
        if u32::from(found.stx_mode) & libc::S_IFMT != libc::S_IFREG {
            return None;
        }
        // Non-blocking, should the path mean something else by now. There is no way to open what `place` is
        // that is not one more lookup, in /proc.
        let file = openat2(path, libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK)?;
        Some((file, found.stx_size))
    })
}

/// Lends a path to a system call: on the stack, unless it is long.
fn with_c_str<T>(path: &Path, call: impl FnOnce(&CStr) -> Option<T>) -> Option<T> {
    let bytes = path.as_os_str().as_bytes();
    let mut buffer = [0_u8; 256];
    match buffer.get_mut(..bytes.len() + 1) {
        Some(place) => {
            place[..bytes.len()].copy_from_slice(bytes);
            // An error is a zero within the path: a worker says so.
            call(CStr::from_bytes_with_nul(place).ok()?)
        }
        None => call(&CString::new(bytes).ok()?),
    }
}

fn openat2(path: &CStr, flags: i32) -> Option<Descriptor> {
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
        Ok(fd) => Some(Descriptor {
            // SAFETY: the descriptor is new and has no other owner.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
            nonblocking: flags & libc::O_NONBLOCK != 0,
        }),
        Err(error) => {
            // EINVAL is a kernel that knows openat2 but not this flag.
            if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL | libc::EPERM)) {
                MISSING.store(true, Ordering::Relaxed);
            }
            None
        }
    }
}

fn pread(file: &Descriptor, room: *mut u8, len: usize, offset: u64) -> std::io::Result<usize> {
    let piece = libc::iovec { iov_base: room.cast(), iov_len: len };
    // By number, because not every C library has it. The offset goes in two halves, of which the
    // kernel takes the lower alone where a register holds all of it.
    let (low, high) = (offset as libc::c_ulong, (offset >> 32) as libc::c_ulong);
    // SAFETY: `piece` is a room of `len` bytes that `read_on` gives; the descriptor is open, being
    // borrowed.
    let count = unsafe {
        libc::syscall(
            libc::SYS_preadv2,
            file.fd.as_raw_fd(),
            &piece,
            1,
            low,
            if mem::size_of::<libc::c_ulong>() < 8 { high } else { 0 },
            libc::RWF_NOWAIT,
        )
    };
    Ok(cvt(count)? as usize)
}

// ---- metadata, and which file systems answer from memory

/// What the kernel knows about an open file or place, unless it is of a file system that may know better.
fn stat(place: &Descriptor) -> Option<libc::statx> {
    let found = statx(place.fd.as_raw_fd(), c"", libc::AT_EMPTY_PATH)?;
    is_local(device_of(&found)).then_some(found)
}

fn statx(at: libc::c_int, path: &CStr, flags: libc::c_int) -> Option<libc::statx> {
    // SAFETY: all zeroes is a valid `statx`.
    let mut found: libc::statx = unsafe { mem::zeroed() };
    // By number, because not every C library has it.
    // SAFETY: `path` ends with a zero, and `found` has room for one.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_statx,
            at,
            path.as_ptr(),
            flags | libc::AT_STATX_DONT_SYNC,
            libc::STATX_BASIC_STATS | libc::STATX_BTIME,
            &mut found,
        )
    };
    cvt(answer).is_ok().then_some(found)
}

fn metadata(found: &libc::statx) -> Metadata {
    let at = |time_of: &libc::statx_timestamp| -> SystemTime { time(time_of.tv_sec, time_of.tv_nsec.into()) };
    let mode = u32::from(found.stx_mode);
    Metadata {
        file_type: match mode & libc::S_IFMT {
            kind if kind == libc::S_IFREG => FileType::File,
            kind if kind == libc::S_IFDIR => FileType::Directory,
            kind if kind == libc::S_IFLNK => FileType::Symlink,
            _ => FileType::Other,
        },
        len: found.stx_size,
        mode: mode & 0o7777,
        #[allow(clippy::unnecessary_cast, reason = "not everywhere of 64 bits")]
        device: libc::makedev(found.stx_dev_major, found.stx_dev_minor) as u64,
        inode: found.stx_ino,
        links: found.stx_nlink.into(),
        uid: found.stx_uid,
        gid: found.stx_gid,
        modified: at(&found.stx_mtime),
        accessed: at(&found.stx_atime),
        created: (found.stx_mask & libc::STATX_BTIME != 0).then(|| at(&found.stx_btime)),
    }
}

/// The number of a device, in two halves.
fn device_of(found: &libc::statx) -> u64 {
    u64::from(found.stx_dev_major) << 32 | u64::from(found.stx_dev_minor)
}

/// File systems without a device of their own that workers have looked into: the number, twice, and one if they
/// answer from memory. Zero is a free place. When all are taken the others go to workers.
static KNOWN: [AtomicU64; 16] = [const { AtomicU64::new(0) }; 16];

/// Whether the kernel alone knows all about a file system. One on a disk is such; of those without a device some
/// are (in memory, in layers), others are on other machines or in other processes, and must be asked.
fn is_local(device: u64) -> bool {
    device >> 32 != 0 || KNOWN.iter().any(|known| known.load(Ordering::Relaxed) == device << 1 | 1)
}

/// Looks into the file system of a path, for later: may block, as only a worker may.
pub(in super::super) fn learn(path: &Path) {
    with_c_str(path, |path| {
        let device = device_of(&statx(libc::AT_FDCWD, path, 0)?);
        let is_known = |known: &AtomicU64| known.load(Ordering::Relaxed) >> 1 == device;
        if device >> 32 != 0 || KNOWN.iter().any(is_known) {
            return None;
        }
        // SAFETY: all zeroes is a valid `statfs`.
        let mut found: libc::statfs = unsafe { mem::zeroed() };
        // SAFETY: `path` ends with a zero, and `found` has room for one.
        cvt(unsafe { libc::statfs(path.as_ptr(), &mut found) }).ok()?;
        #[allow(clippy::unnecessary_cast, reason = "the type differs from one system to the next")]
        let magic = found.f_type as u32;
        let local = LOCAL.contains(&magic);
        let entry = device << 1 | u64::from(local);
        let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
        KNOWN.iter().find(|known| known.compare_exchange(0, entry, success, failure).is_ok()).map(drop)
    });
}

/// tmpfs, ramfs, btrfs, overlayfs, zfs: see statfs(2).
const LOCAL: [u32; 5] = [0x0102_1994, 0x8584_58f6, 0x9123_683e, 0x794c_7630, 0x2fc1_2fc1];
