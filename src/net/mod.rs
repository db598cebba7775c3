//! Sockets: connections, and listeners that accept them.

mod addr;
pub(crate) mod listener;
mod options;
mod tcp;
mod unix;

pub use self::{
    addr::ToAddr,
    options::ListenOptions,
    tcp::{Keepalive, TcpListener, TcpStream},
    unix::{Credentials, ToUnixAddr, UnixListener, UnixStream},
};
pub use crate::io::{Event, Payload, Stream, broadcast};
