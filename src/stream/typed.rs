//! The typed ids of streams, with the methods of every stream. Documented once, complete on each type's page.

/// Declares the typed id of a stream.
macro_rules! stream_handle {
    ($(#[$attribute:meta])* $name:ident) => {
        $crate::event_loop::typed_handle! {
            $(#[$attribute])*
            ///
            /// # Events and memory
            ///
            /// One callback owns the stream. It gets each [`Event`](crate::io::Event); the last one is always
            /// [`Closed`](crate::io::Event::Closed).
            ///
            /// Writes never block. They are queued and coalesced: what a callback writes to its own stream is
            /// sent in one system call when it returns; writes to other streams are sent at the end of the
            /// poll phase.
            ///
            /// Memory is bounded. With the high watermark (256 KiB) queued, the stream stops reading until
            /// the queue is down to the low one (64 KiB). With more than the limit (16 MiB) queued, writes
            /// are refused. [`set_watermarks`](Self::set_watermarks),
            /// [`set_auto_pause`](Self::set_auto_pause) and [`set_queue_limit`](Self::set_queue_limit) change
            /// that.
            ///
            /// # Errors
            ///
            /// Every method that returns a `Result` returns [`Error::Closed`](crate::Error::Closed) if the
            /// stream is closed or closing, and [`Error::WrongLoop`](crate::Error::WrongLoop) if it belongs
            /// to another loop.
            $name
        }

        impl $name {
            /// Starts reading, and calls `callback` with each event of the stream: see
            /// [`Event`](crate::io::Event).
            ///
            /// Called again, also inside the callback, it replaces the callback; the old one is dropped
            /// without a `Closed`. An error that the callback returns closes the stream.
            #[track_caller]
            pub fn start<S>(
                self,
                lp: &mut $crate::Loop<S>,
                callback: impl FnMut(
                    &mut $crate::Loop<S>,
                    &mut S,
                    $crate::Result<$crate::stream::Event<'_>>,
                ) -> $crate::Result
                + 'static,
            ) -> $crate::Result {
                $crate::stream::verbs::start(lp, self.0, callback, std::panic::Location::caller())
            }

            /// Stops reading: no `Data` or `End` after this, not even in the same turn. What the system has
            /// received stays there. Other events continue. Idempotent.
            pub fn stop<S>(self, lp: &mut $crate::Loop<S>) -> $crate::Result {
                $crate::stream::verbs::stop(&mut lp.core, self.0)
            }

            /// Reads again after [`stop`](Self::stop), with the callback that it has.
            ///
            /// # Errors
            ///
            /// [`Error::Invalid`](crate::Error::Invalid) if it was never started.
            pub fn resume<S>(self, lp: &mut $crate::Loop<S>) -> $crate::Result {
                $crate::stream::verbs::resume(&mut lp.core, self.0)
            }

            /// Queues bytes to be sent in order. For a completion callback use
            /// [`write_then`](Self::write_then).
            ///
            /// Small payloads are copied; owned ones above 2 KiB are not; borrowed ones of 16 KiB or more are
            /// sent at once if possible. Errors of the connection go to the stream's callback.
            ///
            /// # Errors
            ///
            /// [`Error::QueueFull`](crate::Error::QueueFull) if more than the limit is queued already (this
            /// write alone may pass it); [`Error::Invalid`](crate::Error::Invalid) after
            /// [`shutdown`](Self::shutdown). Nothing is queued then.
            pub fn write<'a, S>(
                self,
                lp: &mut $crate::Loop<S>,
                payload: impl Into<$crate::Payload<'a>>,
            ) -> $crate::Result {
                $crate::stream::verbs::write(&mut lp.core, self.0, payload.into(), "write")
            }

            /// Queues bytes, and calls `callback` when everything up to here was handed to the system.
            ///
            /// The callback runs in a deferred phase, in the order of writing, before
            /// [`Closed`](crate::io::Event::Closed). If the bytes are never handed over, it gets the error of
            /// the connection, or [`Error::Canceled`](crate::Error::Canceled). An error that it returns
            /// closes the stream.
            ///
            /// # Errors
            ///
            /// As [`write`](Self::write); then `callback` is not called.
            #[track_caller]
            pub fn write_then<'a, S>(
                self,
                lp: &mut $crate::Loop<S>,
                payload: impl Into<$crate::Payload<'a>>,
                callback: impl FnOnce(&mut $crate::Loop<S>, &mut S, $crate::Result) -> $crate::Result
                + 'static,
            ) -> $crate::Result {
                let caller = std::panic::Location::caller();
                let payload = payload.into();
                let request = $crate::stream::verbs::write_then(&mut lp.core, self.0, payload, caller)?;
                lp.set_completion(
                    request,
                    Box::new(|lp, state, result| callback(lp, state, result.map(drop))),
                );
                Ok(())
            }

            /// Sends what the system takes at once, and queues nothing. Returns the number of bytes sent.
            ///
            /// Zero if the system takes none, if something is queued already, or while connecting.
            ///
            /// # Errors
            ///
            /// [`Error::Invalid`](crate::Error::Invalid) after [`shutdown`](Self::shutdown);
            /// [`Error::System`](crate::Error::System) if the connection failed. Then the stream is closed,
            /// and its callback gets only [`Closed`](crate::io::Event::Closed).
            pub fn try_write<S>(self, lp: &mut $crate::Loop<S>, bytes: &[u8]) -> $crate::Result<usize> {
                $crate::stream::verbs::try_write(&mut lp.core, self.0, bytes)
            }

            /// Sends the queue now, as far as the system takes it, instead of at the end of the callback or
            /// of the poll phase. Errors of the connection go to the stream's callback.
            pub fn flush<S>(self, lp: &mut $crate::Loop<S>) -> $crate::Result {
                $crate::stream::verbs::flush(&mut lp.core, self.0)
            }

            /// Returns the number of bytes that are queued: written, and not yet handed to the system. Zero
            /// if the stream is closed.
            pub fn queued<S>(self, lp: &$crate::Loop<S>) -> usize {
                $crate::stream::verbs::queued(&lp.core, self.0)
            }

            /// Shuts down the write side once the queue has been sent; the peer then reads EOF.
            ///
            /// Reading continues; further writes fail. If the stream is closed first, the shutdown is
            /// dropped.
            ///
            /// # Errors
            ///
            /// [`Error::Invalid`](crate::Error::Invalid) if it was shut down before.
            pub fn shutdown<S>(self, lp: &mut $crate::Loop<S>) -> $crate::Result {
                $crate::stream::verbs::shut_down(&mut lp.core, self.0, false, "shutdown")
            }

            /// Closes the connection gracefully: sends the queue, shuts down the write side, and closes the
            /// stream when the peer has sent EOF, too.
            ///
            /// A stream that is not reading is closed as soon as everything was sent. Data continues to
            /// arrive until the peer's EOF; for a peer that never sends it, set an [idle
            /// timeout](Self::set_idle_timeout). Idempotent.
            pub fn finish<S>(self, lp: &mut $crate::Loop<S>) -> $crate::Result {
                $crate::stream::verbs::shut_down(&mut lp.core, self.0, true, "finish")
            }

            /// Limits the time during which no byte is moved in either direction: the callback then gets
            /// [`Error::TimedOut`](crate::Error::TimedOut).
            ///
            /// If the callback returns `Ok`, the time starts again; if it returns the error, the stream is
            /// closed. `None` (the default) means no limit.
            ///
            /// # Errors
            ///
            /// [`Error::Invalid`](crate::Error::Invalid) for a limit of zero.
            pub fn set_idle_timeout<S>(
                self,
                lp: &mut $crate::Loop<S>,
                limit: Option<std::time::Duration>,
            ) -> $crate::Result {
                $crate::stream::verbs::set_idle_limit(&mut lp.core, self.0, limit)
            }

            /// Sets the watermarks of the write queue, in bytes.
            ///
            /// With `high` queued the stream stops reading; at `low` it resumes, and the callback gets
            /// [`Drained`](crate::io::Event::Drained).
            ///
            /// # Errors
            ///
            /// [`Error::Invalid`](crate::Error::Invalid) unless `low < high < 4 GiB`.
            pub fn set_watermarks<S>(
                self,
                lp: &mut $crate::Loop<S>,
                low: usize,
                high: usize,
            ) -> $crate::Result {
                $crate::stream::verbs::set_watermarks(&mut lp.core, self.0, low, high)
            }

            /// Sets whether the stream stops reading while its queue is above the high watermark. On by
            /// default.
            pub fn set_auto_pause<S>(self, lp: &mut $crate::Loop<S>, on: bool) -> $crate::Result {
                $crate::stream::verbs::set_auto_pause(&mut lp.core, self.0, on)
            }

            /// Sets the limit of the write queue, in bytes: with more than that queued,
            /// [`write`](Self::write) is refused.
            pub fn set_queue_limit<S>(self, lp: &mut $crate::Loop<S>, bytes: usize) -> $crate::Result {
                $crate::stream::verbs::set_limit(&mut lp.core, self.0, bytes)
            }
        }
    };
}

/// Declares that a typed stream converts into [`Stream`].
macro_rules! into_stream {
    ($name:ident) => {
        impl From<$name> for $crate::stream::Stream {
            fn from(stream: $name) -> $crate::stream::Stream {
                $crate::stream::Stream(stream.0)
            }
        }

        impl From<&$name> for $crate::stream::Stream {
            fn from(stream: &$name) -> $crate::stream::Stream {
                $crate::stream::Stream(stream.0)
            }
        }
    };
}

pub(crate) use {into_stream, stream_handle};

stream_handle! {
    /// Any byte stream, whatever carries it: a TCP connection, a Unix one, …
    ///
    /// An untyped id above the typed ones, as [`Handle`](crate::Handle) is above all ids. Every typed stream
    /// converts into it. Use it where the carrier does not matter, and for collections of streams of several
    /// types.
    ///
    /// ```
    /// use ringback::{Loop, Result, io::Stream, net::TcpStream};
    ///
    /// fn greet(lp: &mut Loop, stream: impl Into<Stream>) -> Result {
    ///     stream.into().write(lp, "hello\n")
    /// }
    ///
    /// fn greet_tcp(lp: &mut Loop, conn: TcpStream) -> Result {
    ///     greet(lp, conn)
    /// }
    /// ```
    Stream
}

impl From<&Stream> for Stream {
    fn from(stream: &Stream) -> Stream {
        *stream
    }
}
