//! Options: of sockets, as methods of typed handles, and of making listeners.

use crate::backend::ListenConfig;

/// Declares methods that read or set an option of a stream's socket at once, whatever the stream is doing.
macro_rules! socket_options {
    ($(
        $(#[$attribute:meta])*
        $method:ident as $name:ident ($op:literal) ($($argument:ident: $type:ty),*) -> $value:ty;
    )*) => {$(
        $(#[$attribute])*
        ///
        /// # Errors
        ///
        /// [`Error::System`](crate::Error::System) if the system refuses.
        pub fn $name<S>(self, lp: &mut $crate::Loop<S>, $($argument: $type),*) -> $crate::Result<$value> {
            $crate::stream::socket(&mut lp.core, self.0, $op)?
                .options()
                .$method($($argument),*)
                .map_err(|error| $crate::Error::system($op, error))
        }
    )*};
}

pub(super) use socket_options;

/// Options of making a listener.
///
/// [`TcpListener::bind`](super::TcpListener::bind) and [`UnixListener::bind`](super::UnixListener::bind) use
/// the defaults.
///
/// ```
/// # let mut lp = ringback::Loop::<()>::new()?;
/// use ringback::net::ListenOptions;
/// let options = ListenOptions::new().backlog(128).reuse_port(true).max_connections(1000);
/// let listener = options.bind(&mut lp, "127.0.0.1:0")?;
/// # Ok::<(), ringback::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ListenOptions {
    pub(super) config: ListenConfig,
    pub(super) max_connections: Option<usize>,
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions::new()
    }
}

impl ListenOptions {
    /// Returns the defaults: a backlog of 1024, one listener for each address, any number of connections.
    pub fn new() -> ListenOptions {
        let config = ListenConfig { backlog: 1024, reuse_port: false, only_v6: false };
        ListenOptions { config, max_connections: None }
    }

    /// Sets how many connections the system may queue that are not accepted yet (the backlog).
    ///
    /// The system has its own limit, too.
    pub fn backlog(mut self, connections: u32) -> ListenOptions {
        self.config.backlog = i32::try_from(connections).unwrap_or(i32::MAX);
        self
    }

    /// Sets whether several listeners may share the address (SO_REUSEPORT).
    ///
    /// They may be in several threads or processes. The system distributes the connections.
    pub fn reuse_port(mut self, on: bool) -> ListenOptions {
        self.config.reuse_port = on;
        self
    }

    /// Sets whether a listener on an IPv6 address refuses IPv4 connections (IPV6_V6ONLY).
    pub fn only_v6(mut self, on: bool) -> ListenOptions {
        self.config.only_v6 = on;
        self
    }

    /// Limits the number of accepted streams that are open at the same time.
    ///
    /// With that many open, none is accepted.
    pub fn max_connections(mut self, max: usize) -> ListenOptions {
        self.max_connections = Some(max);
        self
    }
}
