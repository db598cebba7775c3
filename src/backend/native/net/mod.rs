//! The system's sockets.

mod credentials;
mod socket;
mod unix;

pub(crate) use socket::{AcceptError, ListenConfig, PIECES_MAX, Socket, classify_accept_error};
pub(crate) use unix::SocketFile;
