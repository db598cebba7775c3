//! TCP: the typed handles, and what is particular to TCP.

use std::{net::SocketAddr, panic::Location, time::Duration};

use super::{ListenOptions, ToAddr, listener, stream, stream::Event};
use crate::{
    Loop,
    error::{Error, Result},
    event_loop::typed_handle,
    payload::Payload,
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
    TcpListener
}

typed_handle! {
    /// A TCP connection.
    ///
    /// One callback owns it: what it is told is an [`Event`](super::Event), and the last one is always
    /// [`Closed`](super::Event::Closed). Writes are queued without end being waited for, and gathered:
    /// what a callback writes to its own stream leaves in one system call when it returns, what it writes
    /// to others at the end of the poll batch.
    ///
    /// Memory is bounded: while more than the high watermark (256 KiB) is queued, nothing more is read,
    /// until the queue is down to the low one (64 KiB); a write to a stream with more than its limit (16 MiB)
    /// queued is refused. [`set_watermarks`](Self::set_watermarks), [`set_auto_pause`](Self::set_auto_pause)
    /// and [`set_queue_limit`](Self::set_queue_limit) change that.
    ///
    /// TCP_NODELAY is on from the start, because the loop gathers better than Nagle's algorithm.
    TcpStream
}

/// When to find out whether a silent peer is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// How long nothing must have been heard before the peer is asked.
    pub idle: Duration,
    /// How long to wait for an answer before asking again.
    pub interval: Duration,
    /// How many times to ask before the connection is given up.
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
    /// [`Error::Invalid`] if it is no address; [`Error::System`] if the system refuses it, for example
    /// because it is in use.
    #[track_caller]
    pub fn bind<S>(lp: &mut Loop<S>, addr: impl ToAddr) -> Result<TcpListener> {
        ListenOptions::new().bind(lp, addr)
    }

    /// Accepts connections: `callback` gets each, as a stream that is not started yet. If it returns an
    /// error, that stream is closed; the listener goes on. Started again, it takes the new callback.
    ///
    /// Up to 64 are accepted before other handles have their turn. That one could not be accepted is a
    /// [`Failure`](crate::Failure) of the listener, which stays open; if the system has no descriptors
    /// left, it looks away for 10 ms, longer if that happens again, and then goes on.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    #[track_caller]
    pub fn start<S>(
        self,
        lp: &mut Loop<S>,
        callback: impl FnMut(&mut Loop<S>, &mut S, TcpStream) -> Result + 'static,
    ) -> Result {
        listener::start(lp, self.0, callback, Location::caller())
    }

    /// Accepts no more. Connections wait in the system's queue. Idempotent.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub fn stop<S>(self, lp: &mut Loop<S>) -> Result {
        listener::set_started(&mut lp.core, self.0, false, "stop a listener")
    }

    /// Accepts again after [`stop`](Self::stop), with the callback that it has.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]; [`Error::Invalid`] if it was never started.
    pub fn resume<S>(self, lp: &mut Loop<S>) -> Result {
        listener::set_started(&mut lp.core, self.0, true, "resume a listener")
    }

    /// How many accepted streams may be open at a time. While there are that many, none is accepted.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub fn set_max_connections<S>(self, lp: &mut Loop<S>, streams: Option<usize>) -> Result {
        listener::set_max_connections(&mut lp.core, self.0, streams)
    }

    /// The address that it listens on.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub fn local_addr<S>(self, lp: &mut Loop<S>) -> Result<SocketAddr> {
        let op = "local address";
        listener::socket(&mut lp.core, self.0, op)?.local_addr().map_err(|error| Error::system(op, error))
    }
}

/// The options of a stream's socket: asked for and set directly, whatever it is doing.
macro_rules! options {
    ($($(#[$attribute:meta])* $name:ident ($op:literal) ($($argument:ident: $type:ty),*) -> $answer:ty = $method:ident;)*) => {$(
        $(#[$attribute])*
        ///
        /// # Errors
        ///
        /// [`Error::Closed`]; [`Error::System`] if the system refuses.
        pub fn $name<S>(self, lp: &mut Loop<S>, $($argument: $type),*) -> Result<$answer> {
            stream::socket(&mut lp.core, self.0, $op)?
                .$method($($argument),*)
                .map_err(|error| Error::system($op, error))
        }
    )*};
}

impl TcpStream {
    /// Connects. `callback` gets the stream once it is connected, or why it is not, in a deferred phase;
    /// until then it may be written to and started: what is written leaves once it is connected.
    ///
    /// To give up, [`close`](Self::close) it: `callback` gets [`Error::Canceled`]. If connecting fails, or
    /// `callback` returns an error, the stream is closed.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if it is no address; [`Error::System`] if no socket can be had. Everything else,
    /// a refused connection included, goes to the callback.
    #[track_caller]
    pub fn connect<S>(
        lp: &mut Loop<S>,
        addr: impl ToAddr,
        callback: impl FnOnce(&mut Loop<S>, &mut S, Result<TcpStream>) -> Result + 'static,
    ) -> Result<TcpStream> {
        connect(lp, addr.to_addr()?, None, callback, Location::caller())
    }

    /// The same with a limit: `callback` gets [`Error::TimedOut`] if it is not connected by then.
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

    /// Tells `callback` what happens on the stream, and reads. See [`Event`](super::Event).
    ///
    /// Started again, it takes the new callback, also from within the old one, which is dropped without a
    /// `Closed`. An error that the callback returns closes the stream.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    #[track_caller]
    pub fn start<S>(
        self,
        lp: &mut Loop<S>,
        callback: impl FnMut(&mut Loop<S>, &mut S, Result<Event<'_>>) -> Result + 'static,
    ) -> Result {
        stream::start(lp, self.0, callback, Location::caller())
    }

    /// Stops reading: no `Data` or `End` after this, not even in this very turn. What the system has
    /// received stays there. Other events go on. Idempotent.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub fn stop<S>(self, lp: &mut Loop<S>) -> Result {
        stream::set_reading(&mut lp.core, self.0, false, "stop a stream")
    }

    /// Reads again after [`stop`](Self::stop), with the callback that it has.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]; [`Error::Invalid`] if it was never started.
    pub fn resume<S>(self, lp: &mut Loop<S>) -> Result {
        stream::set_reading(&mut lp.core, self.0, true, "resume a stream")
    }

    /// Writes. Everything leaves in the order of writing; nobody is told when.
    ///
    /// Borrowed bytes are copied, unless they are so many (16 KiB) that they are better sent at once; owned
    /// ones are kept, unless they are few. An error of the connection arrives at the stream's callback.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]; [`Error::QueueFull`] if more than its limit is queued (this write alone may pass
    /// it); [`Error::Invalid`] after [`shutdown`](Self::shutdown). Nothing is queued then.
    pub fn write<'a, S>(self, lp: &mut Loop<S>, payload: impl Into<Payload<'a>>) -> Result {
        stream::write(&mut lp.core, self.0, payload.into(), "write")
    }

    /// Writes, and calls `callback` once everything until here was handed to the system: in a deferred
    /// phase, in the order of writing, before [`Closed`](super::Event::Closed). If it never is, `callback`
    /// gets what went wrong, or [`Error::Canceled`].
    ///
    /// An error that it returns closes the stream.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write); then `callback` is not called.
    #[track_caller]
    pub fn write_then<'a, S>(
        self,
        lp: &mut Loop<S>,
        payload: impl Into<Payload<'a>>,
        callback: impl FnOnce(&mut Loop<S>, &mut S, Result) -> Result + 'static,
    ) -> Result {
        let request = stream::write_then(&mut lp.core, self.0, payload.into(), Location::caller())?;
        lp.set_completion(request, Box::new(move |lp, state, result| callback(lp, state, result.map(drop))));
        Ok(())
    }

    /// Hands to the system what it takes at once, and queues nothing. Says how many bytes that were: zero
    /// if it takes none, or if something is queued already or the connection is still being made.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]; [`Error::Invalid`] after [`shutdown`](Self::shutdown); [`Error::System`] if the
    /// connection is broken: then the stream is closed, and its callback hears no more of it than
    /// [`Closed`](super::Event::Closed).
    pub fn try_write<S>(self, lp: &mut Loop<S>, bytes: &[u8]) -> Result<usize> {
        stream::try_write(&mut lp.core, self.0, bytes)
    }

    /// Hands what is queued to the system now, as far as it takes it, instead of at the end of the callback
    /// or the poll batch.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]. What goes wrong with the connection arrives at the callback.
    pub fn flush<S>(self, lp: &mut Loop<S>) -> Result {
        stream::socket(&mut lp.core, self.0, "flush")?;
        stream::flush(&mut lp.core, self.0);
        Ok(())
    }

    /// How many bytes are queued: written here and not yet handed to the system. Zero if it is closed.
    pub fn queued<S>(self, lp: &Loop<S>) -> usize {
        stream::queued(&lp.core, self.0)
    }

    /// Ends this side once everything queued has left: the peer gets its `End`. The other side stays open.
    ///
    /// Nothing can be written from now on. If the stream is closed first, nothing is said to anybody.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]; [`Error::Invalid`] if it was shut down before.
    pub fn shutdown<S>(self, lp: &mut Loop<S>) -> Result {
        stream::shut_down(&mut lp.core, self.0, false, "shutdown")
    }

    /// Ends the connection in good order: sends what is queued, ends this side, and closes the stream once
    /// the peer has ended, too. A stream that is not reading is closed as soon as everything was sent.
    ///
    /// Data goes on arriving until the peer ends. For a peer who never does, set an
    /// [`idle timeout`](Self::set_idle_timeout). May be called again.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub fn finish<S>(self, lp: &mut Loop<S>) -> Result {
        stream::shut_down(&mut lp.core, self.0, true, "finish")
    }

    /// Closes the stream so that the peer gets a reset, and what was not delivered is thrown away.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub fn close_reset<S>(self, lp: &mut Loop<S>) -> Result {
        stream::close_reset(&mut lp.core, self.0)
    }

    /// Gives the callback [`Error::TimedOut`] when no byte has moved in either direction for this long. If
    /// it returns `Ok`, the time begins anew; with `?` the stream is closed. `None` for no limit.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]; [`Error::Invalid`] for zero.
    pub fn set_idle_timeout<S>(self, lp: &mut Loop<S>, limit: Option<Duration>) -> Result {
        stream::set_idle_limit(&mut lp.core, self.0, limit)
    }

    /// When the stream stops reading because of what is queued to be written, in bytes, and when it goes on:
    /// from `high` on, and at `low`. [`Drained`](super::Event::Drained) tells of the latter.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]; [`Error::Invalid`] unless `low < high < 4 GiB`.
    pub fn set_watermarks<S>(self, lp: &mut Loop<S>, low: usize, high: usize) -> Result {
        stream::set_watermarks(&mut lp.core, self.0, low, high)
    }

    /// Whether the stream stops reading while its queue is above the high watermark. On from the start.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub fn set_auto_pause<S>(self, lp: &mut Loop<S>, on: bool) -> Result {
        stream::set_auto_pause(&mut lp.core, self.0, on)
    }

    /// With more than this many bytes queued, [`write`](Self::write) queues nothing more.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub fn set_queue_limit<S>(self, lp: &mut Loop<S>, bytes: usize) -> Result {
        stream::set_limit(&mut lp.core, self.0, bytes)
    }

    options! {
        /// This end's address.
        local_addr("local address")() -> SocketAddr = local_addr;
        /// The peer's address.
        peer_addr("peer address")() -> SocketAddr = peer_addr;
        /// Whether small packets leave at once (TCP_NODELAY). On from the start.
        set_nodelay("set nodelay")(on: bool) -> () = set_nodelay;
        /// Whether small packets leave at once.
        nodelay("nodelay")() -> bool = nodelay;
        /// How many bytes the system may hold that were received and not read. It may round.
        set_receive_buffer("set receive buffer")(bytes: usize) -> () = set_receive_buffer;
        /// How many bytes the system may hold that were received and not read. Linux says twice what was set.
        receive_buffer("receive buffer")() -> usize = receive_buffer;
        /// How many bytes the system may hold that were written and not delivered. It may round.
        set_send_buffer("set send buffer")(bytes: usize) -> () = set_send_buffer;
        /// How many bytes the system may hold that were written and not delivered. Linux says twice what was
        /// set.
        send_buffer("send buffer")() -> usize = send_buffer;
        /// How long the system goes on delivering after the stream is closed; in whole seconds. Zero throws
        /// away what is left, and resets. `None`: as long as it takes, the usual.
        set_linger("set linger")(limit: Option<Duration>) -> () = set_linger;
        /// How many hops a packet may take (TTL; hop limit for IPv6).
        set_ttl("set ttl")(hops: u32) -> () = set_ttl;
        /// How many hops a packet may take.
        ttl("ttl")() -> u32 = ttl;
    }

    /// Whether, and when, the system asks a silent peer if it is still there. Whole seconds.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]; [`Error::System`] if the system refuses, for example a time of less than a second.
    pub fn set_keepalive<S>(self, lp: &mut Loop<S>, keepalive: Option<Keepalive>) -> Result {
        let op = "set keepalive";
        let settings = keepalive.map(|Keepalive { idle, interval, count }| (idle, interval, count));
        stream::socket(&mut lp.core, self.0, op)?
            .set_keepalive(settings)
            .map_err(|error| Error::system(op, error))
    }

    /// Takes over a connection of the standard library's.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if it cannot be made non-blocking.
    #[track_caller]
    pub fn from_std<S>(lp: &mut Loop<S>, stream: std::net::TcpStream) -> Result<TcpStream> {
        let socket = lp.core.backend.adopt(stream.into());
        let socket = socket.map_err(|error| Error::system("adopt a stream", error))?;
        Ok(TcpStream(stream::insert(&mut lp.core, socket, None, Location::caller())))
    }

    /// Gives the connection back, as a blocking one, and closes the handle: its callback gets
    /// [`Closed`](super::Event::Closed), the peer notices nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]; [`Error::InUse`] while it is connecting or has something queued: it stays here then.
    pub fn into_std<S>(self, lp: &mut Loop<S>) -> Result<std::net::TcpStream> {
        let op = "give a stream back";
        stream::flush(&mut lp.core, self.0);
        let socket = stream::take_socket(&mut lp.core, self.0, op)?;
        self.close(lp);
        socket.release().map(Into::into).map_err(|error| Error::system(op, error))
    }
}

fn connect<S>(
    lp: &mut Loop<S>,
    addr: SocketAddr,
    limit: Option<Duration>,
    callback: impl FnOnce(&mut Loop<S>, &mut S, Result<TcpStream>) -> Result + 'static,
    started: &'static Location<'static>,
) -> Result<TcpStream> {
    let made = lp.core.backend.connect(addr);
    let (socket, connected) = made.map_err(|error| Error::system_on("connect to", addr, error))?;
    let (handle, request) = stream::connect(&mut lp.core, socket, connected, limit, started);
    let stream = TcpStream(handle);
    let told = move |result: Result<_>| result.map(|_| stream).map_err(|error| error.with_subject(addr));
    lp.set_completion(request, Box::new(move |lp, state, result| callback(lp, state, told(result))));
    Ok(stream)
}
