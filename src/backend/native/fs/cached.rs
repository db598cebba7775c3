//! The system's files as far as the kernel has them in memory: done by the loop, without a worker. Never
//! blocks.
//!
//! `openat2(RESOLVE_CACHED)` opens only what the path cache holds, `statx(AT_STATX_DONT_SYNC)` asks no
//! server, and `preadv2(RWF_NOWAIT)` reads only what the page cache holds. A thread's round trip costs 6 µs
//! and more, a cached read a quarter of one. What they refuse, a worker does.
//!
//! A path is first opened as a location only (`O_PATH`), which no file system notices. The other side of a
//! pipe or a device may notice that it is opened, and to open a file on another machine means to ask that
//! machine.

use std::{
    ffi::{CStr, CString},
    io,
    mem::{self, MaybeUninit},
    os::{
        fd::{FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::SystemTime,
};

use super::{
    super::{sys::cvt, tuning::CACHED_READ_MAX},
    Descriptor as NativeDescriptor,
    descriptor::read_full,
};
use crate::{
    backend::{Descriptor, files::FileSystem},
    fs::{FileType, Metadata, OpenOptions, time},
};

/// Set on Linux before 5.12, and behind some filters: the system calls are missing.
static MISSING: AtomicBool = AtomicBool::new(false);

/// The system's files, as far as the kernel has them in memory. What would block is refused as
/// [`WouldBlock`](io::ErrorKind::WouldBlock).
pub(crate) struct Cached;

/// Turns "not in memory" into the refusal that sends a job to a worker.
fn or_ask_a_worker<T>(found: Option<T>) -> io::Result<T> {
    found.ok_or_else(|| io::ErrorKind::WouldBlock.into())
}

impl FileSystem for Cached {
    fn open(&mut self, path: &Path, options: &OpenOptions) -> io::Result<Descriptor> {
        let file = open_regular(path).filter(|_| options.only_reads());
        or_ask_a_worker(file.map(|(file, _)| file.for_jobs()))
    }

    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        or_ask_a_worker(read_small(path))
    }

    fn read_at(&mut self, file: &Descriptor, buffer: &mut Vec<u8>, offset: u64) -> io::Result<()> {
        if buffer.capacity() > CACHED_READ_MAX {
            return or_ask_a_worker(None);
        }
        // What was read stays in the buffer; the worker continues from there.
        let read = read_full(buffer, offset, |room, offset| pread(file.of_system(), room, offset));
        or_ask_a_worker(read.ok())
    }

    fn metadata(&mut self, path: &Path, follow: bool) -> io::Result<Metadata> {
        or_ask_a_worker(
            open_location(path, follow).and_then(|location| stat(&location)).map(|found| metadata(&found)),
        )
    }

    fn file_metadata(&mut self, file: &Descriptor) -> io::Result<Metadata> {
        or_ask_a_worker(stat(file.of_system()).map(|found| metadata(&found)))
    }

    // ext4 and tmpfs refuse `RWF_NOWAIT` for buffered writes, so writing always goes to a worker.

    fn close(&mut self, _: Descriptor) -> io::Result<()> {
        or_ask_a_worker(None)
    }

    fn write_at(&mut self, _: &Descriptor, _: &[u8], _: u64) -> io::Result<()> {
        or_ask_a_worker(None)
    }

    fn append(&mut self, _: &Descriptor, _: &[u8]) -> io::Result<()> {
        or_ask_a_worker(None)
    }

    fn sync(&mut self, _: &Descriptor, _: bool) -> io::Result<()> {
        or_ask_a_worker(None)
    }

    fn set_len(&mut self, _: &Descriptor, _: u64) -> io::Result<()> {
        or_ask_a_worker(None)
    }
}

/// Reads a whole file that is small and in memory.
fn read_small(path: &Path) -> Option<Vec<u8>> {
    let (file, len) = open_regular(path)?;
    // One byte more than its length, so that the end of the file is seen within it.
    let mut buffer = Vec::with_capacity(usize::try_from(len).ok().filter(|&len| len < CACHED_READ_MAX)? + 1);
    read_full(&mut buffer, 0, |room, offset| pread(&file, room, offset)).ok()?;
    // A full buffer means that the file grew meanwhile: a worker reads to wherever its end is by then.
    (buffer.len() < buffer.capacity()).then_some(buffer)
}

fn open_location(path: &Path, follow: bool) -> Option<NativeDescriptor> {
    with_c_str(path, |path| {
        openat2(path, libc::O_PATH | libc::O_CLOEXEC | if follow { 0 } else { libc::O_NOFOLLOW })
    })
}

/// Opens a regular file for reading, if the path is in the cache. Anything else is not even opened.
fn open_regular(path: &Path) -> Option<(NativeDescriptor, u64)> {
    with_c_str(path, |path| {
        let location = openat2(path, libc::O_PATH | libc::O_CLOEXEC)?;
        let found = stat(&location)?;
        if u32::from(found.stx_mode) & libc::S_IFMT != libc::S_IFREG {
            return None;
        }
        // Non-blocking, because the path may lead elsewhere by now. To open `location` itself would need one
        // more lookup, in /proc.
        let file = openat2(path, libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK)?;
        Some((file, found.stx_size))
    })
}

/// Calls `call` with the path as a C string, on the stack unless it is long.
fn with_c_str<T>(path: &Path, call: impl FnOnce(&CStr) -> Option<T>) -> Option<T> {
    let bytes = path.as_os_str().as_bytes();
    let mut buffer = [0_u8; 256];
    match buffer.get_mut(..bytes.len() + 1) {
        Some(place) => {
            place[..bytes.len()].copy_from_slice(bytes);
            // The only error is a zero within the path. A worker reports it.
            call(CStr::from_bytes_with_nul(place).ok()?)
        }
        None => call(&CString::new(bytes).ok()?),
    }
}

fn openat2(path: &CStr, flags: i32) -> Option<NativeDescriptor> {
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
        Ok(fd) => {
            // SAFETY: the descriptor is new and has no other owner.
            let fd = unsafe { OwnedFd::from_raw_fd(fd) };
            Some(NativeDescriptor::new(fd, flags & libc::O_NONBLOCK != 0))
        }
        Err(error) => {
            // EINVAL is a kernel that knows openat2 but not this flag.
            if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL | libc::EPERM)) {
                MISSING.store(true, Ordering::Relaxed);
            }
            None
        }
    }
}

fn pread(file: &NativeDescriptor, room: &mut [MaybeUninit<u8>], offset: u64) -> io::Result<usize> {
    let piece = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    // By number, because not every C library has it. The offset is passed in two halves; where a register
    // holds all of it, the kernel takes the lower half alone.
    let (low, high) = (offset as libc::c_ulong, (offset >> 32) as libc::c_ulong);
    // SAFETY: `piece` is `room`, whose bytes may be written; the descriptor is open, being borrowed.
    let count = unsafe {
        libc::syscall(
            libc::SYS_preadv2,
            file.raw(),
            &piece,
            1,
            low,
            if mem::size_of::<libc::c_ulong>() < 8 { high } else { 0 },
            libc::RWF_NOWAIT,
        )
    };
    Ok(cvt(count)? as usize)
}

// ---- metadata, and which file systems are local

/// Returns what the kernel knows about an open file or location, unless its file system must be asked.
fn stat(location: &NativeDescriptor) -> Option<libc::statx> {
    let found = statx(location.raw(), c"", libc::AT_EMPTY_PATH)?;
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

/// Returns the number of a device: major in the upper half, minor in the lower.
fn device_of(found: &libc::statx) -> u64 {
    u64::from(found.stx_dev_major) << 32 | u64::from(found.stx_dev_minor)
}

/// File systems without a device of their own that workers have classified: the device number, shifted left
/// by one, and the lowest bit set if it is local. Zero is a free slot. When all are taken, workers do the
/// others.
static FS_CLASSES: [AtomicU64; 16] = [const { AtomicU64::new(0) }; 16];

/// Returns whether the kernel alone knows all about a file system.
///
/// It does if that is on a disk. Of those without a device, some are in memory or layered on others. The rest
/// are on other machines or in other processes, which must be asked.
fn is_local(device: u64) -> bool {
    device >> 32 != 0 || FS_CLASSES.iter().any(|known| known.load(Ordering::Relaxed) == device << 1 | 1)
}

/// Classifies the file system of a path, for later. May block, so only workers call it.
pub(super) fn classify_fs(path: &Path) {
    with_c_str(path, |path| {
        let device = device_of(&statx(libc::AT_FDCWD, path, 0)?);
        let is_known = |known: &AtomicU64| known.load(Ordering::Relaxed) >> 1 == device;
        if device >> 32 != 0 || FS_CLASSES.iter().any(is_known) {
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
        FS_CLASSES.iter().find(|known| known.compare_exchange(0, entry, success, failure).is_ok()).map(drop)
    });
}

/// tmpfs, ramfs, btrfs, overlayfs, zfs: see statfs(2).
const LOCAL: [u32; 5] = [0x0102_1994, 0x8584_58f6, 0x9123_683e, 0x794c_7630, 0x2fc1_2fc1];
