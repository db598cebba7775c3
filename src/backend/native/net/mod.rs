//! The system's sockets.

mod socket;

pub(crate) use socket::{AcceptError, PIECES_MAX, Socket, SocketOptions, classify_accept_error};
