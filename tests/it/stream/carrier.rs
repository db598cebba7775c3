//! What the suite asks of a stream, of its peer and of what carries bytes between them.

use std::{fmt::Debug, io, ops::Range, time::Duration};

use ringback::{
    Handle, Loop, Result,
    net::{Event, ListenOptions, Payload, TcpStream, UnixStream, broadcast},
};

use crate::common::{self, Log};

/// The methods that every type of stream has.
pub(super) trait ByteStream: Copy + Eq + Debug + Into<Handle> + 'static {
    fn start(
        self,
        lp: &mut Loop<Log>,
        callback: impl FnMut(&mut Loop<Log>, &mut Log, Result<Event<'_>>) -> Result + 'static,
    ) -> Result;
    fn stop(self, lp: &mut Loop<Log>) -> Result;
    fn resume(self, lp: &mut Loop<Log>) -> Result;
    fn write<'a>(self, lp: &mut Loop<Log>, payload: impl Into<Payload<'a>>) -> Result;
    fn write_then<'a>(
        self,
        lp: &mut Loop<Log>,
        payload: impl Into<Payload<'a>>,
        callback: impl FnOnce(&mut Loop<Log>, &mut Log, Result) -> Result + 'static,
    ) -> Result;
    fn try_write(self, lp: &mut Loop<Log>, bytes: &[u8]) -> Result<usize>;
    fn flush(self, lp: &mut Loop<Log>) -> Result;
    fn queued(self, lp: &Loop<Log>) -> usize;
    fn shutdown(self, lp: &mut Loop<Log>) -> Result;
    fn finish(self, lp: &mut Loop<Log>) -> Result;
    fn set_idle_timeout(self, lp: &mut Loop<Log>, limit: Option<Duration>) -> Result;
    fn set_watermarks(self, lp: &mut Loop<Log>, low: usize, high: usize) -> Result;
    fn set_auto_pause(self, lp: &mut Loop<Log>, on: bool) -> Result;
    fn set_queue_limit(self, lp: &mut Loop<Log>, bytes: usize) -> Result;
    fn close(self, lp: &mut Loop<Log>);
    fn broadcast(lp: &mut Loop<Log>, streams: &[Self], text: &str) -> usize;
}

macro_rules! byte_streams {
    ($($stream:ty),*) => {$(
        impl ByteStream for $stream {
            fn start(
                self,
                lp: &mut Loop<Log>,
                callback: impl FnMut(&mut Loop<Log>, &mut Log, Result<Event<'_>>) -> Result + 'static,
            ) -> Result {
                self.start(lp, callback)
            }
            fn write<'a>(self, lp: &mut Loop<Log>, payload: impl Into<Payload<'a>>) -> Result {
                self.write(lp, payload)
            }
            fn write_then<'a>(
                self,
                lp: &mut Loop<Log>,
                payload: impl Into<Payload<'a>>,
                callback: impl FnOnce(&mut Loop<Log>, &mut Log, Result) -> Result + 'static,
            ) -> Result {
                self.write_then(lp, payload, callback)
            }
            fn try_write(self, lp: &mut Loop<Log>, bytes: &[u8]) -> Result<usize> {
                self.try_write(lp, bytes)
            }
            fn queued(self, lp: &Loop<Log>) -> usize {
                self.queued(lp)
            }
            fn close(self, lp: &mut Loop<Log>) {
                self.close(lp);
            }
            fn broadcast(lp: &mut Loop<Log>, streams: &[Self], text: &str) -> usize {
                broadcast(lp, streams, text)
            }
            byte_streams! { methods:
                stop(); resume(); flush(); shutdown(); finish();
                set_idle_timeout(limit: Option<Duration>); set_watermarks(low: usize, high: usize);
                set_auto_pause(on: bool); set_queue_limit(bytes: usize);
            }
        }
    )*};
    (methods: $($method:ident($($argument:ident: $type:ty),*);)*) => {$(
        fn $method(self, lp: &mut Loop<Log> $(, $argument: $type)*) -> Result {
            self.$method(lp $(, $argument)*)
        }
    )*};
}

byte_streams!(TcpStream, UnixStream);

/// What carries bytes between a loop and its peers.
pub(super) trait Carrier: Sized {
    type Stream: ByteStream;
    type Peer: Peer;

    /// More bytes than the carrier takes while the peer does not read.
    const MUCH: usize;
    /// A test runs once for each.
    const SEEDS: Range<u64> = 0..1;
    /// Whether the carrier may take a part of a write for which it has room.
    const SHORT_WRITES: bool = false;
    /// How long the loop runs before the peers are pumped.
    const SLICE: Duration = Duration::from_millis(5);

    fn new(seed: u64) -> Self;

    fn new_loop(&mut self) -> Loop<Log> {
        common::new_loop()
    }

    /// A connected stream that is not started, and its peer.
    fn pair(&mut self, lp: &mut Loop<Log>) -> (Self::Stream, Self::Peer);

    /// Lets the peers run, where the system does not do so by itself.
    fn pump(&mut self) {}
}

/// A carrier whose connections can be reset by the peer.
pub(super) trait Resetting: Carrier {
    /// Closes the peer's end with a reset. What `stream` has not received by then is lost or not, as the
    /// carrier does it.
    fn reset(stream: Self::Stream, lp: &mut Loop<Log>, peer: Self::Peer);

    /// A stream whose peer has reset the connection. The reset has arrived.
    fn broken(&mut self, lp: &mut Loop<Log>) -> Self::Stream;
}

/// A carrier whose streams can reset a connection on purpose.
pub(super) trait CloseReset: Carrier {
    fn close_reset(stream: Self::Stream, lp: &mut Loop<Log>) -> Result;
}

/// A carrier with addresses.
pub(super) trait Connecting: Carrier {
    type Addr: Clone + 'static;

    /// Starts a listener of the loop.
    fn listen(
        &mut self,
        lp: &mut Loop<Log>,
        options: ListenOptions,
        callback: impl FnMut(&mut Loop<Log>, &mut Log, Self::Stream) -> Result + 'static,
    ) -> (Handle, Self::Addr);

    /// Connects the loop.
    fn connect(
        lp: &mut Loop<Log>,
        addr: &Self::Addr,
        callback: impl FnOnce(&mut Loop<Log>, &mut Log, Result<Self::Stream>) -> Result + 'static,
    ) -> Self::Stream;

    /// Connects a peer to a listener of the loop, which need not accept it yet.
    fn connect_peer(&mut self, addr: &Self::Addr) -> Self::Peer;

    /// The address at which a peer listens.
    fn peer_addr(&mut self) -> Self::Addr;

    /// The peer's end of a connection to its address.
    fn accept_peer(&mut self) -> Self::Peer;
}

/// The other end of a stream. Its calls block; its end is closed when it is dropped.
pub(super) trait Peer: Sized + 'static {
    type Reader: Reader<Self>;

    /// Sends all of it.
    fn send(&mut self, bytes: impl AsRef<[u8]>);

    /// Sends what there is room for. Returns the number of bytes.
    fn try_send(&mut self, bytes: &[u8]) -> usize;

    /// Sends no more: the stream gets its EOF.
    fn shutdown(&mut self);

    fn read_exact(&mut self, count: usize) -> Vec<u8>;

    fn read_to_eof(&mut self) -> io::Result<Vec<u8>>;

    /// Reads `count` bytes, or until EOF, while the loop runs.
    fn start_reading(self, count: Option<usize>) -> Self::Reader;
}

/// A peer that reads while the loop runs.
pub(super) trait Reader<P> {
    /// Waits until everything has been read.
    fn join(self) -> (P, Vec<u8>);
}
