//! Streams and listeners.

mod addr;
pub(crate) mod listener;
mod pages {
    pub(crate) use crate::backend::Pages;
}
mod payload;
pub(crate) mod stream;
mod tcp;
mod writer;

pub use addr::ToAddr;
pub use listener::ListenOptions;
pub use payload::Payload;
pub use stream::{Event, broadcast};
pub use tcp::{Keepalive, TcpListener, TcpStream};
pub(crate) use writer::Stock;
