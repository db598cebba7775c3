//! Who is at the other end of a Unix socket.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use super::super::sys::cvt;

/// User, group and process at the other end of a socket.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn peer_credentials(socket: BorrowedFd<'_>) -> io::Result<(u32, u32, Option<u32>)> {
    let mut found = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: `found` has room for `len` bytes, and both live through the call; the descriptor is open, being
    // borrowed.
    cvt(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut found).cast(),
            &mut len,
        )
    })?;
    // What Linux returns for a socket that was never connected.
    if found.uid == u32::MAX {
        return Err(io::Error::from_raw_os_error(libc::ENOTCONN));
    }
    Ok((found.uid, found.gid, u32::try_from(found.pid).ok().filter(|&pid| pid > 0)))
}

/// User and group at the other end of a socket.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn peer_credentials(socket: BorrowedFd<'_>) -> io::Result<(u32, u32, Option<u32>)> {
    let (mut uid, mut gid) = (0, 0);
    // SAFETY: both have room for an id; the descriptor is open, being borrowed.
    cvt(unsafe { libc::getpeereid(socket.as_raw_fd(), &mut uid, &mut gid) })?;
    Ok((uid, gid, None))
}
