//! Streams and listeners.

mod addr;
pub(crate) mod listener;
pub(crate) mod stream;
mod tcp;

pub use crate::payload::Payload;
pub use addr::ToAddr;
pub use listener::ListenOptions;
pub use stream::{Event, broadcast};
pub use tcp::{Keepalive, TcpListener, TcpStream};
