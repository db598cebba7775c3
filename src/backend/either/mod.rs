//! The system or a simulated world, chosen at run time: each call goes to the one that the loop was made on.
//!
//! Compiled only with the feature `sim`. Nothing else is decided here, and nothing above knows which it has.

mod descriptor;
mod forward;
mod socket;

use std::{
    io,
    net::SocketAddr,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::SocketAddr as UnixAddr,
    },
};

use self::forward::{each, not_here};
pub(crate) use self::{
    descriptor::Descriptor,
    socket::{Socket, SocketFile},
};
use super::{
    Interest, ListenConfig, Notifier, Readiness,
    job::{Done, Job, Submitted},
    native, sim,
};
use crate::{
    handle::{Callee, Key},
    time::Nanos,
};

// ---- the backend of a loop

pub(crate) enum Backend {
    System(native::Backend),
    World(sim::Host),
}

impl Backend {
    pub(crate) fn new(workers: usize, busy_poll: Nanos) -> io::Result<Backend> {
        native::Backend::new(workers, busy_poll).map(Backend::System)
    }

    each! {
        fn now() -> Nanos;
        fn has_failed_registrations() -> bool;
        fn notifier(key: Key) -> Notifier;
        fn has_notifications() -> bool;
        fn verify();
    }

    each! { mut
        fn detach();
        fn apply_registrations();
        fn pop_failed_registration() -> Option<(Key, io::Error)>;
        fn drain_notifications(keys: &mut Vec<Key>);
        fn set_workers(limit: usize);
        fn submit(token: u64, job: Job, waiting: usize) -> io::Result<Submitted>;
        fn cancel(ticket: u64) -> bool;
        fn drain_completions(each: impl FnMut(Done));
        fn watch_signal(signum: i32) -> io::Result<()>;
        fn forget_signal(signum: i32);
        fn take_signals(delivered: impl FnMut(i32));
        fn wait(timeout: Option<Nanos>, ready: impl FnMut(Key, Readiness)) -> io::Result<()>;
    }

    pub(crate) fn is_simulated(&self) -> bool {
        matches!(self, Backend::World(_))
    }

    /// Records that a callback is about to be called, for a world's trace.
    pub(crate) fn trace_call(&self, callee: Callee) {
        if let Backend::World(host) = self {
            let Callee { handle, kind, started_at } = callee;
            host.trace_call(sim::TraceEvent::Called { handle, kind, started: started_at });
        }
    }

    pub(crate) fn listen(&mut self, addr: SocketAddr, config: ListenConfig) -> io::Result<Socket> {
        match self {
            Backend::System(system) => system.listen(addr, config).map(Socket::System),
            Backend::World(host) => host.listen(addr, config).map(Socket::World),
        }
    }

    pub(crate) fn connect(&mut self, addr: SocketAddr) -> io::Result<(Socket, io::Result<bool>)> {
        match self {
            Backend::System(system) => {
                system.connect(addr).map(|(socket, made)| (Socket::System(socket), made))
            }
            Backend::World(host) => host.connect(addr).map(|socket| (Socket::World(socket), Ok(false))),
        }
    }

    pub(crate) fn listen_unix(
        &mut self,
        addr: &UnixAddr,
        backlog: i32,
    ) -> io::Result<(Socket, Option<SocketFile>)> {
        match self {
            Backend::System(system) => {
                let (socket, file) = system.listen_unix(addr, backlog)?;
                Ok((Socket::System(socket), file.map(SocketFile::System)))
            }
            Backend::World(host) => {
                let (socket, file) = host.listen_unix(addr, backlog)?;
                Ok((Socket::World(socket), file.map(SocketFile::World)))
            }
        }
    }

    pub(crate) fn connect_unix(&mut self, addr: &UnixAddr) -> io::Result<(Socket, io::Result<bool>)> {
        match self {
            Backend::System(system) => {
                system.connect_unix(addr).map(|(socket, made)| (Socket::System(socket), made))
            }
            Backend::World(host) => {
                host.connect_unix(addr).map(|(socket, made)| (Socket::World(socket), made))
            }
        }
    }

    pub(crate) fn pair(&mut self) -> io::Result<(Socket, Socket)> {
        match self {
            Backend::System(system) => {
                system.pair().map(|(one, other)| (Socket::System(one), Socket::System(other)))
            }
            Backend::World(host) => {
                host.pair().map(|(one, other)| (Socket::World(one), Socket::World(other)))
            }
        }
    }

    pub(crate) fn adopt(&mut self, fd: OwnedFd) -> io::Result<Socket> {
        match self {
            Backend::System(system) => system.adopt(fd).map(Socket::System),
            Backend::World(_) => Err(not_here("sockets of the system")),
        }
    }

    pub(crate) fn watch(&mut self, socket: &Socket, key: Key, interest: Interest) {
        match (self, socket) {
            (Backend::System(system), Socket::System(socket)) => system.watch(socket, key, interest),
            (_, Socket::World(socket)) => socket.watch(key, interest),
            (Backend::World(_), Socket::System(_)) => {}
        }
    }

    pub(crate) fn forget(&mut self, socket: &Socket) {
        match (self, socket) {
            (Backend::System(system), Socket::System(socket)) => system.forget(socket),
            (_, Socket::World(socket)) => socket.forget(),
            (Backend::World(_), Socket::System(_)) => {}
        }
    }

    pub(crate) fn close(&mut self, socket: Socket) {
        match (self, socket) {
            (Backend::System(system), Socket::System(socket)) => system.close(socket),
            // A world's socket closes itself when it is dropped.
            (_, socket) => drop(socket),
        }
    }

    pub(crate) fn watch_descriptor(&mut self, source: BorrowedFd<'_>, key: Key, interest: Interest) {
        if let Backend::System(system) = self {
            system.watch_descriptor(source, key, interest);
        }
    }

    pub(crate) fn watch_descriptor_now(
        &mut self,
        source: BorrowedFd<'_>,
        key: Key,
        interest: Interest,
    ) -> io::Result<()> {
        match self {
            Backend::System(system) => system.watch_descriptor_now(source, key, interest),
            Backend::World(_) => Err(not_here("descriptors of the system")),
        }
    }

    pub(crate) fn forget_descriptor(&mut self, source: BorrowedFd<'_>) {
        if let Backend::System(system) = self {
            system.forget_descriptor(source);
        }
    }

    pub(crate) fn duplicate(&self, source: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        match self {
            Backend::System(system) => system.duplicate(source),
            Backend::World(_) => Err(not_here("descriptors of the system")),
        }
    }
}

impl AsFd for Backend {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Backend::System(system) => system.as_fd(),
            Backend::World(host) => host.as_fd(),
        }
    }
}
