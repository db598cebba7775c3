//! TCP: the typed handles, and what is particular to TCP.

use std::{net::SocketAddr, panic::Location, time::Duration};

use super::{
    ListenOptions, ToAddr,
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

typed_handle! {
    /// Listens for TCP connections.
    ///
    /// ```no_run
    /// //! Echo: every byte comes back.
    /// use ringback::{Loop, Result, net::{Event, TcpListener}};
    ///
    /// fn main() -> Result {
    ///     let mut lp = Loop::new()?;
    ///     lp.on_failure(|_, _, failure| { eprintln!("{failure}"); Ok(()) });
    ///     TcpListener::bind(&mut lp, "127.0.0.1:7000")?.start(&mut lp, |lp, _, conn| {
    ///         conn.start(lp, move |lp, _, event| {
    ///             match event? {
    ///                 Event::Data(bytes) => conn.write(lp, bytes)?,
    ///                 Event::End => conn.finish(lp)?,
    ///                 _ => {}
    ///             }
    ///             Ok(())
    ///         })
    ///     })?;
    ///     lp.run(&mut ())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Every method that returns a `Result` returns [`Error::Closed`] if the listener is closed or closing,
    /// and [`Error::WrongLoop`] if it belongs to another loop.
    TcpListener
}

stream_handle! {
    /// A TCP connection.
    ///
    /// TCP_NODELAY is on by default, because the loop coalesces better than Nagle's algorithm.
    TcpStream
}

into_stream!(TcpStream);

/// When to probe a silent peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// How long the connection must be silent before the first probe.
    pub idle: Duration,
    /// How long to wait for a response before the next probe.
    pub interval: Duration,
    /// The number of probes without a response after which the connection times out.
    pub count: u32,
}

impl TcpListener {
    /// Binds an address and listens on it. Port 0 lets the system choose one: see
    /// [`local_addr`](Self::local_addr). Connections are accepted once it is started.
    ///
    /// SO_REUSEADDR is set, so that a server can be started again at once. [`ListenOptions`] has more.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if `addr` is no address; [`Error::System`] if the system refuses it, for example
    /// because it is in use.
    #[track_caller]
    pub fn bind<S>(lp: &mut Loop<S>, addr: impl ToAddr) -> Result<TcpListener> {
        ListenOptions::new().bind(lp, addr)
    }

    /// Returns the address that it listens on.
    pub fn local_addr<S>(self, lp: &mut Loop<S>) -> Result<SocketAddr> {
        let op = "local address";
        let socket = listener::socket(&mut lp.core, self.0, op)?;
        socket.options().local_addr().map_err(|error| Error::system(op, error))
    }
}

listener_methods!(TcpListener, TcpStream);

impl ListenOptions {
    /// Binds an address and listens on it, with these options. See [`TcpListener::bind`].
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if `addr` is no address; [`Error::System`] if the system refuses it, for example
    /// because it is in use.
    #[track_caller]
    pub fn bind<S>(self, lp: &mut Loop<S>, addr: impl ToAddr) -> Result<TcpListener> {
        let addr = addr.to_addr()?;
        let socket = lp.core.backend().listen(addr, self.config);
        let socket = socket.map_err(|error| Error::system_on("listen on", addr, error))?;
        let state =
            listener::State::new((socket, None), Kind::TcpListener, Kind::TcpStream, self.max_connections);
        Ok(TcpListener(lp.core.insert(state, Location::caller())))
    }
}

impl TcpStream {
    /// Connects. `callback` gets the stream once it is connected, or the error, in a deferred phase.
    ///
    /// Until then the stream may be written to and started: what is written is sent once it is connected. To
    /// give up, [`close`](Self::close) it: `callback` gets [`Error::Canceled`]. If connecting fails, or
    /// `callback` returns an error, the stream is closed.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if `addr` is no address; [`Error::System`] if no socket can be made. Everything
    /// else, such as a refused connection, goes to the callback.
    #[track_caller]
    pub fn connect<S>(
        lp: &mut Loop<S>,
        addr: impl ToAddr,
        callback: impl FnOnce(&mut Loop<S>, &mut S, Result<TcpStream>) -> Result + 'static,
    ) -> Result<TcpStream> {
        connect(lp, addr.to_addr()?, None, callback, Location::caller())
    }

    /// Connects, with a timeout: `callback` gets [`Error::TimedOut`] if the stream is not connected by then.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    #[track_caller]
    pub fn connect_timeout<S>(
        lp: &mut Loop<S>,
        addr: impl ToAddr,
        limit: Duration,
        callback: impl FnOnce(&mut Loop<S>, &mut S, Result<TcpStream>) -> Result + 'static,
    ) -> Result<TcpStream> {
        connect(lp, addr.to_addr()?, Some(limit), callback, Location::caller())
    }

    /// Closes the stream with a reset (RST). What was not delivered is discarded.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the system refuses; the stream is open then.
    pub fn close_reset<S>(self, lp: &mut Loop<S>) -> Result {
        stream::close_reset(&mut lp.core, self.0)
    }

    socket_options! {
        /// Returns this end's address.
        local_addr as local_addr("local address")() -> SocketAddr;
        /// Returns the peer's address.
        peer_addr as peer_addr("peer address")() -> SocketAddr;
        /// Sets whether small packets are sent at once (TCP_NODELAY). On by default.
        set_nodelay as set_nodelay("set nodelay")(on: bool) -> ();
        /// Returns whether small packets are sent at once (TCP_NODELAY).
        nodelay as nodelay("nodelay")() -> bool;
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
        /// Sets how long the system continues to deliver after the stream is closed, in whole seconds
        /// (SO_LINGER).
        ///
        /// Zero discards what is left and resets the connection. `None` (the default) means as long as it
        /// takes.
        set_linger as set_linger("set linger")(limit: Option<Duration>) -> ();
        /// Returns how long the system continues to deliver after the stream is closed (SO_LINGER).
        linger as linger("linger")() -> Option<Duration>;
        /// Sets how many hops a packet may take (IP_TTL; hop limit for IPv6).
        set_ttl as set_ttl("set ttl")(hops: u32) -> ();
        /// Returns how many hops a packet may take (IP_TTL; hop limit for IPv6).
        ttl as ttl("ttl")() -> u32;
    }

    /// Sets whether, and when, the system probes a silent peer (SO_KEEPALIVE). Whole seconds.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the system refuses, for example a time of less than a second.
    pub fn set_keepalive<S>(self, lp: &mut Loop<S>, keepalive: Option<Keepalive>) -> Result {
        let op = "set keepalive";
        let settings = keepalive.map(|Keepalive { idle, interval, count }| (idle, interval, count));
        let socket = stream::socket(&mut lp.core, self.0, op)?;
        socket.options().set_keepalive(settings).map_err(|error| Error::system(op, error))
    }

    /// Returns whether, and when, the system probes a silent peer (SO_KEEPALIVE).
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the system refuses.
    pub fn keepalive<S>(self, lp: &mut Loop<S>) -> Result<Option<Keepalive>> {
        let op = "keepalive";
        let settings = stream::socket(&mut lp.core, self.0, op)?.options().keepalive();
        let settings = settings.map_err(|error| Error::system(op, error))?;
        Ok(settings.map(|(idle, interval, count)| Keepalive { idle, interval, count }))
    }

    /// Takes over a connection of the standard library.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if it cannot be made non-blocking.
    #[track_caller]
    pub fn from_std<S>(lp: &mut Loop<S>, stream: std::net::TcpStream) -> Result<TcpStream> {
        let socket = lp.core.backend().adopt(stream.into());
        let socket = socket.map_err(|error| Error::system("adopt a stream", error))?;
        let handle = stream::insert(&mut lp.core, socket, Kind::TcpStream, None, Location::caller());
        Ok(TcpStream(handle))
    }

    /// Returns the connection as a blocking one of the standard library, and closes the handle.
    ///
    /// The callback gets [`Closed`](crate::io::Event::Closed); the peer notices nothing.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] while it is connecting or has bytes queued. It is unchanged then.
    pub fn into_std<S>(self, lp: &mut Loop<S>) -> Result<std::net::TcpStream> {
        let op = "give a stream back";
        let socket = stream::take_socket(&mut lp.core, self.0, op)?;
        socket.release().map(Into::into).map_err(|error| Error::system(op, error))
    }
}

fn connect<S>(
    lp: &mut Loop<S>,
    addr: SocketAddr,
    limit: Option<Duration>,
    callback: impl FnOnce(&mut Loop<S>, &mut S, Result<TcpStream>) -> Result + 'static,
    started_at: &'static Location<'static>,
) -> Result<TcpStream> {
    let made = lp.core.backend().connect(addr);
    let (socket, connected) = made.map_err(|error| Error::system_on("connect to", addr, error))?;
    let (handle, request) =
        stream::connect(&mut lp.core, socket, Kind::TcpStream, connected, limit, started_at);
    let stream = TcpStream(handle);
    let connected = move |result: Result<_>| result.map(|_| stream).map_err(|error| error.with_subject(addr));
    lp.set_completion(request, Box::new(move |lp, state, result| callback(lp, state, connected(result))));
    Ok(stream)
}
