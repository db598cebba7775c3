//! Sockets: connections, and listeners that accept them.

mod addr;
pub(crate) mod listener;
mod options;
mod tcp;

pub use self::{
    addr::ToAddr,
    options::ListenOptions,
    tcp::{Keepalive, TcpListener, TcpStream},
};
pub use crate::io::{Event, Payload, Stream, broadcast};
