//! Unix sockets: the typed handles, their addresses, and what is particular to them.

use std::{
    os::unix::net::SocketAddr,
    panic::Location,
    path::{Path, PathBuf},
};

use super::{
    ListenOptions,
    listener::{self, listener_methods},
    options::socket_options,
};
use crate::{
    Loop,
    error::{Error, Result},
    event_loop::typed_handle,
    handle::Kind,
    stream::{self, into_stream, stream_handle},
};

/// The address of a Unix socket: a path, or a [`SocketAddr`] of the standard library.
///
/// Linux also has abstract addresses, which have no file:
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use std::os::{linux::net::SocketAddrExt, unix::net::SocketAddr};
/// use ringback::{Loop, net::UnixListener};
///
/// let mut lp = Loop::<()>::new()?;
/// let name = format!("example-{}", std::process::id());
/// UnixListener::bind(&mut lp, SocketAddr::from_abstract_name(name)?)?;
/// # }
/// # Ok::<(), ringback::Error>(())
/// ```
pub trait ToUnixAddr {
    /// Returns the address.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a path that is too long for a socket (about 100 bytes) or has a zero in it. An
    /// empty one is refused when it is used.
    fn to_unix_addr(&self) -> Result<SocketAddr>;
}

impl<T: ToUnixAddr + ?Sized> ToUnixAddr for &T {
    fn to_unix_addr(&self) -> Result<SocketAddr> {
        (**self).to_unix_addr()
    }
}

impl ToUnixAddr for Path {
    fn to_unix_addr(&self) -> Result<SocketAddr> {
        SocketAddr::from_pathname(self)
            .map_err(|error| Error::invalid("address", format!("{}: {error}", self.display())))
    }
}

macro_rules! paths {
    ($($path:ty),*) => {$(
        impl ToUnixAddr for $path {
            fn to_unix_addr(&self) -> Result<SocketAddr> {
                AsRef::<Path>::as_ref(self).to_unix_addr()
            }
        }
    )*};
}

paths!(PathBuf, str, String);

impl ToUnixAddr for SocketAddr {
    fn to_unix_addr(&self) -> Result<SocketAddr> {
        Ok(self.clone())
    }
}

/// Returns the address, unless it has no name.
fn named(addr: impl ToUnixAddr) -> Result<SocketAddr> {
    let addr = addr.to_unix_addr()?;
    if addr.is_unnamed() {
        return Err(Error::invalid("address", "it is empty"));
    }
    Ok(addr)
}

/// Formats an address, for errors.
pub(super) fn describe(addr: &SocketAddr) -> String {
    match addr.as_pathname() {
        Some(path) => path.display().to_string(),
        None => format!("{addr:?}"),
    }
}

typed_handle! {
    /// Listens for connections on a Unix socket.
    ///
    /// ```
    /// use ringback::{Loop, net::{Event, UnixListener, UnixStream}};
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("socket");
    ///
    /// let mut lp = Loop::new()?;
    /// let listener = UnixListener::bind(&mut lp, &path)?;
    /// listener.start(&mut lp, move |lp, _, conn| {
    ///     listener.close(lp); // one connection is enough here
    ///     conn.write(lp, "hello")?;
    ///     conn.finish(lp)
    /// })?;
    /// let client = UnixStream::connect(&mut lp, &path, |_, _, conn| conn.map(drop))?;
    /// client.start(&mut lp, move |lp, text: &mut String, event| {
    ///     match event? {
    ///         Event::Data(bytes) => text.push_str(std::str::from_utf8(bytes)?),
    ///         Event::End => client.close(lp),
    ///         _ => {}
    ///     }
    ///     Ok(())
    /// })?;
    /// let mut text = String::new();
    /// lp.run(&mut text)?;
    /// assert_eq!(text, "hello");
    /// # Ok::<(), ringback::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Every method that returns a `Result` returns [`Error::Closed`] if the listener is closed or closing,
    /// and [`Error::WrongLoop`] if it belongs to another loop.
    UnixListener
}

stream_handle! {
    /// A connection between two Unix sockets.
    UnixStream
}

into_stream!(UnixStream);

/// The credentials of the peer of a [`UnixStream`], as they were when it connected.
///
/// From [`UnixStream::peer_credentials`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credentials {
    /// The id of the user.
    pub uid: u32,
    /// The id of the group.
    pub gid: u32,
    /// The id of the process. `None` where the system does not know it.
    pub pid: Option<u32>,
}

impl UnixListener {
    /// Binds an address and listens on it. Connections are accepted once it is started.
    ///
    /// Creates the socket file, and removes it when the listener is closed or the loop is dropped. A stale
    /// file, on which nothing listens, is replaced: a process that was killed may leave one.
    /// [`ListenOptions`] has more options.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if `addr` is no address; [`Error::System`] if the system refuses it:
    /// [`AddrInUse`](std::io::ErrorKind::AddrInUse) if something listens there, or if the path is another
    /// file.
    #[track_caller]
    pub fn bind<S>(lp: &mut Loop<S>, addr: impl ToUnixAddr) -> Result<UnixListener> {
        ListenOptions::new().bind_unix(lp, addr)
    }

    /// Returns the address that it listens on.
    pub fn local_addr<S>(self, lp: &mut Loop<S>) -> Result<SocketAddr> {
        let op = "local address";
        let socket = listener::socket(&mut lp.core, self.0, op)?;
        socket.options().local_unix_addr().map_err(|error| Error::system(op, error))
    }
}

listener_methods!(UnixListener, UnixStream);

impl ListenOptions {
    /// Binds a Unix address and listens on it, with these options. See [`UnixListener::bind`].
    ///
    /// `reuse_port` and `only_v6` have no effect on it.
    ///
    /// # Errors
    ///
    /// As [`UnixListener::bind`].
    #[track_caller]
    pub fn bind_unix<S>(self, lp: &mut Loop<S>, addr: impl ToUnixAddr) -> Result<UnixListener> {
        let addr = named(addr)?;
        let socket = lp.core.backend().listen_unix(&addr, self.config.backlog);
        let socket = socket.map_err(|error| Error::system_on("listen on", describe(&addr), error))?;
        let state = listener::State::new(socket, Kind::UnixListener, Kind::UnixStream, self.max_connections);
        Ok(UnixListener(lp.core.insert(state, Location::caller())))
    }
}

impl UnixStream {
    /// Connects. `callback` gets the stream once it is connected, or the error, in a deferred phase.
    ///
    /// Until then the stream may be written to and started: what is written is sent once it is connected. To
    /// give up, [`close`](Self::close) it: `callback` gets [`Error::Canceled`]. If connecting fails, or
    /// `callback` returns an error, the stream is closed.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if `addr` is no address; [`Error::System`] if no socket can be made. Everything
    /// else goes to the callback: such as a path that does not exist, or on which nothing listens, or a
    /// listener whose backlog is full. Linux reports the latter as
    /// [`WouldBlock`](std::io::ErrorKind::WouldBlock), other systems as
    /// [`ConnectionRefused`](std::io::ErrorKind::ConnectionRefused). It is not retried: the application knows
    /// how long it wants to wait for a server that does not accept.
    #[track_caller]
    pub fn connect<S>(
        lp: &mut Loop<S>,
        addr: impl ToUnixAddr,
        callback: impl FnOnce(&mut Loop<S>, &mut S, Result<UnixStream>) -> Result + 'static,
    ) -> Result<UnixStream> {
        let (addr, started_at) = (named(addr)?, Location::caller());
        let made = lp.core.backend().connect_unix(&addr);
        let (socket, connected) =
            made.map_err(|error| Error::system_on("connect to", describe(&addr), error))?;
        let (handle, request) =
            stream::connect(&mut lp.core, socket, Kind::UnixStream, connected, None, started_at);
        let stream = UnixStream(handle);
        let connected = move |result: Result<_>| {
            result.map(|_| stream).map_err(|error| error.with_subject(describe(&addr)))
        };
        lp.set_completion(request, Box::new(move |lp, state, result| callback(lp, state, connected(result))));
        Ok(stream)
    }

    /// Makes two streams that are connected to each other.
    ///
    /// Use it to communicate with a thread or a child process: see [`into_std`](Self::into_std).
    ///
    /// ```
    /// use ringback::{Loop, net::{Event, UnixStream}};
    ///
    /// let mut lp = Loop::new()?;
    /// let (one, other) = UnixStream::pair(&mut lp)?;
    /// one.write(&mut lp, "hello")?;
    /// one.finish(&mut lp)?;
    /// other.start(&mut lp, move |lp, text: &mut String, event| {
    ///     match event? {
    ///         Event::Data(bytes) => text.push_str(std::str::from_utf8(bytes)?),
    ///         Event::End => other.close(lp),
    ///         _ => {}
    ///     }
    ///     Ok(())
    /// })?;
    /// let mut text = String::new();
    /// lp.run(&mut text)?;
    /// assert_eq!(text, "hello");
    /// # Ok::<(), ringback::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the process has no descriptors left.
    #[track_caller]
    pub fn pair<S>(lp: &mut Loop<S>) -> Result<(UnixStream, UnixStream)> {
        let caller = Location::caller();
        let pair =
            lp.core.backend().pair().map_err(|error| Error::system("make a pair of streams", error))?;
        let mut insert =
            |socket| UnixStream(stream::insert(&mut lp.core, socket, Kind::UnixStream, None, caller));
        Ok((insert(pair.0), insert(pair.1)))
    }

    /// Returns the user, group and process of the peer, as they were when it connected.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the system refuses.
    pub fn peer_credentials<S>(self, lp: &mut Loop<S>) -> Result<Credentials> {
        let op = "peer credentials";
        let found = stream::socket(&mut lp.core, self.0, op)?.options().peer_credentials();
        let (uid, gid, pid) = found.map_err(|error| Error::system(op, error))?;
        Ok(Credentials { uid, gid, pid })
    }

    socket_options! {
        /// Returns this end's address. That of a client is unnamed.
        local_unix_addr as local_addr("local address")() -> SocketAddr;
        /// Returns the peer's address. That of a client is unnamed.
        peer_unix_addr as peer_addr("peer address")() -> SocketAddr;
        /// Sets how many bytes the system may hold that were received and not read (SO_RCVBUF). It may round.
        set_receive_buffer as set_receive_buffer("set receive buffer")(bytes: usize) -> ();
        /// Returns how many bytes the system may hold that were received and not read (SO_RCVBUF). Linux
        /// returns twice what was set.
        receive_buffer as receive_buffer("receive buffer")() -> usize;
        /// Sets how many bytes the system may hold that were written and not delivered (SO_SNDBUF). It may
        /// round.
        set_send_buffer as set_send_buffer("set send buffer")(bytes: usize) -> ();
        /// Returns how many bytes the system may hold that were written and not delivered (SO_SNDBUF). Linux
        /// returns twice what was set.
        send_buffer as send_buffer("send buffer")() -> usize;
    }

    /// Takes over a connection of the standard library.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if it cannot be made non-blocking.
    #[track_caller]
    pub fn from_std<S>(lp: &mut Loop<S>, stream: std::os::unix::net::UnixStream) -> Result<UnixStream> {
        let socket = lp.core.backend().adopt(stream.into());
        let socket = socket.map_err(|error| Error::system("adopt a stream", error))?;
        let handle = stream::insert(&mut lp.core, socket, Kind::UnixStream, None, Location::caller());
        Ok(UnixStream(handle))
    }

    /// Returns the connection as a blocking one of the standard library, and closes the handle.
    ///
    /// The callback gets [`Closed`](crate::io::Event::Closed); the peer notices nothing.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] while it is connecting or has bytes queued. It is unchanged then.
    pub fn into_std<S>(self, lp: &mut Loop<S>) -> Result<std::os::unix::net::UnixStream> {
        let op = "give a stream back";
        let socket = stream::take_socket(&mut lp.core, self.0, op)?;
        socket.release().map(Into::into).map_err(|error| Error::system(op, error))
    }
}
