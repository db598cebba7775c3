//! Unix sockets: how they are made, and the files that name them.
//!
//! A socket file outlives its listener. One that is left over by a process that was killed is stale: nothing
//! listens on it, and it is replaced. Replacing is done under a lock on the directory, so that two processes
//! that start at the same time do not remove each other's. The file is removed before its socket is closed:
//! no process takes it for stale in between, and its inode is not used again.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::AsRawFd,
        unix::{
            fs::{FileTypeExt, MetadataExt},
            net::SocketAddr as UnixAddr,
        },
    },
    path::{self, Path, PathBuf},
    thread,
    time::Duration,
};

use socket2::{Domain, SockAddr, Type};

use super::{super::sys::cvt, Socket};

/// The file that names a listening socket. Removed when this is dropped, unless another file has its name by
/// then.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<SocketFile> {
        let found = fs::symlink_metadata(path)?;
        // Found again after the process has changed its directory.
        let path = path::absolute(path)?;
        Ok(SocketFile { path, device: found.dev(), inode: found.ino() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = |found: fs::Metadata| (found.dev(), found.ino()) == (self.device, self.inode);
        if fs::symlink_metadata(&self.path).is_ok_and(ours) {
            // Nothing can be done about a directory that was made read-only meanwhile.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Socket {
    /// A socket that listens at `addr`, and its file if it has one.
    pub(crate) fn listen_unix(addr: &UnixAddr, backlog: i32) -> io::Result<(Socket, Option<SocketFile>)> {
        let socket = Socket::unix()?;
        let name = to_sock_addr(addr)?;
        match (socket.sock().bind(&name), addr.as_pathname()) {
            (Err(error), Some(path)) if error.kind() == io::ErrorKind::AddrInUse => {
                replace_stale(&socket, path, &name, error)?;
            }
            (bound, _) => bound?,
        }
        // Declared after the socket, and so dropped before it.
        let file = addr.as_pathname().map(SocketFile::of).transpose()?;
        socket.sock().listen(backlog)?;
        Ok((socket, file))
    }

    /// A socket that is connected, or why it is not.
    pub(crate) fn connect_unix(addr: &UnixAddr) -> io::Result<(Socket, io::Result<bool>)> {
        let socket = Socket::unix()?;
        let connected = socket.sock().connect(&to_sock_addr(addr)?);
        Ok((socket, connected.map(|()| true)))
    }

    /// Two sockets that are connected to each other.
    pub(crate) fn pair() -> io::Result<(Socket, Socket)> {
        let (one, other) = socket2::Socket::pair(Domain::UNIX, Type::STREAM, None)?;
        Ok((Socket::adopt(one.into())?, Socket::adopt(other.into())?))
    }
}

fn to_sock_addr(addr: &UnixAddr) -> io::Result<SockAddr> {
    if let Some(path) = addr.as_pathname() {
        return SockAddr::unix(path);
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(name) = std::os::linux::net::SocketAddrExt::as_abstract_name(addr) {
        use std::{ffi::OsString, os::unix::ffi::OsStringExt};
        // A path that begins with a zero is an abstract name.
        return SockAddr::unix(OsString::from_vec([b"\0", name].concat()));
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "the address has no name"))
}

/// Binds a socket to a path that is taken, if nothing listens there. `error` is what binding returned before.
fn replace_stale(socket: &Socket, path: &Path, name: &SockAddr, error: io::Error) -> io::Result<()> {
    let _lock = lock_directory(path);
    match is_stale(path, name) {
        Ok(true) => match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        },
        Ok(false) => return Err(error),
        // Its listener was closed meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    socket.sock().bind(name)
}

/// Whether a path names a socket that no process has any more.
///
/// A datagram socket cannot connect to a stream socket. The system says so (EPROTOTYPE) if that is bound,
/// listening or not, and refuses if it is gone. So the probe is no connection that the listener would have to
/// accept.
///
/// A file that is no socket refuses in the same way, and is never stale.
fn is_stale(path: &Path, name: &SockAddr) -> io::Result<bool> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Ok(false);
    }
    let probe = socket2::Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    match probe.connect(name) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
        _ => Ok(false),
    }
}

/// How often, and how long in between, a lock is tried for: a replacement takes far less than these 500 ms.
const LOCK_ATTEMPTS: u32 = 500;
const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// Locks the directory of a path against others that replace a socket there.
///
/// `None` where it cannot be locked, as on some network file systems, or where another program keeps it
/// locked: systemd-tmpfiles leaves locked directories alone, for one. Then there is no better way.
fn lock_directory(path: &Path) -> Option<File> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = File::open(parent).ok()?;
    for _ in 0..LOCK_ATTEMPTS {
        // SAFETY: takes no pointer; the descriptor is open, being owned here. Held for a few system calls.
        match cvt(unsafe { libc::flock(directory.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }) {
            Ok(_) => return Some(directory),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(LOCK_PAUSE),
            Err(_) => return None,
        }
    }
    None
}
