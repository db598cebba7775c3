//! Unix sockets of a world: names within a machine, and connections without a network in between.
//!
//! A path names a socket by its inode, as on a system: the file outlives the listener, and is stale then. A
//! connection is complete at once; its bytes take as long as the machine's link to itself says.

use std::{io, os::unix::net::SocketAddr as UnixAddr, path::PathBuf};

use super::{
    super::{TraceEvent, World, errno::errno, trace::UNIX, world::Shared},
    ends::{End, EndId, EndKind, Name},
};

#[cfg(any(target_os = "linux", target_os = "android"))]
fn abstract_name(addr: &UnixAddr) -> io::Result<Vec<u8>> {
    use std::os::linux::net::SocketAddrExt;
    addr.as_abstract_name().map(<[u8]>::to_vec).ok_or_else(|| errno(libc::EINVAL))
}

/// Elsewhere there are no abstract names.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn abstract_name(_: &UnixAddr) -> io::Result<Vec<u8>> {
    Err(errno(libc::EINVAL))
}

/// The file of a listening socket. Removed when this is dropped, unless its program was killed or another
/// file has the name by then.
pub(crate) struct SocketFile {
    world: Shared,
    host: usize,
    /// The machine that has the file.
    home: usize,
    path: PathBuf,
    inode: u64,
}

impl std::fmt::Debug for SocketFile {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "SocketFile({})", self.path.display())
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Borrowed only while a panic unwinds out of the world itself.
        let Ok(mut world) = self.world.try_borrow_mut() else { return };
        if !world.machines[self.host].killed {
            world.machines[self.home].files.remove_socket(&self.path, self.inode);
        }
    }
}

impl World {
    pub(crate) fn listen_unix(
        world: &Shared,
        host: usize,
        addr: &UnixAddr,
        backlog: usize,
    ) -> io::Result<(EndId, Option<SocketFile>)> {
        let mut this = world.borrow_mut();
        this.check_fd_limit(host)?;
        let home = this.machines[host].home;
        let (name, file) = match addr.as_pathname() {
            Some(path) => {
                let path = this.machines[home].files.resolve_for_socket(path)?;
                if let Some(inode) = this.machines[home].files.inode_at(&path) {
                    let is_stale = this.machines[home].files.is_socket(inode)
                        && !this.net.unix_listeners.contains_key(&(home, Name::Inode(inode)));
                    if !is_stale {
                        return Err(errno(libc::EADDRINUSE));
                    }
                    this.machines[home].files.remove_socket(&path, inode);
                }
                let now = this.now;
                let inode = this.machines[home].files.make_socket(path.clone(), now)?;
                (Name::Inode(inode), Some(SocketFile { world: world.clone(), host, home, path, inode }))
            }
            None => (Name::Abstract(abstract_name(addr)?), None),
        };
        if this.net.unix_listeners.contains_key(&(home, name.clone())) {
            return Err(errno(libc::EADDRINUSE));
        }
        let kind = EndKind::Listener { queue: Default::default(), half_open: 0, backlog: backlog.max(1) };
        let mut end = End::new(host, UNIX, true, kind);
        end.unix = Some(addr.clone());
        let id = this.net.add(end);
        this.net.unix_listeners.insert((home, name), id);
        this.machines[host].sockets += 1;
        this.record(host, TraceEvent::Listening(UNIX));
        Ok((id, file))
    }

    /// Connects. The outer error is that no socket could be made.
    pub(crate) fn connect_unix(
        &mut self,
        host: usize,
        addr: &UnixAddr,
    ) -> io::Result<(EndId, io::Result<bool>)> {
        self.check_fd_limit(host)?;
        self.record(host, TraceEvent::Connecting(UNIX));
        let listener = self.unix_listener(host, addr);
        let server_host = listener.as_ref().map_or(host, |listener| self.net.ends[listener].host);
        let client = self.unix_end(host, server_host, true);
        self.machines[host].sockets += 1;
        let connected = listener.map(|listener| {
            let server = self.unix_end(server_host, host, false);
            self.join(client, server);
            let name = self.net.ends.get(&listener).and_then(|end| end.unix.clone());
            if let Some(end) = self.net.ends.get_mut(&server) {
                end.unix = name;
            }
            if let Some(EndKind::Listener { queue, .. }) =
                self.net.ends.get_mut(&listener).map(|end| &mut end.kind)
            {
                queue.push_back(server);
            }
            self.mark_ready(listener);
            self.record(host, TraceEvent::Connected(UNIX));
            true
        });
        Ok((client, connected))
    }

    /// Makes two ends that are connected to each other.
    pub(crate) fn unix_pair(&mut self, host: usize) -> io::Result<(EndId, EndId)> {
        self.check_fd_limit(host)?;
        self.machines[host].sockets += 1;
        if let Err(error) = self.check_fd_limit(host) {
            self.machines[host].sockets -= 1;
            return Err(error);
        }
        self.machines[host].sockets += 1;
        let (one, other) = (self.unix_end(host, host, true), self.unix_end(host, host, true));
        self.join(one, other);
        Ok((one, other))
    }

    fn unix_end(&mut self, host: usize, peer_host: usize, owned: bool) -> EndId {
        let stream = self.new_stream(host, peer_host, UNIX);
        self.net.add(End::new(host, UNIX, owned, EndKind::Stream(stream)))
    }

    fn join(&mut self, one: EndId, other: EndId) {
        for (id, peer) in [(one, other), (other, one)] {
            if let Some(stream) = self.net.stream(id) {
                (stream.peer, stream.connected) = (Some(peer), true);
            }
        }
    }

    fn unix_listener(&self, host: usize, addr: &UnixAddr) -> io::Result<EndId> {
        let home = self.machines[host].home;
        let name = match addr.as_pathname() {
            Some(path) => Name::Inode(self.machines[home].files.socket_at(path)?),
            None => Name::Abstract(abstract_name(addr)?),
        };
        let listener =
            *self.net.unix_listeners.get(&(home, name)).ok_or_else(|| errno(libc::ECONNREFUSED))?;
        if self.backlog_is_full(listener) { Err(errno(libc::EAGAIN)) } else { Ok(listener) }
    }
}
